//! Logins that people have to approve whom certificates name.

use super::*;
use crate::person;
use crate::testing::authority::Authority;
use countersign_policy::{Approvals, Named};

const FIRST: &str = "2 people have to approve on their phones. Type the code of one of them: ";
const ONE: &str = "1 of 2 approved. Type the code of one of them: ";
const NEXT: &str = "1 of 2 approved, 1 code is right. Type the code of the next one: ";

/// Alice and bob, a certified device of each, and a tablet of bob's that is not.
struct Fleet {
    scene: Scene,
    ca: Authority,
    alice: TestDevice,
    bob: TestDevice,
    tablet: TestDevice,
}

impl Fleet {
    async fn new() -> Self {
        Self::with(&[], vec![Named::Principal("oncall".into())]).await
    }

    async fn with(groups: &[(&str, &[&str])], from: Vec<Named>) -> Self {
        person::groups_for_tests(groups);
        let scene = Scene::new(|rule| {
            rule.approvals = Some(Approvals { from, needed: 2 });
            rule.codes.clear();
            rule.offline.clear();
        })
        .await;
        let [alice, bob, tablet] = [(); 3].map(|()| TestDevice::new());
        for (user, device) in [("alice", &alice), ("bob", &bob), ("bob", &tablet)] {
            scene.lab.pair(user, device).await;
        }
        let ca = Authority::new();
        scene.lab.write("approvers", &ca.line("alice,bob,oncall", ""));
        let copies = ca.certify(&alice, &["-n", "alice,oncall"]) + &ca.certify(&bob, &["-n", "bob,oncall"]);
        scene.lab.write("certificates", &copies);
        Self { scene, ca, alice, bob, tablet }
    }

    /// What both have got; bob's tablet has not.
    async fn asked(&mut self) -> Asked {
        let post = self.scene.push.next().await;
        let to = |device: &TestDevice| {
            let to = format!("\"to\":\"{}\"", device.card().key.id());
            post.messages.iter().find(|message| message.envelope.contains(&to))
        };
        assert!(post.messages.len() == 2 && to(&self.tablet).is_none());
        assert!(to(&self.bob).is_some());
        let Heard::Request(asked) = self.alice.hear(&self.scene.lab, to(&self.alice).unwrap()) else {
            panic!("a request was expected")
        };
        assert_eq!(asked.request.approvals.from, ["principal:oncall"]);
        *asked
    }

    async fn says(&self, device: &TestDevice, asked: &Asked, answer: Answer, code: &str) {
        self.scene.push.deliver(&device.reply(&self.scene.lab, asked, answer, code));
        sleep(Duration::from_millis(60)).await;
    }
}

/// Alice is one of them, and approves what she wants herself, as one of two.
fn sudo() -> Begin {
    Begin { remote_user: Some("alice".into()), ..begin("sudo", Stage::Auth) }
}

#[tokio::test]
async fn two_whom_certificates_name_let_in_and_the_record_has_those() {
    play(async {
        let mut fleet = Fleet::new().await;
        let mut peer = fleet.scene.login(sudo());
        assert_eq!(peer.prompt().await, FIRST);
        let asked = fleet.asked().await;
        fleet.says(&fleet.alice, &asked, Answer::Approve, "111111").await;
        // A device of bob's that nothing certifies is nobody's word.
        fleet.says(&fleet.tablet, &asked, Answer::Approve, "333333").await;
        peer.answer("").await;
        assert_eq!(peer.prompt().await, ONE);
        peer.answer("111111").await;
        assert_eq!(peer.prompt().await, NEXT);
        fleet.says(&fleet.bob, &asked, Answer::Approve, "222222").await;
        peer.answer("222222").await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        let (mut record, host) = (fleet.scene.lab.audit().pop().unwrap(), &fleet.scene.lab.app.host.public);
        record.evidence(host).unwrap();
        assert_eq!(record.certificates.len(), 2);
        // One that says nothing of those who have approved shows.
        for (certificate, why) in [
            (fleet.ca.certify(&fleet.tablet, &["-n", "bob,oncall"]), "is of nobody who has decided"),
            (fleet.ca.certify(&fleet.bob, &["-n", "carol,oncall"]), "is of nobody who has decided"),
            ("nonsense".to_owned(), "is none"),
        ] {
            record.certificates[1] = certificate.trim_end().to_owned();
            let fault = record.evidence(host).unwrap_err().to_string();
            assert!(fault.contains(why), "{fault}");
        }
    })
    .await;
}

/// Asked by their group, which they leave: the certificate by which they still count is in the record.
#[tokio::test]
async fn who_leaves_the_group_and_is_certified_counts_by_the_certificate() {
    play(async {
        let from = vec![Named::Group("ops".into()), Named::Principal("oncall".into())];
        for (stay, certificates) in [(&["alice", "bob"] as &[_], 0), (&["bob"], 1), (&[], 2)] {
            let mut fleet = Fleet::with(&[("ops", &["alice", "bob"])], from.clone()).await;
            let mut peer = fleet.scene.login(sudo());
            peer.prompt().await;
            let post = fleet.scene.push.next().await;
            for (device, code) in [(&fleet.alice, "111111"), (&fleet.bob, "222222")] {
                let heard = post.messages.iter().find(|message| {
                    message.envelope.contains(&format!("\"to\":\"{}\"", device.card().key.id()))
                });
                let Heard::Request(asked) = device.hear(&fleet.scene.lab, heard.unwrap()) else { panic!() };
                fleet.says(device, &asked, Answer::Approve, code).await;
            }
            person::groups_for_tests(&[("ops", stay)]);
            peer.answer("111111").await;
            peer.prompt().await;
            peer.answer("222222").await;
            assert_eq!(peer.outcome().await, Outcome::Granted);
            let (record, host) = (fleet.scene.lab.audit().pop().unwrap(), &fleet.scene.lab.app.host.public);
            record.evidence(host).unwrap();
            assert_eq!(record.certificates.len(), certificates, "{stay:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_certified_no_more_when_it_is_over_has_not_approved_and_may_say_no() {
    play(async {
        let mut fleet = Fleet::new().await;
        let mut peer = fleet.scene.login(sudo());
        peer.prompt().await;
        let asked = fleet.asked().await;
        fleet.says(&fleet.alice, &asked, Answer::Approve, "111111").await;
        fleet.says(&fleet.bob, &asked, Answer::Approve, "222222").await;
        peer.answer("111111").await;
        peer.prompt().await;
        let alone = fleet.ca.certify(&fleet.alice, &["-n", "alice,oncall"]);
        fleet.scene.lab.write("certificates", &alone);
        peer.answer("222222").await;
        assert_eq!(peer.outcome().await, Outcome::Denied);
        let reason = fleet.scene.lab.audit().pop().unwrap().reason.unwrap();
        assert!(reason.contains("bob is no longer one of those"), "{reason}");
        fleet.scene.push.next().await;

        let both = alone + &fleet.ca.certify(&fleet.bob, &["-n", "bob,oncall"]);
        fleet.scene.lab.write("certificates", &both);
        let mut peer = fleet.scene.login(sudo());
        peer.prompt().await;
        let asked = fleet.asked().await;
        fleet.scene.lab.write("certificates", "");
        fleet.says(&fleet.alice, &asked, Answer::Approve, "111111").await;
        fleet.says(&fleet.bob, &asked, Answer::Deny, "").await;
        peer.answer("").await;
        assert_eq!(peer.outcome().await, Outcome::Denied);
        let record = fleet.scene.lab.audit().pop().unwrap();
        assert_eq!((record.approver.as_deref(), record.further.len()), (Some("bob"), 0), "alice's was none");
    })
    .await;
}
