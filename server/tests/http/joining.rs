//! Who gets in.

use crate::common::{Caller, Server, assert_refused, check, http};
use countersign_protocol::api::{Challenge, ChallengeFor, Directory, Hosts};
use countersign_protocol::auth;
use countersign_protocol::keys::{Signer, SigningKey};
use reqwest::{Method, StatusCode};

#[tokio::test]
async fn a_join_token_lets_one_host_in() {
    let server = Server::start();
    let token = server.join_token(&[]);
    let mut host = Caller::new(&server);
    assert_refused(host.authenticate().await, 403, "unknown-key");
    assert_eq!(host.join(&token, "db-1").await.unwrap(), StatusCode::CREATED);
    host.authenticate().await.unwrap();
    assert_eq!(host.get::<Directory>("/v1/devices").await.unwrap().devices, []);
    // The same host may repeat itself, nobody else.
    assert_eq!(host.join(&token, "db-1").await.unwrap(), StatusCode::OK);
    assert_refused(Caller::new(&server).join(&token, "db-2").await, 403, "token-used");
    assert_refused(Caller::new(&server).join("join-x", "db-2").await, 403, "token-unknown");
    assert_refused(Caller::new(&server).join(&"x".repeat(10_000), "db-2").await, 403, "token-unknown");
    for name in ["", "a\nb", "a\u{202e}b", &"a".repeat(254)] {
        let token = server.join_token(&[]);
        assert_refused(Caller::new(&server).join(&token, name).await, 400, "bad-request");
    }
    server.wait_until_said(&["(db-1) has joined"]).await;
    assert!(!server.log().iter().any(|line| line.contains(&token)));
    let stored = std::fs::read(server.database()).unwrap();
    assert!(!stored.windows(token.len()).any(|window| window == token.as_bytes()));
}

#[tokio::test]
async fn a_join_token_expires() {
    let server = Server::start();
    let token = server.join_token(&["--ttl", "1s"]);
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert_refused(Caller::new(&server).join(&token, "db-1").await, 403, "token-expired");
}

#[tokio::test]
async fn a_proof_is_good_once_here_and_for_its_key() {
    let server = Server::start();
    let host = server.host().await;

    let proof = host.proof().await;
    host.earn(&proof).await.unwrap();
    assert_refused(host.earn(&proof).await, 403, "bad-nonce");

    let elsewhere = auth::prove(&host.key, "https://other.example", &host.challenge().await).unwrap();
    let problem = assert_refused(host.earn(&elsewhere).await, 403, "wrong-origin");
    assert!(problem.message.contains(&server.url), "{problem:?}");

    // A nonce that was given to another key.
    let other = Caller::new(&server);
    let swapped = auth::prove(&host.key, &host.origin, &other.challenge().await).unwrap();
    assert_refused(host.earn(&swapped).await, 403, "bad-nonce");

    // A nonce that was never given.
    let Challenge { expires_at, .. } = host.challenge().await;
    for nonce in ["A".repeat(64), "x".to_owned(), "ü".to_owned()] {
        let made_up = auth::prove(&host.key, &host.origin, &Challenge { nonce, expires_at }).unwrap();
        assert_refused(host.earn(&made_up).await, 403, "bad-nonce");
    }

    // A longer life than was given.
    let mut longer = host.challenge().await;
    longer.expires_at += 3600;
    let longer = auth::prove(&host.key, &host.origin, &longer).unwrap();
    assert_refused(host.earn(&longer).await, 403, "bad-nonce");

    // Another key's signature under this key's statement.
    let mut forged = host.proof().await;
    let thief = SigningKey::generate();
    forged.signature =
        countersign_protocol::sshsig::sign(&thief, "auth@countersign.org", forged.statement.as_bytes())
            .unwrap();
    assert_refused(host.earn(&forged).await, 403, "bad-proof");
    forged.signature = "no signature".to_owned();
    assert_refused(host.earn(&forged).await, 403, "bad-proof");

    let key = ChallengeFor { key: "ssh-rsa AAAA".to_owned() };
    assert_refused(host.send(Method::POST, "/v1/auth/challenge", &key).await, 400, "bad-request");
}

#[tokio::test]
async fn nothing_goes_without_a_token() {
    let server = Server::start();
    let host = server.host().await;
    let device = server.device(&host).await;
    let calls = [
        (Method::GET, "/v1/hosts"),
        (Method::GET, "/v1/devices"),
        (Method::PUT, "/v1/devices/self"),
        (Method::DELETE, "/v1/devices/x"),
        (Method::DELETE, "/v1/hosts/x"),
        (Method::POST, "/v1/messages"),
        (Method::POST, "/v1/decisions"),
        (Method::PUT, "/v1/lists/00112233445566778899aabbccddeeff?ttl=60"),
        (Method::GET, "/v1/lists/x/00112233445566778899aabbccddeeff"),
        (Method::GET, "/v1/stream"),
        (Method::GET, "/v1/poll"),
        (Method::PUT, "/v1/mailboxes/00112233445566778899aabbccddeeff"),
        (Method::DELETE, "/v1/mailboxes/00112233445566778899aabbccddeeff"),
        (Method::PUT, "/v1/mailboxes/00112233445566778899aabbccddeeff/m2"),
    ];
    let wrong = format!("Bearer {}", "A".repeat(43));
    for (method, path) in calls {
        for header in [None, Some("Bearer"), Some("Basic YTpi"), Some(&wrong), Some(&host.token)] {
            let mut request = http().request(method.clone(), format!("{}{path}", server.url));
            if let Some(header) = header {
                request = request.header("authorization", header);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            assert_refused(check(response).await, 401, "unauthorized");
        }
    }
    // Each role has its own calls.
    assert_refused(device.get::<Directory>("/v1/devices").await, 403, "not-a-host");
    assert_refused(device.post(vec![], 60).await, 403, "not-a-host");
    assert_refused(host.get::<Hosts>("/v1/hosts").await, 403, "not-a-device");
    let decision = host.sealed(countersign_protocol::message::MessageType::Decision, &device, 1, 1);
    assert_refused(host.decide(decision).await, 403, "not-a-device");
}

#[tokio::test]
async fn hosts_and_devices_survive_a_restart_and_tokens_do_not() {
    let server = Server::start();
    let mut host = server.host().await;
    let mut device = server.device(&host).await;
    let server = server.restart();
    server.wait_until_said(&["1 hosts, 1 devices, 1 links"]).await;
    // Connections to the old process are dead.
    (host.http, device.http) = (http(), http());
    assert_refused(host.get::<Directory>("/v1/devices").await, 401, "unauthorized");
    host.authenticate().await.unwrap();
    device.authenticate().await.unwrap();
    assert_eq!(host.get::<Directory>("/v1/devices").await.unwrap().devices, [device.card(1)]);
    let hosts = device.get::<Hosts>("/v1/hosts").await.unwrap().hosts;
    assert_eq!((hosts[0].id.as_str(), hosts[0].name.as_str()), (host.id().as_str(), "db-1"));
    assert_eq!(host.key.public_key().id(), host.id());
}
