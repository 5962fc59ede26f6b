//! The client against a small server of the tests' own.

mod fake;

use countersign_protocol::api::{Post, SignedCard};
use countersign_protocol::keys::{PublicKey, SignError, Signer, SigningKey};
use countersign_relay_client::{Event, RelayClient, RelayError, Server, Slot};
use fake::{Wire, client, sealed, start};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};

fn post(ttl: u32) -> Post {
    Post { messages: vec![sealed(0)], ttl, ring: true }
}

#[tokio::test]
async fn calls_go_where_they_should() {
    let (fake, address) = start().await;
    let client = client(&format!("http://{address}"));
    let card = SignedCard { card: "{}".into(), signature: "s".into() };
    client.join("good", "db-1").await.unwrap();
    client.register("00ff", &card).await.unwrap();
    client.put_card(&card).await.unwrap();
    client.unlink("A-_9").await.unwrap();
    client.open_mailbox("00ff").await.unwrap();
    client.put_mail("00ff", Slot::Second, "two").await.unwrap();
    client.post_first("00ff", "one").await.unwrap();
    assert_eq!(client.mails("00ff", Slot::Third, 4, 0).await.unwrap(), ["mail"]);
    client.close_mailbox("00ff").await.unwrap();
    let expected = [
        "join db-1 good true",
        "register 00ff",
        "card self",
        "unlink A-_9",
        "PUT 00ff",
        "PUT 00ff m2 two token=true",
        "POST 00ff m1 one token=false",
        "GET 00ff m3 4 token=false",
        "DELETE 00ff",
    ];
    assert_eq!(fake.noted(), expected);
    assert_eq!(client.directory().await.unwrap().devices, [card]);
    assert_eq!(client.post(&post(60)).await.unwrap().listening, 2);
    // An id cannot become another path.
    for bad in ["", "../hosts", "a/b", "a?b", "a%2fb", &"a".repeat(65)] {
        assert!(matches!(client.unlink(bad).await, Err(RelayError::Status { status: 404, .. })));
    }
    assert_eq!(fake.noted(), [""; 0]);
}

#[tokio::test]
async fn a_list_goes_and_comes_as_it_is() {
    let (fake, address) = start().await;
    let client = client(&format!("http://{address}"));
    client.put_list("00ff", b"\0\xff", 5000).await.unwrap();
    // A forgotten token is earned anew.
    fake.forget_tokens.store(true, Ordering::SeqCst);
    client.put_list("00fe", b"two", 0).await.unwrap();
    let expected = [
        "list 00ff ttl=900 application/octet-stream b\"\\0\\xff\"",
        "list 00fe ttl=1 application/octet-stream b\"two\"",
    ];
    assert_eq!(fake.noted(), expected);
    assert_eq!(client.list("A-_9", "00ff").await.unwrap(), b"A-_9 00ff");
    assert!(matches!(client.list("A", "none").await, Err(RelayError::Status { status: 404, .. })));
    assert!(matches!(client.list("A/B", "00ff").await, Err(RelayError::Status { status: 404, .. })));
}

#[tokio::test]
async fn a_list_that_is_slow_disturbs_no_other_call() {
    let (fake, address) = start().await;
    let (wire, near) = Wire::before(address).await;
    *fake.origin.lock().unwrap() = format!("http://{near}");
    let client = client(&format!("http://{near}"));
    client.greet().await.unwrap();
    client.directory().await.unwrap();
    fake.slow_lists.store(true, Ordering::SeqCst);
    let message = post(60);
    let others = async {
        // Longer than a connection that does not answer is believed in.
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            client.post(&message).await.unwrap();
        }
    };
    let ((), list) = tokio::join!(others, client.put_list("00ff", b"long", 60));
    list.unwrap();
    assert_eq!(fake.noted().iter().filter(|line| line.starts_with("list")).count(), 1, "it was sent once");
    assert_eq!(wire.connections.load(Ordering::SeqCst), 2, "the others' and the list's");
    assert_eq!(client.connection(), 0, "nothing was given up");
}

#[tokio::test]
async fn one_token_serves_until_the_server_forgets_it() {
    let (fake, address) = start().await;
    let client = client(&format!("http://{address}"));
    let (a, b, c) = tokio::join!(client.directory(), client.directory(), client.directory());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(fake.tokens.load(Ordering::SeqCst), 1, "earned once for all");
    fake.forget_tokens.store(true, Ordering::SeqCst);
    client.directory().await.unwrap();
    assert!(fake.tokens.load(Ordering::SeqCst) > 1);
    let before = fake.tokens.load(Ordering::SeqCst);
    client.directory().await.unwrap();
    assert_eq!(fake.tokens.load(Ordering::SeqCst), before);
}

#[tokio::test]
async fn a_statement_for_another_server_earns_nothing() {
    let (fake, address) = start().await;
    *fake.origin.lock().unwrap() = "https://push.example.com".into();
    let refused = client(&format!("http://{address}")).directory().await;
    assert!(matches!(refused, Err(RelayError::Status { status: 403, .. })));
}

#[tokio::test]
async fn the_stream_brings_events() {
    let (fake, address) = start().await;
    let client = client(&format!("http://{address}"));
    let mut events = client.events().await.unwrap();
    assert!(!events.is_polling());
    assert!(matches!(events.next().await.unwrap(), Event::Hello(hello) if hello.server == "9"));
    assert_eq!(events.next().await.unwrap(), Event::KeepAlive);
    assert_eq!(events.next().await.unwrap(), Event::KeepAlive, "an event of a later server");
    assert_eq!(events.next().await.unwrap(), Event::Decision(sealed(1)));
    assert!(matches!(events.next().await, Err(RelayError::Connection { .. })), "its end is told");
    // A forgotten token is earned anew for streams, too.
    fake.forget_tokens.store(true, Ordering::SeqCst);
    assert!(client.events().await.is_ok());
}

#[tokio::test]
async fn a_calm_client_asks_to_be_woken_less_often() {
    let (fake, address) = start().await;
    let server = Server { origin: format!("http://{address}"), ca_pem: None };
    let calm = Arc::new(RelayClient::new_calm(server, Arc::new(SigningKey::generate())).unwrap());
    assert!(calm.events().await.is_ok());
    assert_eq!(fake.noted(), ["stream comments=40"]);
}

#[tokio::test]
async fn a_stream_that_is_held_back_becomes_long_polls() {
    let (fake, address) = start().await;
    fake.hold_streams.store(true, Ordering::SeqCst);
    let client = client(&format!("http://{address}"));
    let began = Instant::now();
    let mut events = client.events().await.unwrap();
    assert!(events.is_polling());
    assert!((2900..4500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert!(matches!(events.next().await.unwrap(), Event::Hello(_)));
    for number in 1..4 {
        assert_eq!(events.next().await.unwrap(), Event::Decision(sealed(number)));
    }
    let expected = ["stream", "poll after= wait=0", "poll after=e-1 wait=25", "poll after=e-2 wait=25"];
    assert_eq!(fake.noted(), expected);
}

#[tokio::test]
async fn long_polls_become_a_stream_again_once_nothing_holds_it_back() {
    let (fake, address) = start().await;
    fake.hold_streams.store(true, Ordering::SeqCst);
    let client = client(&format!("http://{address}"));
    let mut events = client.events().await.unwrap();
    assert!(matches!(events.next().await.unwrap(), Event::Hello(_)) && events.is_polling());
    let later = async |seconds| {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    };
    fake.noted();
    // Not yet; then in vain, and what comes meanwhile comes by poll.
    later(200).await;
    assert!(matches!(events.next().await.unwrap(), Event::Decision(_)));
    assert!(!fake.noted().contains(&"stream".to_owned()));
    later(101).await;
    assert!(matches!(events.next().await.unwrap(), Event::Decision(_)) && events.is_polling());
    fake.hold_streams.store(false, Ordering::SeqCst);
    fake.slow_polls.store(true, Ordering::SeqCst);
    later(301).await;
    assert!(matches!(events.next().await.unwrap(), Event::Hello(hello) if hello.server == "9"));
    assert!(!events.is_polling());
}

#[tokio::test]
async fn all_goes_through_one_connection() {
    let (fake, address) = start().await;
    let (wire, near) = Wire::before(address).await;
    *fake.origin.lock().unwrap() = format!("http://{near}");
    let client = client(&format!("http://{near}"));
    let _events = client.events().await.unwrap();
    let message = post(60);
    for _ in 0..5 {
        let (a, b) = tokio::join!(client.post(&message), client.directory());
        assert!(a.is_ok() && b.is_ok());
    }
    assert_eq!(wire.connections.load(Ordering::SeqCst), 1);
    assert!(fake.versions.lock().unwrap().iter().all(|v| *v == axum::http::Version::HTTP_2));
}

#[tokio::test]
async fn a_dead_connection_is_not_used_again() {
    let (fake, address) = start().await;
    let (wire, near) = Wire::before(address).await;
    *fake.origin.lock().unwrap() = format!("http://{near}");
    let client = client(&format!("http://{near}"));
    client.directory().await.unwrap();
    wire.dead.store(1, Ordering::SeqCst);
    let began = Instant::now();
    assert!(matches!(client.directory().await, Err(RelayError::Timeout { .. })));
    assert!((4900..6500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    client.directory().await.unwrap();
    assert_eq!(wire.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_post_takes_another_connection_when_the_one_that_there_is_is_dead_or_breaks() {
    let (fake, address) = start().await;
    let (wire, near) = Wire::before(address).await;
    *fake.origin.lock().unwrap() = format!("http://{near}");
    let client = client(&format!("http://{near}"));
    // With a token that is good yet, and, on a connection that dies next, with one that has to be earned.
    for (made, forget) in [(1, false), (2, true)] {
        client.directory().await.unwrap();
        wire.dead.store(made, Ordering::SeqCst);
        fake.forget_tokens.store(forget, Ordering::SeqCst);
        let began = Instant::now();
        let message = post(60);
        let (a, b) = tokio::join!(client.post(&message), client.post(&message));
        assert!(a.is_ok() && b.is_ok());
        assert!((650..1900).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        assert_eq!(wire.connections.load(Ordering::SeqCst), made + 1, "one other connection serves both");
    }
    assert_eq!(client.connection(), 2);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let (_fake, address) = start().await;
    let client = client(&format!("http://{address}"));
    let used = client.join("bad", "x").await.unwrap_err();
    assert_eq!(used.code(), Some("token-used"));
    assert_eq!(used.to_string(), "the server answered 403: get another\\u{a}with countersign-server token");
    assert!(!used.is_outage());
    let slow = client.join("slow", "x").await.unwrap_err();
    assert_eq!(slow, RelayError::Limited { retry_after: Some(Duration::from_secs(7)) });
    assert!(matches!(client.join("moved", "x").await, Err(RelayError::Garbage { .. })), "no redirects");
    let broken = client.join("broken", "x").await.unwrap_err();
    assert_eq!(broken, RelayError::Status { status: 502, problem: None });
    assert!(broken.is_outage());
    assert!(matches!(client.post(&post(1)).await, Err(RelayError::Garbage { .. })), "not JSON");
    assert!(matches!(client.post(&post(2)).await, Err(RelayError::Garbage { .. })), "too long");
}

#[tokio::test]
async fn faults_of_the_network_are_told_apart() {
    // Bound, so that nobody else gets the port, but not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = socket.local_addr().unwrap();
    let began = Instant::now();
    let refused = client(&format!("http://{closed}")).directory().await.unwrap_err();
    assert!(matches!(refused, RelayError::Refused { .. }), "{refused:?}");
    assert!(began.elapsed() < Duration::from_millis(500));

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", silent.local_addr().unwrap());
    let began = Instant::now();
    let timeout = client(&origin).events().await.unwrap_err();
    assert!(matches!(timeout, RelayError::Timeout { .. }), "{timeout:?}");
    assert!((2900..4500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());

    let unknown = client("https://push.invalid").directory().await.unwrap_err();
    assert!(matches!(unknown, RelayError::Dns { .. }), "{unknown:?}");

    let talker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", talker.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut stream, _)) = talker.accept().await {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        }
    });
    let other = client(&origin).directory().await.unwrap_err();
    assert!(matches!(other, RelayError::Connection { .. }), "{other:?}");
    assert!(other.is_outage() && timeout.is_outage() && refused.is_outage() && unknown.is_outage());
}

#[tokio::test]
async fn configurations_that_cannot_work_are_refused_at_once() {
    let new = |origin: &str, ca: Option<&[u8]>| {
        let server = Server { origin: origin.into(), ca_pem: ca.map(<[u8]>::to_vec) };
        RelayClient::new(server, Arc::new(SigningKey::generate())).map(drop)
    };
    assert_eq!(new("http://push.example.com", None), Err(RelayError::Origin));
    assert!(matches!(new("https://push.example.com", Some(b"no PEM")), Err(RelayError::Ca(_))));
    let junk = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(new("https://push.example.com", Some(junk)), Err(RelayError::Ca(_))));
}

/// A key in an agent that asks its person first.
struct Slow(SigningKey);

impl Signer for Slow {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign(&self, data: &[u8]) -> Result<Vec<u8>, SignError> {
        std::thread::sleep(Duration::from_millis(3500));
        self.0.sign(data)
    }
}

#[tokio::test]
async fn a_key_that_takes_its_time_stops_nothing_else_and_is_asked_once() {
    let (fake, address) = start().await;
    let server = Server { origin: format!("http://{address}"), ca_pem: None };
    let client = Arc::new(RelayClient::new(server, Arc::new(Slow(SigningKey::generate()))).unwrap());
    let opening = tokio::spawn(async move { client.events().await });
    let mut turns = 0;
    while !opening.is_finished() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        turns += 1;
    }
    let events = opening.await.unwrap().unwrap();
    assert!(!events.is_polling());
    assert!(turns > 30, "{turns}");
    assert_eq!(fake.tokens.load(Ordering::SeqCst), 1);
}
