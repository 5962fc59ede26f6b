//! What `countersign` asks for, over both sockets.

use crate::support::{GOOD, PATIENCE, Place};
use countersign_protocol::manage::{Call, Codes, CodesLeft, Devices, Joined, PairingOpened, Status};
use std::time::{Duration, Instant};

fn place() -> Place {
    let place = Place::new();
    place.configure(GOOD);
    place
}

fn audit(place: &Place) -> Vec<countersign_protocol::audit::Record> {
    let text = std::fs::read_to_string(place.path("lib/audit/audit.jsonl")).unwrap();
    let chain = countersign_protocol::audit::Chain::new();
    countersign_protocol::audit::verify(chain, text.lines()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn codes_are_made_by_root_and_counted_and_audited() {
    let place = place();
    let daemon = place.start(&[]);
    let mut root = place.root();
    let codes: Codes = root.manage(&Call::NewCodes { user: "root".into(), count: 3 }).unwrap();
    assert_eq!(codes.codes.len(), 3);
    let left: CodesLeft = root.manage(&Call::CodesLeft { user: "root".into() }).unwrap();
    assert_eq!(left.left, 3);
    for count in [0, 21] {
        let refused = root.manage::<Codes>(&Call::NewCodes { user: "root".into(), count }).unwrap_err();
        assert!(refused.contains("BadCall"), "{refused}");
    }
    let missing = Call::NewCodes { user: "no such user".into(), count: 3 };
    assert!(root.manage::<Codes>(&missing).unwrap_err().contains("NotFound"));
    // Killed right after the answer: all of it is on the disk.
    daemon.kill();
    let _daemon = place.start(&[]);
    let left: CodesLeft = place.root().manage(&Call::CodesLeft { user: "root".into() }).unwrap();
    assert_eq!(left.left, 3);
    let made = audit(&place).into_iter().find(|record| record.event == "recovery-codes").unwrap();
    assert_eq!(made.user.as_deref(), Some("root"));
}

#[test]
fn on_the_socket_for_everybody_only_ones_own_things_are_told() {
    let place = place();
    let _daemon = place.start(&[]);
    // Root, but not by root's socket: a user like any other.
    let mut own = place.everybody();
    assert!(own.manage::<Devices>(&Call::Devices { user: None }).unwrap().devices.is_empty());
    assert!(own.manage::<Devices>(&Call::Devices { user: Some("root".into()) }).is_ok());
    assert_eq!(own.manage::<CodesLeft>(&Call::CodesLeft { user: "root".into() }).unwrap().left, 0);
    let others = [
        Call::Devices { user: Some("daemon".into()) },
        Call::Devices { user: Some("no such user".into()) },
        Call::CodesLeft { user: "daemon".into() },
        Call::Revoke { user: "daemon".into(), device: "x".into() },
        Call::NewCodes { user: "root".into(), count: 1 },
        Call::Join { token: "x".to_owned().into() },
        Call::Pair { user: "daemon".into() },
        Call::Requests { user: Some("daemon".into()), after: None },
        Call::ActFor { uid: 0, as_administrator: true },
        Call::ActFor { uid: 1, as_administrator: false },
        // The first device is root's to pair.
        Call::Pair { user: "root".into() },
    ];
    for call in others {
        let refused = own.manage::<serde_json::Value>(&call).unwrap_err();
        assert!(refused.starts_with("org.countersign.Manage.NotPermitted"), "{call:?}: {refused}");
    }
}

#[test]
fn without_a_server_pairing_and_joining_say_so() {
    let place = place();
    let _daemon = place.start(&[]);
    let mut root = place.root();
    let join = Call::Join { token: "x".to_owned().into() };
    assert!(root.manage::<Joined>(&join).unwrap_err().starts_with("org.countersign.Manage.Unreachable"));
    let pair = Call::Pair { user: "root".into() };
    assert!(
        root.manage::<PairingOpened>(&pair).unwrap_err().starts_with("org.countersign.Manage.Unreachable")
    );
    for call in [Call::PairWait {}, Call::PairCode { code: "123456".to_owned().into() }] {
        assert!(root.manage::<serde_json::Value>(&call).unwrap_err().contains("call Pair first"));
    }
    let missing = Call::Revoke { user: "root".into(), device: "phone".into() };
    assert!(root.manage::<Devices>(&missing).unwrap_err().contains("NotFound"));
}

#[test]
fn garbage_is_answered_and_the_daemon_lives() {
    let place = place();
    let _daemon = place.start(&[]);
    for (bytes, answer) in [
        (&b"{\"method\":\"org.countersign.Manage.Nothing\"}\0"[..], "org.countersign.Manage.BadCall"),
        (b"{\"method\":\"org.countersign.Manage.Pair\",\"parameters\":{\"user\":1}}\0", "BadCall"),
        (
            b"{\"method\":\"org.countersign.Login.Begin\",\"parameters\":{}}\0",
            "org.countersign.Login.BadCall",
        ),
        (
            b"{\"method\":\"org.countersign.Login.Continue\",\"parameters\":{}}\0",
            "org.countersign.Login.BadCall",
        ),
        (b"{\"method\":\"x\"}\0", "org.countersign.UnknownMethod"),
        (b"\xff\xff\0", "org.countersign.UnknownMethod"),
        (b"\0", "org.countersign.UnknownMethod"),
    ] {
        let mut peer = place.everybody();
        peer.send(bytes);
        let told = String::from_utf8(peer.frame()).unwrap();
        assert!(told.contains(answer), "{told}");
    }
    let mut peer = place.everybody();
    peer.send(&[b' '; 17 * 1024]);
    assert!(peer.frame().is_empty());
    let told: Status = place.everybody().manage(&Call::Status {}).unwrap();
    assert_eq!(told.version, env!("CARGO_PKG_VERSION"));
    assert!(!told.connected && told.host_key.starts_with("SHA256:"));
}

#[test]
fn a_user_has_four_connections_and_root_its_own() {
    let place = place();
    let _daemon = place.start(&[]);
    let mut held: Vec<_> = (0..4).map(|_| place.everybody()).collect();
    for peer in &mut held {
        peer.manage::<Status>(&Call::Status {}).unwrap();
    }
    let refused = place.everybody().manage::<Status>(&Call::Status {}).unwrap_err();
    assert!(refused.starts_with("org.countersign.Busy"), "{refused}");
    for _ in 0..10 {
        held.push(place.root());
        held.last_mut().unwrap().manage::<Status>(&Call::Status {}).unwrap();
    }
    held.remove(0);
    // It takes the daemon a moment to see the end.
    let until = Instant::now() + PATIENCE;
    while let Err(refused) = place.everybody().manage::<Status>(&Call::Status {}) {
        assert!(refused.starts_with("org.countersign.Busy") && Instant::now() < until, "{refused}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
