//! `countersign leases [USER] [--end ID|all]`.

use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Outcome, Output, date, table};
use countersign_protocol::manage::{Call, Lease, Leases};
use countersign_protocol::text::clip;
use std::process::ExitCode;

/// Characters of an id that are shown.
const SHOWN: usize = 8;
/// What ends all at once.
const ALL: &str = "all";

pub(super) fn run(
    daemon: &mut ManageClient,
    user: Option<&str>,
    end: Option<&str>,
    out: Output,
) -> Outcome<ExitCode> {
    let user = user.map(str::to_owned);
    let call = match end {
        None => Call::Leases { user },
        Some(ALL) => Call::EndLeases { user, id: None },
        Some(id) => Call::EndLeases { user, id: Some(id.to_owned()) },
    };
    let found: Leases = daemon.call(&call, SHORT)?;
    out.either(&found, || match (found.leases.is_empty(), end) {
        (true, _) => "No lease holds: everybody is asked.".to_owned(),
        (false, None) => format!("{}End one: countersign leases --end ID, or all", listed(&found)),
        (false, Some(_)) => format!("Ended; these are asked again:\n{}", listed(&found)),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn listed(found: &Leases) -> String {
    let rows: Vec<_> = found.leases.iter().map(row).collect();
    let mut text =
        table(&["ID", "USER", "GRANTED BY", "SERVICE", "WHERE", "SSH KEY", "UNTIL", "USES"], &rows);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    if found.more > 0 {
        text.push_str(&format!("and {} more; name a USER to see them\n", found.more));
    }
    text
}

fn row(lease: &Lease) -> Vec<String> {
    let place = lease.from.as_ref().or(lease.terminal.as_ref()).cloned().unwrap_or_else(|| "-".into());
    let uses = lease.uses.map_or_else(|| lease.used.to_string(), |most| format!("{} of {most}", lease.used));
    vec![
        clip(&lease.id, SHOWN).to_owned(),
        lease.user.clone(),
        lease.granted_by.clone(),
        lease.service.clone(),
        place,
        lease.key.clone().unwrap_or_else(|| "-".into()),
        date(lease.until),
        uses,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_whom_where_and_how_often() {
        let lease = Lease {
            id: "00112233445566778899aabbccddeeff".into(),
            user: "root".into(),
            granted_by: "alice\x1b[2J".into(),
            service: "sudo".into(),
            from: None,
            key: None,
            terminal: Some("/dev/pts/3".into()),
            until: 1_800_000_000,
            used: 3,
            uses: Some(20),
        };
        let text = listed(&Leases { leases: vec![lease], more: 2 });
        assert!(!text.contains('\x1b'), "{text}");
        let until = date(1_800_000_000);
        for part in ["00112233 ", "root", "/dev/pts/3", &format!("  {until}  3 of 20"), "and 2 more"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
