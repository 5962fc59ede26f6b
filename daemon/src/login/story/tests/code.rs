//! Logins that ask for the phone's code.

use super::*;
use crate::login::dialogue::MOST_PROMPTS;
use crate::login::prompts;
use crate::login::state::{Event, State};
use countersign_protocol::keys::Signer;
use countersign_protocol::message::Confirm;

#[tokio::test]
async fn the_phones_code_opens_and_the_session_is_not_asked_again() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(sshd());
        assert_eq!(peer.prompt().await, prompts::APPROVE);
        let asked = scene.asked().await;
        assert_eq!((asked.request.user.as_str(), asked.request.confirm), (USER, Confirm::Code));
        scene.answer(&asked, Answer::Approve).await;
        peer.answer(CODE).await;
        let verdict = peer.verdict().await;
        assert_eq!(verdict.outcome, Outcome::Granted);
        assert_eq!(scene.closed().await, ClosedOutcome::Approved);

        let session = Begin { token: verdict.token.clone(), ..begin("sshd", Stage::Session) };
        assert_eq!(scene.login(session.clone()).outcome().await, Outcome::Granted);
        scene.push.is_quiet().await;
        // The token was good once.
        let mut again = scene.login(session);
        assert!(matches!(again.step().await, Step::Wait { .. }));
        assert_eq!(scene.asked().await.request.confirm, Confirm::Tap);
    })
    .await;
}

#[tokio::test]
async fn a_code_that_is_typed_before_the_approval_waits_for_it() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(begin("sudo", Stage::Auth));
        peer.prompt().await;
        let asked = scene.asked().await;
        // In two groups, as the phone shows it.
        peer.answer(&format!(" {} {}", &CODE[..3], &CODE[3..])).await;
        scene.answer(&asked, Answer::Approve).await;
        let verdict = peer.verdict().await;
        assert_eq!((verdict.outcome, verdict.token), (Outcome::Granted, None), "only sshd has two stages");
    })
    .await;
}

#[tokio::test]
async fn three_wrong_codes_end_it() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Approve).await;
        for left in ["2 tries", "1 try"] {
            peer.answer("000000").await;
            let prompt = peer.prompt().await;
            assert!(prompt.contains(left), "{prompt}");
        }
        peer.answer("hello").await;
        assert_eq!(peer.outcome().await, Outcome::Denied);
        assert_eq!(scene.closed().await, ClosedOutcome::Failed);
    })
    .await;
}

#[tokio::test]
async fn an_empty_line_waits_and_says_what_came() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        peer.answer("").await;
        scene.answer(&asked, Answer::Approve).await;
        assert_eq!(peer.prompt().await, prompts::APPROVED);
        peer.answer(" ").await;
        assert_eq!(peer.prompt().await, prompts::APPROVED);
        peer.answer(CODE).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        assert_eq!(scene.closed().await, ClosedOutcome::Approved);

        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Deny).await;
        // While the prompt still stands.
        assert_eq!(scene.closed().await, ClosedOutcome::Denied);
        peer.answer("").await;
        assert_eq!(peer.outcome().await, Outcome::Denied);
    })
    .await;
}

/// Who is asked too often is told that, and not of wrong codes that nobody has typed.
#[tokio::test]
async fn empty_lines_have_an_end_of_their_own() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Approve).await;
        for _ in 1..MOST_PROMPTS {
            peer.answer("").await;
            assert_eq!(peer.prompt().await, prompts::APPROVED);
        }
        peer.answer("").await;
        let verdict = peer.verdict().await;
        assert_eq!((verdict.outcome, verdict.text.as_deref()), (Outcome::Denied, Some(prompts::NO_CODE)));
        assert_eq!(scene.closed().await, ClosedOutcome::Withdrawn);
        let record = scene.lab.audit().pop().unwrap();
        assert_eq!(record.reason.as_deref(), Some("no code was typed at 16 prompts"));
    })
    .await;
}

#[tokio::test]
async fn nonsense_after_a_denial_hears_of_the_denial() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Report).await;
        peer.answer("hello").await;
        let verdict = peer.verdict().await;
        assert_eq!((verdict.outcome, verdict.text.as_deref()), (Outcome::Denied, Some(prompts::REPORTED)));
    })
    .await;
}

#[tokio::test]
async fn a_denial_before_the_code_wins() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Approve).await;
        scene.answer(&asked, Answer::Deny).await;
        peer.answer(CODE).await;
        assert_eq!(peer.outcome().await, Outcome::Denied);
        assert!(scene.audit().contains("\"outcome\":\"denied\""));
    })
    .await;
}

#[tokio::test]
async fn a_device_that_is_revoked_before_its_code_is_typed_lets_nobody_in() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Approve).await;
        let line = format!("{}\n", scene.phone.key.public_key().to_line());
        let file = scene.lab.app.paths.administrator().join("revoked");
        crate::files::replace(&file, line.as_bytes()).unwrap();
        peer.answer(CODE).await;
        let verdict = peer.verdict().await;
        assert_eq!((verdict.outcome, verdict.text.as_deref()), (Outcome::Denied, Some(prompts::DENIED)));
        let record = scene.lab.audit().pop().unwrap();
        assert!(record.reason.unwrap().contains("the key is revoked"));
        assert_eq!(scene.closed().await, ClosedOutcome::Denied);
    })
    .await;
}

#[tokio::test]
async fn the_phone_rings_once_more_after_the_time_and_not_twice() {
    play(async {
        let mut scene = Scene::new(short).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let first = scene.asked().await;
        // Both when a call is out and while the prompt stands, phones are told at once.
        peer.answer("").await;
        assert_eq!(peer.prompt().await, prompts::EXPIRED_ASK);
        assert_eq!(scene.closed().await, ClosedOutcome::Expired);
        peer.answer("").await;
        assert_eq!(peer.prompt().await, prompts::ASKED_AGAIN);
        let second = scene.asked().await;
        assert_ne!(first.request.id, second.request.id);
        assert_eq!(scene.closed().await, ClosedOutcome::Expired);
        peer.answer("").await;
        assert_eq!(peer.outcome().await, Outcome::Expired);
        scene.push.is_quiet().await;
    })
    .await;
}

#[tokio::test]
async fn a_code_is_worth_nothing_after_the_deadline_whatever_timers_say() {
    play(async {
        let scene = Scene::new(|_| {}).await;
        let request = scene.lab.request(USER, Confirm::Code, Duration::from_secs(1));
        let sealed = scene.phone.answer(&scene.lab, &request, Answer::Approve);
        assert!(request.decide(crate::verify::decision(&scene.lab.app, &request, &sealed).unwrap()));
        // Nothing of the daemon runs meanwhile, as when the machine sleeps.
        std::thread::sleep(request.left());
        assert_eq!(request.state(), State::Approved);
        assert!(!(request.try_code(CODE) && request.happens(Event::Confirmed)));
        assert_eq!(request.state(), State::Expired);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_user_sees_the_same_and_nothing_is_posted() {
    play(async {
        let mut scene = Scene::new(short).await;
        let nobody = Begin { user: "no such user here".to_owned(), ..sshd() };
        let mut peer = scene.login(nobody);
        assert_eq!(peer.prompt().await, prompts::APPROVE);
        peer.answer("000000").await;
        assert_eq!(peer.prompt().await, prompts::EXPIRED_ASK);
        peer.answer("").await;
        assert_eq!(peer.prompt().await, prompts::ASKED_AGAIN);
        peer.answer("").await;
        assert_eq!(peer.outcome().await, Outcome::Expired);
        scene.push.is_quiet().await;
    })
    .await;
}
