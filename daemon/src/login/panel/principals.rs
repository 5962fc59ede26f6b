//! Whose certificates make them one of those who may approve: each wrong thing has its test.

use std::rc::Rc;
use std::time::Duration;

use countersign_policy::{Approvals, Named};
use countersign_protocol::message::{Answer, Confirm, Decision, namespace};
use tokio::time::Instant;

use super::{Panel, members};
use crate::clock;
use crate::login::request::OpenRequest;
use crate::manage;
use crate::person::{self, Person};
use crate::testing::authority::Authority;
use crate::testing::{self, Lab, TestDevice};
use crate::verify::{decision, still_counts};

const WAIT: Duration = Duration::from_secs(60);

/// Alice's phone, and an authority whose certificates this host takes for everybody.
struct Fleet {
    lab: Lab,
    ca: Authority,
    phone: TestDevice,
}

impl Fleet {
    async fn new() -> Self {
        person::groups_for_tests(&[]);
        let (lab, ca, phone) = (Lab::new(), Authority::new(), TestDevice::new());
        lab.pair("alice", &phone).await;
        lab.write("approvers", &ca.line("*", &format!(",namespaces=\"{}\"", namespace::DECISION)));
        Self { lab, ca, phone }
    }

    /// Puts a certificate of the phone where the host finds it.
    fn certify(&self, names: &str) {
        self.lab.write("certificates", &self.ca.certify(&self.phone, &["-n", names]));
    }

    /// The people who are asked by a rule that names the principal.
    async fn asked(&self) -> Vec<String> {
        let panel = Panel::of_several(&self.lab.app, &oncall(), true, Instant::now()).await.unwrap();
        panel.devices.iter().map(|device| device.user.clone()).collect()
    }

    async fn open(&self) -> Rc<OpenRequest> {
        let panel = Panel::of_several(&self.lab.app, &oncall(), true, Instant::now()).await.unwrap();
        let (host, root) = (&self.lab.app.host, Person { name: "root".into(), uid: 0 });
        let whom = (&root, "root");
        OpenRequest::new(host, &testing::facts("root"), whom, panel, Confirm::Tap, WAIT, None).unwrap()
    }

    /// Whether the approvals that there are let in, by everything that is known now.
    async fn counts(&self, open: &OpenRequest) -> Result<(), String> {
        let members = members(&self.lab.app, &open.counting(), &oncall(), true).await.unwrap();
        still_counts(&self.lab.app, open, &members)
    }

    async fn approves(&self, open: &OpenRequest) -> Result<(), String> {
        let sealed = self.phone.answer(&self.lab, open, Answer::Approve);
        assert!(open.decide(decision(&self.lab.app, open, &sealed)?));
        self.counts(open).await
    }
}

fn oncall() -> Approvals {
    Approvals { from: vec![Named::Principal("oncall".into())], needed: 1 }
}

#[tokio::test]
async fn who_is_certified_is_asked_and_approves() {
    let fleet = Fleet::new().await;
    assert_eq!(fleet.asked().await.len(), 0, "nothing is known of her");
    fleet.certify("alice,oncall");
    assert_eq!(fleet.asked().await, ["alice"]);
    let open = fleet.open().await;
    assert_eq!(fleet.approves(&open).await, Ok(()));
}

/// Everything else that can be certified makes nobody one.
#[tokio::test]
async fn no_other_certificate_makes_anybody_one() {
    let fleet = Fleet::new().await;
    let (ca, phone) = (&fleet.ca, &fleet.phone);
    let (other, tablet) = (Authority::new(), TestDevice::new());
    let both = ["-n", "alice,oncall"];
    for (why, certificate) in [
        ("names her alone", ca.certify(phone, &["-n", "alice"])),
        ("names somebody else", ca.certify(phone, &["-n", "bob,oncall"])),
        ("names nobody beside it", ca.certify(phone, &["-n", "oncall"])),
        ("names another principal", ca.certify(phone, &["-n", "alice,oncall2"])),
        ("is spelled otherwise", ca.certify(phone, &["-n", "alice,Oncall"])),
        ("has a pattern", ca.certify(phone, &["-n", "alice,*"])),
        ("has the policy's spelling", ca.certify(phone, &["-n", "alice,principal:oncall"])),
        ("is over", ca.certify(phone, &["-V", "-2h:-1h", both[0], both[1]])),
        ("is not valid yet", ca.certify(phone, &["-V", "+1h:+2h", both[0], both[1]])),
        ("is another authority's", other.certify(phone, &both)),
        ("is another device's", ca.certify(&tablet, &both)),
    ] {
        fleet.lab.write("certificates", &certificate);
        assert_eq!(fleet.asked().await.len(), 0, "it {why}");
    }
    // Those spoil the whole file, and the log says so.
    for (why, certificate) in [
        ("names nobody", ca.certify(phone, &[])),
        ("is a login certificate", ca.sign(phone, &both)),
        ("is more than an approver's", ca.certify(phone, &["-n", both[1], "-O", "force-command=id"])),
        ("is a host's", ca.sign(phone, &["-h", "-n", "alice,oncall"])),
    ] {
        fleet.lab.write("certificates", &(ca.certify(phone, &both) + &certificate));
        assert_eq!(fleet.asked().await.len(), 0, "one {why}");
    }
    fleet.lab.write("certificates", &(ca.certify(phone, &["-n", "alice"]) + &ca.certify(phone, &both)));
    assert_eq!(fleet.asked().await, ["alice"], "of two the one that does");
}

/// Whose authority counts for whom is the approvers file's to say, as ssh-keygen reads it.
#[tokio::test]
async fn an_authority_names_only_whom_its_line_lets_it() {
    let fleet = Fleet::new().await;
    fleet.certify("alice,oncall");
    let ca = &fleet.ca;
    let approver = format!(",namespaces=\"{}\"", namespace::DECISION);
    for (line, is_one) in [
        (ca.line("alice,oncall", &approver), true),
        (ca.line("alice,oncall", ""), true),
        (ca.line("*,!root", &approver), true),
        // Her own authority, that certifies whatever she wants.
        (ca.line("alice", &approver), false),
        (ca.line("oncall", &approver), false),
        (ca.line("*,!oncall", &approver), false),
        (ca.line("alice,oncall", ",namespaces=\"file\""), false),
        (ca.line("alice,oncall", ",valid-before=\"20200101Z\""), false),
        (ca.line("alice,oncall", ",valid-after=\"20900101Z\""), false),
        // The authority's key as a device, and the device as an authority.
        (format!("alice,oncall {}\n", ca.key().to_line()), false),
        (format!("alice,oncall {}\n", fleet.phone.card().key.to_line()), false),
        (format!("alice,oncall cert-authority {}\n", fleet.phone.card().key.to_line()), false),
        (ca.line("alice", "") + &Authority::new().line("*", ""), false),
        (String::new(), false),
        ("damaged\n".to_owned(), false),
    ] {
        fleet.lab.write("approvers", &line);
        assert_eq!(!fleet.asked().await.is_empty(), is_one, "{line}");
    }
}

/// A user whose name is that of the principal has a certificate with it: their own.
#[tokio::test]
async fn a_users_own_name_makes_nobody_one() {
    let fleet = Fleet::new().await;
    fleet.lab.pair("oncall", &fleet.phone).await;
    fleet.lab.write("certificates", &fleet.ca.certify(&fleet.phone, &["-n", "oncall"]));
    assert_eq!(fleet.asked().await.len(), 0);
}

#[tokio::test]
async fn what_ends_before_the_decision_or_before_the_end_does_not_count() {
    let fleet = Fleet::new().await;
    let ends: [(&str, &dyn Fn()); 4] = [
        ("the certificate is gone", &|| fleet.lab.write("certificates", "")),
        ("the authority is gone", &|| fleet.lab.write("approvers", "")),
        ("the authority is revoked", &|| fleet.lab.write("revoked", &fleet.ca.key().to_line())),
        ("the key is revoked", &|| fleet.lab.write("revoked", &fleet.phone.card().key.to_line())),
    ];
    let approvers = fleet.ca.line("*", "");
    for (what, end) in ends {
        for is_decided in [false, true] {
            fleet.lab.write("revoked", "");
            fleet.lab.write("approvers", &approvers);
            fleet.certify("alice,oncall");
            let open = fleet.open().await;
            if is_decided {
                assert_eq!(fleet.approves(&open).await, Ok(()));
                end();
                assert!(fleet.counts(&open).await.is_err(), "{what}");
            } else {
                end();
                assert!(fleet.approves(&open).await.is_err(), "{what}");
                assert_eq!(open.approved(), 0);
                if !what.contains("key") {
                    // She may still say no.
                    let no = fleet.phone.answer(&fleet.lab, &open, Answer::Deny);
                    assert!(decision(&fleet.lab.app, &open, &no).is_ok());
                }
            }
        }
    }
}

/// The certificate may come with the signature: what the host knows is for knowing whom to ask.
#[tokio::test]
async fn a_certificate_that_comes_with_the_decision_counts_too() {
    let fleet = Fleet::new().await;
    let signed = |open: &OpenRequest, certificate: &str| {
        let said: Decision = TestDevice::decision(open, Answer::Approve);
        let sealed = fleet.phone.seal(&fleet.lab, open, &fleet.phone.sign_certified(&said, certificate));
        decision(&fleet.lab.app, open, &sealed)
    };
    let both = fleet.ca.certify(&fleet.phone, &["-n", "alice,oncall"]);
    fleet.lab.write("certificates", &both);
    let open = fleet.open().await;
    fleet.lab.write("certificates", "");
    let alone = fleet.ca.certify(&fleet.phone, &["-n", "alice"]);
    let over = fleet.ca.certify(&fleet.phone, &["-V", "-2h:-1h", "-n", "alice,oncall"]);
    let others = Authority::new().certify(&fleet.phone, &["-n", "alice,oncall"]);
    for certificate in [alone, over, others] {
        assert!(signed(&open, &certificate).is_err());
    }
    assert!(open.decide(signed(&open, &both).unwrap()));
    assert_eq!(fleet.counts(&open).await, Ok(()));
}

/// Each question whether a key may decide looks at four files, and any user can have devices shown.
#[tokio::test]
async fn old_certificates_cost_nothing() {
    let fleet = Fleet::new().await;
    let (ca, phone, approvers) = (&fleet.ca, &fleet.phone, &fleet.lab.app.approvers);
    let old = ca.certify(phone, &["-V", "-2h:-1h", "-n", "alice,oncall"]);
    let others = ca.certify(phone, &["-n", "bob,oncall"]);
    let now = ca.certify(phone, &["-n", "alice,oncall"]);
    fleet.lab.write("certificates", &(old.repeat(50) + &others.repeat(50) + &now.repeat(50)));
    approvers.asked.set(0);
    let key = &phone.card().key;
    assert_eq!(approvers.principals_of("alice", key, clock::unix()), ["oncall"]);
    assert_eq!(approvers.asked.get(), 2, "for her name and the principal");
}

/// Somebody sets the clock back after a certificate has ended.
#[tokio::test]
async fn what_is_over_does_not_begin_again() {
    let fleet = Fleet::new().await;
    fleet.certify("alice,oncall");
    assert_eq!(fleet.asked().await, ["alice"]);
    let open = fleet.open().await;
    let over = ["-V", "-2h:-1h", "-n", "alice,oncall"];
    fleet.lab.write("certificates", &fleet.ca.certify(&fleet.phone, &over));
    clock::wound::set_apart(-90 * 60);
    assert!(fleet.asked().await.is_empty());
    assert!(fleet.approves(&open).await.is_err());
    let key = &fleet.phone.card().key;
    assert_eq!(manage::told(&fleet.lab.app, &fleet.lab.app.devices.all()[0]).principals, [""; 0]);
    assert_eq!(fleet.lab.app.approvers.principals_of("alice", key, clock::unix()), ["oncall"]);
    clock::wound::set_apart(0);
}

/// Two devices and two accounts of one person stay one person.
#[tokio::test]
async fn a_certificate_is_of_the_one_whom_it_names() {
    let fleet = Fleet::new().await;
    let second = TestDevice::new();
    fleet.lab.pair("alice2", &second).await;
    fleet.lab.pair("alice", &TestDevice::new()).await;
    let names = ["-n", "alice,oncall"];
    let certificates = fleet.ca.certify(&fleet.phone, &names) + &fleet.ca.certify(&second, &names);
    fleet.lab.write("certificates", &certificates);
    assert_eq!(fleet.asked().await, ["alice"], "her phone, not the device that is not certified");
    let panel = Panel::of_several(&fleet.lab.app, &Approvals { needed: 2, ..oncall() }, true, Instant::now())
        .await
        .unwrap();
    assert!(panel.devices.is_empty());
    // Whoever is named otherwise is asked on every device.
    let by_name =
        Approvals { from: vec![Named::User("alice".into()), Named::Principal("oncall".into())], needed: 1 };
    let panel = Panel::of_several(&fleet.lab.app, &by_name, true, Instant::now()).await.unwrap();
    assert_eq!(panel.devices.len(), 2);
}
