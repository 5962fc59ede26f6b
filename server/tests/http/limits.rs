//! Everything is bounded, and every refusal is a Problem.

use crate::common::{Server, assert_refused, check, http};
use countersign_protocol::api::{Directory, MAX_BODY, MAX_POST};
use countersign_protocol::message::MessageType::Request;
use futures_util::StreamExt;
use reqwest::{Method, Response};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[tokio::test]
async fn bodies_are_bounded_and_json() {
    let server = Server::start();
    let host = server.host().await;
    let post = |path: &'static str, size: usize, kind: &'static str| {
        let request = host.request(Method::POST, path).header("content-type", kind);
        async move { check(request.body(" ".repeat(size)).send().await.unwrap()).await }
    };
    let json = "application/json";
    assert_refused(post("/v1/messages", MAX_POST, json).await, 400, "bad-request");
    assert_refused(post("/v1/messages", MAX_POST + 1, json).await, 413, "too-large");
    assert_refused(
        post("/v1/auth/token", MAX_BODY, "application/json; charset=utf-8").await,
        400,
        "bad-request",
    );
    assert_refused(post("/v1/auth/token", MAX_BODY + 1, json).await, 413, "too-large");
    for kind in ["text/plain", "", "application/jsonx"] {
        assert_refused(post("/v1/auth/token", 10, kind).await, 415, "media-type");
    }
    // Without a length said before. One byte too much is enough: the server answers and hangs up, and whoever is
    // still writing then may not hear the answer.
    let chunks =
        (0..MAX_POST / 4096).map(|_| vec![b' '; 4096]).chain([vec![b' ']]).map(Ok::<_, std::io::Error>);
    let chunks = futures_util::stream::iter(chunks).chain(futures_util::stream::pending());
    let request = host.request(Method::POST, "/v1/messages").header("content-type", json);
    let response = request.body(reqwest::Body::wrap_stream(chunks)).send().await.unwrap();
    assert_refused(check(response).await, 413, "too-large");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let server = Server::start();
    let client = http();
    let send = |method: Method, path: &str| client.request(method, format!("{}{path}", server.url)).send();
    for path in ["/nothing", "/v1", "/v1/nothing", "/v1/mailboxes/a/b/c"] {
        assert_refused(check(send(Method::GET, path).await.unwrap()).await, 404, "not-found");
    }
    assert_refused(check(send(Method::GET, "/v1/messages").await.unwrap()).await, 405, "method");
    assert_refused(check(send(Method::PATCH, "/v1/devices").await.unwrap()).await, 405, "method");
    let odd = Method::from_bytes(b"ODD").unwrap();
    assert_refused(check(send(odd, "/healthz").await.unwrap()).await, 405, "method");
}

#[track_caller]
fn retry_after(response: &Response) -> u64 {
    response.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn too_many_calls_of_a_host_have_to_wait() {
    let server = Server::with_config("[limits]\nhost_rate = 1\n");
    let host = server.host().await;
    let other = server.host().await;
    let mut answers = Vec::new();
    for _ in 0..14 {
        answers.push(host.request(Method::GET, "/v1/devices").send().await.unwrap());
    }
    let refused: Vec<_> = answers.into_iter().filter(|answer| !answer.status().is_success()).collect();
    assert!((2..=4).contains(&refused.len()), "{}", refused.len());
    for answer in refused {
        assert_eq!(retry_after(&answer), 1);
        assert_refused(check(answer).await, 429, "limit");
    }
    other.get::<Directory>("/v1/devices").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    host.get::<Directory>("/v1/devices").await.unwrap();
}

#[tokio::test]
async fn one_host_cannot_ring_one_phone_all_day() {
    let server = Server::with_config("[limits]\npair_rate = 1\n");
    let host = server.host().await;
    let (device, other) = (server.device(&host).await, server.device(&host).await);
    let mut refused = 0;
    for id in 0..14 {
        match host.post(vec![host.sealed(Request, &device, id, 1)], 60).await {
            Ok(_) => {}
            refusal => {
                assert_refused(refusal, 429, "limit");
                refused += 1;
            }
        }
    }
    assert!((1..=4).contains(&refused), "{refused}");
    host.post(vec![host.sealed(Request, &other, 1, 1)], 60).await.unwrap();
}

#[tokio::test]
async fn an_address_that_guesses_has_to_wait() {
    let server = Server::with_config("[limits]\naddress_rate = 1\n");
    let client = http();
    let mut codes = Vec::new();
    for _ in 0..14 {
        let guess = client.get(format!("{}/v1/devices", server.url)).bearer_auth("A".repeat(43));
        codes.push(guess.send().await.unwrap().status().as_u16());
    }
    assert!(codes.starts_with(&[401; 10]) && codes.contains(&429), "{codes:?}");
    // Health is not counted.
    assert!(client.get(format!("{}/healthz", server.url)).send().await.unwrap().status().is_success());
}

#[tokio::test]
async fn behind_a_proxy_its_last_word_is_the_address() {
    let server = Server::start_with(
        tempfile::tempdir().unwrap().into(),
        "127.0.0.1:0",
        &["--behind-proxy", "--origin", "https://push.example.com"],
        "[limits]\naddress_rate = 1\n",
    );
    let client = http();
    let guess = async |forwarded: &str| {
        let guess = client.get(format!("{}/v1/devices", server.url)).header("x-forwarded-for", forwarded);
        guess.send().await.unwrap().status().as_u16()
    };
    for n in 0..14 {
        guess(&format!("198.51.100.{n}, 192.0.2.1")).await;
    }
    assert_eq!(guess("192.0.2.1").await, 429, "what the client writes itself does not help it");
    assert_eq!(guess("192.0.2.1, 192.0.2.2").await, 401);
}

#[tokio::test]
async fn a_full_host_is_told_so_and_may_still_close() {
    let server = Server::with_config("[limits]\nmessages_per_host = 3\n");
    let host = server.host().await;
    let device = server.device(&host).await;
    for id in 0..3 {
        host.post(vec![host.sealed(Request, &device, id, 1)], 60).await.unwrap();
    }
    assert_refused(host.post(vec![host.sealed(Request, &device, 3, 1)], 60).await, 429, "limit");
    let closed = host.sealed(countersign_protocol::message::MessageType::Closed, &device, 0, 1);
    host.post(vec![closed], 60).await.unwrap();
    host.post(vec![host.sealed(Request, &device, 3, 1)], 60).await.unwrap();
}

#[tokio::test]
async fn links_and_mailboxes_are_bounded() {
    let server = Server::with_config("[limits]\ndevices_per_host = 2\nmailboxes_per_host = 2\n");
    let host = server.host().await;
    let mailbox = host.mailbox().await;
    for _ in 0..2 {
        let device = crate::common::Caller::new(&server);
        device.register(&mailbox, device.card(1)).await.unwrap();
    }
    let third = crate::common::Caller::new(&server);
    assert_refused(third.register(&mailbox, third.card(1)).await, 403, "limit");
    host.mailbox().await;
    let path = "/v1/mailboxes/00112233445566778899aabbccddeeff";
    assert_refused(host.send(Method::PUT, path, &()).await, 429, "limit");
}

#[tokio::test]
async fn a_full_device_does_not_keep_others_from_theirs() {
    let server = Server::with_config("[limits]\nmessages_per_device = 2\n");
    let (host, greedy) = (server.host().await, server.host().await);
    let full = server.device(&host).await;
    full.link(&greedy).await;
    let other = server.device(&host).await;
    for id in 0..2 {
        greedy.post(vec![greedy.sealed(Request, &full, id, 1)], 60).await.unwrap();
    }
    let to = |device| host.sealed(Request, device, 1, 1);
    assert_refused(host.post(vec![to(&full)], 60).await, 429, "limit");
    host.post(vec![to(&full), to(&other)], 60).await.unwrap();
    let mut stream = other.stream().await;
    assert_eq!(stream.sealed().await.1, to(&other));
}

/// Reads until the server hangs up.
fn hung_up_after(mut stream: TcpStream, say: &[u8]) -> Duration {
    let begun = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    stream.write_all(say).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    begun.elapsed()
}

#[tokio::test]
async fn who_never_finishes_a_request_is_hung_up_on() {
    let server = Server::start();
    let address = server.url.trim_start_matches("http://").to_owned();
    let cases: [&'static [u8]; 5] = [
        b"",
        b"PRI * HTTP/2.0\r\n\r\nSM",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v1/auth/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    ];
    let threads = cases.map(|say| {
        let stream = TcpStream::connect(&address).unwrap();
        std::thread::spawn(move || hung_up_after(stream, say))
    });
    for (say, thread) in cases.into_iter().zip(threads) {
        let after = thread.join().unwrap();
        let said = String::from_utf8_lossy(say);
        assert!(after > Duration::from_secs(9) && after < Duration::from_secs(35), "{said:?}: {after:?}");
    }
}

#[tokio::test]
async fn connections_are_bounded() {
    let server = Server::with_config("[limits]\nconnections = 3\n");
    let address = server.url.trim_start_matches("http://").to_owned();
    let held: Vec<_> = (0..3).map(|_| TcpStream::connect(&address).unwrap()).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let refused = TcpStream::connect(&address).unwrap();
    assert!(hung_up_after(refused, b"") < Duration::from_secs(5));
    drop(held);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(http().get(format!("{}/healthz", server.url)).send().await.unwrap().status().is_success());
}
