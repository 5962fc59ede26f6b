//! The leases that hold, and their end before their time.

use super::{Answer, Refusal, Session};
use crate::app::App;
use crate::audit::Durability;
use crate::clock;
use crate::leases::{Lease, Place};
use crate::login::record_lease_end;
use countersign_protocol::manage::{self, Leases, error};

/// Room for a list in a reply.
const MAX_REPLY: usize = 12 * 1024;
/// Fewest characters of a lease's id that name it.
const MIN_ID: usize = 4;

impl Session {
    pub(super) async fn leases(&self, user: Option<&str>) -> Answer<Leases> {
        let user = self.whose(user).await?;
        Ok(list(&self.app, user.as_deref()))
    }

    pub(super) async fn end_leases(&self, user: Option<&str>, id: Option<&str>) -> Answer<Leases> {
        let user = self.whose(user).await?;
        end(&self.app, user.as_deref(), id, &self.by()).await
    }
}

/// Those of a user: who granted them, or whose account they open.
fn is_of(lease: &Lease, user: Option<&str>) -> bool {
    user.is_none_or(|user| lease.person == user || lease.binding.user == user)
}

fn list(app: &App, user: Option<&str>) -> Leases {
    told(&app.leases.all().into_iter().filter(|lease| is_of(lease, user)).collect::<Vec<_>>())
}

/// Ends those of a user: the one of that id, or all.
async fn end(app: &App, user: Option<&str>, id: Option<&str>, by: &str) -> Answer<Leases> {
    let meant = |lease: &Lease| is_of(lease, user) && id.is_none_or(|id| lease.id.starts_with(id));
    if let Some(id) = id {
        let found = app.leases.all().iter().filter(|lease| meant(lease)).count();
        if found == 0 {
            return Err(Refusal(error::NOT_FOUND, "there is no such lease; see: countersign leases".into()));
        }
        if id.len() < MIN_ID || found > 1 {
            return Err(Refusal(error::REFUSED, "give more of the lease's id (countersign leases)".into()));
        }
    }
    let ended = app.leases.end(meant);
    app.leases.write(&app.log).await;
    record_lease_end(app, &ended, &format!("ended by {by}"), Durability::Now).await;
    Ok(told(&ended))
}

fn told(leases: &[Lease]) -> Leases {
    let (mut room, mut list) = (MAX_REPLY, Vec::new());
    for lease in leases {
        let (from, key, terminal) = match &lease.binding.place {
            Place::Remote { address, key } => (Some(address.clone()), Some(key.clone()), None),
            Place::Local { terminal, from, .. } => (from.clone(), None, Some(terminal.clone())),
        };
        let lease = manage::Lease {
            id: lease.id.clone(),
            user: lease.binding.user.clone(),
            granted_by: lease.person.clone(),
            service: lease.binding.service.clone(),
            from,
            key,
            terminal,
            until: clock::unix().saturating_add(lease.left()),
            used: lease.used,
            uses: lease.most_uses,
        };
        let length = serde_json::to_vec(&lease).map_or(room, |text| text.len() + 1);
        let Some(left) = room.checked_sub(length) else { break };
        room = left;
        list.push(lease);
    }
    let more = u32::try_from(leases.len() - list.len()).unwrap_or(u32::MAX);
    Leases { leases: list, more }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::frame;

    #[tokio::test]
    async fn what_is_not_there_is_not_asked_for_in_more_letters() {
        let lab = crate::testing::Lab::new();
        for id in ["zzz", "00112233"] {
            let Err(Refusal(name, text)) = end(&lab.app, None, Some(id), "root").await else {
                panic!("{id}")
            };
            assert_eq!(name, error::NOT_FOUND, "{text}");
        }
    }

    #[test]
    fn an_empty_list_is_one_and_a_long_one_fits_a_frame() {
        assert_eq!(told(&[]), Leases { leases: Vec::new(), more: 0 });
        let lease: Lease = serde_json::from_value(serde_json::json!({
            "id": "00", "request": "", "request_signature": "", "decision": "", "decision_signature": "",
            "device": "", "person": "p".repeat(255), "boot": "b", "since": 0, "until": 1, "most_uses": 2, "used": 0,
            "binding": {
                "user": "u".repeat(255), "uid": 1, "service": "s", "requester": null,
                "place": { "local": { "leader": 1, "started": 1, "terminal": "\u{7}".repeat(255), "from": null } },
            },
        }))
        .unwrap();
        let told = told(&vec![lease; 256]);
        assert_eq!(told.leases.len() + told.more as usize, 256);
        assert!(!told.leases.is_empty() && told.more > 0);
        let reply = frame::Reply::Parameters { parameters: told };
        assert!(frame::encode(&reply).is_ok());
    }
}
