//! Web Push, to a push service that is well or not.

use crate::common::{Caller, Server, assert_refused, http};
use crate::push_service::{Does, PushService, check_vapid, rung, subscribe};
use base64ct::{Base64UrlUnpadded, Encoding};
use countersign_protocol::api::{AppInfo, Post, Subscription};
use countersign_protocol::digest;
use countersign_protocol::message::MessageType::{Closed, Notice, Request};
use countersign_protocol::message::{MessageType, Sealed};
use reqwest::{Method, StatusCode};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const OK: Does = answers(201);
/// Long enough for a push that must not come to come.
const QUIET: Duration = Duration::from_millis(1500);

const fn answers(status: u16) -> Does {
    Does::Answers(status, "", Duration::ZERO)
}

async fn post(host: &Caller, messages: &[Sealed], ring: bool) {
    let post = Post { messages: messages.to_vec(), ttl: 60, ring };
    host.send(Method::POST, "/v1/messages", &post).await.unwrap();
}

/// Speaks with a server that was restarted.
async fn come_back(caller: &mut Caller) {
    caller.http = http();
    caller.authenticate().await.unwrap();
}

/// A counter's value.
async fn count(server: &Server, name: &str) -> u64 {
    let text = http().get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("countersign_{name} ")));
    line.map_or(0, |value| value.parse().unwrap())
}

async fn wait_for_count(server: &Server, result: &str, value: u64) {
    let name = format!("pushes_total{{result=\"{result}\"}}");
    let until = Instant::now() + Duration::from_secs(20);
    while count(server, &name).await < value {
        assert!(Instant::now() < until, "{name} is {}", count(server, &name).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What follows the host in an endpoint is a secret, and so is who is where.
fn assert_discreet(server: &Server, path: &str) {
    assert!(path.len() > 5);
    for line in server.log() {
        assert!(!line.contains(path) && !line.contains("wpush"), "{line}");
    }
}

#[tokio::test]
async fn a_request_rings_whoever_wants_to_be_rung() {
    let service = PushService::start();
    let (server, host, device, browser) = rung(&service, "/wpush/first").await;
    let silent = server.device(&host).await;
    // Whether a stream is open or not.
    let _stream = device.stream().await;
    let request = host.sealed(Request, &device, 7, 1);
    post(&host, &[request.clone(), host.sealed(Request, &silent, 7, 2)], true).await;

    let pushed = &service.wait_for("/wpush/first", 1).await[0];
    assert_eq!(browser.open(&pushed.body), request);
    let header = |name: &str| pushed.headers[name].as_str();
    assert_eq!(header("content-encoding"), "aes128gcm");
    let host_id = Base64UrlUnpadded::decode_vec(&host.id()).unwrap();
    let topic = digest::sha256_hex(&[&host_id[..], &[1], &[7; 16]].concat());
    assert_eq!((header("urgency"), header("topic")), ("high", &topic[..32]));
    assert!((55..=60).contains(&header("ttl").parse::<u32>().unwrap()), "{}", header("ttl"));

    let (key, claims) = check_vapid(pushed);
    let app: AppInfo = silent.get("/v1/app").await.unwrap();
    assert_eq!((app.vapid.as_str(), app.server.as_str()), (key.as_str(), env!("CARGO_PKG_VERSION")));
    assert_eq!(
        (&claims["aud"], &claims["sub"]),
        (&service.origin.clone().into(), &"mailto:a@b.example".into())
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((now..=now + 12 * 3600 + 60).contains(&claims["exp"].as_u64().unwrap()));

    // Posted again after a reconnect it is held, but does not ring.
    post(&host, &[host.sealed(Request, &device, 7, 3)], false).await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(service.pushed("/wpush/first").len(), 1);
    assert_eq!(count(&server, "pushes_total{result=\"delivered\"}").await, 1);
    assert_eq!((count(&server, "pushes_waiting").await, count(&server, "subscriptions").await), (0, 1));
    assert_discreet(&server, "/wpush/first");
}

#[tokio::test]
async fn the_end_is_pushed_to_whoever_was_rung_and_a_notice_when_it_rings() {
    let service = PushService::start();
    let (_server, host, device, browser) = rung(&service, "/wpush/end").await;
    let sealed = |kind: MessageType, id| host.sealed(kind, &device, id, 1);
    post(&host, &[sealed(Request, 1)], true).await;
    service.wait_for("/wpush/end", 1).await;
    // Nobody was rung for the second one.
    post(&host, &[sealed(Closed, 1), sealed(Closed, 2)], false).await;
    let pushed = service.wait_for("/wpush/end", 2).await;
    assert_eq!(browser.open(&pushed[1].body), sealed(Closed, 1));
    assert_eq!(pushed[1].headers["topic"], pushed[0].headers["topic"]);
    assert_eq!((pushed[1].headers["ttl"].as_str(), pushed[1].headers["urgency"].as_str()), ("600", "high"));

    post(&host, &[sealed(Notice, 3)], false).await;
    post(&host, &[sealed(Closed, 1)], true).await;
    post(&host, &[sealed(Request, 1)], true).await;
    post(&host, &[sealed(Notice, 4)], true).await;
    let pushed = service.wait_for("/wpush/end", 3).await;
    assert_eq!(browser.open(&pushed[2].body), sealed(Notice, 4));
    assert_eq!(
        (pushed[2].headers["ttl"].as_str(), pushed[2].headers["urgency"].as_str()),
        ("259200", "normal")
    );
    tokio::time::sleep(QUIET).await;
    assert_eq!(service.pushed("/wpush/end").len(), 3);
}

#[tokio::test]
async fn a_subscription_that_is_over_is_forgotten() {
    for status in [404, 410] {
        let service = PushService::start();
        let (server, host, device, _) = rung(&service, "/wpush/gone").await;
        service.plan("/wpush/gone", &[answers(status)]);
        post(&host, &[host.sealed(Request, &device, 1, 1)], true).await;
        wait_for_count(&server, "gone", 1).await;
        assert_eq!(count(&server, "subscriptions").await, 0);
        post(&host, &[host.sealed(Closed, &device, 1, 1), host.sealed(Request, &device, 2, 1)], true).await;
        tokio::time::sleep(QUIET).await;
        assert_eq!(service.pushed("/wpush/gone").len(), 1);
        server.wait_until_said(&["no longer rung"]).await;
        assert_discreet(&server, "/wpush/gone");
        // Not only until the next start.
        let server = server.restart_with(&service.config());
        assert_eq!(count(&server, "subscriptions").await, 0);
    }
}

#[tokio::test]
async fn a_newer_subscription_is_not_forgotten_with_the_old_one() {
    let service = PushService::start();
    let (server, host, device, _) = rung(&service, "/wpush/older").await;
    service.plan("/wpush/older", &[Does::Answers(410, "", Duration::from_millis(600))]);
    post(&host, &[host.sealed(Request, &device, 1, 1)], true).await;
    service.wait_for("/wpush/older", 1).await;
    let newer = service.browser("/wpush/newer");
    subscribe(&device, &newer).await;
    wait_for_count(&server, "gone", 1).await;
    let request = host.sealed(Request, &device, 2, 1);
    post(&host, std::slice::from_ref(&request), true).await;
    assert_eq!(newer.open(&service.wait_for("/wpush/newer", 1).await[0].body), request);
}

#[tokio::test]
async fn a_service_that_is_busy_is_asked_again_when_it_wants() {
    let service = PushService::start();
    let (server, host, device, browser) = rung(&service, "/wpush/busy").await;
    service
        .plan("/wpush/busy", &[Does::Answers(429, "retry-after: 2\r\n", Duration::ZERO), answers(503), OK]);
    let request = host.sealed(Request, &device, 1, 1);
    post(&host, std::slice::from_ref(&request), true).await;
    let pushed = service.wait_for("/wpush/busy", 3).await;
    let pause = |n: usize| pushed[n + 1].at.duration_since(pushed[n].at);
    assert!(pause(0) >= Duration::from_secs(2) && pause(0) < Duration::from_secs(4), "{:?}", pause(0));
    assert!(pause(1) >= Duration::from_millis(700) && pause(1) < Duration::from_secs(4), "{:?}", pause(1));
    // What is sent is fresh each time, and of use a shorter time.
    assert!(pushed.iter().all(|pushed| browser.open(&pushed.body) == request));
    assert_ne!(pushed[0].body, pushed[1].body);
    let ttl = |n: usize| pushed[n].headers["ttl"].parse::<u32>().unwrap();
    assert!(ttl(2) + 2 <= ttl(0));
    wait_for_count(&server, "delivered", 1).await;
    assert_eq!(count(&server, "pushes_total{result=\"limited\"}").await, 1);
    assert_eq!(count(&server, "pushes_total{result=\"failed\"}").await, 1);

    // A pause that is longer than the message lives.
    service.plan("/wpush/busy", &[Does::Answers(503, "retry-after: 61\r\n", Duration::ZERO)]);
    post(&host, &[host.sealed(Request, &device, 2, 1)], true).await;
    wait_for_count(&server, "expired", 1).await;
    assert_eq!(service.pushed("/wpush/busy").len(), 4);
}

#[tokio::test]
async fn what_has_ended_before_anybody_heard_of_it_is_not_pushed() {
    let service = PushService::start();
    let (server, host, device, _) = rung(&service, "/wpush/ended").await;
    service.plan("/wpush/ended", &[Does::Answers(503, "retry-after: 1\r\n", Duration::ZERO)]);
    post(&host, &[host.sealed(Request, &device, 1, 1)], true).await;
    wait_for_count(&server, "failed", 1).await;
    post(&host, &[host.sealed(Closed, &device, 1, 1)], false).await;
    wait_for_count(&server, "superseded", 1).await;
    // While it is under way: the end waits for how that goes.
    let slow = Duration::from_millis(500);
    service.plan("/wpush/ended", &[Does::Answers(413, "", slow), Does::Answers(201, "", slow)]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for (id, pushes) in [(2, 2), (3, 4)] {
        post(&host, &[host.sealed(Request, &device, id, 1)], true).await;
        let started = service.pushed("/wpush/ended").len();
        service.wait_for("/wpush/ended", started.max(pushes.min(3))).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        post(&host, &[host.sealed(Closed, &device, id, 1)], false).await;
        service.wait_for("/wpush/ended", pushes).await;
        wait_for_count(&server, if id == 2 { "too_large" } else { "delivered" }, 1).await;
    }
    tokio::time::sleep(QUIET).await;
    assert_eq!(service.pushed("/wpush/ended").len(), 4);
    assert_eq!(count(&server, "pushes_total{result=\"superseded\"}").await, 2);
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again_and_the_end_is_told() {
    let service = PushService::start();
    let (server, host, device, browser) = rung(&service, "/wpush/breaks").await;
    service.plan("/wpush/breaks", &[Does::Breaks, OK]);
    post(&host, &[host.sealed(Request, &device, 1, 1)], true).await;
    service.wait_for("/wpush/breaks", 2).await;
    wait_for_count(&server, "delivered", 1).await;
    // It may have come through before it broke.
    service.plan("/wpush/breaks", &[Does::Breaks]);
    post(&host, &[host.sealed(Request, &device, 2, 1)], true).await;
    wait_for_count(&server, "failed", 2).await;
    let closed = host.sealed(Closed, &device, 2, 1);
    post(&host, std::slice::from_ref(&closed), false).await;
    let pushed = service.wait_for("/wpush/breaks", 4).await;
    assert_eq!(browser.open(&pushed[3].body), closed);
    assert_discreet(&server, "/wpush/breaks");
}

#[tokio::test]
async fn a_service_that_hangs_holds_up_nobody() {
    let (hangs, works) = (PushService::start(), PushService::start());
    let (server, host, device, _) = rung(&hangs, "/wpush/hangs").await;
    // Two authorities in one file.
    let config = works.config();
    let file = config.lines().find_map(|line| line.strip_prefix("ca = '")).unwrap().trim_end_matches('\'');
    let hung = hangs.config();
    let other = hung.lines().find_map(|line| line.strip_prefix("ca = '")).unwrap().trim_end_matches('\'');
    let both = std::fs::read_to_string(file).unwrap() + &std::fs::read_to_string(other).unwrap();
    std::fs::write(file, both).unwrap();
    let server = server.restart_with(&config);
    let (mut host, mut device) = (host, device);
    come_back(&mut host).await;
    come_back(&mut device).await;
    let other = server.device(&host).await;
    subscribe(&other, &works.browser("/wpush/works")).await;

    hangs.plan("/wpush/hangs", &[Does::Hangs, Does::Hangs]);
    for id in 0..40 {
        let before = Instant::now();
        post(&host, &[host.sealed(Request, &device, id, 1), host.sealed(Request, &other, id, 1)], true).await;
        assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    }
    let before = Instant::now();
    works.wait_for("/wpush/works", 40).await;
    assert!(before.elapsed() < Duration::from_secs(3), "{:?}", before.elapsed());
    // It is given up after ten seconds, and asked again.
    wait_for_count(&server, "failed", 1).await;
    let pushed = hangs.wait_for("/wpush/hangs", 42).await;
    let again = pushed[40].at.duration_since(pushed[0].at);
    assert!(again > Duration::from_secs(9) && again < Duration::from_secs(15), "{again:?}");
}

#[tokio::test]
async fn too_many_pushes_are_dropped() {
    let service = PushService::start();
    let (server, host, device, _) = rung(&service, "/wpush/slow").await;
    service.plan("/wpush/slow", &vec![Does::Hangs; 100]);
    for ids in (0..100).collect::<Vec<u8>>().chunks(20) {
        let messages: Vec<_> = ids.iter().map(|id| host.sealed(Request, &device, *id, 1)).collect();
        post(&host, &messages, true).await;
    }
    assert_eq!(count(&server, "pushes_waiting").await, 64);
    assert_eq!(count(&server, "pushes_total{result=\"full\"}").await, 36);
    assert!(service.pushed("/wpush/slow").len() <= 32, "at a time");
    // Whoever ends its subscription is not tried any more.
    assert_eq!(device.delete("/v1/devices/self/push").await.unwrap(), StatusCode::NO_CONTENT);
    assert!(count(&server, "pushes_waiting").await <= 32);
}

#[tokio::test]
async fn redirects_are_not_followed_and_other_answers_are_final() {
    let service = PushService::start();
    let (server, host, device, _) = rung(&service, "/wpush/moved").await;
    let moved = "location: /wpush/elsewhere\r\n";
    let plan =
        [Does::Answers(307, moved, Duration::ZERO), answers(400), answers(403), answers(401), answers(413)];
    service.plan("/wpush/moved", &plan);
    for id in 0..5 {
        post(&host, &[host.sealed(Request, &device, id, 1)], true).await;
        service.wait_for("/wpush/moved", usize::from(id) + 1).await;
    }
    for (result, value) in [("unexpected", 2), ("refused", 2), ("too_large", 1)] {
        wait_for_count(&server, result, value).await;
    }
    tokio::time::sleep(QUIET).await;
    assert_eq!((service.pushed("/wpush/moved").len(), service.pushed("/wpush/elsewhere").len()), (5, 0));
    assert_eq!(count(&server, "subscriptions").await, 1, "none of these ends it");
    let refused = server
        .log()
        .iter()
        .filter(|line| line.contains("WARN") && line.contains("this server's key"))
        .count();
    assert_eq!(refused, 1, "said once, not at each push: {:?}", server.log());
    assert_discreet(&server, "/wpush/moved");
}

#[tokio::test]
async fn private_addresses_are_not_called() {
    let service = PushService::start();
    let port = service.origin.rsplit(':').next().unwrap();
    let server = Server::with_config("log = 'debug'");
    let host = server.host().await;
    let device = server.device(&host).await;
    let put = |endpoint: String| {
        let subscription = Subscription { endpoint, ..service.browser("/").subscription() };
        let device = &device;
        async move { device.send(Method::PUT, "/v1/devices/self/push", &subscription).await }
    };
    for endpoint in
        ["https://127.0.0.1/wpush/secret", "https://[::1]/wpush/secret", "https://169.254.169.254/x"]
    {
        let problem = assert_refused(put(endpoint.to_owned()).await, 400, "bad-request");
        assert!(problem.message.contains("public"), "{}", problem.message);
    }
    let problem = assert_refused(put(format!("https://localhost:{port}/x")).await, 400, "bad-request");
    assert!(problem.message.contains("443"), "{}", problem.message);
    for endpoint in ["http://push.example/x", "https://push.example/x#y", "https://u:p@push.example/x", ""] {
        assert_refused(put(endpoint.to_owned()).await, 400, "bad-request");
    }
    // A name is looked at when it is resolved, each time.
    put("https://localhost/wpush/secret".to_owned()).await.unwrap();
    for id in 0..2 {
        post(&host, &[host.sealed(Request, &device, id, 1)], true).await;
    }
    wait_for_count(&server, "not_public", 2).await;
    server.wait_until_said(&["push service localhost is not called"]).await;
    assert_discreet(&server, "/wpush/secret");

    // A service that was allowed when the device subscribed.
    let allowed = server.restart_with(&service.config());
    let mut device = device;
    come_back(&mut device).await;
    subscribe(&device, &service.browser("/wpush/allowed")).await;
    assert_eq!(count(&allowed, "subscriptions").await, 1);
    let refused = allowed.restart_with("");
    assert_eq!(count(&refused, "subscriptions").await, 0);
    assert_eq!(count(&refused.restart_with(&service.config()), "subscriptions").await, 1);
}

#[tokio::test]
async fn a_service_that_cannot_prove_its_name_gets_nothing() {
    let (service, other) = (PushService::start(), PushService::start());
    let server = Server::with_config(&other.config());
    let host = server.host().await;
    let device = server.device(&host).await;
    subscribe(&device, &service.browser("/wpush/forged")).await;
    post(&host, &[host.sealed(Request, &device, 1, 1)], true).await;
    wait_for_count(&server, "failed", 1).await;
    assert!(service.pushed("/wpush/forged").is_empty());
    server.wait_until_said(&["is not reached: ", "certificate"]).await;
    assert_discreet(&server, "/wpush/forged");
}

#[tokio::test]
async fn only_devices_subscribe_and_what_they_say_is_checked() {
    let service = PushService::start();
    let (server, host, device, browser) = rung(&service, "/wpush/keys").await;
    let path = "/v1/devices/self/push";
    let good = browser.subscription();
    assert_refused(host.send(Method::PUT, path, &good).await, 403, "not-a-device");
    assert_refused(host.delete(path).await, 403, "not-a-device");
    let mut stranger = Caller::new(&server);
    stranger.token = "nonsense".to_owned();
    assert_refused(stranger.send(Method::PUT, path, &good).await, 401, "unauthorized");
    for bad in [
        Subscription { p256dh: good.auth.clone(), ..good.clone() },
        Subscription { auth: good.p256dh.clone(), ..good.clone() },
        Subscription { endpoint: "x".repeat(1025), ..good.clone() },
    ] {
        assert_refused(device.send(Method::PUT, path, &bad).await, 400, "bad-request");
    }
    let more =
        serde_json::json!({ "endpoint": good.endpoint, "p256dh": good.p256dh, "auth": good.auth, "more": 1 });
    assert_refused(device.send(Method::PUT, path, &more).await, 400, "bad-request");

    // It is kept over a restart, with the server's key; it goes with the device's last host.
    let key = device.get::<AppInfo>("/v1/app").await.unwrap().vapid;
    let server = server.restart_with(&service.config());
    let (mut host, mut device) = (host, device);
    come_back(&mut host).await;
    come_back(&mut device).await;
    assert_eq!(device.get::<AppInfo>("/v1/app").await.unwrap().vapid, key);
    post(&host, &[host.sealed(Request, &device, 1, 1)], true).await;
    service.wait_for("/wpush/keys", 1).await;
    for _ in 0..2 {
        assert_eq!(device.delete(path).await.unwrap(), StatusCode::NO_CONTENT);
    }
    post(&host, &[host.sealed(Request, &device, 2, 1)], true).await;
    device.send(Method::PUT, path, &good).await.unwrap();
    assert_eq!(count(&server, "subscriptions").await, 1);
    device.delete(&format!("/v1/hosts/{}", host.id())).await.unwrap();
    assert_eq!(count(&server, "subscriptions").await, 0);
    assert_eq!(service.pushed("/wpush/keys").len(), 1);
}

#[tokio::test]
async fn a_server_that_stops_tries_what_waits_but_not_for_long() {
    let service = PushService::start();
    let (mut server, host, device, _) = rung(&service, "/wpush/last").await;
    service.plan("/wpush/last", &[Does::Answers(201, "", Duration::from_millis(300)), Does::Hangs]);
    post(&host, &[host.sealed(Request, &device, 1, 1)], true).await;
    let before = Instant::now();
    assert!(server.stop().success());
    assert_eq!(service.pushed("/wpush/last").len(), 1);
    assert!(before.elapsed() > Duration::from_millis(250) && before.elapsed() < Duration::from_secs(3));

    let mut server = server.restart_stopped_with(&service.config());
    let mut host = host;
    come_back(&mut host).await;
    post(&host, &[host.sealed(Request, &device, 2, 1)], true).await;
    service.wait_for("/wpush/last", 2).await;
    let before = Instant::now();
    assert!(server.stop().success());
    assert!(before.elapsed() < Duration::from_secs(4), "{:?}", before.elapsed());
    assert!(server.log().iter().any(|line| line.contains("1 pushes were not sent")), "{:?}", server.log());
}
