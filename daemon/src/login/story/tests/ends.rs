//! However a login ends, the phones hear of it.

use super::*;
use std::time::Instant;

#[tokio::test]
async fn hanging_up_withdraws_within_a_second() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        for call_out in [false, true] {
            let mut peer = scene.login(sshd());
            peer.prompt().await;
            scene.asked().await;
            if call_out {
                peer.answer("").await;
                sleep(Duration::from_millis(50)).await;
            }
            let began = Instant::now();
            peer.hang_up().await;
            assert_eq!(scene.closed().await, ClosedOutcome::Withdrawn);
            assert!(began.elapsed() < Duration::from_secs(1));
        }
        assert_eq!(scene.audit().matches("\"outcome\":\"withdrawn\"").count(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_stops_refuses_and_tells_the_phones_first() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let (mut prompted, mut waiting) = (scene.login(sshd()), scene.login(begin("sshd", Stage::Session)));
        prompted.prompt().await;
        waiting.step().await;
        waiting.go_on(Continue::default()).await;
        scene.asked().await;
        scene.asked().await;
        sleep(Duration::from_millis(50)).await;

        scene.lab.app.logins.shut_down();
        for peer in [&mut prompted, &mut waiting] {
            assert_eq!(peer.outcome().await, Outcome::Unreachable);
        }
        timeout(Duration::from_secs(1), scene.lab.app.relay.all_told()).await.expect("all is told");
        for _ in 0..2 {
            assert_eq!(scene.closed().await, ClosedOutcome::Withdrawn);
        }
    })
    .await;
}

/// A server that asks to slow down hears the ends a moment later, each once and in their order.
#[tokio::test]
async fn ends_wait_for_a_busy_server_without_a_new_connection() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let (mut peers, mut ids) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let mut peer = scene.login(sshd());
            peer.prompt().await;
            ids.push(scene.asked().await.request.id);
            peers.push(peer);
        }
        scene.push.refuse(1);
        for peer in peers {
            peer.hang_up().await;
        }
        let mut ended = Vec::new();
        for _ in 0..3 {
            match scene.phone.hear(&scene.lab, &scene.push.next().await.messages[0]) {
                Heard::Closed(closed) => ended.push(closed.id),
                Heard::Request(_) | Heard::Notice(_) => panic!("an end was expected"),
            }
        }
        // The first was refused and may have gone behind others.
        let first = ended.iter().position(|id| *id == ids[0]).expect("the refused one");
        ended.remove(first);
        assert_eq!(ended, ids[1..]);
        scene.push.is_quiet().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_comes_back_hears_of_what_waits_without_ringing_and_of_what_has_ended() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut stays = scene.login(sshd());
        stays.prompt().await;
        let asked = scene.asked().await;
        let mut goes = scene.login(sshd());
        goes.prompt().await;
        scene.asked().await;

        scene.cut().await;
        goes.hang_up().await;
        let again = scene.push.next().await;
        assert!(!again.ring);
        match scene.phone.hear(&scene.lab, &again.messages[0]) {
            Heard::Request(again) => assert_eq!(again.request.id, asked.request.id),
            Heard::Closed(_) | Heard::Notice(_) => panic!("who waits goes first"),
        }
        assert_eq!(scene.closed().await, ClosedOutcome::Withdrawn);

        scene.answer(&asked, Answer::Approve).await;
        stays.answer(CODE).await;
        assert_eq!(stays.outcome().await, Outcome::Granted);
    })
    .await;
}

#[tokio::test]
async fn what_was_never_sent_needs_no_end() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        scene.cut().await;
        let mut peer = scene.login(sshd());
        assert!(peer.prompt().await.contains("cannot be reached"));
        peer.hang_up().await;
        scene.connect().await;
        scene.push.is_quiet().await;
    })
    .await;
}

#[tokio::test]
async fn a_repeated_decision_hears_of_the_end_again() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Deny).await;
        for _ in 0..2 {
            assert_eq!(scene.closed().await, ClosedOutcome::Denied);
            sleep(Duration::from_millis(50)).await;
            scene.push.deliver(&scene.phone.reply(&scene.lab, &asked, Answer::Deny, CODE));
        }
        assert_eq!(scene.closed().await, ClosedOutcome::Denied);
        peer.answer("").await;
        assert_eq!(peer.outcome().await, Outcome::Denied);
    })
    .await;
}

/// Phones hear what has truly happened: nobody is let in by what cannot be written down.
#[tokio::test]
async fn an_approval_that_cannot_be_written_down_is_told_as_failed() {
    play(async {
        for stage in [Stage::Auth, Stage::Session] {
            let mut scene = Scene::new(|_| {}).await;
            let mut peer = scene.login(begin("sshd", stage));
            peer.step().await;
            let asked = scene.asked().await;
            scene.lab.app.audit.breaks_for_tests();
            if stage == Stage::Auth {
                scene.answer(&asked, Answer::Approve).await;
                peer.answer(CODE).await;
            } else {
                peer.go_on(Continue::default()).await;
                scene.answer(&asked, Answer::Approve).await;
            }
            assert_eq!(peer.outcome().await, Outcome::Fault);
            assert_eq!(scene.closed().await, ClosedOutcome::Failed);
            scene.push.is_quiet().await;
        }
    })
    .await;
}

/// Whoever waits for a login waits for nothing that is done for phones.
#[tokio::test]
async fn a_grant_is_told_to_phones_after_its_verdict() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let (here, there) = UnixStream::pair().unwrap();
        let caller = Caller { uid: 0, gid: 0, pid: None, root_socket: true };
        let (app, begin) = (Rc::clone(&scene.lab.app), begin("sshd", Stage::Session));
        let mut serving = Box::pin(login::serve(app, caller, Connection::new(there), begin));
        let mut peer = Peer { connection: Connection::new(here), serving: spawn_local(async {}) };
        let granted = async {
            peer.step().await;
            peer.go_on(Continue::default()).await;
            let asked = scene.asked().await;
            scene.push.deliver(&scene.phone.reply(&scene.lab, &asked, Answer::Approve, CODE));
            peer.outcome().await
        };
        // The verdict is looked for before the daemon goes on.
        tokio::select! {
            biased;
            outcome = granted => assert_eq!(outcome, Outcome::Granted),
            () = &mut serving => panic!("nothing is left to do after the verdict"),
        }
        scene.push.is_quiet().await;
        serving.await;
        assert_eq!(scene.closed().await, ClosedOutcome::Approved);
    })
    .await;
}

/// A denial needs no record to be told: the phones stop ringing whatever the disk does.
#[tokio::test]
async fn a_denial_is_told_though_it_cannot_be_written_down() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        scene.lab.app.audit.breaks_for_tests();
        scene.answer(&asked, Answer::Deny).await;
        assert_eq!(scene.closed().await, ClosedOutcome::Denied);
        peer.answer("").await;
        assert_eq!(peer.outcome().await, Outcome::Fault);
    })
    .await;
}

/// As for two machines that were made from one image: they must not take it from each other at full speed.
#[tokio::test]
async fn a_stream_that_another_machine_has_taken_is_left_to_it_for_a_while() {
    play(async {
        let scene = Scene::new(|_| {}).await;
        let relay = &scene.lab.app.relay;
        let up = async {
            while !relay.is_up() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert_eq!(scene.push.streams(), 1);
        scene.push.replace();
        let down = async {
            while relay.is_up() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, down).await.expect("it is noticed");
        assert_eq!(relay.trouble().full, "another machine uses this host's key");
        // Also while a login wants the server.
        let mut peer = scene.login(sshd());
        assert!(peer.prompt().await.contains("cannot be reached"));
        sleep(Duration::from_secs(2)).await;
        assert_eq!(scene.push.streams(), 1);
        timeout(PATIENCE, up).await.expect("it takes its turn, since a login waits");
        assert_eq!(scene.push.streams(), 2);
        drop(peer);
    })
    .await;
}
