//! What is held against people and places, and its end.

use super::{Answer, Refusal, Session, write_record};
use crate::app::App;
use crate::fatigue::{self, What};
use crate::login::{self, source};
use crate::person;
use countersign_protocol::audit::Record;
use countersign_protocol::manage::{Block, BlockKind, Held, error};

impl Session {
    pub(super) fn blocks(&self) -> Answer<Held> {
        self.root_only().map(|()| held(&self.app, None, None))
    }

    pub(super) async fn unblock(&self, user: Option<&str>, source: Option<&str>) -> Answer<Held> {
        self.root_only()?;
        unblock(&self.app, user, source, &self.by()).await
    }
}

/// Everything that holds now, of this user and from this source where they are given.
fn held(app: &App, user: Option<&str>, source: Option<&str>) -> Held {
    let mut blocks: Vec<Block> = app.fatigue.held(user, source).into_iter().map(told).collect();
    // A wrong code counts wherever it was typed.
    let typed = app
        .budget
        .blocked()
        .into_iter()
        .filter(|(name, _)| source.is_none() && user.is_none_or(|user| user == name));
    blocks.extend(typed.map(|(user, seconds)| Block {
        what: BlockKind::Codes,
        user: Some(user),
        source: None,
        seconds,
    }));
    Held { blocks }
}

/// Ends it. A user need not exist where something is held: wrong codes are counted for any name.
async fn unblock(app: &App, user: Option<&str>, from: Option<&str>, by: &str) -> Answer<Held> {
    if [user, from].into_iter().flatten().any(|name| name.is_empty() || name.len() > MAX_NAME) {
        return Err(Refusal(error::BAD_CALL, format!("a name is 1 to {MAX_NAME} bytes")));
    }
    // As the name service writes it, so that an administrator may write it as the user does.
    let known = match user {
        Some(user) => person::lookup(user).await.map_err(Refusal::fault)?.map(|person| person.name),
        None => None,
    };
    let user = known.as_deref().or(user);
    let from = from.map(source);
    let ended = held(app, user, from.as_deref());
    if ended.blocks.is_empty() {
        if let Some(user) = user.filter(|_| known.is_none()) {
            let text = format!("there is no user {user} on this host, and nothing is held against that name");
            return Err(Refusal(error::NOT_FOUND, text));
        }
        if let Some(from) = from.as_deref().filter(|from| !login::is_source(from)) {
            let text = format!(
                "{from} is no source: write one address, or \"user NAME\", as countersign unblock lists what is held"
            );
            return Err(Refusal(error::NOT_FOUND, text));
        }
    }
    let whose = user.map_or("everybody".to_owned(), |user| format!("user {user}"));
    let where_from = from.as_deref().map_or(String::new(), |from| format!(" from {from}"));
    let reason = format!("{whose}{where_from}, {} in all, by {by}", ended.blocks.len());
    let record = Record {
        event: "unblocked".into(),
        user: user.map(str::to_owned),
        remote: from.clone(),
        reason: Some(reason),
        ..Record::default()
    };
    write_record(app, record).await?;
    app.fatigue.forget(user, from.as_deref()).await.map_err(Refusal::fault)?;
    if from.is_none() {
        app.budget.forget(user).await.map_err(Refusal::fault)?;
    }
    Ok(ended)
}

/// Longest name of a user or a source in bytes.
const MAX_NAME: usize = 300;

fn told(held: fatigue::Held) -> Block {
    let what = match held.what {
        What::Quiet => BlockKind::Quiet,
        What::Denied => BlockKind::Denied,
        What::Reported => BlockKind::Reported,
    };
    Block { what, user: held.user, source: held.source, seconds: held.left }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Lab;

    #[tokio::test]
    async fn a_misspelt_user_or_source_is_told_as_one() {
        let lab = Lab::new();
        let unblock =
            async |user, from| unblock(&lab.app, user, from, "root").await.map_err(|refused| refused.0);
        assert_eq!(unblock(Some("no-such-user"), None).await, Err(error::NOT_FOUND));
        for from in ["notanaddr", "10.0.0.0/8", "2001:db8::/32", "300.1.1.1", "user ", "uid x"] {
            assert_eq!(unblock(None, Some(from)).await, Err(error::NOT_FOUND), "{from}");
        }
        assert!(lab.audit().is_empty());
        for from in ["10.0.0.1", "2001:db8::1", "2001:db8::/64", "user mallory", "uid 0", "terminal tty1"] {
            assert_eq!(unblock(Some("root"), Some(from)).await, Ok(Held { blocks: Vec::new() }), "{from}");
        }
    }

    #[tokio::test]
    async fn what_is_held_against_a_name_that_nobody_has_can_be_ended() {
        let lab = Lab::new();
        while let Ok(_failed) = lab.app.budget.take("no-such-user", |_| false).await.unwrap() {}
        let ended = unblock(&lab.app, Some("no-such-user"), None, "root").await.ok().unwrap();
        assert_eq!(ended.blocks.len(), 1);
        assert!(held(&lab.app, None, None).blocks.is_empty());
    }
}
