//! `countersign revoke USER DEVICE`.

use super::devices::listed;
use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Exit, Failure, Outcome, Output};
use countersign_protocol::manage::{Call, Devices};
use countersign_protocol::text::escape;
use std::process::ExitCode;

pub(super) fn run(daemon: &mut ManageClient, user: &str, device: &str, out: Output) -> Outcome<ExitCode> {
    let call = Call::Revoke { user: user.to_owned(), device: device.to_owned() };
    let removed: Devices = daemon.call(&call, SHORT)?;
    if removed.devices.is_empty() {
        let text = format!("{} has no device {}: see countersign devices {0}", escape(user), escape(device));
        return Err(Failure::new(Exit::Refused, text));
    }
    out.either(&removed, || {
        format!("Revoked for good; these approve nothing any more:\n{}", listed(&removed.devices))
    })?;
    Ok(ExitCode::SUCCESS)
}
