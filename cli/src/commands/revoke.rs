//! `countersign revoke USER DEVICE`.

use super::devices::listed;
use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Exit, Failure, Outcome, Output};
use countersign_protocol::manage::{Call, Revoked};
use countersign_protocol::text::escape;
use std::process::ExitCode;

pub(super) fn run(daemon: &mut ManageClient, user: &str, device: &str, out: Output) -> Outcome<ExitCode> {
    let call = Call::Revoke { user: user.to_owned(), device: device.to_owned() };
    let removed: Revoked = daemon.call(&call, SHORT)?;
    if removed.devices.is_empty() {
        let text = format!("{} has no device {}: see countersign devices {0}", escape(user), escape(device));
        return Err(Failure::new(Exit::Refused, text));
    }
    out.either(&removed, || match (listed(&removed.devices), removed.still_anothers) {
        (list, false) => format!("Revoked for good; these approve nothing any more:\n{list}"),
        (list, true) => format!(
            "Approves for {} no more:\n{list}\nIt still approves for somebody else on this host. Is it lost? \
             Then tell root, who ends it for everybody with the same command.",
            escape(user)
        ),
    })?;
    Ok(ExitCode::SUCCESS)
}
