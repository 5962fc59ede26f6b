//! Decisions that come a second time, too late, or much too often.

use super::*;
use crate::login::request::OpenRequest;
use crate::login::state::Event;
use countersign_protocol::message::{Confirm, Decision};

/// A request that the daemon knows, and no login around it.
struct Known {
    lab: Lab,
    phone: TestDevice,
    request: Rc<OpenRequest>,
}

impl Known {
    async fn new() -> Self {
        let (lab, phone) = (Lab::new(), TestDevice::new());
        lab.pair(USER, &phone).await;
        let request = lab.request(USER, Confirm::Code, Duration::from_secs(60));
        lab.app.logins.keep(&request);
        Self { lab, phone, request }
    }

    async fn hears(&self, device: &TestDevice, answer: Answer, counter: u64) {
        let decision = Decision { counter, ..TestDevice::decision(&self.request, answer) };
        let sealed = device.seal(&self.lab, &self.request, &device.sign(&decision));
        self.lab.app.logins.decision(&self.lab.app, &sealed).await;
    }

    /// Outcomes of the late decisions in the audit.
    fn late(&self) -> Vec<String> {
        let mut records = self.lab.audit();
        records.retain(|record| record.event == "late-decision");
        records.into_iter().filter_map(|record| record.outcome).collect()
    }
}

#[tokio::test]
async fn one_device_is_written_down_once_for_each_late_no() {
    let known = Known::new().await;
    known.request.happens(Event::HangUp);
    for counter in 1..100 {
        for answer in [Answer::Approve, Answer::Deny, Answer::Report] {
            known.hears(&known.phone, answer, counter).await;
        }
    }
    assert_eq!(known.late(), ["denied", "reported"]);
    assert_eq!(known.request.state(), State::Withdrawn);
}

#[tokio::test]
async fn what_one_device_says_too_often_hides_nothing_of_another() {
    let (mut known, tablet) = (Known::new().await, TestDevice::new());
    known.lab.pair(USER, &tablet).await;
    known.request = known.lab.request(USER, Confirm::Code, Duration::from_secs(60));
    known.lab.app.logins.keep(&known.request);
    known.request.happens(Event::HangUp);
    for counter in 1..20 {
        known.hears(&known.phone, Answer::Deny, counter).await;
    }
    known.hears(&tablet, Answer::Deny, 1).await;
    known.hears(&tablet, Answer::Report, 2).await;
    assert_eq!(known.late(), ["denied", "denied", "reported"]);
}

/// Answers a login's request as an honest device does that has answered before.
async fn answers(scene: &Scene, asked: &Asked, answer: Answer, counter: u64) {
    let request = scene.lab.app.logins.requests.borrow()[&asked.request.id].clone();
    let decision = Decision { counter, ..TestDevice::decision(&request, answer) };
    scene.push.deliver(&scene.phone.seal(&scene.lab, &request, &scene.phone.sign(&decision)));
    let heard = async {
        while scene.lab.app.devices.for_user(USER)[0].counter < counter {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, heard).await.expect("the answer is heard");
}

#[tokio::test]
async fn a_device_takes_its_approval_back_until_the_code_is_typed() {
    for (answer, closed) in [(Answer::Deny, ClosedOutcome::Denied), (Answer::Report, ClosedOutcome::Reported)]
    {
        play(async {
            let mut scene = Scene::new(|_| {}).await;
            let mut peer = scene.login(sshd());
            peer.prompt().await;
            let asked = scene.asked().await;
            answers(&scene, &asked, Answer::Approve, 1).await;
            assert_eq!(scene.state(&asked), State::Approved);
            answers(&scene, &asked, answer, 2).await;
            // Phones hear of it while the prompt stands.
            assert_eq!(scene.closed().await, closed);
            peer.answer(CODE).await;
            assert_eq!(peer.outcome().await, Outcome::Denied);
            let record = scene.lab.audit().pop().unwrap();
            assert_eq!((record.event.as_str(), record.outcome.as_deref()), ("login", Some("denied")));
            let evidence = record.evidence(&scene.lab.app.host.public).unwrap().decision.unwrap();
            assert_eq!((evidence.message.decision, evidence.message.counter), (answer, 2));
        })
        .await;
    }
}

#[tokio::test]
async fn a_tap_is_over_and_its_denial_is_late() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(begin("sshd", Stage::Session));
        peer.step().await;
        peer.go_on(Continue::default()).await;
        let asked = scene.asked().await;
        answers(&scene, &asked, Answer::Approve, 1).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        assert_eq!(scene.closed().await, ClosedOutcome::Approved);
        answers(&scene, &asked, Answer::Deny, 2).await;
        // The phone hears once more how it ended.
        assert_eq!(scene.closed().await, ClosedOutcome::Approved);
        let records = scene.lab.audit();
        let told: Vec<_> = records.iter().map(|r| (r.event.as_str(), r.outcome.as_deref())).collect();
        assert_eq!(told, [("login", Some("granted")), ("late-decision", Some("denied"))]);
        assert!(records[1].evidence(&scene.lab.app.host.public).unwrap().decision.is_some());
    })
    .await;
}

/// A second approval shows another code than the one that is compared: it must not replace it.
#[tokio::test]
async fn only_the_first_approval_of_a_device_counts() {
    let known = Known::new().await;
    known.hears(&known.phone, Answer::Approve, 1).await;
    let mut second = TestDevice::decision(&known.request, Answer::Approve);
    (second.code, second.counter) = (Some("111111".to_owned()), 2);
    let sealed = known.phone.seal(&known.lab, &known.request, &known.phone.sign(&second));
    known.lab.app.logins.decision(&known.lab.app, &sealed).await;
    assert!(!known.request.try_code("111111") && known.request.try_code(CODE));
}
