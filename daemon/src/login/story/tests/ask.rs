//! What is asked for in place of a login: actions, and the lists that belong to them.

use super::*;
use crate::login::{BAD_CALL, prompts};
use countersign_policy::WithoutPrompt;
use countersign_protocol::login::{ASK_SERVICE, Action, Session};
use countersign_protocol::message::{Confirm, Kind};

fn deploy() -> Action {
    Action {
        name: "deploy.web".to_owned(),
        detail: Some("release 42".to_owned()),
        origins: Vec::new(),
        list: None,
    }
}

fn ask(action: Action) -> Begin {
    Begin { action: Some(action), ..begin(ASK_SERVICE, Stage::Auth) }
}

fn at_terminal() -> Begin {
    Begin { terminal: Some("/dev/pts/3".to_owned()), ..ask(deploy()) }
}

fn nobody() -> Caller {
    Caller { uid: 65_534, gid: 65_534, pid: None, root_socket: false }
}

#[tokio::test]
async fn an_action_is_approved_by_its_code_and_written_down() {
    play(async {
        let mut scene =
            Scene::new(|rule| rule.lease = Some(config::Lease { up_to: PATIENCE, uses: None })).await;
        let session = Some(Session { leader: 700, started: 9 });
        let mut peer = scene.login(Begin { session, ..at_terminal() });
        assert_eq!(peer.prompt().await, prompts::APPROVE);
        let asked = scene.asked().await;
        let request = &asked.request;
        assert_eq!((request.kind, request.action.as_deref()), (Kind::Action, Some("deploy.web")));
        assert_eq!(request.detail.as_deref(), Some("release 42"));
        assert_eq!(request.lease_max, None, "each one is asked for");
        scene.answer(&asked, Answer::Approve).await;
        peer.answer(CODE).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        let audit = scene.audit();
        assert!(audit.contains(r#""event":"ask""#) && audit.contains(r#""detail":"release 42""#), "{audit}");
    })
    .await;
}

#[tokio::test]
async fn a_denial_is_heard_while_the_prompt_stands() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(at_terminal());
        assert_eq!(peer.prompt().await, prompts::APPROVE);
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Deny).await;
        // Nothing was typed.
        let verdict = peer.verdict().await;
        assert_eq!((verdict.outcome, verdict.text.as_deref()), (Outcome::Denied, Some(prompts::DENIED)));
    })
    .await;
}

#[tokio::test]
async fn whoever_leaves_after_the_time_was_over_has_withdrawn_nothing() {
    play(async {
        let mut scene = Scene::new(short).await;
        let mut peer = scene.login(at_terminal());
        peer.prompt().await;
        scene.asked().await;
        assert_eq!(scene.closed().await, ClosedOutcome::Expired);
        peer.hang_up().await;
        assert!(scene.audit().contains(r#""outcome":"expired""#), "{}", scene.audit());
    })
    .await;
}

#[tokio::test]
async fn without_a_terminal_the_policy_says_whether_a_tap_is_enough() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(ask(deploy()));
        let asked = scene.asked().await;
        assert_eq!(asked.request.confirm, Confirm::Tap);
        assert!(matches!(peer.step().await, Step::Say { .. }));
        peer.go_on(Continue::default()).await;
        scene.answer(&asked, Answer::Approve).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);

        for (confirm, outcome) in [(Confirm::Code, Outcome::Denied), (Confirm::Tap, Outcome::Granted)] {
            let mut scene = Scene::new(|rule| {
                (rule.confirm, rule.without_prompt) = (confirm, WithoutPrompt::Refuse);
            })
            .await;
            let mut peer = scene.login(ask(deploy()));
            if outcome == Outcome::Granted {
                let asked = scene.asked().await;
                peer.step().await;
                peer.go_on(Continue::default()).await;
                scene.answer(&asked, Answer::Approve).await;
            }
            assert_eq!(peer.outcome().await, outcome);
        }
    })
    .await;
}

#[tokio::test]
async fn root_is_told_at_once_that_there_is_nobody_to_ask() {
    play(async {
        let scene = Scene::offline(|_| {}).await;
        for begin in [ask(deploy()), at_terminal()] {
            let verdict = scene.login(Begin { user: "daemon".to_owned(), ..begin }).verdict().await;
            assert_eq!(verdict.outcome, Outcome::Denied);
            assert!(verdict.text.unwrap().contains("no device for daemon"));
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_is_not_root_asks_about_nobody_else() {
    play(async {
        let scene = Scene::new(|_| {}).await;
        let mut peer = scene.call(nobody(), at_terminal());
        assert_eq!(peer.outcome().await, Outcome::Denied);
        assert!(scene.audit().contains("a caller who is not root asked about somebody else"));
    })
    .await;
}

#[tokio::test]
async fn a_list_comes_whole_or_nothing_is_asked() {
    play(async {
        let scene = Scene::offline(|_| {}).await;
        let announced = |bytes| ask(Action { list: Some(bytes), ..deploy() });
        let part = |text: &str| Continue { answer: Some(Zeroizing::new(text.to_owned())), cannot_ask: false };
        for wrong in
            [Continue::default(), part(""), part("hello\nworlds"), Continue { cannot_ask: true, ..part("a") }]
        {
            let mut peer = scene.login(announced(11));
            assert!(matches!(peer.step().await, Step::Wait { .. }));
            peer.go_on(wrong).await;
            let reply = timeout(PATIENCE, peer.connection.recv::<Reply<Step>>()).await.unwrap().unwrap();
            assert!(matches!(reply, Some(Reply::Error { error, .. }) if error == BAD_CALL));
        }
        // More often than lists are held at once: what is over holds none.
        for _ in 0..20 {
            let mut peer = scene.login(announced(11));
            for text in ["hell", "o\n", "wörl"] {
                assert!(matches!(peer.step().await, Step::Wait { .. }));
                peer.go_on(part(text)).await;
            }
            // The whole of it is there. The list may take its time now; then comes the request's own step.
            let Step::Wait { deadline_ms } = peer.step().await else { panic!("it takes no time") };
            assert!(deadline_ms > 15_000);
            peer.go_on(Continue::default()).await;
            peer.step().await;
            peer.hang_up().await;
        }
        let digest = countersign_protocol::digest::sha256_hex("hello\nwörl".as_bytes());
        assert!(scene.audit().contains(&format!(r#""list":"{digest}""#)), "{}", scene.audit());
    })
    .await;
}

#[tokio::test]
async fn a_list_that_the_server_does_not_take_opens_no_way_around_it() {
    play(async {
        // With factors for a server out of reach: this one is there, and knows no lists.
        let scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(Begin {
            terminal: Some("/dev/pts/3".to_owned()),
            ..ask(Action { list: Some(6), ..deploy() })
        });
        for part in [Some("hello\n"), None] {
            assert!(matches!(peer.step().await, Step::Wait { .. }));
            let answer = part.map(|part| Zeroizing::new(part.to_owned()));
            peer.go_on(Continue { answer, cannot_ask: false }).await;
        }
        let verdict = peer.verdict().await;
        assert_eq!(verdict.outcome, Outcome::Busy);
        assert!(verdict.text.unwrap().starts_with("The list could not be brought to the approval server"));
        assert!(scene.lab.app.relay.is_up());
        assert!(scene.audit().contains("its list could not be brought to the server"));
    })
    .await;
}
