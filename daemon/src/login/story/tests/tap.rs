//! Logins where a tap is enough.

use super::*;
use crate::login::prompts;
use countersign_policy::{Factor, Then, WithoutPrompt};
use countersign_protocol::message::{Closed, Confirm};

#[tokio::test]
async fn the_session_stage_waits_for_a_tap() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let answers = [
            (Answer::Approve, Outcome::Granted),
            (Answer::Deny, Outcome::Denied),
            (Answer::Report, Outcome::Denied),
        ];
        for (answer, outcome) in answers {
            let mut peer = scene.login(begin("sshd", Stage::Session));
            assert!(matches!(peer.step().await, Step::Wait { .. }));
            let asked = scene.asked().await;
            assert_eq!(asked.request.confirm, Confirm::Tap);
            peer.go_on(Continue::default()).await;
            scene.answer(&asked, answer).await;
            let verdict = peer.verdict().await;
            assert_eq!((verdict.outcome, verdict.token), (outcome, None));
            scene.closed().await;
            scene.unblock().await;
        }
    })
    .await;
}

/// There is nothing left to wait for. How soon the phone is heard is the machine's affair, so one of many is enough.
#[tokio::test]
async fn an_answer_that_is_there_before_a_word_was_said_is_the_first_word() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let slow = Duration::from_secs(1);
        (0..64).for_each(|_| scene.lab.app.logins.even.note(Some(slow), slow));
        for _ in 0..50 {
            let mut peer = scene.login(begin("sshd", Stage::Session));
            let asked = scene.asked().await;
            scene.answer(&asked, Answer::Approve).await;
            let first = peer.step().await;
            if matches!(first, Step::Wait { .. }) {
                peer.go_on(Continue::default()).await;
                assert_eq!(peer.outcome().await, Outcome::Granted);
            }
            scene.closed().await;
            if let Step::Verdict(verdict) = first {
                assert_eq!(verdict.outcome, Outcome::Granted);
                return;
            }
        }
        panic!("each time the login was told to wait for an answer that was there");
    })
    .await;
}

#[tokio::test]
async fn an_application_that_cannot_ask_gets_another_request() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let first = scene.asked().await;
        peer.cannot_ask().await;
        let (second, _, closed) = second_and_end(&mut scene).await;
        assert_eq!((&closed.id, closed.outcome), (&first.request.id, ClosedOutcome::Replaced));
        assert_eq!((first.request.confirm, second.request.confirm), (Confirm::Code, Confirm::Tap));
        // What is approved of the first is nothing to the second.
        scene.push.deliver(&scene.phone.reply(&scene.lab, &first, Answer::Approve, CODE));
        sleep(Duration::from_millis(50)).await;
        assert_eq!(scene.state(&second), State::Posted);
        scene.answer(&second, Answer::Approve).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
    })
    .await;
}

/// Whoever has said no is not asked the same once more.
#[tokio::test]
async fn an_application_that_cannot_ask_hears_of_a_no_and_nobody_is_rung_again() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        for (answer, text, closed) in [
            (Answer::Deny, prompts::DENIED, ClosedOutcome::Denied),
            (Answer::Report, prompts::REPORTED, ClosedOutcome::Reported),
        ] {
            let mut peer = scene.login(sshd());
            peer.prompt().await;
            let asked = scene.asked().await;
            scene.answer(&asked, answer).await;
            assert_eq!(scene.closed().await, closed);
            peer.cannot_ask().await;
            let verdict = peer.verdict().await;
            assert_eq!((verdict.outcome, verdict.text.as_deref()), (Outcome::Denied, Some(text)));
            scene.push.is_quiet().await;
            scene.unblock().await;
        }
    })
    .await;
}

/// The second request and whether it rings, and the first one's end, in whatever order they come.
async fn second_and_end(scene: &mut Scene) -> (Box<Asked>, bool, Closed) {
    let (mut second, mut end) = (None, None);
    for _ in 0..2 {
        let post = scene.push.next().await;
        match scene.phone.hear(&scene.lab, &post.messages[0]) {
            Heard::Request(asked) => second = Some((asked, post.ring)),
            Heard::Closed(closed) => end = Some(closed),
            Heard::Notice(told) => panic!("not {:?}", told.notice),
        }
    }
    let ((second, ring), end) = second.zip(end).expect("one of each");
    (second, ring, end)
}

/// The second request need not ring where the first was seen in an open app; a phone that only the
/// first one's push could wake would not show it otherwise.
#[tokio::test]
async fn the_second_request_rings_only_where_the_first_may_not_have_been_seen() {
    play(async {
        for (listening, rings) in [(1, false), (0, true)] {
            let mut scene = Scene::new(|_| {}).await;
            scene.push.listening(listening);
            let mut peer = scene.login(sshd());
            peer.prompt().await;
            scene.asked().await;
            peer.cannot_ask().await;
            let (_, ring, _) = second_and_end(&mut scene).await;
            assert_eq!(ring, rings, "{listening} listening");
        }
    })
    .await;
}

#[tokio::test]
async fn no_tap_where_the_policy_wants_none() {
    play(async {
        let mut scene = Scene::new(|rule| rule.without_prompt = WithoutPrompt::Refuse).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        scene.asked().await;
        peer.cannot_ask().await;
        assert_eq!(peer.outcome().await, Outcome::Denied);
        assert_eq!(scene.closed().await, ClosedOutcome::Withdrawn);
        assert_eq!(scene.login(begin("sshd", Stage::Session)).outcome().await, Outcome::Denied);
        scene.push.is_quiet().await;
    })
    .await;
}

/// Whoever could answer one prompt can answer the next, and who breaks off a prompt at a terminal has
/// given up: neither is a way to a tap in place of a code.
#[tokio::test]
async fn nobody_chooses_a_tap_by_breaking_off() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        for service in ["sudo", "su", "login"] {
            let mut peer = scene.login(begin(service, Stage::Auth));
            peer.prompt().await;
            scene.asked().await;
            peer.cannot_ask().await;
            assert_eq!(peer.outcome().await, Outcome::Withdrawn, "{service}");
            assert_eq!(scene.closed().await, ClosedOutcome::Withdrawn);
        }
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        scene.asked().await;
        peer.answer("hello").await;
        peer.prompt().await;
        peer.cannot_ask().await;
        assert_eq!(peer.outcome().await, Outcome::Withdrawn);
        assert_eq!(scene.closed().await, ClosedOutcome::Withdrawn);
        scene.push.is_quiet().await;
    })
    .await;
}

#[tokio::test]
async fn a_tap_that_began_offline_comes_to_its_end() {
    play(async {
        let mut scene = Scene::offline(|rule| rule.confirm = Confirm::Tap).await;
        let mut peer = scene.login(begin("xsecurelock", Stage::Auth));
        assert!(peer.prompt().await.contains("cannot be reached"));
        scene.connect().await;
        let asked = scene.asked().await;
        peer.answer("").await;
        assert!(matches!(peer.step().await, Step::Say { text, .. } if text == prompts::TAP));
        peer.go_on(Continue::default()).await;
        scene.answer(&asked, Answer::Approve).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
    })
    .await;
}

#[tokio::test]
async fn where_nothing_can_be_asked_an_absent_server_is_said_at_once() {
    play(async {
        let scene = Scene::offline(|_| {}).await;
        let began = std::time::Instant::now();
        assert_eq!(scene.login(begin("sshd", Stage::Session)).outcome().await, Outcome::Unreachable);
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        peer.cannot_ask().await;
        assert_eq!(peer.outcome().await, Outcome::Unreachable);
        assert!(began.elapsed() < Duration::from_secs(2));
    })
    .await;
}

#[tokio::test]
async fn observing_asks_and_never_decides() {
    play(async {
        let mut scene = Scene::new(|rule| rule.then = Then::Observe).await;
        for answer in [Answer::Approve, Answer::Deny] {
            let mut peer = scene.login(begin("sshd", Stage::Session));
            peer.step().await;
            let asked = scene.asked().await;
            peer.go_on(Continue::default()).await;
            scene.answer(&asked, answer).await;
            let verdict = peer.verdict().await;
            assert_eq!((verdict.outcome, verdict.text), (Outcome::Ignored, None));
            scene.closed().await;
        }
        assert!(scene.audit().contains("\"event\":\"observed\""));
    })
    .await;
}

/// Whatever a program asks that has one field is answered with the password that was typed there.
#[tokio::test]
async fn a_program_with_one_field_is_asked_nothing() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        for (service, answer, text) in [
            ("i3lock", Answer::Approve, None),
            ("swaylock", Answer::Deny, Some(prompts::DENIED)),
            ("sddm", Answer::Report, Some(prompts::REPORTED)),
        ] {
            let mut peer = scene.login(begin(service, Stage::Auth));
            // It is said, as some of them show that much.
            assert!(matches!(peer.step().await, Step::Say { text, .. } if text == prompts::TAP));
            peer.go_on(Continue::default()).await;
            let asked = scene.asked().await;
            assert_eq!(asked.request.confirm, Confirm::Tap, "{service}");
            scene.answer(&asked, answer).await;
            let verdict = peer.verdict().await;
            assert_eq!(verdict.outcome == Outcome::Granted, answer == Answer::Approve, "{service}");
            assert_eq!(verdict.text.as_deref(), text, "{service}");
            scene.closed().await;
            scene.unblock().await;
        }
    })
    .await;
}

/// Nor while the server is away: the password would count as a wrong code.
#[tokio::test]
async fn a_program_with_one_field_hears_at_once_that_the_server_is_away() {
    play(async {
        let scene = Scene::offline(|rule| rule.codes = vec![Factor::Recovery, Factor::Totp]).await;
        let began = std::time::Instant::now();
        let verdict = scene.login(begin("i3lock", Stage::Auth)).verdict().await;
        assert_eq!(verdict.outcome, Outcome::Unreachable);
        assert!(verdict.text.is_some_and(|text| text.contains("cannot be reached")));
        assert!(began.elapsed() < Duration::from_secs(2));
    })
    .await;
}

#[tokio::test]
async fn a_rule_that_takes_nothing_less_than_a_code_asks_nobody_where_there_is_one_field() {
    play(async {
        let scene = Scene::new(|rule| rule.without_prompt = WithoutPrompt::Refuse).await;
        let verdict = scene.login(begin("i3lock", Stage::Auth)).verdict().await;
        assert_eq!((verdict.outcome, verdict.text.as_deref()), (Outcome::Denied, Some(prompts::ONE_FIELD)));
        assert!(scene.audit().contains("one field"));
    })
    .await;
}
