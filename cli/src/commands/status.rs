//! `countersign status`.

use super::doctor;
use crate::args::DEFAULT_CONFIG;
use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Exit, Outcome, Output};
use countersign_pam_stack::Folders;
use countersign_protocol::manage::{Call, Status};
use countersign_protocol::text::escape;
use std::path::Path;
use std::process::ExitCode;

pub(super) fn run(daemon: impl FnOnce() -> Outcome<ManageClient>, out: Output) -> Outcome<ExitCode> {
    // Without a daemon, too: it may be what somebody looks for that night.
    for line in super::enable::troubles(Path::new("/etc")) {
        out.remark(&format!("countersign: {}", escape(&line)));
    }
    let status: Status = daemon()?.call(&Call::Status {}, SHORT)?;
    out.either(&status, || words(&status, &Asking::look()))?;
    Ok(if !status.config_faults.is_empty() || !status.approver_faults.is_empty() {
        ExitCode::from(Exit::Broken as u8)
    } else if !status.connected {
        ExitCode::from(Exit::Unreachable as u8)
    } else {
        ExitCode::SUCCESS
    })
}

/// What this host has been set up for, whatever the daemon says.
struct Asking {
    /// The services that ask for an approval.
    services: Vec<String>,
    /// Whether there is a file that could say how.
    is_configured: bool,
}

impl Asking {
    fn look() -> Self {
        let mut services: Vec<String> =
            doctor::asking(&Folders::system(), &[]).into_iter().map(|(name, _)| name).collect();
        services.dedup();
        Self { services, is_configured: Path::new(DEFAULT_CONFIG).exists() }
    }
}

/// What a configuration that is not in force means for logins.
fn without_configuration(asking: &Asking) -> String {
    match asking.services.as_slice() {
        [] => "\nNO configuration is in force. No service asks yet, so that logins are as they were:\n"
            .to_owned(),
        services => format!(
            "\nNO configuration is in force, EVERY LOGIN by {} IS REFUSED:\n",
            escape(&services.join(", "))
        ),
    }
}

fn words(s: &Status, asking: &Asking) -> String {
    let logins = if s.waiting == 1 { "login" } else { "logins" };
    let mut text = format!(
        "Host       {} ({})\nDaemon     running, version {}\nDevices    {} may approve here\nWaiting    {} {logins}\n",
        escape(&s.host),
        escape(&s.host_key),
        escape(&s.version),
        s.devices,
        s.waiting,
    );
    // Without a configuration in force no server is known, and nothing else matters.
    let configured = !s.server.is_empty();
    if configured {
        let state = if s.connected { "connected" } else { "NOT CONNECTED" };
        text.push_str(&format!("Server     {}, {state}\n", escape(&s.server)));
    }
    if configured && !s.connected {
        let why = s.trouble.as_deref().unwrap_or("no reason is known yet");
        text.push_str(&format!("\nLogins get no push now: {}\n", escape(why)));
        text.push_str("Until it is back, recovery codes, phone codes, authenticators and leases work where the policy takes them\n\
             (countersign policy explain --user USER --service SERVICE says which).\n");
    }
    if !configured && !asking.is_configured && asking.services.is_empty() {
        text.push_str("\nNothing is set up on this host yet: no service asks, and logins are as they were.\nNext: countersign setup\n");
    } else if !s.config_faults.is_empty() {
        text.push_str(&match configured {
            true => "\nThe configuration that was read last is NOT in force, an earlier one is:\n".to_owned(),
            false => without_configuration(asking),
        });
        for fault in &s.config_faults {
            // A fault is drawn over several lines, the place below it marked by a caret.
            for line in fault.lines() {
                text.push_str(&format!("  {}\n", escape(line)));
            }
        }
        text.push_str("Correct it, then: systemctl reload countersignd\n");
        if !configured {
            text.push_str("Where none was ever made: countersign setup\n");
        }
    } else if s.config_changed && configured {
        text.push_str(
            "\nThe configuration was changed since it was read, and is NOT in force: systemctl reload countersignd\n",
        );
    } else if s.devices == 0 && s.approver_faults.is_empty() {
        text.push_str("\nNobody can approve yet: countersign pair USER\n");
    }
    if !s.approver_faults.is_empty() {
        text.push_str("\nNOT taken, with all that stands in the same file, until it is corrected:\n");
        for fault in &s.approver_faults {
            text.push_str(&format!("  {}\n", escape(fault)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            version: "0.1.0".into(),
            host: "web1\x1b]0;x\x07".into(),
            host_key: "SHA256:abc".into(),
            server: "https://push.example.com".into(),
            connected: false,
            trouble: Some("no route to host".into()),
            waiting: 1,
            devices: 0,
            config_faults: Vec::new(),
            config_changed: false,
            approver_faults: Vec::new(),
        }
    }

    #[test]
    fn trouble_comes_with_what_to_do() {
        let text = words(&status(), &asking(&["sshd"]));
        assert!(!text.contains('\x1b'), "{text}");
        for part in ["no route to host", "recovery codes", "countersign pair USER", "1 login\n"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_policy_that_was_not_read_yet_is_told() {
        let text = words(&Status { config_changed: true, ..status() }, &asking(&["sshd"]));
        assert!(text.contains("NOT in force: systemctl reload countersignd"), "{text}");
    }

    #[test]
    fn a_file_of_approvers_that_is_not_taken_is_told() {
        let fault = "/etc/countersign/approvers: line 3: this is no key";
        let text = words(&Status { approver_faults: vec![fault.into()], ..status() }, &asking(&["sshd"]));
        assert!(text.contains("NOT taken") && text.contains(fault) && !text.contains("pair USER"), "{text}");
    }

    #[test]
    fn a_fault_is_told_with_its_place_and_with_what_is_in_force() {
        let fault = vec!["countersign.toml:3:1: unknown key\n3 | foo = 1\n  | ^^^".into()];
        let kept = words(&Status { config_faults: fault.clone(), ..status() }, &asking(&["sshd"]));
        assert!(kept.contains("an earlier one is") && kept.contains("  | ^^^\n"), "{kept}");
        let without = Status { config_faults: fault, server: String::new(), ..status() };
        let none = words(&without, &asking(&["sshd", "sudo"]));
        assert!(
            none.contains("EVERY LOGIN by sshd, sudo IS REFUSED") && none.contains("  | ^^^\n"),
            "{none}"
        );
        assert!(!none.contains("push") && !none.contains("pair USER"), "one thing at a time: {none}");
        let unasked = words(&without, &asking(&[]));
        assert!(unasked.contains("No service asks yet") && !unasked.contains("REFUSED"), "{unasked}");
        assert!(unasked.contains("  | ^^^\n"), "{unasked}");
    }

    #[test]
    fn a_host_as_it_was_installed_is_told_the_next_step_and_no_alarm() {
        let fault = vec!["/etc/countersign/countersign.toml: there is no such file".to_owned()];
        let new = Status { config_faults: fault, server: String::new(), ..status() };
        let text = words(&new, &Asking { is_configured: false, ..asking(&[]) });
        assert!(text.ends_with("Next: countersign setup\n"), "{text}");
        assert!(
            !text.contains("REFUSED") && !text.contains("NO ") && !text.contains("no such file"),
            "{text}"
        );
        // Its policy was taken away since.
        let text = words(&new, &Asking { is_configured: false, ..asking(&["sshd"]) });
        assert!(text.contains("EVERY LOGIN by sshd IS REFUSED") && text.contains("no such file"), "{text}");
    }

    fn asking(services: &[&str]) -> Asking {
        Asking { services: services.iter().map(|&name| name.to_owned()).collect(), is_configured: true }
    }
}
