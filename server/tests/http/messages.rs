//! Messages and decisions, by stream and by poll.

use crate::common::{Caller, Refused, Server, assert_refused, http};
use countersign_protocol::api::{MAX_MESSAGES, Polled, event};
use countersign_protocol::message::{MessageType, Sealed};
use reqwest::{Client, Method, StatusCode};
use std::time::{Duration, Instant};

use MessageType::{Closed, Decision, Notice, Receipt, Removal, Request};

async fn trio() -> (Server, Caller, Caller) {
    let server = Server::start();
    let host = server.host().await;
    let device = server.device(&host).await;
    (server, host, device)
}

async fn poll(caller: &Caller, query: &str) -> Result<Polled, Refused> {
    caller.get(&format!("/v1/poll{query}")).await
}

fn data(polled: &Polled) -> Vec<Sealed> {
    polled.events.iter().map(|event| event.data.clone()).collect()
}

#[tokio::test]
async fn a_request_goes_down_and_a_decision_comes_up() {
    let (_server, host, device) = trio().await;
    let mut at_device = device.stream().await;
    let mut at_host = host.stream().await;

    let request = host.sealed(Request, &device, 1, 1);
    let posted = host.post(vec![request.clone()], 60).await.unwrap();
    assert_eq!((posted.listening, posted.unknown.len()), (1, 0));
    assert_eq!(at_device.sealed().await, (event::MESSAGE.to_owned(), request));

    let decision = device.sealed(Decision, &host, 1, 2);
    assert_eq!(device.decide(decision.clone()).await.unwrap(), StatusCode::ACCEPTED);
    assert_eq!(at_host.sealed().await, (event::DECISION.to_owned(), decision.clone()));

    // The host lost it with its connection: a new stream has it again.
    let mut again = host.stream().await;
    assert_eq!(again.sealed().await.1, decision);
    assert_eq!(at_host.event().await.unwrap().0, event::REPLACED, "one stream a recipient");
    assert!(at_host.event().await.is_none(), "and it has ended");

    let closed = host.sealed(Closed, &device, 1, 3);
    host.post(vec![closed.clone()], 60).await.unwrap();
    assert_eq!(at_device.sealed().await.1, closed);
    assert!(poll(&host, "").await.unwrap().events.is_empty(), "closed ends the decision");
}

#[tokio::test]
async fn a_register_keeps_its_higher_version() {
    let (_server, host, device) = trio().await;
    let request = host.sealed(Request, &device, 1, 1);
    let closed = host.sealed(Closed, &device, 1, 3);
    host.post(vec![closed.clone()], 60).await.unwrap();
    host.post(vec![request], 60).await.unwrap();
    assert_eq!(data(&poll(&device, "").await.unwrap()), std::slice::from_ref(&closed));
    let mut stream = device.stream().await;
    assert_eq!(stream.sealed().await.1, closed);
}

#[tokio::test]
async fn a_notice_goes_down_and_a_removal_comes_up() {
    let (server, host, device) = trio().await;
    let mut at_device = device.stream().await;
    let mut at_host = host.stream().await;
    let (old, new) = (host.sealed(Notice, &device, 1, 1), host.sealed(Notice, &device, 1, 2));
    for notice in [&old, &new] {
        host.post(vec![notice.clone()], 60).await.unwrap();
        assert_eq!(at_device.sealed().await, (event::MESSAGE.to_owned(), notice.clone()));
    }
    assert_eq!(data(&poll(&device, "").await.unwrap()), std::slice::from_ref(&new));
    // The same id as a request's takes nothing away from it, nor does the end of that.
    let closed = host.sealed(Closed, &device, 1, 3);
    host.post(vec![host.sealed(Request, &device, 1, 4), closed.clone()], 60).await.unwrap();
    assert_eq!(data(&poll(&device, "").await.unwrap()), [new, closed]);

    let removal = device.sealed(Removal, &host, 1, 5);
    assert_eq!(device.decide(removal.clone()).await.unwrap(), StatusCode::ACCEPTED);
    assert_eq!(at_host.sealed().await, (event::DECISION.to_owned(), removal.clone()));
    let stranger = server.device(&server.host().await).await;
    assert_refused(stranger.decide(stranger.sealed(Removal, &host, 1, 1)).await, 403, "not-linked");
    assert_refused(device.decide(stranger.sealed(Removal, &host, 1, 1)).await, 403, "other-key");
    host.post(vec![old], 60).await.unwrap();
    assert_eq!(data(&poll(&host, "").await.unwrap()), [removal], "nothing but time ends it");
}

#[tokio::test]
async fn messages_live_as_long_as_they_may() {
    let (_server, host, device) = trio().await;
    host.post(vec![host.sealed(Request, &device, 1, 1)], 2).await.unwrap();
    assert_eq!(poll(&device, "").await.unwrap().events.len(), 1);
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert!(poll(&device, "").await.unwrap().events.is_empty());
}

#[tokio::test]
async fn a_poll_tells_what_a_stream_tells() {
    let (_server, host, device) = trio().await;
    let mut stream = device.stream().await;
    let all: Vec<_> = (0..150).map(|id| host.sealed(Request, &device, id, id)).collect();
    for part in all.chunks(MAX_MESSAGES) {
        host.post(part.to_vec(), 60).await.unwrap();
    }
    let mut streamed = Vec::new();
    for _ in 0..all.len() {
        streamed.push(stream.sealed().await.1);
    }
    assert_eq!(streamed, all);
    let mut polled = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = poll(&device, &format!("?after={cursor}")).await.unwrap();
        cursor = answer.cursor.clone();
        if answer.events.is_empty() {
            break;
        }
        assert!(answer.events.iter().all(|event| event.event == event::MESSAGE));
        polled.extend(data(&answer));
    }
    assert_eq!(polled, all);

    // Waiting: woken by what comes, and not before.
    let before = Instant::now();
    let late = host.sealed(Request, &device, 200, 7);
    let query = format!("?after={cursor}&wait=20");
    let (answer, _) = tokio::join!(poll(&device, &query), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        host.post(vec![late.clone()], 60).await.unwrap();
    });
    let elapsed = before.elapsed();
    assert!(elapsed > Duration::from_millis(400) && elapsed < Duration::from_secs(10), "{elapsed:?}");
    assert_eq!(data(&answer.unwrap()), [late]);

    // A cursor of a server that has forgotten everything begins at the beginning.
    assert_eq!(poll(&device, "?after=0011223344556677-9999").await.unwrap().events.len(), 64);
    let before = Instant::now();
    let last = poll(&device, &format!("?after={}", poll_end(&device).await)).await.unwrap();
    assert!(last.events.is_empty() && before.elapsed() < Duration::from_secs(10));
    for bad in ["?wait=26", "?wait=-1", "?other=1"] {
        assert_refused(poll(&device, bad).await, 400, "bad-request");
    }
}

async fn poll_end(device: &Caller) -> String {
    let mut cursor = String::new();
    loop {
        let answer = poll(device, &format!("?after={cursor}")).await.unwrap();
        if answer.events.is_empty() {
            return answer.cursor;
        }
        cursor = answer.cursor;
    }
}

#[tokio::test]
async fn few_polls_wait_at_a_time() {
    let (_server, _host, device) = trio().await;
    let polls = (0..6).map(|_| poll(&device, "?wait=2"));
    let answers = futures_util::future::join_all(polls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 4);
    for answer in answers.into_iter().filter(Result::is_err) {
        assert_refused(answer, 429, "limit");
    }
    poll(&device, "").await.unwrap();
}

#[tokio::test]
async fn a_stream_shows_that_it_is_alive_while_logins_wait() {
    let (_server, host, device) = trio().await;
    let mut stream = host.stream().await;
    let quiet = tokio::time::timeout(Duration::from_secs(3), stream.block()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    host.post(vec![host.sealed(Request, &device, 1, 1)], 60).await.unwrap();
    let before = Instant::now();
    for _ in 0..3 {
        let (name, _) = stream.block().await.unwrap();
        assert_eq!(name, "");
    }
    assert!(before.elapsed() < Duration::from_secs(6), "{:?}", before.elapsed());
    host.post(vec![host.sealed(Closed, &device, 1, 2)], 60).await.unwrap();
    // One comment may have been under way.
    let _ = tokio::time::timeout(Duration::from_millis(1500), stream.block()).await;
    let quiet = tokio::time::timeout(Duration::from_secs(3), stream.block()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn nobody_posts_for_others_or_to_strangers() {
    let (server, host, device) = trio().await;
    let other_host = server.host().await;
    let stranger = server.device(&other_host).await;

    let foreign = other_host.sealed(Request, &device, 1, 1);
    assert_refused(host.post(vec![foreign], 60).await, 403, "other-key");
    let mixed = vec![
        host.sealed(Request, &stranger, 1, 1),
        host.sealed(Request, &device, 1, 1),
        host.sealed(Request, &host, 2, 1),
    ];
    let posted = host.post(mixed, 60).await.unwrap();
    assert_eq!((posted.listening, posted.unknown), (0, vec![stranger.id(), host.id()]));
    assert!(poll(&stranger, "").await.unwrap().events.is_empty());
    assert_eq!(poll(&device, "").await.unwrap().events.len(), 1);

    assert_refused(stranger.decide(stranger.sealed(Decision, &host, 1, 1)).await, 403, "not-linked");
    assert_refused(device.decide(stranger.sealed(Decision, &host, 1, 1)).await, 403, "other-key");
    assert_refused(device.decide(device.sealed(Decision, &stranger, 1, 1)).await, 403, "not-linked");
    assert!(poll(&host, "").await.unwrap().events.is_empty());

    for message_type in [Decision, Receipt, Removal] {
        let wrong = host.sealed(message_type, &device, 1, 1);
        assert_refused(host.post(vec![wrong], 60).await, 400, "bad-request");
    }
    for message_type in [Request, Closed, Receipt, Notice] {
        let wrong = device.sealed(message_type, &host, 1, 1);
        assert_refused(device.decide(wrong).await, 400, "bad-request");
    }
}

#[tokio::test]
async fn malformed_posts_are_refused_whole() {
    let (_server, host, device) = trio().await;
    let good = host.sealed(Request, &device, 1, 1);
    let bad = Sealed { sealed: good.sealed[4..].to_owned(), ..good.clone() };
    assert_refused(host.post(vec![good.clone(), bad], 60).await, 400, "bad-request");
    assert_refused(host.post(vec![], 60).await, 400, "bad-request");
    assert_refused(host.post(vec![good.clone()], 0).await, 400, "bad-request");
    assert_refused(host.post(vec![good.clone()], 901).await, 400, "bad-request");
    let many: Vec<_> = (0..=MAX_MESSAGES as u8).map(|id| host.sealed(Request, &device, id, 1)).collect();
    assert_refused(host.post(many, 60).await, 400, "bad-request");
    let unknown = serde_json::json!({ "messages": [good], "ttl": 60, "ring": true, "more": 1 });
    assert_refused(host.send(Method::POST, "/v1/messages", &unknown).await, 400, "bad-request");
    assert!(poll(&device, "").await.unwrap().events.is_empty());
}

#[tokio::test]
async fn one_http2_connection_carries_it_all() {
    let (_server, mut host, mut device) = trio().await;
    let client = || Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    (host.http, device.http) = (client(), client());
    let mut stream = device.stream().await;
    for id in 0..20 {
        let request = host.sealed(Request, &device, id, id);
        host.post(vec![request.clone()], 60).await.unwrap();
        assert_eq!(stream.sealed().await.1, request);
    }
    let response = http().get(format!("{}/healthz", host.url)).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_11);
    let response = host.http.get(format!("{}/healthz", host.url)).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
}
