//! `countersign devices [USER]`.

use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Outcome, Output, date, table};
use countersign_protocol::manage::{Call, Device, Devices};
use countersign_protocol::text::escape;
use std::process::ExitCode;

pub(super) fn run(daemon: &mut ManageClient, user: Option<&str>, out: Output) -> Outcome<ExitCode> {
    let found: Devices = daemon.call(&Call::Devices { user: user.map(str::to_owned) }, SHORT)?;
    out.either(&found, || match (found.devices.is_empty(), user) {
        (true, Some(user)) => {
            format!("{} has no device. Pair one: countersign pair {0}", escape(user))
        }
        (true, None) => "No device is paired. Pair one: countersign pair USER".to_owned(),
        (false, _) => listed(&found.devices),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Devices as a table.
pub(super) fn listed(devices: &[Device]) -> String {
    let certified = devices.iter().any(|device| !device.principals.is_empty());
    let rows: Vec<_> = devices
        .iter()
        .map(|d| {
            let used = d.last_used_at.map_or_else(|| "never".to_owned(), date);
            let mut row =
                vec![d.user.clone(), d.name.clone(), d.fingerprint.clone(), date(d.paired_at), used];
            row.extend(certified.then(|| d.principals.join(", ")));
            row
        })
        .collect();
    let mut titles = vec!["USER", "DEVICE", "FINGERPRINT", "PAIRED", "LAST USED"];
    titles.extend(certified.then_some("PRINCIPALS"));
    table(&titles, &rows)
}
