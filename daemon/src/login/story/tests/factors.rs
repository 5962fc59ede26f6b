//! Recovery codes, and callers who are not root.

use super::*;
use crate::login::{pace, prompts};
use crate::person;

async fn codes(scene: &Scene) -> Vec<Zeroizing<String>> {
    scene.lab.app.recovery.new_codes(USER, 3).await.unwrap()
}

#[tokio::test]
async fn a_recovery_code_opens_once_without_a_server() {
    play(async {
        let scene = Scene::offline(|_| {}).await;
        let codes = codes(&scene).await;
        let mut peer = scene.login(sshd());
        let prompt = peer.prompt().await;
        assert!(prompt.contains("cannot be reached") && prompt.contains("ecovery code"), "{prompt}");
        peer.answer(&codes[0]).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);

        let mut peer = scene.login(sshd());
        peer.prompt().await;
        peer.answer(&codes[0]).await;
        assert!(peer.prompt().await.contains("not the code"));
        peer.answer("").await;
        assert!(peer.prompt().await.contains("cannot be reached"));
        peer.answer(&codes[1]).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        assert!(scene.audit().contains("\"factor\":\"recovery\""));
    })
    .await;
}

/// Whoever has to look for a piece of paper takes longer than a request.
#[tokio::test]
async fn a_recovery_code_is_good_after_the_phones_time() {
    play(async {
        let mut scene = Scene::new(short).await;
        let codes = codes(&scene).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        peer.answer("0000-0000-0000-0000").await;
        assert!(peer.prompt().await.contains("not the code"));
        // Phones know the time; they hear how it ended once that is known.
        sleep(Duration::from_millis(1_600)).await;
        assert_eq!(scene.state(&asked), State::Expired);
        scene.push.is_quiet().await;
        peer.answer("0000-0000-0000-0000").await;
        assert_eq!(peer.prompt().await, prompts::EXPIRED_ASK);
        peer.answer(&codes[0]).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        assert_eq!(scene.closed().await, ClosedOutcome::Otherwise);
        let record = scene.lab.audit().pop().unwrap();
        assert_eq!(
            (record.outcome.as_deref(), record.factor.as_deref()),
            (Some("granted"), Some("recovery"))
        );
        scene.push.is_quiet().await;
    })
    .await;
}

/// What cannot be written down has not let anybody in, and who types nothing more was not answered.
#[tokio::test]
async fn phones_hear_of_an_end_after_their_time_what_truly_happened() {
    play(async {
        for (broken, closed) in [(true, ClosedOutcome::Failed), (false, ClosedOutcome::Expired)] {
            let mut scene = Scene::new(short).await;
            let codes = codes(&scene).await;
            let mut peer = scene.login(sshd());
            peer.prompt().await;
            let asked = scene.asked().await;
            sleep(Duration::from_millis(1_100)).await;
            assert_eq!(scene.state(&asked), State::Expired);
            if broken {
                scene.lab.app.audit.breaks_for_tests();
                peer.answer(&codes[0]).await;
                assert_eq!(peer.outcome().await, Outcome::Fault);
            } else {
                peer.hang_up().await;
            }
            assert_eq!(scene.closed().await, closed);
            scene.push.is_quiet().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_recovery_code_does_not_undo_a_denial_and_is_not_used_up() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let codes = codes(&scene).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Deny).await;
        peer.answer(&codes[0]).await;
        assert_eq!(peer.outcome().await, Outcome::Denied);
        assert_eq!(scene.lab.app.recovery.left(USER), 3);
    })
    .await;
}

#[tokio::test]
async fn a_recovery_code_ends_the_ringing() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let codes = codes(&scene).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        scene.asked().await;
        peer.answer(&codes[0]).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        assert_eq!(scene.closed().await, ClosedOutcome::Otherwise);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_gone_at_the_deadline_brings_the_offline_prompt() {
    play(async {
        let mut scene = Scene::new(short).await;
        let codes = codes(&scene).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        scene.asked().await;
        peer.answer("").await;
        scene.lab.app.relay.set_client(None);
        let prompt = peer.prompt().await;
        assert!(prompt.contains("cannot be reached"), "{prompt}");
        peer.answer(&codes[0]).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
    })
    .await;
}

fn stranger() -> Caller {
    Caller { uid: 4_000_000_000, gid: 4_000_000_000, pid: None, root_socket: false }
}

#[tokio::test]
async fn nobody_but_root_asks_about_others_and_nobody_asks_without_end() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        for _ in 0..pace::MOST {
            assert_eq!(scene.call(stranger(), sshd()).outcome().await, Outcome::Denied);
        }
        let records = scene.audit().lines().count();
        assert_eq!(scene.call(stranger(), sshd()).outcome().await, Outcome::Busy);
        assert_eq!(scene.audit().lines().count(), records, "a flood must not fill the disk");
        assert!(scene.audit().contains("asked by user 4000000000"));
        scene.push.is_quiet().await;
        // Root's logins are not counted with them.
        scene.login(sshd()).prompt().await;
    })
    .await;
}

#[tokio::test]
async fn a_slow_name_service_is_asked_for_users_by_their_number_and_beside_root() {
    play(async {
        let scene = Scene::new(|_| {}).await;
        let own = || Caller { uid: 0, gid: 0, pid: None, root_socket: false };
        {
            let _hangs = person::hang(true);
            scene.call(own(), sshd()).prompt().await;
            for name in ["nobody", "no-such-user"] {
                let other = Begin { user: name.to_owned(), ..sshd() };
                assert_eq!(scene.call(own(), other).outcome().await, Outcome::Denied);
            }
        }
        let _hangs = person::hang(false);
        scene.login(sshd()).prompt().await;
        assert_eq!(scene.call(own(), sshd()).outcome().await, Outcome::Fault);
    })
    .await;
}
