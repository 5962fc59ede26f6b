//! `countersign status`.

use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Exit, Outcome, Output};
use countersign_protocol::manage::{Call, Status};
use countersign_protocol::text::escape;
use std::process::ExitCode;

pub(super) fn run(daemon: &mut ManageClient, out: Output) -> Outcome<ExitCode> {
    let status: Status = daemon.call(&Call::Status {}, SHORT)?;
    out.either(&status, || words(&status))?;
    Ok(if !status.config_faults.is_empty() {
        ExitCode::from(Exit::Broken as u8)
    } else if !status.connected {
        ExitCode::from(Exit::Unreachable as u8)
    } else {
        ExitCode::SUCCESS
    })
}

fn words(s: &Status) -> String {
    let mut text = format!(
        "Host       {} ({})\nDaemon     running, version {}\n",
        escape(&s.host),
        escape(&s.host_key),
        escape(&s.version)
    );
    let state = if s.connected { "connected" } else { "NOT CONNECTED" };
    text.push_str(&format!("Server     {}, {state}\n", escape(&s.server)));
    text.push_str(&format!("Devices    {} may approve here\n", s.devices));
    text.push_str(&format!("Waiting    {} logins\n", s.waiting));
    if !s.connected {
        let why = s.trouble.as_deref().unwrap_or("no reason is known yet");
        text.push_str(&format!("\nLogins get no push now: {}\n", escape(why)));
        text.push_str("Until it is back, recovery codes work where the policy allows them.\n");
        text.push_str("Not registered at the server yet? countersign join --token TOKEN\n");
    }
    if !s.config_faults.is_empty() {
        text.push_str("\nThe configuration that was read last is NOT in force:\n");
        for fault in &s.config_faults {
            // A fault is drawn over several lines, the place below it marked by a caret.
            for line in fault.lines() {
                text.push_str(&format!("  {}\n", escape(line)));
            }
        }
        text.push_str("Correct it, then: systemctl reload countersignd\n");
    }
    if s.devices == 0 {
        text.push_str("\nNobody can approve yet: countersign pair USER\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_comes_with_what_to_do() {
        let status = Status {
            version: "0.1.0".into(),
            host: "web1\x1b]0;x\x07".into(),
            host_key: "SHA256:abc".into(),
            server: "https://push.example.com".into(),
            connected: false,
            trouble: Some("no route to host".into()),
            waiting: 0,
            devices: 0,
            config_faults: vec!["countersign.toml:3:1: unknown key\n3 | foo = 1\n  | ^^^".into()],
        };
        let text = words(&status);
        assert!(!text.contains('\x1b'), "{text}");
        for part in
            ["no route to host", "countersign join", "NOT in force", "  | ^^^\n", "countersign pair USER"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
