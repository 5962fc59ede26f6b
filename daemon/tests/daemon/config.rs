//! A faulty policy refuses; a repaired one is taken; a good one stays.

use crate::support::{GOOD, Place};
use countersign_protocol::login::{Outcome, Step};
use countersign_protocol::manage::{Call, Status};
use std::os::unix::fs::PermissionsExt;

fn status(place: &Place) -> Status {
    place.root().manage(&Call::Status {}).unwrap()
}

fn outcome(place: &Place) -> Option<Outcome> {
    match place.root().login() {
        Step::Verdict(verdict) => Some(verdict.outcome),
        _ => None,
    }
}

#[test]
fn without_a_policy_every_login_is_refused_until_there_is_one() {
    let place = Place::new();
    let daemon = place.start(&[]);
    assert_eq!(outcome(&place), Some(Outcome::Misconfigured));
    assert!(status(&place).config_faults[0].contains("countersign.toml: it does not exist"));

    place.configure("servr = \"https://a\"\n[default]\nthen = \"alow\"\n");
    daemon.reload();
    assert_eq!(outcome(&place), Some(Outcome::Misconfigured));
    assert_eq!(status(&place).config_faults.len(), 3);

    place.configure(GOOD);
    daemon.reload();
    assert_ne!(outcome(&place), Some(Outcome::Misconfigured));
    assert_eq!(status(&place).config_faults, [""; 0]);
    let (ended, _, said) = daemon.end();
    assert!(ended.success(), "{said}");
    assert!(said.contains("countersign.toml:3:8: \"alow\" is no value of \"then\""), "{said}");
    assert!(said.contains("3 | then = \"alow\""), "{said}");
}

#[test]
fn a_faulty_policy_leaves_the_good_one_in_force() {
    let place = Place::new();
    place.configure("server = \"http://127.0.0.1:1\"\n[default]\nthen = \"deny\"\n");
    let daemon = place.start(&[]);
    assert_eq!(outcome(&place), Some(Outcome::Denied));
    // Wrong text, wrong mode, gone: nothing opens, nothing is lost.
    for step in ["text", "mode", "gone"] {
        let path = place.path("etc/countersign.toml");
        match step {
            "text" => place.configure("then = \"skip\"\n"),
            "mode" => {
                place.configure("server = \"http://127.0.0.1:1\"\n[default]\nthen = \"skip\"\n");
                std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
            }
            _ => std::fs::remove_file(&path).unwrap(),
        }
        daemon.reload();
        assert_eq!(outcome(&place), Some(Outcome::Denied), "{step}");
        assert!(!status(&place).config_faults.is_empty(), "{step}");
    }
    // Everybody hears that there are faults, root which.
    let told: Status = place.everybody().manage(&Call::Status {}).unwrap();
    assert_eq!(told.config_faults.len(), 1);
    assert!(!told.config_faults[0].contains("countersign.toml"), "{told:?}");

    place.configure("server = \"http://127.0.0.1:1\"\n[default]\nthen = \"skip\"\n");
    daemon.reload();
    assert_eq!(outcome(&place), Some(Outcome::Ignored));
}

#[test]
fn a_policy_can_be_checked_without_a_daemon() {
    let place = Place::new();
    place.configure(GOOD);
    assert!(place.fails(&["--check"]).0.success());
    place.configure("server = 1\n[default]\nwiat = \"60s\"\n");
    let (status, said) = place.fails(&["--check"]);
    assert!(!status.success());
    assert!(said.contains("countersign.toml:1:10") && said.contains("did you mean \"wait\"?"), "{said}");
    assert!(said.contains("| ^^^^"), "{said}");
    assert!(!place.path("lib").exists());
}
