//! What root makes for a person to type beside recovery codes: one code for a while, an authenticator's secret.

use std::time::Duration;

use countersign_protocol::audit::Record;
use countersign_protocol::manage::{Authenticator, MAX_ONCE, MAX_REASON, MIN_ONCE, OnceCode, error};
use countersign_protocol::text::is_active;

use super::{Answer, Refusal, Session, known};
use crate::totp;

impl Session {
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
