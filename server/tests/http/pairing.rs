//! Mailboxes, cards and links.

use crate::common::{Caller, Server, assert_refused, base64, http};
use countersign_protocol::api::{Directory, Hosts, MAX_MAIL, MailboxInfo, Mails};
use countersign_protocol::message::MessageType;
use reqwest::{Method, StatusCode};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_mailbox_carries_a_pairing() {
    let server = Server::start();
    let host = server.host().await;
    let phone = Caller::new(&server);
    let other = server.host().await;
    let id = host.mailbox().await;
    let path = format!("/v1/mailboxes/{id}");
    assert_eq!(host.send(Method::PUT, &path, &()).await.unwrap().status(), StatusCode::OK);
    assert_refused(other.send(Method::PUT, &path, &()).await, 409, "taken");

    // Who has typed the ticket asks whose mailbox it is.
    assert_eq!(http().get(format!("{}{path}", server.url)).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(phone.get::<MailboxInfo>(&path).await.unwrap(), MailboxInfo { host: host.id() });

    let first = base64(b"the first");
    let slot = |slot: &str| format!("{id}/{slot}");
    assert_eq!(phone.put_mail(Method::POST, &slot("m1"), &first).await.unwrap(), StatusCode::CREATED);
    assert_eq!(phone.put_mail(Method::POST, &slot("m1"), &first).await.unwrap(), StatusCode::OK);
    assert_eq!(
        host.get::<Mails>(&format!("{path}/m1?after=0&wait=5")).await.unwrap().mails,
        std::slice::from_ref(&first)
    );

    // The phone waits for the answer, and hears it as soon as it is there.
    let waiting = phone.get::<Mails>(&format!("{path}/m2?wait=1")).await;
    let before = Instant::now();
    let (waited, put) =
        tokio::join!(async { phone.get::<Mails>(&format!("{path}/m3?wait=20")).await }, async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let receipt = host.sealed(MessageType::Receipt, &phone, 1, 1);
            host.put_mail(Method::PUT, &slot("m3"), &serde_json::to_string(&receipt).unwrap()).await
        });
    assert!(before.elapsed() < Duration::from_secs(10));
    assert_eq!(put.unwrap(), StatusCode::CREATED);
    assert_eq!(waited.unwrap().mails.len(), 1);
    assert!(waiting.unwrap().mails.is_empty());

    let answer = base64(b"answer");
    assert_refused(other.put_mail(Method::PUT, &slot("m2"), &answer).await, 409, "taken");
    assert_eq!(host.put_mail(Method::PUT, &slot("m2"), &answer).await.unwrap(), StatusCode::CREATED);
    assert_eq!(host.put_mail(Method::PUT, &slot("m2"), &answer).await.unwrap(), StatusCode::OK);
    assert_refused(phone.put_mail(Method::POST, &slot("m1"), &base64(b"late")).await, 409, "taken");
    assert_eq!(phone.put_mail(Method::POST, &slot("m1"), &first).await.unwrap(), StatusCode::OK);

    assert_refused(other.delete(&path).await, 409, "taken");
    assert_eq!(host.delete(&path).await.unwrap(), StatusCode::NO_CONTENT);
    assert_refused(host.delete(&path).await, 404, "not-found");
    assert_refused(phone.get::<MailboxInfo>(&path).await, 404, "not-found");
    assert_refused(phone.get::<Mails>(&format!("{path}/m2")).await, 404, "not-found");
    assert_refused(phone.put_mail(Method::POST, &slot("m1"), &first).await, 404, "not-found");
}

#[tokio::test]
async fn a_mailbox_takes_only_what_belongs_there() {
    let server = Server::start();
    let host = server.host().await;
    let device = server.device(&host).await;
    let id = host.mailbox().await;
    let slot = |slot: &str| format!("{id}/{slot}");
    for bad in ["", "no base64!", "AAA", &"A".repeat(MAX_MAIL + 4)] {
        assert_refused(device.put_mail(Method::POST, &slot("m1"), bad).await, 400, "bad-request");
        assert_refused(host.put_mail(Method::PUT, &slot("m2"), bad).await, 400, "bad-request");
        assert_refused(host.put_mail(Method::PUT, &slot("m3"), bad).await, 400, "bad-request");
    }
    let json = |message_type, from: &Caller| {
        serde_json::to_string(&from.sealed(message_type, &device, 1, 1)).unwrap()
    };
    let request = json(MessageType::Request, &host);
    assert_refused(host.put_mail(Method::PUT, &slot("m3"), &request).await, 400, "bad-request");
    let foreign = json(MessageType::Receipt, &device);
    assert_refused(host.put_mail(Method::PUT, &slot("m3"), &foreign).await, 400, "bad-request");
    assert_refused(device.put_mail(Method::POST, &slot("m2"), "AAAA").await, 405, "method");
    assert_refused(host.put_mail(Method::PUT, &slot("m1"), "AAAA").await, 405, "method");
    assert_refused(host.put_mail(Method::PUT, &slot("m4"), "AAAA").await, 404, "not-found");
    assert_refused(device.put_mail(Method::PUT, &slot("m2"), "AAAA").await, 403, "not-a-host");
    for bad in ["xyz", &"A".repeat(32), &"0".repeat(34)] {
        let path = format!("/v1/mailboxes/{bad}");
        assert_refused(host.send(Method::PUT, &path, &()).await, 400, "bad-request");
        assert_refused(device.get::<MailboxInfo>(&path).await, 400, "bad-request");
    }
    let wait = format!("/v1/mailboxes/{id}/m1?wait=26");
    assert_refused(device.get::<Mails>(&wait).await, 400, "bad-request");
    let unknown = format!("/v1/mailboxes/{id}/m1?wiat=2");
    assert_refused(device.get::<Mails>(&unknown).await, 400, "bad-request");
}

#[tokio::test]
async fn a_device_gets_in_by_an_open_mailbox_only() {
    let server = Server::start();
    let host = server.host().await;
    let mut phone = Caller::new(&server);
    let closed = "00112233445566778899aabbccddeeff";
    assert_refused(phone.register(closed, phone.card(1)).await, 403, "mailbox-closed");
    let mailbox = host.mailbox().await;
    let mut forged = phone.card(1);
    forged.card = forged.card.replace("phone", "stone");
    assert_refused(phone.register(&mailbox, forged).await, 403, "bad-card");
    assert_eq!(phone.register(&mailbox, phone.card(1)).await.unwrap(), StatusCode::CREATED);
    assert_eq!(phone.register(&mailbox, phone.card(1)).await.unwrap(), StatusCode::OK);
    phone.authenticate().await.unwrap();
    // A host's key is no device, a device's no host.
    assert_refused(host.register(&mailbox, host.card(1)).await, 409, "is-host");
    assert_refused(phone.join(&server.join_token(&[]), "x").await, 409, "is-device");
}

#[tokio::test]
async fn a_device_renews_its_own_card_upwards() {
    let server = Server::start();
    let host = server.host().await;
    let device = server.device(&host).await;
    let path = "/v1/devices/self";
    device.send(Method::PUT, path, &device.card(3)).await.unwrap();
    device.send(Method::PUT, path, &device.card(3)).await.unwrap();
    assert_refused(device.send(Method::PUT, path, &device.card(2)).await, 409, "old-card");
    assert_refused(device.send(Method::PUT, path, &device.card(u64::MAX)).await, 400, "bad-request");
    let other = server.device(&host).await;
    assert_refused(device.send(Method::PUT, path, &other.card(9)).await, 403, "other-key");
    let cards = host.get::<Directory>("/v1/devices").await.unwrap().devices;
    assert_eq!(cards.len(), 2);
    assert!(cards.contains(&device.card(3)) && cards.contains(&other.card(1)));
}

#[tokio::test]
async fn either_side_ends_a_link_and_what_lies_between_goes() {
    let server = Server::start();
    let (one, two) = (server.host().await, server.host().await);
    let device = server.device(&one).await;
    device.link(&two).await;
    assert_eq!(device.get::<Hosts>("/v1/hosts").await.unwrap().hosts.len(), 2);
    one.post(vec![one.sealed(MessageType::Request, &device, 1, 1)], 60).await.unwrap();
    two.post(vec![two.sealed(MessageType::Request, &device, 2, 2)], 60).await.unwrap();

    assert_eq!(one.delete(&format!("/v1/devices/{}", device.id())).await.unwrap(), StatusCode::NO_CONTENT);
    assert_refused(one.delete(&format!("/v1/devices/{}", device.id())).await, 404, "not-found");
    assert_refused(one.delete("/v1/devices/nonsense").await, 400, "bad-request");
    let mut stream = device.stream().await;
    assert_eq!(stream.sealed().await.1, two.sealed(MessageType::Request, &device, 2, 2));
    let posted = one.post(vec![one.sealed(MessageType::Request, &device, 3, 3)], 60).await.unwrap();
    assert_eq!(posted.unknown, [device.id()]);

    // With its last host the device itself is forgotten.
    assert_eq!(device.delete(&format!("/v1/hosts/{}", two.id())).await.unwrap(), StatusCode::NO_CONTENT);
    assert_refused(device.get::<Hosts>("/v1/hosts").await, 401, "unauthorized");
    assert_refused(device.earn(&device.proof().await).await, 403, "unknown-key");
    assert!(two.get::<Directory>("/v1/devices").await.unwrap().devices.is_empty());
}
