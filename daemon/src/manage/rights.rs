//! Whose things a caller may speak of, and for whom it speaks.

use super::{Answer, Refusal, Session, Step};
use crate::caller::Caller;
use crate::person::{self, Person};
use countersign_protocol::manage::{Acting, error};

impl Session {
    /// From now on this connection has the rights of somebody else, or root's at their wish.
    pub(super) async fn act_for(&mut self, uid: u32, as_administrator: bool) -> Answer<Acting> {
        self.root_only()?;
        if std::mem::replace(&mut self.acts, true) || !matches!(self.step, Step::None) {
            let text = "for whom a connection acts is said once, at its beginning";
            return Err(Refusal(error::BAD_CALL, text.into()));
        }
        // Of its group nothing is known, and nothing is made of it.
        self.caller = Caller { uid, gid: u32::MAX, pid: None, root_socket: as_administrator };
        let user = match as_administrator {
            true => None,
            false => person::by_uid(uid).await.map_err(Refusal::fault)?.map(|person| person.name),
        };
        Ok(Acting { uid, user })
    }

    /// Whose things a caller may speak of: everybody's, where that is root and names nobody.
    pub(super) async fn whose(&self, user: Option<&str>) -> Answer<Option<String>> {
        Ok(match user {
            None if self.caller.root_socket => None,
            None => Some(self.caller_itself().await?.name),
            Some(user) => Some(self.permitted(user).await?.name),
        })
    }

    pub(super) fn root_only(&self) -> Answer<()> {
        if self.caller.root_socket {
            Ok(())
        } else {
            Err(Refusal(error::NOT_PERMITTED, "only root may do this".into()))
        }
    }

    /// The user, if this caller may ask about that one. Whether somebody else exists is not told, nor asked.
    pub(super) async fn permitted(&self, user: &str) -> Answer<Person> {
        if self.caller.root_socket {
            return known(user).await;
        }
        let own = self.caller_itself().await?;
        match own.is_called(user) {
            true => Ok(own),
            false => Err(Refusal(error::NOT_PERMITTED, "only root may ask about somebody else".into())),
        }
    }

    pub(super) async fn caller_itself(&self) -> Answer<Person> {
        let found = person::by_uid(self.caller.uid).await.map_err(Refusal::fault)?;
        found.ok_or_else(|| Refusal(error::NOT_FOUND, "you are no user of this host".into()))
    }

    pub(super) fn by(&self) -> String {
        by(&self.caller)
    }
}

/// Who called, for the audit.
pub(crate) fn by(caller: &Caller) -> String {
    match (caller.root_socket, caller.uid) {
        (true, 0) => "root".into(),
        (true, uid) => format!("user {uid} as an administrator"),
        (false, uid) => format!("user {uid}"),
    }
}

pub(super) async fn known(user: &str) -> Answer<Person> {
    let found = person::lookup(user).await.map_err(Refusal::fault)?;
    found.ok_or_else(|| Refusal(error::NOT_FOUND, "there is no such user on this host".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manage::testing::session;
    use crate::testing::Lab;

    /// Names that a user makes up are not looked up: with a name service that hangs they would keep root's logins
    /// from theirs.
    #[tokio::test]
    async fn a_user_asks_about_nobody_else_and_no_name_is_looked_up_for_that() {
        let lab = Lab::new();
        let _hangs = person::hang(true);
        let (session, _peer) = session(&lab, 0, false);
        for own in ["root", "ROOT"] {
            assert_eq!(session.permitted(own).await.ok().map(|person| person.uid), Some(0));
        }
        for other in ["", "root ", "nobody", "no-such-user"] {
            let Err(Refusal(name, _)) = session.permitted(other).await else { panic!("{other:?}") };
            assert_eq!(name, error::NOT_PERMITTED);
        }
    }

    #[tokio::test]
    async fn who_acts_for_a_user_has_that_users_rights_and_no_way_back() {
        let lab = Lab::new();
        let refused = |answer: Answer<Acting>| answer.err().map(|Refusal(name, _)| name);
        let (mut user, _peer) = session(&lab, 1000, false);
        assert_eq!(refused(user.act_for(0, true).await), Some(error::NOT_PERMITTED));
        let (mut acting, _peer) = session(&lab, 0, true);
        let of_root = Acting { uid: 0, user: Some("root".into()) };
        assert_eq!(acting.act_for(0, false).await.ok(), Some(of_root));
        assert_eq!(acting.by(), "user 0");
        assert!(acting.devices(Some("nobody")).await.is_err() && acting.new_codes("root", 1).await.is_err());
        assert!(acting.act_for(0, true).await.is_err());
        let (mut administrator, _peer) = session(&lab, 0, true);
        assert!(administrator.act_for(1000, true).await.is_ok());
        assert_eq!(administrator.by(), "user 1000 as an administrator");
        assert!(administrator.devices(None).await.is_ok());
        assert!(administrator.act_for(0, true).await.is_err());
    }
}
