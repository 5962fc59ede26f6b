//! Lists of requests: from a host, to the devices that are linked to it, until the request is over.

use crate::common::{Caller, Refused, Server, assert_refused, check, http};
use countersign_protocol::api::MAX_TTL;
use countersign_protocol::list::{self, MAX_BODY, MAX_SEALED};
use countersign_protocol::message::MessageType::{Closed, Request};
use reqwest::{Method, StatusCode, header};
use std::time::Duration;

const OCTETS: &str = "application/octet-stream";
/// The length of the shortest list, encrypted.
const SHORT: usize = list::STEP + 28;
/// Most lists of a host.
const MOST: u8 = 32;

fn id(number: u8) -> String {
    format!("{number:02x}").repeat(16)
}

async fn put_as(host: &Caller, path: &str, body: Vec<u8>, kind: &str) -> Result<StatusCode, Refused> {
    let call = host.request(Method::PUT, &format!("/v1/lists/{path}")).header(header::CONTENT_TYPE, kind);
    Ok(check(call.body(body).send().await.unwrap()).await?.status())
}

async fn put(host: &Caller, number: u8, body: Vec<u8>) -> Result<StatusCode, Refused> {
    put_as(host, &format!("{}?ttl=60", id(number)), body, OCTETS).await
}

async fn get(device: &Caller, host: &Caller, number: u8) -> Result<Vec<u8>, Refused> {
    let path = format!("/v1/lists/{}/{}", host.id(), id(number));
    let response = check(device.request(Method::GET, &path).send().await.unwrap()).await?;
    assert_eq!(response.headers()[header::CONTENT_TYPE], OCTETS);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    Ok(response.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn a_list_comes_as_it_was_put_until_its_request_is_closed() {
    let server = Server::start();
    let host = server.host().await;
    let (device, other) = (server.device(&host).await, server.device(&host).await);
    let list: Vec<u8> = (0..MAX_SEALED).map(|n| u8::try_from(n % 251).unwrap()).collect();
    assert_refused(get(&device, &host, 1).await, 404, "not-found");
    assert_eq!(put(&host, 1, list.clone()).await.unwrap(), StatusCode::NO_CONTENT);
    assert_eq!(put(&host, 2, vec![2; SHORT]).await.unwrap(), StatusCode::NO_CONTENT);
    assert_eq!(get(&device, &host, 1).await.unwrap(), list);
    assert_eq!(get(&other, &host, 1).await.unwrap(), list);
    // The same again, or another one in its place.
    assert_eq!(put(&host, 1, vec![3; SHORT]).await.unwrap(), StatusCode::NO_CONTENT);
    assert_eq!(get(&device, &host, 1).await.unwrap(), [3; SHORT]);
    host.post(vec![host.sealed(Request, &device, 1, 1)], 60).await.unwrap();
    assert!(get(&device, &host, 1).await.is_ok());
    host.post(vec![host.sealed(Closed, &device, 1, 1)], 60).await.unwrap();
    assert_refused(get(&device, &host, 1).await, 404, "not-found");
    assert!(get(&device, &host, 2).await.is_ok(), "that of another request");
    let metrics =
        device.http.get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap();
    for line in ["countersign_lists_total 3", "countersign_lists_held 1"] {
        assert!(metrics.lines().any(|one| one == line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn a_list_is_forgotten_at_its_time_and_by_a_restart() {
    let server = Server::start();
    let host = server.host().await;
    let mut device = server.device(&host).await;
    put(&host, 1, vec![1; SHORT]).await.unwrap();
    put_as(&host, &format!("{}?ttl=1", id(2)), vec![2; SHORT], OCTETS).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_refused(get(&device, &host, 2).await, 404, "not-found");
    assert!(get(&device, &host, 1).await.is_ok());
    let server = server.restart();
    (device.url, device.http) = (server.url.clone(), http());
    device.authenticate().await.unwrap();
    assert_refused(get(&device, &host, 1).await, 404, "not-found");
}

#[tokio::test]
async fn lists_are_put_by_hosts_and_read_by_devices_that_are_linked_to_them() {
    let server = Server::start();
    let host = server.host().await;
    let device = server.device(&host).await;
    let stranger = server.device(&server.host().await).await;
    put(&host, 1, vec![1; SHORT]).await.unwrap();
    assert_refused(get(&stranger, &host, 1).await, 403, "not-linked");
    assert_refused(get(&host, &host, 1).await, 403, "not-a-device");
    assert_refused(put(&device, 1, vec![2; SHORT]).await, 403, "not-a-host");
    let nobody = Caller::new(&server);
    assert_refused(put(&nobody, 1, vec![2; SHORT]).await, 401, "unauthorized");
    assert_refused(get(&nobody, &host, 1).await, 401, "unauthorized");
    assert_eq!(get(&device, &host, 1).await.unwrap(), [1; SHORT]);
}

#[tokio::test]
async fn what_is_no_list_is_refused() {
    let server = Server::start();
    let host = server.host().await;
    for bytes in [0, 28, SHORT - 1, SHORT + 1, MAX_BODY] {
        assert_refused(put(&host, 1, vec![0; bytes]).await, 400, "bad-request");
    }
    assert_refused(put(&host, 1, vec![0; MAX_BODY + 1]).await, 413, "too-large");
    let good = format!("{}?ttl=60", id(1));
    assert_refused(put_as(&host, &good, vec![0; SHORT], "application/json").await, 415, "media-type");
    for path in [
        id(1),
        format!("{}?ttl=0", id(1)),
        format!("{}?ttl={}", id(1), MAX_TTL + 1),
        format!("{}?ttl=60&more=1", id(1)),
        format!("{}?ttl=60", &id(1)[1..]),
        format!("{}?ttl=60", id(1).replace("01", "0A")),
    ] {
        assert_refused(put_as(&host, &path, vec![0; SHORT], OCTETS).await, 400, "bad-request");
    }
    let device = server.device(&host).await;
    for path in [format!("x/{}", id(1)), format!("{}/1", host.id())] {
        let answer = device.request(Method::GET, &format!("/v1/lists/{path}")).send().await.unwrap();
        assert_refused(check(answer).await, 400, "bad-request");
    }
}

#[tokio::test]
async fn a_host_has_so_many_and_is_told_to_come_later() {
    let server = Server::start();
    let host = server.host().await;
    for number in 0..MOST {
        put(&host, number, vec![number; SHORT]).await.unwrap();
    }
    let path = format!("/v1/lists/{}?ttl=60", id(MOST));
    let call = host.request(Method::PUT, &path).header(header::CONTENT_TYPE, OCTETS).body(vec![0; SHORT]);
    let answer = call.send().await.unwrap();
    assert_eq!(answer.headers()[header::RETRY_AFTER], "5");
    assert_refused(check(answer).await, 429, "limit");
    assert!(put(&host, 0, vec![1; SHORT]).await.is_ok(), "in the place of one");
    assert!(put(&server.host().await, 0, vec![1; SHORT]).await.is_ok(), "another host");
}
