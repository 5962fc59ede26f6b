//! Leases and everything that they are bound to.

use std::rc::Rc;
use std::time::Duration;

use countersign_policy::Lease as Ceiling;
use countersign_protocol::keys::Signer;
use countersign_protocol::login::Session;
use countersign_protocol::message::{
    Answer, Confirm, Decision, Kind, Lease as Wanted, Remote, RemoteSource, SshKey,
};

use super::*;
use crate::app::App;
use crate::clock;
use crate::login::facts::Facts;
use crate::login::panel::Panel;
use crate::login::request::OpenRequest;
use crate::person::Person;
use crate::testing::{BOOT, Lab, TestDevice, facts};
use crate::verify;

const HOUR: u64 = 3600;
const USER: &str = "alice";

fn person() -> Person {
    Person { name: USER.to_owned(), uid: 1000 }
}

fn ceiling(uses: Option<u32>) -> Ceiling {
    Ceiling { up_to: Duration::from_secs(HOUR), uses }
}

fn ssh() -> Facts {
    Facts {
        remote: Some(Remote { address: "192.0.2.7".to_owned(), port: Some(1), source: RemoteSource::Kernel }),
        ssh_key: Some(SshKey { fingerprint: "SHA256:k".to_owned(), key_type: "ssh-ed25519".to_owned() }),
        ..facts(USER)
    }
}

fn sudo() -> Facts {
    Facts {
        service: "sudo".to_owned(),
        kind: Kind::Command,
        session: Some(Session { leader: 700, started: 9 }),
        terminal: Some("/dev/pts/3".to_owned()),
        ..facts(USER)
    }
}

fn binding(facts: &Facts) -> Binding {
    Binding::of(facts, &person()).expect("a lease could be")
}

/// A paired phone, and what it has approved.
struct Place {
    lab: Lab,
    phone: TestDevice,
}

impl Place {
    async fn new() -> Self {
        let (lab, phone) = (Lab::new(), TestDevice::new());
        lab.pair(USER, &phone).await;
        Self { lab, phone }
    }

    /// A request of that login, approved with that lease.
    fn approved(&self, facts: &Facts, uses: Option<u32>, lease: Option<Wanted>) -> (Rc<OpenRequest>, Offer) {
        let offer = Offer { binding: binding(facts), ceiling: ceiling(uses) };
        let app = &self.lab.app;
        let devices = app.devices.for_user(USER);
        let wait = Duration::from_secs(60);
        let offered = Some(offer.clone());
        let request = OpenRequest::new(
            &app.host,
            facts,
            (&person(), USER),
            Panel::of_one(USER, devices),
            Confirm::Tap,
            wait,
            offered,
        )
        .unwrap();
        let decision = Decision { lease, ..TestDevice::decision(&request, Answer::Approve) };
        let sealed = self.phone.seal(&self.lab, &request, &self.phone.sign(&decision));
        assert!(request.decide(verify::decision(app, &request, &sealed).unwrap()));
        (request, offer)
    }

    fn add(&self, (request, offer): &(Rc<OpenRequest>, Offer)) -> Result<Lease, String> {
        let decision = request.counting().remove(0);
        let granted = Granted {
            request: &request.signed,
            id: &request.id,
            person: USER,
            decision: &decision,
            since: request.deadline - request.wait,
        };
        self.lab.app.leases.add(offer, &granted)
    }

    /// A lease of an hour for that login.
    async fn lease(&self, facts: &Facts, uses: Option<u32>) -> Lease {
        let added = self.add(&self.approved(facts, uses, wanted(HOUR, &facts.service))).unwrap();
        self.lab.app.leases.write(&self.lab.app.log).await;
        added
    }

    async fn lets_in(&self, facts: &Facts) -> bool {
        lets_in(&self.lab.app, facts, ceiling(None)).await
    }
}

async fn lets_in(app: &App, facts: &Facts, ceiling: Ceiling) -> bool {
    app.leases.take(app, &binding(facts), USER, (ceiling, Confirm::Tap)).await.unwrap().is_some()
}

fn wanted(seconds: u64, scope: &str) -> Option<Wanted> {
    Some(Wanted { until: clock::unix() + seconds, scope: scope.to_owned() })
}

#[tokio::test]
async fn a_no_that_comes_while_a_grant_is_written_down_ends_its_lease_too() {
    let place = Place::new().await;
    let before = place.approved(&ssh(), None, wanted(HOUR, "sshd"));
    assert!(place.lab.app.leases.refused(USER).is_empty(), "it is not there yet");
    assert!(place.add(&before).unwrap_err().contains("meanwhile"));
    let after = place.approved(&ssh(), None, wanted(HOUR, "sshd"));
    assert!(place.add(&after).is_ok());
}

#[tokio::test]
async fn it_lets_in_whoever_is_the_same_in_everything_and_nobody_else() {
    let place = Place::new().await;
    for (same, others) in [
        (
            ssh(),
            vec![
                Facts { service: "sshd-other".to_owned(), ..ssh() },
                Facts { requester: Some("bob".to_owned()), ..ssh() },
                Facts {
                    remote: ssh().remote.map(|r| Remote { address: "192.0.2.8".to_owned(), ..r }),
                    ..ssh()
                },
                Facts {
                    ssh_key: ssh().ssh_key.map(|k| SshKey { fingerprint: "SHA256:l".to_owned(), ..k }),
                    ..ssh()
                },
                sudo(),
            ],
        ),
        (
            sudo(),
            vec![
                Facts { service: "su".to_owned(), ..sudo() },
                Facts { requester: Some("bob".to_owned()), ..sudo() },
                Facts { session: Some(Session { leader: 701, started: 9 }), ..sudo() },
                Facts { session: Some(Session { leader: 700, started: 10 }), ..sudo() },
                Facts { terminal: Some("/dev/pts/4".to_owned()), ..sudo() },
                Facts { remote: ssh().remote, ..sudo() },
            ],
        ),
    ] {
        place.lab.app.leases.end(|_| true);
        place.lease(&same, None).await;
        for (number, other) in others.iter().enumerate() {
            assert!(!place.lets_in(other).await, "{number}");
        }
        let anothers = Binding::of(&same, &Person { uid: 1001, ..person() }).unwrap();
        let wanted = (ceiling(None), Confirm::Tap);
        let app = &place.lab.app;
        assert!(app.leases.take(app, &anothers, USER, wanted).await.unwrap().is_none());
        assert!(app.leases.take(app, &binding(&same), "bob", wanted).await.unwrap().is_none());
        // The command is no part of it, nor the client's port.
        let again = Facts { command: Some("sudo other".to_owned()), ..same.clone() };
        assert!(place.lets_in(&again).await && place.lets_in(&same).await);
    }
}

#[test]
fn what_cannot_be_told_apart_has_none() {
    let none = |facts: Facts| assert_eq!(Binding::of(&facts, &person()), None);
    none(Facts { by_root: false, ..sudo() });
    none(Facts { by_root: false, ..ssh() });
    none(Facts { ssh_key: None, ..ssh() });
    none(Facts { remote: None, ..ssh() });
    none(Facts { remote: ssh().remote.map(|r| Remote { source: RemoteSource::Pam, ..r }), ..ssh() });
    none(Facts { session: None, ..sudo() });
    none(Facts { terminal: None, ..sudo() });
    for kind in [Kind::Login, Kind::Unlock, Kind::Action, Kind::Test] {
        none(Facts { kind, ..sudo() });
    }
    // Root's own account is never entered from elsewhere by one.
    let root = Person { name: "root".to_owned(), uid: 0 };
    assert_eq!(Binding::of(&ssh(), &root), None);
    assert!(Binding::of(&Facts { requester: Some(USER.to_owned()), ..sudo() }, &root).is_some());
}

#[tokio::test(start_paused = true)]
async fn its_end_is_by_the_boot_clock_whatever_the_other_one_is_set_to() {
    clock::wound::follow();
    let place = Place::new().await;
    place.lease(&ssh(), None).await;
    clock::wound::sleep(Duration::from_secs(HOUR - 1));
    clock::wound::set_apart(HOUR as i64 - 1);
    assert!(place.lets_in(&ssh()).await);
    // Set back, so that by it nothing is over.
    clock::wound::set_apart(-1_000_000);
    assert!(place.lets_in(&ssh()).await);
    clock::wound::sleep(Duration::from_secs(1));
    assert!(!place.lets_in(&ssh()).await);
    assert!(place.lab.app.leases.all().is_empty());
    // Set forward it ends early, which harms nobody.
    clock::wound::set_apart(0);
    place.lease(&ssh(), None).await;
    clock::wound::set_apart(HOUR as i64 + 1);
    assert!(!place.lets_in(&ssh()).await);
    // Granted while the clock is wrong it is as long as was meant.
    place.lease(&ssh(), None).await;
    assert!(place.lets_in(&ssh()).await);
}

#[tokio::test]
async fn another_boot_has_no_leases_and_a_restart_keeps_them() {
    let place = Place::new().await;
    place.lease(&ssh(), None).await;
    let file = place.lab.app.paths.own("leases.json");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let again = place.lab.restarted();
    assert!(lets_in(&again.app, &ssh(), ceiling(None)).await);
    let open = |boot: Option<&str>| {
        Leases::open(&file, files::Owner::own(), boot.map(str::to_owned), &place.lab.app.log).all().len()
    };
    assert_eq!((open(Some(BOOT)), open(Some("another")), open(None)), (1, 0, 0));
    // Nor does one that was read before a reboot that nobody noticed.
    let lease = place.lab.app.leases.all().remove(0);
    assert!(lease.verify(&place.lab.app, BOOT).is_ok() && lease.verify(&place.lab.app, "another").is_err());
}

#[tokio::test]
async fn whatever_ends_the_device_ends_its_leases() {
    for way in ["revoked", "removed", "line", "administrator"] {
        let place = Place::new().await;
        place.lease(&ssh(), None).await;
        let (app, key) = (&place.lab.app, place.phone.key.public_key());
        match way {
            "revoked" => app.approvers.revoke(key).await.unwrap(),
            "removed" => drop(app.devices.remove(&key.id()).await.unwrap()),
            "line" => app.approvers.forget(key).await.unwrap(),
            _ => std::fs::write(app.paths.administrator().join("revoked"), format!("{}\n", key.to_line()))
                .unwrap(),
        }
        assert!(!place.lets_in(&ssh()).await, "{way}");
        assert!(app.leases.all().is_empty(), "{way}");
        // It is gone for good, not only as long as the device is.
        place.lab.pair(USER, &place.phone).await;
        assert!(
            !place.lets_in(&ssh()).await && !lets_in(&place.lab.restarted().app, &ssh(), ceiling(None)).await
        );
    }
}

#[tokio::test]
async fn it_is_never_longer_than_what_was_offered() {
    let place = Place::new().await;
    for (seconds, left) in [(10 * HOUR, HOUR), (u64::MAX / 2, HOUR), (HOUR, HOUR), (600, 600)] {
        let lease = place.add(&place.approved(&ssh(), None, wanted(seconds, "sshd"))).unwrap();
        assert!((left - 2..=left).contains(&lease.left()), "{seconds}: {}", lease.left());
    }
    let refused = |lease| place.add(&place.approved(&ssh(), None, lease)).unwrap_err();
    refused(None);
    refused(wanted(HOUR, "sudo"));
    refused(wanted(HOUR, ""));
    refused(Some(Wanted { until: clock::unix() - 1, scope: "sshd".to_owned() }));
    // The rule may say less by now, or want a code where a tap was given.
    place.lease(&ssh(), None).await;
    let app = &place.lab.app;
    assert!(!lets_in(app, &ssh(), Ceiling { up_to: Duration::ZERO, uses: None }).await);
    let with_code = (ceiling(None), Confirm::Code);
    assert!(app.leases.take(app, &binding(&ssh()), USER, with_code).await.unwrap().is_none());
    assert!(place.lets_in(&ssh()).await);
}

#[tokio::test]
async fn of_twenty_at_once_as_many_are_let_in_as_there_are_uses() {
    let place = Place::new().await;
    place.lease(&ssh(), Some(5)).await;
    let local = tokio::task::LocalSet::new();
    let try_it = |app: Rc<App>| async move { lets_in(&app, &ssh(), ceiling(Some(5))).await };
    let tries: Vec<_> = (0..20).map(|_| local.spawn_local(try_it(Rc::clone(&place.lab.app)))).collect();
    let mut in_by_it = 0;
    local
        .run_until(async {
            for one in tries {
                in_by_it += u32::from(one.await.unwrap());
            }
        })
        .await;
    assert_eq!(in_by_it, 5);
    assert!(!lets_in(&place.lab.restarted().app, &ssh(), ceiling(Some(5))).await);
    // A rule that counts fewer than it did counts what was used before.
    place.lease(&ssh(), Some(5)).await;
    assert!(lets_in(&place.lab.app, &ssh(), ceiling(Some(2))).await);
    assert!(lets_in(&place.lab.app, &ssh(), ceiling(Some(2))).await);
    assert!(!lets_in(&place.lab.app, &ssh(), ceiling(Some(2))).await);
    assert!(lets_in(&place.lab.app, &ssh(), ceiling(None)).await);
}

#[tokio::test]
async fn a_use_that_cannot_be_written_down_lets_nobody_in() {
    let place = Place::new().await;
    place.lease(&ssh(), Some(5)).await;
    let file = place.lab.app.paths.own("leases.json");
    let blocked = files::beside(&file, ".new");
    std::fs::create_dir(&blocked).unwrap();
    let app = &place.lab.app;
    let wanted = (ceiling(Some(5)), Confirm::Tap);
    assert!(app.leases.take(app, &binding(&ssh()), USER, wanted).await.is_err());
    // What ends then does not come back with a restart.
    app.leases.end(|_| true);
    app.leases.write(&app.log).await;
    assert!(!file.exists());
}

#[tokio::test]
async fn a_file_that_somebody_has_changed_opens_nothing_more() {
    let place = Place::new().await;
    place.lease(&ssh(), Some(2)).await;
    let file = place.lab.app.paths.own("leases.json");
    let good = std::fs::read_to_string(&file).unwrap();
    let lease: serde_json::Value = serde_json::from_str::<Vec<_>>(&good).unwrap().remove(0);
    let number = |name: &str| lease[name].as_u64().unwrap();
    let changes = [
        ("until", serde_json::json!(number("until") + 1000)),
        ("since", serde_json::json!(number("since") - 1000)),
        ("most_uses", serde_json::json!(200)),
        ("most_uses", serde_json::json!(null)),
        ("id", serde_json::json!("00")),
        ("device", serde_json::json!("x")),
        ("request_signature", lease["decision_signature"].clone()),
        ("decision_signature", lease["request_signature"].clone()),
        ("request", serde_json::json!(lease["request"].as_str().unwrap().replace("192.0.2.7", "192.0.2.9"))),
        ("decision", serde_json::json!(lease["decision"].as_str().unwrap().replace("sshd", "sudo"))),
    ];
    for (name, value) in changes {
        let mut changed = lease.clone();
        changed[name] = value;
        files::replace(&file, serde_json::to_string(&[changed]).unwrap().as_bytes()).unwrap();
        assert!(!lets_in(&place.lab.restarted().app, &ssh(), ceiling(Some(2))).await, "{name}");
    }
    // Nor is it bound to something else by writing that down.
    let elsewhere =
        Facts { remote: ssh().remote.map(|r| Remote { address: "192.0.2.9".to_owned(), ..r }), ..ssh() };
    let moved = good.replacen("\"address\":\"192.0.2.7\"", "\"address\":\"192.0.2.9\"", 1);
    assert_ne!(moved, good);
    files::replace(&file, moved.as_bytes()).unwrap();
    assert!(!lets_in(&place.lab.restarted().app, &elsewhere, ceiling(Some(2))).await);
    for broken in ["", "{}", "[{}]", "null", "[[[["] {
        files::replace(&file, broken.as_bytes()).unwrap();
        assert!(place.lab.restarted().app.leases.all().is_empty(), "{broken}");
    }
    files::replace(&file, good.as_bytes()).unwrap();
    assert!(lets_in(&place.lab.restarted().app, &ssh(), ceiling(Some(2))).await);
}

#[tokio::test]
async fn there_is_a_limit_and_a_new_one_takes_the_place_of_the_same() {
    let place = Place::new().await;
    let from = |number: usize| {
        let address = format!("192.0.2.{number}");
        Facts { remote: ssh().remote.map(|remote| Remote { address, ..remote }), ..ssh() }
    };
    for number in 0..=MOST_OF_A_PERSON {
        place.lease(&from(number), None).await;
    }
    place.lease(&from(1), Some(3)).await;
    let kept = place.lab.app.leases.all();
    assert_eq!(kept.len(), MOST_OF_A_PERSON);
    assert_eq!(kept.iter().filter(|lease| lease.binding == binding(&from(1))).count(), 1);
    assert!(!place.lets_in(&from(0)).await && place.lets_in(&from(2)).await);
}
