//! What a person types in place of the phone: recovery codes, one code for a while, an authenticator's secret. Root makes
//! them.

use std::time::Duration;

use countersign_protocol::audit::Record;
use countersign_protocol::manage::{
    Authenticator, Codes, CodesLeft, MAX_ONCE, MAX_REASON, MIN_ONCE, OnceCode, error,
};
use countersign_protocol::text::is_active;

use super::rights::known;
use super::{Answer, Refusal, Session};
use crate::recovery::MAX_CODES;
use crate::totp;

impl Session {
    pub(super) async fn new_codes(&self, user: &str, count: u8) -> Answer<Codes> {
        self.root_only()?;
        if !(1..=MAX_CODES).contains(&count) {
            let text = format!("1 to {} codes can be made", MAX_CODES);
            return Err(Refusal(error::BAD_CALL, text));
        }
        let person = known(user).await?;
        let said = format!("{count} new ones by {}; the old ones end", self.by());
        self.note("recovery-codes", &person.name, said).await?;
        match self.app.recovery.new_codes(&person.name, count).await {
            Ok(codes) => Ok(Codes { codes }),
            Err(error) => {
                let why = format!("no new ones were made, the old ones hold: {error}");
                self.note("recovery-codes-failed", &person.name, why).await?;
                Err(Refusal::fault(error))
            }
        }
    }

    pub(super) async fn codes_left(&self, user: &str) -> Answer<CodesLeft> {
        let person = self.permitted(user).await?;
        let (app, name) = (&self.app, &person.name);
        Ok(CodesLeft {
            left: app.recovery.left(name),
            totp: app.totp.has(name),
            once_until: app.recovery.once_until(name),
        })
    }

    pub(super) async fn new_once(&self, user: &str, seconds: u32, reason: &str) -> Answer<OnceCode> {
        self.root_only()?;
        if !(MIN_ONCE..=MAX_ONCE).contains(&seconds) {
            let text = format!("a code is good for {} minute to {} hours", MIN_ONCE / 60, MAX_ONCE / 3600);
            return Err(Refusal(error::BAD_CALL, text));
        }
        if reason.trim().is_empty() || reason.len() > MAX_REASON || reason.chars().any(is_active) {
            let text = format!("the reason is 1 to {MAX_REASON} bytes of plain text: the audit keeps it");
            return Err(Refusal(error::BAD_CALL, text));
        }
        let person = known(user).await?;
        let said = format!("good once within {seconds} s, by {}: {reason}", self.by());
        self.note("once-code", &person.name, said).await?;
        self.app.log.warning(&format!("a code that opens once was made for {}: {reason}", person.name));
        let made =
            self.app.recovery.new_once(&person.name, Duration::from_secs(seconds.into()), reason).await;
        match made {
            Ok((code, ends_at)) => Ok(OnceCode { code, ends_at }),
            Err(error) => {
                self.note("once-code-failed", &person.name, format!("none was made: {error}")).await?;
                Err(Refusal::fault(error))
            }
        }
    }

    pub(super) async fn new_authenticator(&self, user: &str) -> Answer<Authenticator> {
        self.root_only()?;
        let person = known(user).await?;
        let said = format!("a new secret by {}; the old one ends", self.by());
        self.note("authenticator", &person.name, said).await?;
        match self.app.totp.new_secret(&person.name).await {
            Ok(secret) => {
                let (secret, link) = totp::link(&secret, &person.name, &self.app.host.name);
                Ok(Authenticator { secret, link })
            }
            Err(error) => {
                let why = format!("no new secret was made, the old one holds: {error}");
                self.note("authenticator-failed", &person.name, why).await?;
                Err(Refusal::fault(error))
            }
        }
    }

    async fn note(&self, event: &str, user: &str, reason: String) -> Answer<()> {
        let (event, user, reason) = (event.to_owned(), Some(user.to_owned()), Some(reason));
        self.record(Record { event, user, reason, ..Record::default() }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manage::testing::session;
    use crate::testing::Lab;

    /// The record of new codes says that the old ones end, and is written before they do.
    #[tokio::test]
    async fn that_no_new_codes_could_be_made_is_written_down() {
        let lab = Lab::new();
        let old = lab.app.recovery.new_codes("root", 2).await.unwrap();
        let file = lab.app.paths.own("recovery.json");
        std::fs::rename(&file, lab.app.paths.own("aside")).unwrap();
        std::fs::create_dir(&file).unwrap();
        let (session, _peer) = session(&lab, 0, true);
        assert!(session.new_codes("root", 3).await.is_err());
        let events: Vec<_> = lab.audit().into_iter().map(|record| record.event).collect();
        assert_eq!(events, ["recovery-codes", "recovery-codes-failed"]);
        assert_eq!(lab.app.recovery.left("root"), u32::try_from(old.len()).unwrap());
    }

    #[tokio::test]
    async fn codes_of_every_kind_are_told() {
        let lab = Lab::new();
        let (session, _peer) = session(&lab, 0, true);
        let nothing = CodesLeft { left: 0, totp: false, once_until: None };
        assert_eq!(session.codes_left("root").await.ok(), Some(nothing));
        lab.app.totp.new_secret("root").await.unwrap();
        let (_, ends_at) = lab.app.recovery.new_once("root", Duration::from_secs(600), "test").await.unwrap();
        let both = CodesLeft { left: 0, totp: true, once_until: Some(ends_at) };
        assert_eq!(session.codes_left("root").await.ok(), Some(both));
    }
}
