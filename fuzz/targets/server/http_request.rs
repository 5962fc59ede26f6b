//! Requests to the server, by strangers and by those that it knows: path, parameters, headers, body.

use countersign_fuzz::{Target, actors, input::Input, place::Place};
use countersign_protocol::api::*;
use countersign_protocol::auth;
use countersign_protocol::keys::Signer;
use countersign_protocol::message::MessageType;
use countersign_server::fuzzing::{Answer, Server};
use std::cell::RefCell;
use std::collections::BTreeSet;

pub(crate) const TARGET: Target = Target { name: "http_request", run, seeds };

/// A server is used for so many inputs: what it holds must not grow for ever, nor each wait for a new one.
const USES: u32 = 2000;
/// Bounds out of the way: not how many are served is looked at, but what they get.
const SETTINGS: &str = "origin = \"https://push.example.com\"\nbehind_proxy = true\napp_origins = [\"https://a.example.com\"]\n\
    [limits]\nhost_rate = 1000000\ndevice_rate = 1000000\npair_rate = 1000000\naddress_rate = 1000000\n\
    file_rate = 1000000\nmailboxes_per_host = 1000000\n";
/// Every status that the interface has.
const STATUS: [u16; 20] =
    [200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 426, 429, 431, 411, 414];
/// Most lines of counters, whoever calls what.
const MAX_COUNTERS: usize = 600;

struct Used {
    server: Server,
    uses: u32,
    _place: Place,
}

impl Used {
    fn new() -> Self {
        let place = Place::new();
        let host = actors::host().public_key().clone();
        let server = Server::new(&place.path(""), SETTINGS, &host, &actors::signed_card());
        Self { server, uses: 0, _place: place }
    }
}

fn run(data: &[u8]) {
    thread_local!(static SERVER: RefCell<Option<Used>> = const { RefCell::new(None) });
    SERVER.with_borrow_mut(|used| {
        if used.as_ref().is_none_or(|used| used.uses >= USES) {
            *used = Some(Used::new());
        }
        let Some(used) = used else { return };
        used.uses += 1;
        for request in data.split(|byte| *byte == 0xfe).take(3) {
            call(&mut used.server, request);
        }
        if used.uses % 100 == 0 {
            counters(&mut used.server);
        }
    });
}

/// `METHOD TARGET`, header lines, an empty line, the body. `HOST`, `DEVICE` and `JOIN` stand for tokens.
fn call(server: &mut Server, request: &[u8]) {
    let mut request = request.to_vec();
    for (mark, token) in [&b"{HOST}"[..], b"{DEVICE}", b"{JOIN}"].into_iter().zip(server.tokens.clone()) {
        if let Some(at) = request.windows(mark.len()).position(|window| window == mark) {
            request.splice(at..at + mark.len(), token.into_bytes());
        }
    }
    let mut input = Input::new(&request);
    let line = input.line();
    let Some((method, target)) = line.split_once(' ') else { return };
    let mut headers = Vec::new();
    loop {
        let line = input.until(b'\n');
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let (name, value) = line.split_at(colon);
        let value = value[1..].trim_ascii_start();
        headers.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
    }
    // What may wait for somebody asks for it here.
    let waits = target.contains("wait");
    if let Some(answer) = server.call((method, target), &headers, input.rest().to_vec(), waits) {
        check(method, target, &answer);
    }
}

fn check(method: &str, target: &str, answer: &Answer) {
    assert!(STATUS.contains(&answer.status), "{method} {target}: {}", answer.status);
    let header = |wanted: &str| {
        answer.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    };
    assert_eq!(header("x-content-type-options"), Some("nosniff"));
    assert!(header("cache-control").is_some());
    assert!(header("access-control-allow-origin").is_none_or(|origin| origin == "https://a.example.com"));
    if answer.status >= 400 && method != "HEAD" && header("content-type") == Some("application/json") {
        let problem: Problem = serde_json::from_slice(&answer.body).expect("every error is a problem");
        assert!(!problem.code.is_empty() && problem.message.len() < 2000);
    }
    if answer.status == 429 {
        assert!(header("retry-after").and_then(|wait| wait.parse().ok()).is_some_and(|wait: u64| wait >= 1));
    }
}

/// What Prometheus reads: as many lines whoever asks for what, and in its format.
fn counters(server: &mut Server) {
    let answer = server.call(("GET", "/metrics"), &[], Vec::new(), false).expect("a request");
    let text = String::from_utf8(answer.body).expect("text");
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(seen.insert(name.to_owned()), "twice: {name}");
        let labels = name.split_once('{').map_or("", |(_, labels)| labels);
        assert!(labels.is_empty() || labels.ends_with("\"}"), "{line}");
        assert!(labels.bytes().all(|b| b.is_ascii_graphic()), "{line}");
    }
    assert!(seen.len() < MAX_COUNTERS, "{} counters", seen.len());
}

fn seeds() -> Vec<Vec<u8>> {
    let device = actors::device().public_key().id();
    let (request, decision) = (actors::signed_request(), actors::signed_decision());
    let message = actors::sealed(MessageType::Request, actors::ID, &request.bytes, &request.signature);
    let answer = actors::sealed(MessageType::Decision, actors::ID, &decision.bytes, &decision.signature);
    let (message, answer) = (message.expect("it fits"), answer.expect("it fits"));
    let key = actors::device().public_key().to_line();
    let challenge = Challenge { nonce: "x".into(), expires_at: u64::MAX };
    let proof = auth::prove(&actors::p256(), actors::ORIGIN, &challenge).expect("signed");
    let join = Join { token: "{JOIN}".into(), name: "db-2".into(), proof: proof.clone() };
    let subscription =
        Subscription { endpoint: "https://push.example.com/x".into(), p256dh: "x".into(), auth: "y".into() };
    let mailbox = format!("/v1/mailboxes/{}", actors::ID);
    let with = |token: &str, line: &str, body: String| {
        format!("{line}\nauthorization: Bearer {token}\ncontent-type: application/json\n\n{body}")
            .into_bytes()
    };
    let post = json(&Post { messages: vec![message], ttl: 60, ring: true });
    let opened = with("{HOST}", &format!("PUT {mailbox}"), String::new());
    vec![
        with("", "POST /v1/auth/challenge", json(&ChallengeFor { key })),
        with("", "POST /v1/auth/token", json(&proof)),
        with("", "POST /v1/hosts", json(&join)),
        with("{HOST}", "POST /v1/messages", post.clone()),
        [
            with("{HOST}", "POST /v1/messages", post),
            with("{DEVICE}", "GET /v1/poll?after=x-1&wait=25", String::new()),
        ]
        .join(&0xfe),
        with("{DEVICE}", "POST /v1/decisions", json(&PostDecision { decision: answer })),
        format!(
            "PUT /v1/lists/{id}?ttl=60\nauthorization: Bearer {{HOST}}\ncontent-type: application/octet-stream\n\nx",
            id = actors::ID
        )
        .into_bytes(),
        with("{DEVICE}", &format!("GET /v1/lists/{device}/{}", actors::ID), String::new()),
        with("{DEVICE}", "PUT /v1/devices/self/push", json(&subscription)),
        with("{DEVICE}", "DELETE /v1/devices/self/push", String::new()),
        with("{DEVICE}", "PUT /v1/devices/self", json(&actors::signed_card())),
        with("{DEVICE}", "GET /v1/stream", String::new()),
        with("{DEVICE}", "GET /v1/hosts", String::new()),
        with("{HOST}", "GET /v1/devices", String::new()),
        with("{HOST}", &format!("DELETE /v1/devices/{device}x"), String::new()),
        [
            opened.clone(),
            with("", &format!("POST {mailbox}/m1"), json(&Mail { data: "AAAA".into() })),
            with("", &format!("GET {mailbox}/m1?after=0&wait=5"), String::new()),
        ]
        .join(&0xfe),
        [
            opened,
            with("{HOST}", &format!("PUT {mailbox}/m2"), json(&Mail { data: "AAAA".into() })),
            with(
                "",
                "POST /v1/devices",
                json(&Register { mailbox: actors::ID.into(), card: actors::signed_card() }),
            ),
        ]
        .join(&0xfe),
        with("", &format!("GET {mailbox}"), String::new()),
        b"GET /v1/app\nx-forwarded-for: 192.0.2.1, [::1]:2\norigin: https://a.example.com\n\n".to_vec(),
        b"GET /\naccept-encoding: br;q=0, gzip;q=0.5\nif-none-match: W/\"x\", *\naccept: text/html\n\n"
            .to_vec(),
        b"OPTIONS /v1/app\norigin: https://a.example.com\naccess-control-request-method: PUT\n\n".to_vec(),
        b"GET /metrics\n\n".to_vec(),
        b"HEAD /health/ready?x=%ff\n\n".to_vec(),
    ]
}

fn json(body: &impl serde::Serialize) -> String {
    serde_json::to_string(body).expect("JSON")
}
