use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::commands::enable::plan::stages;

const MODULE: &str = "pam_countersign.so";

/// Service files as Debian 12 and 13, Ubuntu, Fedora, EL 9 and openSUSE ship them.
fn systems() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pam.d")
}

fn folders(system: &str) -> Folders {
    Folders::of([systems().join(system)])
}

fn file(system: &str, service: &str) -> Vec<u8> {
    fs::read(systems().join(system).join(service))
        .unwrap_or_else(|error| panic!("{system}/{service}: {error}"))
}

fn put(system: &str, service: &str) -> Outcome<Placed> {
    place(&folders(system), service, &file(system, service), MODULE, stages(service))
}

/// What stands right before and right behind our lines of a stage.
fn around(placed: &Placed, stage: &str) -> (String, String) {
    let text = String::from_utf8_lossy(&placed.text);
    let lines: Vec<&str> = text.lines().collect();
    let ours = lines.iter().position(|line| line.starts_with(stage) && line.ends_with(MODULE)).unwrap();
    let begin = lines[..ours].iter().rposition(|line| line.starts_with(marks::BEGIN)).unwrap();
    let words = |line: Option<&&str>| {
        line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap_or_default()
    };
    (words(begin.checked_sub(1).and_then(|at| lines.get(at))), words(lines.get(ours + 2)))
}

/// What a person logs in with, at a terminal or a window.
const SERVICES: [&str; 12] = [
    "cinnamon-screensaver",
    "gdm-password",
    "i3lock",
    "lightdm",
    "login",
    "sddm",
    "sshd",
    "su",
    "sudo",
    "sudo-i",
    "swaylock",
    "xscreensaver",
];

#[test]
fn every_service_of_every_system_gets_its_lines_and_loses_them_again() {
    let mut seen = 0;
    for system in fs::read_dir(systems()).unwrap() {
        let system = system.unwrap().file_name().into_string().unwrap();
        for service in SERVICES {
            if !systems().join(&system).join(service).exists() || plan_leaves_out(&system, service) {
                continue;
            }
            let text = file(&system, service);
            let placed =
                put(&system, service).unwrap_or_else(|failure| panic!("{system}: {}", failure.message));
            assert_ne!(placed.text, text, "{system}/{service}");
            assert_eq!(marks::strip(&placed.text).text, text, "{system}/{service}");
            let again = place(&folders(&system), service, &placed.text, MODULE, stages(service)).unwrap();
            assert_eq!(again.text, placed.text, "{system}/{service}");
            // The same from a file of another machine, or from an editor of one.
            let crlf = String::from_utf8(text).unwrap().replace('\n', "\r\n").into_bytes();
            let open = crlf.strip_suffix(b"\r\n").unwrap();
            for text in [&crlf[..], open] {
                let Ok(placed) = place(&folders(&system), service, text, MODULE, stages(service)) else {
                    continue;
                };
                assert_eq!(marks::strip(&placed.text).text, text, "{system}/{service}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen}");
}

/// These have another service's lines.
fn plan_leaves_out(system: &str, service: &str) -> bool {
    let folders = folders(system);
    let su = put(system, "sudo").map(|placed| placed.text).unwrap_or_default();
    let with_sudo = folders.with("sudo", &String::from_utf8_lossy(&su));
    service == "sudo-i" && crate::commands::enable::plan::asks(&with_sudo, service)
}

#[test]
fn the_lines_stand_behind_the_password_and_before_the_session() {
    for system in ["debian12", "debian13", "ubuntu2404"] {
        let sshd = put(system, "sshd").unwrap();
        assert_eq!(around(&sshd, "auth").0, "@include common-auth", "{system}");
        assert_eq!(around(&sshd, "session").1, "@include common-session", "{system}");
        assert_eq!(sshd.remarks, Vec::<String>::new());
        assert_eq!(around(&put(system, "sudo").unwrap(), "auth").0, "@include common-auth", "{system}");
        let su = put(system, "su").unwrap();
        assert_eq!(around(&su, "auth").0, "@include common-auth", "{system}");
        assert!(su.remarks.iter().any(|remark| remark.contains("pam_rootok")), "{:?}", su.remarks);
    }
    for system in ["el9", "fedora42"] {
        let sshd = put(system, "sshd").unwrap();
        assert_eq!(
            around(&sshd, "auth"),
            ("auth substack password-auth".into(), "auth include postlogin".into())
        );
        assert_eq!(around(&sshd, "session").1, "session include password-auth");
        assert!(sshd.remarks.iter().any(|remark| remark.contains("wrong password")), "{:?}", sshd.remarks);
    }
}

#[test]
fn an_include_that_ends_the_stack_becomes_a_substack() {
    for system in ["el9", "fedora42"] {
        let sudo = String::from_utf8(put(system, "sudo").unwrap().text).unwrap();
        let was =
            "# countersign: was: auth       include      system-auth\nauth       substack      system-auth\n";
        assert!(sudo.contains(was), "{system}: {sudo}");
    }
}

/// Text of one service, all of it in its own file.
fn own(text: &str) -> Outcome<Placed> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("other"), "auth required pam_deny.so\nsession required pam_deny.so\n")
        .unwrap();
    place(&Folders::of([folder.path()]), "app", text.as_bytes(), MODULE, &[Stage::Auth])
}

#[test]
fn jumps_lead_to_our_lines_and_not_over_them() {
    let jump = "auth [success=1 default=ignore] pam_unix.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n";
    let placed = own(jump).unwrap();
    assert_eq!(
        around(&placed, "auth"),
        ("auth requisite pam_deny.so".into(), "auth required pam_permit.so".into())
    );
    let two = "auth [success=2 default=ignore] pam_unix.so\nauth [success=1 default=ignore] pam_sss.so use_first_pass\n\
               auth requisite pam_deny.so\nauth required pam_permit.so\n";
    assert_eq!(around(&own(two).unwrap(), "auth").1, "auth required pam_permit.so");
}

#[test]
fn jumps_of_others_lead_where_they_led() {
    let text = "auth [success=2 default=ignore] pam_u2f.so\nauth requisite pam_unix.so\nauth required pam_google.so\nauth \
                optional pam_cap.so\n";
    // Behind the password it would lead to a line of ours.
    assert_eq!(around(&own(text).unwrap(), "auth").0, "auth required pam_google.so");
    let longer = text.replace("success=2", "success=3") + "auth optional pam_group.so\n";
    assert_eq!(around(&own(&longer).unwrap(), "auth").0, "auth optional pam_cap.so");
}

#[test]
fn without_a_safe_place_nothing_is_written() {
    for (text, why) in [
        ("auth sufficient pam_unix.so\nauth required pam_deny.so\n", "without being asked"),
        ("auth [success=done default=die] pam_unix.so\n", "without being asked"),
        ("auth required pam_permit.so\naccount required pam_unix.so\n", "checks a password"),
        ("account required pam_unix.so\n", "no auth lines"),
        ("auth required pam_unix.so\nauth required pam_countersign.so\n", "by hand"),
        ("auth required pam_unix.so\nauth required pam_deny.so\n", "nobody comes in"),
        ("auth required pam_unix.so\n@include nowhere\n", "libpam takes nothing"),
        ("", "no auth lines"),
    ] {
        let failure = own(text).expect_err(text);
        assert!(failure.message.contains(why), "{text:?}: {}", failure.message);
    }
}

#[test]
fn another_way_in_is_told_of() {
    let text = "auth sufficient pam_u2f.so\nauth required pam_unix.so\n";
    let placed = own(text).unwrap();
    assert!(placed.remarks.iter().any(|remark| remark.contains("pam_u2f")), "{:?}", placed.remarks);
    // In a substack it ends that one alone, and we are asked behind it.
    let fedora = put("fedora42", "sudo").unwrap();
    assert!(!fedora.remarks.iter().any(|remark| remark.contains("pam_fprintd")), "{:?}", fedora.remarks);
    let lightdm = put("ubuntu2404", "lightdm").unwrap();
    assert!(lightdm.remarks.iter().any(|remark| remark.contains("pam_succeed_if")), "{:?}", lightdm.remarks);
}

/// A keyring takes the password behind us: a prompt of ours does not replace it.
#[test]
fn a_keyring_is_unlocked_behind_us() {
    for service in ["lightdm", "gdm-password", "sddm", "cinnamon-screensaver"] {
        let (before, behind) = around(&put("debian12", service).unwrap(), "auth");
        assert_eq!(before, "@include common-auth", "{service}");
        assert!(behind.contains("auth optional pam_gnome_keyring.so"), "{service}: {behind}");
    }
}

#[test]
fn the_doctor_finds_nothing_that_would_open_or_lock_out() {
    use countersign_pam_stack::examine::{Host, Severity, examine};
    let host = Host {
        has_module: &|_| true,
        meant: &[],
        passwordless: None,
        one_field: &|_| false,
        keys_alone: true,
    };
    for system in ["debian12", "debian13", "ubuntu2404", "el9", "fedora42", "tumbleweed"] {
        for service in SERVICES.into_iter().filter(|service| *service != "sudo-i") {
            if !systems().join(system).join(service).exists() {
                continue;
            }
            let placed = put(system, service).unwrap();
            let mut folders = folders(system).with(service, &String::from_utf8_lossy(&placed.text));
            if let Some(companion) = crate::commands::enable::services::companion(service)
                && systems().join(system).join(companion).exists()
                && !crate::commands::enable::plan::asks(&folders, companion)
            {
                let text = put(system, companion).unwrap().text;
                folders = folders.with(companion, &String::from_utf8_lossy(&text));
            }
            for found in examine(&folders, &[service.to_owned()], &host) {
                let is_other_way = matches!(found.kind, "ends-before" | "jumps-over");
                assert!(
                    found.severity > Severity::WouldLockOut || is_other_way,
                    "{system}/{service}: {found:?}"
                );
            }
        }
    }
}
