//! Several people in front of one machine: what one is asked, answers and is refused is no other one's.

use super::*;
use crate::login::prompts;
use countersign_policy::Then;
use countersign_protocol::api::Post;
use countersign_protocol::keys::Signer;

/// Somebody else whom every machine has.
const OTHER: &str = "daemon";
const OTHERS_CODE: &str = "135790";

fn at_the_desk(user: &str) -> Begin {
    Begin { user: user.to_owned(), terminal: Some(":0".to_owned()), ..begin("lightdm", Stage::Auth) }
}

/// The next post, which is to nobody but this phone.
async fn post(push: &mut Push, phone: &TestDevice) -> Post {
    let post = push.next().await;
    let to = format!("\"to\":\"{}\"", phone.key.public_key().id());
    assert!(
        post.messages.iter().all(|message| message.envelope.contains(&to)),
        "nobody else's phone hears of it"
    );
    post
}

async fn asked(push: &mut Push, lab: &Lab, phone: &TestDevice) -> Asked {
    let post = post(push, phone).await;
    match phone.hear(lab, &post.messages[0]) {
        Heard::Request(asked) => *asked,
        _ => panic!("a request was expected"),
    }
}

async fn closed(push: &mut Push, lab: &Lab, phone: &TestDevice) -> ClosedOutcome {
    let post = post(push, phone).await;
    match phone.hear(lab, &post.messages[0]) {
        Heard::Closed(closed) => closed.outcome,
        _ => panic!("an end was expected"),
    }
}

#[tokio::test]
async fn two_requests_at_one_terminal_are_two_peoples() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let others = TestDevice::new();
        scene.lab.pair(OTHER, &others).await;
        let mut first = scene.login(at_the_desk(USER));
        first.prompt().await;
        let of_first = asked(&mut scene.push, &scene.lab, &scene.phone).await;
        let mut second = scene.login(at_the_desk(OTHER));
        second.prompt().await;
        let of_second = asked(&mut scene.push, &scene.lab, &others).await;

        // What the second one's phone says of the first one's request is nobody's word.
        scene.push.deliver(&others.reply(&scene.lab, &of_first, Answer::Approve, OTHERS_CODE));
        scene.push.deliver(&others.reply(&scene.lab, &of_second, Answer::Approve, OTHERS_CODE));
        let approved = async {
            while scene.state(&of_second) != State::Approved {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, approved).await.unwrap();
        assert_eq!(scene.state(&of_first), State::Posted);

        scene.answer(&of_first, Answer::Approve).await;
        first.answer(OTHERS_CODE).await;
        assert_eq!(first.prompt().await, prompts::wrong(2));
        second.answer(CODE).await;
        assert_eq!(second.prompt().await, prompts::wrong(2));
        // The first one goes; the second one's request does not end with it.
        first.hang_up().await;
        assert_eq!(closed(&mut scene.push, &scene.lab, &scene.phone).await, ClosedOutcome::Withdrawn);
        second.answer(OTHERS_CODE).await;
        assert_eq!(second.outcome().await, Outcome::Granted);
        assert_eq!(closed(&mut scene.push, &scene.lab, &others).await, ClosedOutcome::Approved);
    })
    .await;
}

#[tokio::test]
async fn what_one_person_denies_refuses_nobody_else_at_that_terminal() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let others = TestDevice::new();
        scene.lab.pair(OTHER, &others).await;
        let mut first = scene.login(at_the_desk(USER));
        first.prompt().await;
        let request = asked(&mut scene.push, &scene.lab, &scene.phone).await;
        scene.answer(&request, Answer::Report).await;
        first.answer("").await;
        assert_eq!(first.verdict().await.text.as_deref(), Some(prompts::REPORTED));
        assert_eq!(closed(&mut scene.push, &scene.lab, &scene.phone).await, ClosedOutcome::Reported);

        let mut second = scene.login(at_the_desk(OTHER));
        assert_eq!(second.prompt().await, prompts::APPROVE, "it says nothing of the one before");
        asked(&mut scene.push, &scene.lab, &others).await;
        let mut again = scene.login(at_the_desk(USER));
        assert_eq!(again.verdict().await.text.as_deref(), Some(prompts::COOLING));
    })
    .await;
}

/// The policy of a desk at which root, and nobody else, needs no password.
async fn passwordless(then: Then) -> Scene {
    let scene = Scene::new(|default| default.then = then).await;
    let text = "[[rule]]\nname = \"desk\"\nthen = \"approve\"\npasswordless = true\n\
                when = { service = \"lightdm\", user = \"root\", remote = false }\n";
    let mut config = (*scene.lab.app.config().unwrap()).clone();
    config.rules = config::read(&format!("server = \"http://127.0.0.1:1\"\n{text}")).unwrap().rules;
    scene.lab.app.config.borrow_mut().good = Some(Rc::new(config));
    scene
}

#[tokio::test]
async fn without_a_password_the_code_lets_in_whom_a_rule_names() {
    play(async {
        let mut scene = passwordless(Then::Deny).await;
        for caller in [true, false] {
            let caller = Caller { uid: 0, gid: 0, pid: None, root_socket: caller };
            let mut peer = scene.call(caller, Begin { passwordless: true, ..at_the_desk(USER) });
            // Its greeter shows no text with the first question.
            let said = peer.step().await;
            assert!(
                matches!(&said, Step::Say { text, .. } if format!("{text}: ") == prompts::APPROVE),
                "{said:?}"
            );
            peer.go_on(Continue::default()).await;
            assert_eq!(peer.prompt().await, prompts::APPROVE);
            let request = asked(&mut scene.push, &scene.lab, &scene.phone).await;
            scene.answer(&request, Answer::Approve).await;
            peer.answer(CODE).await;
            assert_eq!(peer.outcome().await, Outcome::Granted);
            closed(&mut scene.push, &scene.lab, &scene.phone).await;
        }
        // Where nothing can be asked a tap is not enough for it.
        let mut peer = scene.login(Begin { passwordless: true, ..at_the_desk(USER) });
        peer.step().await;
        peer.go_on(Continue::default()).await;
        peer.prompt().await;
        peer.cannot_ask().await;
        assert_eq!(peer.outcome().await, Outcome::Denied);
    })
    .await;
}

#[tokio::test]
async fn without_a_password_and_a_rule_for_it_nobody_is_let_in_or_let_pass() {
    play(async {
        for then in [Then::Approve, Then::Observe, Then::Skip, Then::Deny] {
            let scene = passwordless(then).await;
            for begin in [
                at_the_desk(OTHER),
                at_the_desk("no such user here"),
                Begin { service: "sddm".to_owned(), ..at_the_desk(USER) },
                Begin { remote_host: Some("192.0.2.7".to_owned()), ..at_the_desk(USER) },
                Begin { service: "sshd".to_owned(), stage: Stage::Session, ..at_the_desk(USER) },
            ] {
                let mut peer = scene.login(Begin { passwordless: true, ..begin });
                let verdict = peer.verdict().await;
                assert_eq!(verdict.outcome, Outcome::Denied, "{then:?}");
                assert_eq!(verdict.text.as_deref(), Some(prompts::NOT_ALONE));
            }
        }
        // Behind a password the default decides, as ever.
        let scene = passwordless(Then::Skip).await;
        assert_eq!(scene.login(at_the_desk(OTHER)).outcome().await, Outcome::Ignored);
    })
    .await;
}
