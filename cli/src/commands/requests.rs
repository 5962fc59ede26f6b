//! `countersign requests [USER] [--cancel ID]`.

use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Outcome, Output, table, time};
use countersign_protocol::manage::{Call, Request, Requests};
use countersign_protocol::text::clip;
use std::process::ExitCode;

/// Characters of an id that are shown.
const SHOWN: usize = 8;
/// Requests that are listed at most.
const MOST: usize = 1000;

pub(super) fn run(
    daemon: &mut ManageClient,
    user: Option<&str>,
    cancel: Option<&str>,
    out: Output,
) -> Outcome<ExitCode> {
    if let Some(id) = cancel {
        let was: Request = daemon.call(&Call::CancelRequest { id: id.to_owned() }, SHORT)?;
        out.either(&was, || {
            format!("Cancelled, its login is refused:\n{}", listed(std::slice::from_ref(&was)))
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let found = all(daemon, user)?;
    out.either(&found, || match found.requests.is_empty() {
        true => "No login waits.".to_owned(),
        false => {
            let more = match found.more {
                0 => String::new(),
                more => format!("and {more} more; name a USER to see them\n"),
            };
            format!("{}{more}Cancel one: countersign requests --cancel ID", listed(&found.requests))
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A reply has room for some; so it is asked until there are no more.
fn all(daemon: &mut ManageClient, user: Option<&str>) -> Outcome<Requests> {
    let mut found = Requests { requests: Vec::new(), more: 0 };
    loop {
        let after = found.requests.last().map(|request| request.id.clone());
        let call = Call::Requests { user: user.map(str::to_owned), after };
        let next: Requests = daemon.call(&call, SHORT)?;
        found.more = next.more;
        let is_end = next.requests.is_empty() || next.more == 0;
        found.requests.extend(next.requests);
        if is_end || found.requests.len() >= MOST {
            return Ok(found);
        }
    }
}

fn listed(requests: &[Request]) -> String {
    let rows: Vec<_> = requests.iter().map(row).collect();
    let mut text =
        table(&["ID", "USER", "ASKED BY", "SERVICE", "WHERE", "SINCE", "LEFT", "STATE", "WHAT"], &rows);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn row(request: &Request) -> Vec<String> {
    let or_dash = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".to_owned());
    vec![
        clip(&request.id, SHOWN).to_owned(),
        request.user.clone(),
        or_dash(request.requester.as_ref()),
        request.service.clone(),
        or_dash(request.from.as_ref().or(request.terminal.as_ref())),
        time(request.issued_at),
        format!("{} s", request.expires_in),
        state(request),
        or_dash(request.command.as_ref().or(request.action.as_ref())),
    ]
}

fn state(request: &Request) -> String {
    match (request.approved, request.needed) {
        (0, _) if request.unreachable => "server away".to_owned(),
        (0, 0..=1) => "waits".to_owned(),
        (approved, 0..=1) if approved > 0 => "approved, code not typed".to_owned(),
        (approved, needed) => format!("{approved} of {needed} approved"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::message::{Confirm, Kind};

    #[test]
    fn a_list_says_who_wants_what_and_draws_nothing_of_theirs() {
        let request = Request {
            id: "00112233445566778899aabbccddeeff".into(),
            user: "root".into(),
            requester: Some("alice".into()),
            service: "sudo".into(),
            kind: Kind::Command,
            command: Some("sudo \x1b[2Jreboot".into()),
            action: None,
            terminal: Some("/dev/pts/3".into()),
            from: None,
            issued_at: 1_800_000_000,
            expires_in: 42,
            confirm: Confirm::Code,
            needed: 1,
            approved: 0,
            unreachable: false,
        };
        let text = listed(std::slice::from_ref(&request));
        assert!(!text.contains('\x1b'), "{text}");
        for part in ["00112233 ", "root", "alice", "/dev/pts/3", "42 s", "waits", "reboot"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let of = |approved, needed, unreachable| {
            state(&Request { approved, needed, unreachable, ..request.clone() })
        };
        assert_eq!(of(0, 1, true), "server away");
        assert_eq!(of(1, 1, true), "approved, code not typed");
        assert_eq!(of(1, 2, false), "1 of 2 approved");
    }
}
