//! Nobody is rung without end, and a no lasts; but nobody's login is kept from them by another's.

use super::*;
use crate::fatigue::AFTER_DENIAL;
use crate::login::prompts;
use countersign_protocol::login::Peer as Address;

fn from(address: &str) -> Begin {
    Begin { peer: Some(Address { address: address.parse().unwrap(), port: 22 }), ..sshd() }
}

/// A login that nobody decides; whether it rang.
async fn undecided(scene: &mut Scene, begin: Begin) -> bool {
    let mut peer = scene.login(begin);
    peer.prompt().await;
    let post = scene.push.next().await;
    peer.hang_up().await;
    assert_eq!(scene.closed().await, ClosedOutcome::Withdrawn);
    post.ring
}

#[tokio::test]
async fn after_three_undecided_the_phone_is_quiet_until_it_lets_somebody_in() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        for number in 0..10 {
            assert_eq!(undecided(&mut scene, from(&format!("192.0.2.{number}"))).await, number < 3);
        }
        // Quiet is not closed: the app shows the request, and it opens.
        let mut peer = scene.login(from("198.51.100.1"));
        peer.prompt().await;
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Approve).await;
        peer.answer(CODE).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        scene.closed().await;
        assert!(undecided(&mut scene, from("192.0.2.1")).await);
    })
    .await;
}

#[tokio::test]
async fn quiet_outlives_a_daemon_that_is_started_again() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        for _ in 0..3 {
            assert!(undecided(&mut scene, from("192.0.2.1")).await);
        }
        scene.lab.app.fatigue.save().await.unwrap();
        scene.lab = scene.lab.restarted();
        spawn_local(relay::run(Rc::clone(&scene.lab.app)));
        spawn_local(relay::tell(Rc::clone(&scene.lab.app)));
        scene.connect().await;
        assert!(!undecided(&mut scene, from("192.0.2.1")).await);
    })
    .await;
}

/// Two windows of one person: both stay open, and each has its own code.
#[tokio::test]
async fn a_second_login_from_the_same_place_is_shown_without_a_ring_and_ends_nothing() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let (mut first, mut others) = (scene.login(from("192.0.2.1")), Vec::new());
        first.prompt().await;
        let asked = scene.asked().await;
        for (address, rings) in [("192.0.2.1", false), ("198.51.100.1", true)] {
            let mut peer = scene.login(from(address));
            peer.prompt().await;
            assert_eq!(scene.push.next().await.ring, rings, "{address}");
            others.push(peer);
        }
        scene.answer(&asked, Answer::Approve).await;
        first.answer(CODE).await;
        assert_eq!(first.outcome().await, Outcome::Granted);
        assert_eq!(scene.lab.app.logins.waiting(), 2);
        drop(others);
    })
    .await;
}

#[tokio::test]
async fn who_was_denied_is_refused_for_a_moment_and_others_are_not() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let sudo = || Begin { user: USER.to_owned(), ..begin("sudo", Stage::Auth) };
        let mut peer = scene.login(sudo());
        peer.prompt().await;
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Deny).await;
        peer.answer("").await;
        assert_eq!(peer.outcome().await, Outcome::Denied);
        scene.closed().await;
        // sudo asks again by itself.
        for _ in 0..2 {
            let verdict = scene.login(sudo()).verdict().await;
            assert_eq!((verdict.outcome, verdict.text.as_deref()), (Outcome::Denied, Some(prompts::COOLING)));
        }
        scene.push.is_quiet().await;
        assert!(undecided(&mut scene, from("192.0.2.1")).await, "an owner elsewhere is rung");
        const { assert!(AFTER_DENIAL < 30, "the text says: in a minute") };
    })
    .await;
}

#[tokio::test]
async fn a_report_ends_what_is_open_from_there_and_refuses_the_rest() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut all = Vec::new();
        for _ in 0..3 {
            let mut peer = scene.login(from("192.0.2.1"));
            peer.prompt().await;
            all.push((peer, scene.asked().await));
        }
        let mut elsewhere = scene.login(from("198.51.100.1"));
        elsewhere.prompt().await;
        let at_home = scene.asked().await;
        scene.answer(&all[1].1, Answer::Report).await;
        for (mut peer, _) in all {
            peer.answer("").await;
            assert_eq!(peer.outcome().await, Outcome::Denied);
            assert_eq!(scene.closed().await, ClosedOutcome::Reported);
        }
        let verdict = scene.login(from("192.0.2.1")).verdict().await;
        assert_eq!((verdict.outcome, verdict.text.as_deref()), (Outcome::Busy, Some(prompts::FROM_THERE)));
        assert_eq!(scene.audit().matches("\"event\":\"blocked\"").count(), 1);

        scene.answer(&at_home, Answer::Approve).await;
        elsewhere.answer(CODE).await;
        assert_eq!(elsewhere.outcome().await, Outcome::Granted);
        scene.closed().await;
        let verdict = scene.login(from("192.0.2.1")).verdict().await;
        assert_eq!(verdict.outcome, Outcome::Busy, "a success elsewhere does not open it again");
        scene.unblock().await;
        assert!(undecided(&mut scene, from("192.0.2.1")).await);
    })
    .await;
}

/// The other names from there are asked as ever: that one was reported tells nothing of them.
#[tokio::test]
async fn a_reported_place_is_refused_for_that_person_alone() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(from("192.0.2.1"));
        peer.prompt().await;
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Report).await;
        assert_eq!(scene.closed().await, ClosedOutcome::Reported);
        let mut other = scene.login(Begin { user: "nobody-of-that-name".into(), ..from("192.0.2.1") });
        assert_eq!(other.prompt().await, prompts::APPROVE);
    })
    .await;
}

#[tokio::test]
async fn what_was_never_sent_does_not_count() {
    play(async {
        let mut scene = Scene::away(|_| {}).await;
        for _ in 0..5 {
            let mut peer = scene.login(from("192.0.2.1"));
            assert!(peer.prompt().await.contains("cannot be reached"));
            peer.hang_up().await;
        }
        scene.connect().await;
        assert!(undecided(&mut scene, from("192.0.2.1")).await);
    })
    .await;
}
