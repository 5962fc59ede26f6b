//! How the daemon is, and how its host becomes known to the server.

use super::{Answer, Refusal, Session};
use crate::app::App;
use crate::pairing;
use countersign_protocol::audit::Record;
use countersign_protocol::manage::{Joined, Status, error};
use countersign_relay_client::RelayError;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Longest time that joining waits for the connection.
const CONNECT_TIME: Duration = Duration::from_secs(3);

impl Session {
    pub(super) fn status(&self) -> Status {
        status(&self.app, self.caller.root_socket)
    }

    pub(super) async fn join(&self, token: &str) -> Answer<Joined> {
        self.root_only()?;
        let config = self.app.config().map_err(Refusal::fault)?;
        let client = self.app.relay.client().ok_or_else(|| pairing::no_server(&self.app))?;
        client.join(token, &self.app.host.name).await.map_err(|error| not_joined(&error))?;
        self.app.relay.reconnect();
        // So that what is asked next does not hear of a connection that is just being made.
        let connected = async {
            while !self.app.relay.is_up() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let _ = timeout(CONNECT_TIME, connected).await;
        let joined = Joined { server: config.server.clone(), host_key: self.app.host.public.fingerprint() };
        let reason = format!("at {} by {}", joined.server, self.by());
        self.record(Record { event: "joined".into(), reason: Some(reason), ..Record::default() }).await?;
        Ok(joined)
    }
}

/// How the daemon is; in full for root.
pub(super) fn status(app: &App, for_root: bool) -> Status {
    let connected = app.relay.is_up();
    let shown = |faults: Vec<String>| match faults.len() {
        0 => faults,
        _ if for_root => faults,
        // The lines quote the file, which only administrators may be able to read.
        1 => vec!["1 fault; root sees it with: countersign status".to_owned()],
        number => vec![format!("{number} faults; root sees them with: countersign status")],
    };
    let config_faults = shown(app.config.borrow().faults.clone());
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        host: app.host.name.clone(),
        host_key: app.host.public.fingerprint(),
        server: app.config().map(|config| config.server.clone()).unwrap_or_default(),
        connected,
        trouble: (!connected).then(|| app.relay.trouble().full),
        waiting: app.logins.waiting(),
        devices: u32::try_from(app.devices.all().len()).unwrap_or(u32::MAX),
        // It reads files, and others than root could ask without end.
        config_changed: for_root && app.config.borrow().has_changed(&app.paths.config, app.administrator),
        config_faults,
        approver_faults: shown(app.approvers.faults()),
    }
}

/// A server that says no to the token is there: another token helps, waiting does not.
fn not_joined(error: &RelayError) -> Refusal {
    match error {
        RelayError::Status { status: 400..=499, .. } => Refusal(error::NOT_PERMITTED, error.to_string()),
        _ => Refusal::unreachable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manage::testing::session;
    use crate::testing::Lab;
    use countersign_protocol::api::Problem;

    #[tokio::test]
    async fn status_tells_root_of_a_line_that_is_not_taken() {
        let lab = Lab::new();
        for root_socket in [true, false] {
            let (session, _peer) = session(&lab, 0, root_socket);
            let file = lab.app.paths.administrator().join("approvers");
            std::fs::write(&file, "").unwrap();
            assert_eq!(session.status().approver_faults, [""; 0]);
            std::fs::write(&file, "alice ssh-ed25519 what\n").unwrap();
            let told = session.status().approver_faults;
            let is_told = told.len() == 1 && told[0].contains("approvers: line 1: ") == root_socket;
            assert!(is_told, "{told:?}");
        }
    }

    #[test]
    fn a_wrong_join_token_is_no_outage() {
        let problem = Problem { code: "token-used".into(), message: "make a new one".into() };
        let Refusal(name, text) = not_joined(&RelayError::Status { status: 403, problem: Some(problem) });
        assert_eq!(name, error::NOT_PERMITTED);
        assert!(text.contains("make a new one"), "{text}");
        let Refusal(name, _) = not_joined(&RelayError::Status { status: 502, problem: None });
        assert_eq!(name, error::UNREACHABLE);
    }
}
