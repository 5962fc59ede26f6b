//! The real approver and the real server, with a host that the test plays.

mod common;

use common::{Agent, Approver, FakeHost, Screen, Server};
use countersign_protocol::message::{Answer, ClosedOutcome};
use std::time::Duration;

/// A server, a host and an approver that is paired with it and listens.
async fn paired() -> (Server, FakeHost, Approver) {
    let server = Server::start();
    let mut host = FakeHost::new(&server, "web1").await;
    let home = server.dir.path().join("home");
    let mut approver = host.pair(|link| Approver::start(&home, &["--name", "laptop", "--pair", link])).await;
    assert_eq!(approver.wait("paired")["host"], "web1");
    approver.wait("connected");
    (server, host, approver)
}

#[tokio::test]
async fn a_request_is_approved_and_closed_and_another_denied_and_another_reported() {
    let (_server, host, mut approver) = paired().await;
    let mut events = host.events().await;
    let mut counter = 0;
    for (letter, answer, outcome) in [
        ('a', Answer::Approve, ClosedOutcome::Approved),
        ('d', Answer::Deny, ClosedOutcome::Denied),
        ('r', Answer::Report, ClosedOutcome::Reported),
    ] {
        let asked = host.ask().await;
        let shown = approver.wait("request");
        assert_eq!((&shown["user"], &shown["host"]), (&"alice".into(), &"web1".into()));
        approver.line(&format!("{letter} {}", shown["id"].as_str().unwrap()));
        let decided = approver.wait("decided");
        let decision = host.decision(&mut events, &asked).await;
        assert_eq!(decision.decision, answer);
        assert_eq!(decided["code"].as_str(), decision.code.as_deref());
        assert_eq!(decision.code.is_some(), answer == Answer::Approve);
        assert!(decision.counter > counter, "it only rises");
        counter = decision.counter;
        host.close(&asked, outcome).await;
        let closed = approver.wait("closed");
        assert_eq!(closed["outcome"], serde_json::to_value(outcome).unwrap());
    }
    approver.line("q");
    assert_eq!(approver.end(), Some(0));
}

#[tokio::test]
async fn a_request_that_the_host_withdraws_is_gone() {
    let (_server, host, mut approver) = paired().await;
    let asked = host.ask().await;
    let id = approver.wait("request")["id"].as_str().unwrap().to_owned();
    host.close(&asked, ClosedOutcome::Withdrawn).await;
    assert_eq!(approver.wait("closed")["outcome"], "withdrawn");
    // The relay may bring it again, and the person may be late: neither makes a decision.
    host.post_request(&asked).await;
    approver.line(&format!("a {id}"));
    assert!(approver.wait("notice")["message"].as_str().unwrap().contains("no open request"));
    assert!(!approver.saw("decided"));
}

#[tokio::test]
async fn a_forged_request_is_an_alarm_and_cannot_be_approved() {
    let (_server, host, mut approver) = paired().await;
    host.ask_forged().await;
    let alarm = approver.wait("alarm");
    assert!(alarm["message"].as_str().unwrap().contains("another key"), "{alarm}");
    assert!(!approver.saw("request"));
    // It goes on: the true host is heard.
    host.ask().await;
    approver.wait("request");
}

#[tokio::test]
async fn a_decision_survives_a_server_that_forgets_everything() {
    let (mut server, host, mut approver) = paired().await;
    let asked = host.ask().await;
    let id = approver.wait("request")["id"].as_str().unwrap().to_owned();
    // The answer is given while the server is down, and kept until the host closes.
    server.down();
    approver.wait("disconnected");
    approver.line(&format!("a {id}"));
    let code = approver.wait("decided")["code"].as_str().unwrap().to_owned();
    server.up();
    approver.wait("connected");
    let mut events = host.events().await;
    host.post_request(&asked).await;
    let first = host.decision(&mut events, &asked).await;
    assert_eq!(first.code.as_ref(), Some(&code));
    // The server forgets that, too, before the host has closed: the same decision comes again.
    server.down();
    server.up();
    let mut events = host.events().await;
    host.post_request(&asked).await;
    assert_eq!(host.decision(&mut events, &asked).await, first);
    host.close(&asked, ClosedOutcome::Approved).await;
    assert_eq!(approver.wait("closed")["outcome"], "approved");
}

#[tokio::test]
async fn a_decision_survives_an_approver_that_dies() {
    let (mut server, host, mut approver) = paired().await;
    let home = server.dir.path().join("home");
    let asked = host.ask().await;
    let id = approver.wait("request")["id"].as_str().unwrap().to_owned();
    server.down();
    approver.wait("disconnected");
    approver.line(&format!("a {id}"));
    let code = approver.wait("decided")["code"].as_str().unwrap().to_owned();
    drop(approver);
    server.up();
    let mut again = Approver::start(&home, &[]);
    assert_eq!(again.wait("decided")["code"], code, "the person may still have to type it");
    let mut events = host.events().await;
    assert_eq!(host.decision(&mut events, &asked).await.code, Some(code));
    host.close(&asked, ClosedOutcome::Approved).await;
    again.wait("closed");
    again.line("q");
    assert_eq!(again.end(), Some(0));
    let kept = std::fs::read_to_string(home.join("decided.json")).unwrap();
    assert_eq!(kept.trim(), "[]", "a code is kept no longer than it opens something");
}

#[tokio::test]
async fn an_approver_that_starts_again_knows_its_hosts_and_what_was_closed() {
    let (server, host, mut approver) = paired().await;
    let asked = host.ask().await;
    approver.wait("request");
    host.close(&asked, ClosedOutcome::Withdrawn).await;
    approver.wait("closed");
    approver.line("q");
    assert_eq!(approver.end(), Some(0));
    let home = server.dir.path().join("home");
    let mut again = Approver::start(&home, &["--auto-approve-everything-for-tests"]);
    again.wait("connected");
    let mut events = host.events().await;
    host.post_request(&asked).await;
    let fresh = host.ask().await;
    assert_eq!(again.wait("request")["id"], fresh.request.id, "not the closed one");
    let decision = host.decision(&mut events, &fresh).await;
    assert_eq!(again.wait("decided")["code"].as_str(), decision.code.as_deref());
}

#[tokio::test]
async fn another_host_of_the_same_name_is_not_paired_unasked() {
    let (server, _host, mut approver) = paired().await;
    approver.line("q");
    assert_eq!(approver.end(), Some(0));
    let mut other = FakeHost::new(&server, "web1").await;
    let home = server.dir.path().join("home");
    // Input ends, which is a no: the code is never shown.
    let (_pairing, mut approver) = other
        .meet(|link| {
            let mut approver = Approver::start(&home, &["--pair", link]);
            approver.close_input();
            approver
        })
        .await;
    assert_eq!(approver.end(), Some(1));
    assert!(!approver.saw("pairing-code"));
    let hosts = std::fs::read_to_string(home.join("hosts.json")).unwrap();
    assert_eq!(hosts.matches("web1").count(), 1, "{hosts}");
}

#[tokio::test]
async fn an_old_link_is_refused() {
    let server = Server::start();
    let link = format!("{}/pair#1.AAECAwQFBgcICQoLDA0ODw.{}", server.origin(), "A".repeat(43));
    let mut approver = Approver::start(&server.dir.path().join("home"), &["--pair", &link]);
    assert_eq!(approver.end(), Some(1));
    let mut nowhere = Approver::start(&server.dir.path().join("home"), &["--pair", "https://example.com/"]);
    assert_eq!(nowhere.end(), Some(2));
    let mut unpaired = Approver::start(&server.dir.path().join("other"), &[]);
    assert_eq!(unpaired.end(), Some(1));
}

#[tokio::test]
async fn on_a_terminal_one_key_approves_and_the_code_is_drawn() {
    let (server, host, mut approver) = paired().await;
    approver.line("q");
    assert_eq!(approver.end(), Some(0));
    let mut screen = Screen::start(&server.dir.path().join("home"));
    screen.wait("Nothing to approve");
    let mut events = host.events().await;
    let asked = host.ask().await;
    screen.wait("alice wants to log in to web1");
    // Somebody who was typing when it came has not read it.
    screen.press("a");
    screen.wait("this one has just come");
    tokio::time::sleep(Duration::from_millis(800)).await;
    screen.press("a");
    let decision = host.decision(&mut events, &asked).await;
    let code = decision.code.unwrap();
    screen.wait(&format!("{} {}", &code[..3], &code[3..]));
    host.close(&asked, ClosedOutcome::Approved).await;
    screen.wait("let in");
    screen.press("q");
    // The terminal is put back as it was.
    screen.wait("\u{1b}[?1049l");
    assert_eq!(screen.end(), Some(0));
}

#[tokio::test]
async fn a_key_in_ssh_agent_pairs_and_decides_and_is_missed_when_it_is_gone() {
    let server = Server::start();
    let mut host = FakeHost::new(&server, "web1").await;
    let home = server.dir.path().join("home");
    let agent = Agent::start(server.dir.path());
    let public = agent.key.with_extension("pub");
    let args = ["--agent", public.to_str().unwrap(), "--name", "laptop", "--pair"];
    let mut approver =
        host.pair(|link| Approver::start_with(&home, &[&args[..], &[link]].concat(), Some(&agent))).await;
    approver.wait("connected");
    assert!(!home.join("id_ed25519").exists(), "no private key on the disk");
    approver.line("q");
    assert_eq!(approver.end(), Some(0));
    // Another time it is found by itself.
    let mut approver = Approver::start_with(&home, &[], Some(&agent));
    approver.wait("connected");
    let mut events = host.events().await;
    let asked = host.ask().await;
    let id = approver.wait("request")["id"].as_str().unwrap().to_owned();
    approver.line(&format!("d {id}"));
    assert_eq!(host.decision(&mut events, &asked).await.decision, Answer::Deny);
    drop(agent);
    host.ask().await;
    let id = approver.wait("request")["id"].as_str().unwrap().to_owned();
    approver.line(&format!("a {id}"));
    assert!(approver.wait("notice")["message"].as_str().unwrap().contains("ssh-agent"));
    let mut without = Approver::start(&server.dir.path().join("x"), &["--agent", "SHA256:x", "--pair", "x"]);
    assert_eq!(without.end(), Some(3));
}
