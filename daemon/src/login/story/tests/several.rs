//! Logins that several people have to approve.

use std::time::Instant;

use super::*;
use crate::person;
use countersign_policy::{Approvals, Named, Then};
use countersign_protocol::audit::{Record, verify};
use countersign_protocol::keys::Signer;
use countersign_protocol::message::{Confirm, Kind};

const FIRST: &str = "2 people have to approve on their phones. Type the code of one of them: ";
const ONE_APPROVED: &str = "1 of 2 approved. Type the code of one of them: ";
const NEXT: &str = "1 of 2 approved, 1 code is right. Type the code of the next one: ";
const BOTH: &str = "2 of 2 approved, 1 code is right. Type the code of the next one: ";

/// Root's daemon, and those who are on call with their phones.
struct Several {
    scene: Scene,
    alice: TestDevice,
    bob: TestDevice,
    /// Bob's second one.
    tablet: TestDevice,
}

fn two(rule: &mut Rule) {
    rule.approvals = Some(Approvals { from: vec![Named::Group("oncall".into())], needed: 2 });
    rule.codes.clear();
    rule.offline.clear();
}

fn tap(rule: &mut Rule) {
    two(rule);
    rule.confirm = Confirm::Tap;
}

impl Several {
    async fn new(change: impl FnOnce(&mut Rule)) -> Self {
        person::groups_for_tests(&[("oncall", &["alice", "bob"])]);
        let scene = Scene::new(change).await;
        let devices = [("alice", TestDevice::new()), ("bob", TestDevice::new()), ("bob", TestDevice::new())];
        for (user, device) in &devices {
            scene.lab.pair(user, device).await;
        }
        let [(_, alice), (_, bob), (_, tablet)] = devices;
        Self { scene, alice, bob, tablet }
    }

    /// The request that everybody got, each sealed to them.
    async fn asked(&mut self) -> Asked {
        let post = self.scene.push.next().await;
        assert_eq!(post.messages.len(), 3, "everybody's devices, and not root's");
        for device in [&self.alice, &self.bob, &self.tablet] {
            let to = device.key.public_key().id();
            let its = post.messages.iter().find(|message| message.envelope.contains(&to)).unwrap();
            let Heard::Request(asked) = device.hear(&self.scene.lab, its) else { panic!("no request") };
            assert_eq!(
                (asked.request.approvals.needed, &asked.request.approvals.from[..]),
                (2, &["@oncall".to_owned()][..])
            );
        }
        match self.alice.hear(&self.scene.lab, &post.messages[0]) {
            Heard::Request(asked) => *asked,
            _ => panic!("a request was expected"),
        }
    }

    /// Delivers an answer, and gives the daemon a moment for it.
    async fn says(&self, device: &TestDevice, asked: &Asked, answer: Answer, code: &str) {
        self.scene.push.deliver(&device.reply(&self.scene.lab, asked, answer, code));
        sleep(Duration::from_millis(60)).await;
    }

    async fn approves(&self, device: &TestDevice, asked: &Asked, code: &str) {
        self.says(device, asked, Answer::Approve, code).await;
    }

    /// How everybody is told that it ended.
    async fn closed(&mut self) -> ClosedOutcome {
        let post = self.scene.push.next().await;
        let mut outcomes = Vec::new();
        for device in [&self.alice, &self.bob, &self.tablet] {
            let to = device.key.public_key().id();
            let its = |message: &&countersign_protocol::message::Sealed| {
                message.envelope.contains(&format!("\"to\":\"{to}\""))
            };
            let Heard::Closed(closed) = device.hear(&self.scene.lab, post.messages.iter().find(its).unwrap())
            else {
                panic!("an end was expected")
            };
            outcomes.push(closed.outcome);
        }
        assert!(outcomes.iter().all(|one| *one == outcomes[0]));
        outcomes[0]
    }

    fn last(&self) -> Record {
        let record = self.scene.lab.audit().pop().unwrap();
        record.evidence(&self.scene.lab.app.host.public).unwrap();
        record
    }
}

fn sudo() -> Begin {
    Begin { remote_user: Some("alice".into()), ..begin("sudo", Stage::Auth) }
}

#[tokio::test]
async fn two_people_let_in_in_whatever_order_they_approve_and_their_codes_are_typed() {
    play(async {
        let mut several = Several::new(two).await;
        // Approved, then typed; both orders; typed as they come.
        for (approve, typed) in
            [([0, 1], ["111111", "222222"]), ([1, 0], ["111111", "222222"]), ([0, 1], ["222 222", "111-111"])]
        {
            let mut peer = several.scene.login(sudo());
            assert_eq!(peer.prompt().await, FIRST);
            let asked = several.asked().await;
            assert_eq!(asked.request.kind, Kind::Command);
            for who in approve {
                let (device, code) = [(&several.alice, "111111"), (&several.bob, "222222")][who];
                several.approves(device, &asked, code).await;
            }
            peer.answer(typed[0]).await;
            assert_eq!(peer.prompt().await, BOTH);
            peer.answer(typed[1]).await;
            assert_eq!(peer.outcome().await, Outcome::Granted);
            assert_eq!(several.closed().await, ClosedOutcome::Approved);
            let record = several.last();
            assert_eq!(record.further.len(), 1);
            let mut who = vec![record.approver.clone().unwrap(), record.further[0].approver.clone()];
            who.sort();
            assert_eq!(who, ["alice", "bob"]);
        }
        let text = several.scene.audit();
        verify(countersign_protocol::audit::Chain::new(), text.lines()).unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_prompt_says_how_far_it_is_and_a_right_code_is_no_try() {
    play(async {
        let mut several = Several::new(two).await;
        let mut peer = several.scene.login(sudo());
        peer.prompt().await;
        let asked = several.asked().await;
        several.approves(&several.bob, &asked, "222222").await;
        peer.answer("").await;
        assert_eq!(peer.prompt().await, ONE_APPROVED);
        peer.answer("222222").await;
        assert_eq!(peer.prompt().await, NEXT);
        // The same code once more is nobody's now, as is known when the next approval has come.
        peer.answer("222222").await;
        several.approves(&several.alice, &asked, "111111").await;
        assert_eq!(peer.prompt().await, "That is nobody's code, 2 tries left. 2 of 2 approved. Code: ");
        peer.answer("111111").await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
    })
    .await;
}

/// It is told by word of mouth, while the approval goes by the server.
#[tokio::test]
async fn a_code_whose_approval_is_on_its_way_is_no_wrong_one() {
    play(async {
        let mut several = Several::new(two).await;
        let mut peer = several.scene.login(sudo());
        peer.prompt().await;
        let asked = several.asked().await;
        several.approves(&several.bob, &asked, "222222").await;
        peer.answer("111111").await;
        sleep(Duration::from_millis(200)).await;
        several.approves(&several.alice, &asked, "111111").await;
        assert_eq!(peer.prompt().await, BOTH);
        // Nobody else is there whose it could be.
        let began = Instant::now();
        peer.answer("333333").await;
        assert_eq!(peer.prompt().await, "That is nobody's code, 2 tries left. 2 of 2 approved. Code: ");
        assert!(began.elapsed() < Duration::from_secs(2));
        peer.answer("222222").await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
    })
    .await;
}

#[tokio::test]
async fn one_person_is_one_approval_however_many_devices_they_have() {
    play(async {
        for change in [two as fn(&mut Rule), tap] {
            let mut several = Several::new(|rule| {
                change(rule);
                short(rule)
            })
            .await;
            let mut peer = several.scene.login(sudo());
            let is_tap = matches!(peer.step().await, Step::Say { .. });
            let asked = several.asked().await;
            if is_tap {
                peer.go_on(Continue::default()).await;
            }
            several.approves(&several.bob, &asked, "222222").await;
            several.approves(&several.tablet, &asked, "333333").await;
            assert_eq!(several.scene.state(&asked), State::Posted);
            if is_tap {
                assert!(matches!(peer.step().await, Step::Say { text, .. } if text == "1 of 2 approved."));
                peer.go_on(Continue::default()).await;
                assert_eq!(peer.outcome().await, Outcome::Expired);
            } else {
                peer.answer("222222").await;
                assert_eq!(peer.prompt().await, NEXT);
                peer.answer("333333").await;
                // The time is over before it is anybody's.
                assert!(peer.prompt().await.starts_with("Nobody approved in time."));
            }
            assert_eq!(several.scene.state(&asked), State::Expired);
        }
    })
    .await;
}

#[tokio::test]
async fn a_no_after_an_approval_ends_it_for_everybody() {
    play(async {
        let mut several = Several::new(two).await;
        for (answer, ends) in
            [(Answer::Deny, ClosedOutcome::Denied), (Answer::Report, ClosedOutcome::Reported)]
        {
            let mut peer = several.scene.login(sudo());
            peer.prompt().await;
            let asked = several.asked().await;
            several.approves(&several.alice, &asked, "111111").await;
            peer.answer("111111").await;
            assert_eq!(peer.prompt().await, NEXT);
            several.says(&several.tablet, &asked, answer, "").await;
            assert_eq!(several.closed().await, ends);
            peer.answer("222222").await;
            assert_eq!(peer.outcome().await, Outcome::Denied);
            let records = several.scene.lab.audit();
            let record = records.iter().rfind(|record| record.event == "login").unwrap();
            record.evidence(&several.scene.lab.app.host.public).unwrap();
            assert_eq!((record.approver.as_deref(), record.further.len()), (Some("bob"), 1));
            several.scene.unblock().await;
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_lost_device_or_group_between_approval_and_code_has_not_approved() {
    play(async {
        for leaves_group in [false, true] {
            let mut several = Several::new(two).await;
            let mut peer = several.scene.login(sudo());
            peer.prompt().await;
            let asked = several.asked().await;
            several.approves(&several.alice, &asked, "111111").await;
            several.approves(&several.bob, &asked, "222222").await;
            peer.answer("111111").await;
            peer.prompt().await;
            if leaves_group {
                person::groups_for_tests(&[("oncall", &["bob"])]);
            } else {
                several.scene.lab.app.approvers.revoke(several.alice.key.public_key()).await.unwrap();
            }
            peer.answer("222222").await;
            assert_eq!(peer.outcome().await, Outcome::Denied);
            let reason = several.last().reason.unwrap();
            let why = if leaves_group { "alice is no longer one of those" } else { "revoked" };
            assert!(reason.contains(why), "{reason}");
        }
    })
    .await;
}

#[tokio::test]
async fn wrong_codes_are_counted_together() {
    play(async {
        let mut several = Several::new(two).await;
        let mut peer = several.scene.login(sudo());
        peer.prompt().await;
        let asked = several.asked().await;
        several.approves(&several.alice, &asked, "111111").await;
        several.approves(&several.bob, &asked, "222222").await;
        for (typed, next) in [
            ("999999", "That is nobody's code, 2 tries left. 2 of 2 approved. Code: "),
            ("111111", BOTH),
            ("nonsense", "That is nobody's code, 1 try left. 2 of 2 approved. Code: "),
        ] {
            peer.answer(typed).await;
            assert_eq!(peer.prompt().await, next);
        }
        peer.answer("111111").await;
        assert_eq!(peer.outcome().await, Outcome::Denied);
        assert_eq!(several.closed().await, ClosedOutcome::Failed);
    })
    .await;
}

#[tokio::test]
async fn taps_of_two_people_let_in_and_a_line_says_how_far_it_is() {
    play(async {
        let mut several = Several::new(tap).await;
        let mut peer = several.scene.login(sudo());
        let Step::Say { text, .. } = peer.step().await else { panic!("a line was expected") };
        assert_eq!(text, "2 people have to approve this on their phones.");
        peer.go_on(Continue::default()).await;
        let asked = several.asked().await;
        several.approves(&several.alice, &asked, "").await;
        let Step::Say { text, .. } = peer.step().await else { panic!("a line was expected") };
        assert_eq!(text, "1 of 2 approved.");
        peer.go_on(Continue::default()).await;
        several.approves(&several.bob, &asked, "").await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        assert_eq!(several.last().further.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn who_hangs_up_or_waits_too_long_is_told_to_all() {
    play(async {
        let mut several = Several::new(|rule| {
            two(rule);
            short(rule)
        })
        .await;
        let mut peer = several.scene.login(sudo());
        peer.prompt().await;
        let asked = several.asked().await;
        several.approves(&several.alice, &asked, "111111").await;
        peer.hang_up().await;
        assert_eq!(several.closed().await, ClosedOutcome::Withdrawn);
        let mut peer = several.scene.login(sudo());
        peer.prompt().await;
        let asked = several.asked().await;
        several.approves(&several.alice, &asked, "111111").await;
        assert_eq!(several.closed().await, ClosedOutcome::Expired);
        // What was approved of the first counts for nothing in the second.
        peer.answer("").await;
        assert_eq!(peer.prompt().await, format!("Asked again. {FIRST}"));
        let again = several.asked().await;
        several.approves(&several.bob, &again, "222222").await;
        peer.answer("").await;
        assert_eq!(peer.prompt().await, ONE_APPROVED);
        several.approves(&several.alice, &asked, "111111").await;
        assert_eq!(several.scene.state(&again), State::Posted);
    })
    .await;
}

/// Nobody can tell who is on call, or whether there is such a user, by what is asked.
#[tokio::test]
async fn the_same_is_asked_where_nobody_can_answer() {
    play(async {
        let mut several = Several::new(two).await;
        let nobody = Begin { user: "no such user here".to_owned(), ..sudo() };
        let mut peer = several.scene.login(nobody);
        assert_eq!(peer.prompt().await, FIRST);
        person::groups_for_tests(&[("oncall", &["bob"])]);
        let mut too_few = several.scene.login(sudo());
        assert_eq!(too_few.prompt().await, FIRST);
        several.scene.push.is_quiet().await;
    })
    .await;
}

/// A token of a login that one person has approved is not what two have.
#[tokio::test]
async fn a_token_counts_only_where_the_same_people_were_asked() {
    play(async {
        let mut several = Several::new(|_| {}).await;
        let mut peer = several.scene.login(sshd());
        peer.prompt().await;
        let asked = several.scene.asked().await;
        several.scene.answer(&asked, Answer::Approve).await;
        peer.answer(CODE).await;
        let token = peer.verdict().await.token;
        assert!(token.is_some());
        let mut config = several.scene.lab.app.config().unwrap().as_ref().clone();
        two(&mut config.default);
        *several.scene.lab.app.config.borrow_mut() =
            Loaded { good: Some(Rc::new(config)), faults: Vec::new() };
        let mut session = several.scene.login(Begin { token, ..begin("sshd", Stage::Session) });
        assert!(matches!(session.step().await, Step::Wait { .. }), "it waits for two people");
    })
    .await;
}

#[tokio::test]
async fn observing_a_rule_of_several_asks_them_and_lets_pass() {
    play(async {
        let mut several = Several::new(|rule| {
            two(rule);
            rule.then = Then::Observe
        })
        .await;
        let mut peer = several.scene.login(sudo());
        peer.prompt().await;
        let asked = several.asked().await;
        several.says(&several.bob, &asked, Answer::Deny, "").await;
        peer.answer("").await;
        assert_eq!(peer.outcome().await, Outcome::Ignored);
    })
    .await;
}

/// Whoever asks: it is the same people's phones that would ring.
#[tokio::test]
async fn those_who_approve_are_not_rung_without_end() {
    play(async {
        let mut several = Several::new(two).await;
        let mut rang = 0;
        for number in 0..8 {
            let caller = format!("caller{number}");
            let mut peer = several.scene.login(Begin { remote_user: Some(caller), ..sudo() });
            assert_eq!(peer.prompt().await, FIRST);
            rang += u32::from(several.scene.push.next().await.ring);
            peer.hang_up().await;
            assert_eq!(several.closed().await, ClosedOutcome::Withdrawn);
        }
        assert_eq!(rang, 3);
    })
    .await;
}
