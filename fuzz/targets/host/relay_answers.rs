//! A server that answers the client's calls as it likes: status, headers, body in pieces. Over loopback, with one connection.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use countersign_fuzz::{Target, actors, check, input::Input};
use countersign_protocol::api::{Polled, Post};
use countersign_protocol::message::MessageType;
use countersign_relay_client::fuzzing::is_sound;
use countersign_relay_client::{Event, RelayClient, RelayError, Server, Slot};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

pub(crate) const TARGET: Target = Target { name: "relay_answers", run, seeds };

/// Most calls of one input.
const MOST: usize = 4;

/// Client and server, once for all inputs: connections that end keep their ports for a minute.
struct Pair {
    runtime: Runtime,
    client: Arc<RelayClient>,
    answers: Arc<Mutex<VecDeque<Vec<u8>>>>,
}

fn pair() -> Pair {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let answers: Arc<Mutex<VecDeque<Vec<u8>>>> = Arc::default();
    let queue = Arc::clone(&answers);
    let origin = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let origin = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().fallback(move || {
            let next = queue.lock().expect("one thread").pop_front().unwrap_or_default();
            async move { answer(&next) }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        origin
    });
    let client =
        RelayClient::new(Server { origin, ca_pem: None }, Arc::new(actors::device())).expect("an origin");
    Pair { runtime, client: Arc::new(client), answers }
}

/// `status`, a newline, header lines, an empty line, and the body, of which each 0xff is a cut.
fn answer(text: &[u8]) -> Response {
    let mut input = Input::new(text);
    let status = input.line().parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status.filter(|status| status.as_u16() >= 200).unwrap_or(StatusCode::OK);
    loop {
        let line = input.until(b'\n');
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let (name, value) = line.split_at(colon);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(&value[1..]))
            // What would be the wire's own business, and fail there.
            && !["connection", "content-length", "transfer-encoding"].contains(&name.as_str())
        {
            response.headers_mut().append(name, value);
        }
    }
    let pieces: Vec<_> = input
        .rest()
        .split(|byte| *byte == 0xff)
        .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
        .collect();
    *response.body_mut() = Body::from_stream(futures_util::stream::iter(pieces));
    response
}

fn run(data: &[u8]) {
    thread_local!(static PAIR: Pair = pair());
    let mut input = Input::new(data);
    let call = input.byte();
    if call == b'p' {
        return polled(input.rest());
    }
    let texts: Vec<Vec<u8>> =
        input.rest().split(|byte| *byte == 0xfe).take(MOST).map(<[u8]>::to_vec).collect();
    PAIR.with(|pair| {
        let count = texts.len();
        *pair.answers.lock().expect("one thread") = texts.into();
        let made = async { tokio::time::timeout(Duration::from_secs(10), make(pair, call, count)).await };
        let result = pair.runtime.block_on(made);
        forget_token(pair);
        if let Err(error) = result.expect("a call that has its answer ends") {
            check::is_inert(&error.to_string());
            if let RelayError::Limited { retry_after: Some(wait) } = error {
                assert!(wait <= Duration::from_secs(3600));
            }
        }
    });
}

/// A long poll that is gone on from asks for the next one at the same place, whatever its cursor is.
fn polled(json: &[u8]) {
    let Ok(polled) = serde_json::from_slice::<Polled>(json) else { return };
    if is_sound(&polled) {
        let path = format!("/v1/poll?wait=25&after={}", polled.cursor);
        let uri: Uri = path.parse().expect("an address");
        assert_eq!((uri.path(), uri.query()), ("/v1/poll", path.strip_prefix("/v1/poll?")));
    }
}

/// So that every input finds the same.
fn forget_token(pair: &Pair) {
    let refusals = [b"401\n\n".to_vec(), b"500\n\n".to_vec()];
    *pair.answers.lock().expect("one thread") = refusals.into();
    assert!(pair.runtime.block_on(pair.client.hosts()).is_err());
}

async fn make(pair: &Pair, call: u8, count: usize) -> Result<(), RelayError> {
    let client = &pair.client;
    let request = || {
        let request = actors::signed_request();
        actors::sealed(MessageType::Request, actors::ID, &request.bytes, &request.signature).expect("it fits")
    };
    match call {
        b'a' => client.join("token", "db-1").await,
        b'b' => client.post(&Post { messages: vec![request()], ttl: 60, ring: true }).await.map(drop),
        b'c' => client.directory().await.map(drop),
        b'd' => client.hosts().await.map(drop),
        b'e' => client.mailbox_host(actors::ID).await.map(drop),
        b'f' => client.mails(actors::ID, Slot::First, 0, 0).await.map(drop),
        b'g' => client.register(actors::ID, &actors::signed_card()).await,
        b'h' => client.unlink("x").await,
        _ => {
            let mut events = client.events().await?;
            // As many as there can be in answers of this size; the rest would be waited for.
            for _ in 0..count {
                if let Event::Message(sealed) | Event::Decision(sealed) = events.next().await? {
                    assert!(!sealed.envelope.is_empty() || sealed.sealed.len() < 20_000);
                }
            }
            Ok(())
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let challenge =
        "200\ncontent-type: application/json\n\n{\"nonce\":\"bm9uY2U\",\"expires_at\":1800000000}";
    let token = "200\n\n{\"token\":\"abc\",\"expires_in\":600}";
    let stream =
        "200\ncontent-type: text/event-stream\n\nevent: hello\ndata: {\"server\":\"x\",\"epoch\":\"y\"}\n\n";
    let request = actors::signed_request();
    let sealed = actors::sealed(MessageType::Request, actors::ID, &request.bytes, &request.signature)
        .expect("it fits");
    let sealed = serde_json::to_string(&sealed).expect("JSON");
    let list = |parts: &[&str]| parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>().join(&0xfe);
    let with = |call: &[u8], parts: &[&str]| [call, &list(parts)].concat();
    vec![
        with(b"a", &[challenge, "201\n\n"]),
        with(b"b", &[challenge, token, "202\n\n{\"listening\":1,\"unknown\":[\"x\"]}"]),
        with(b"c", &["200\n\n{\"devices\":[{\"card\":\"{}\",\"signature\":\"x\"}]}"]),
        with(
            b"d",
            &["401\n\n{\"code\":\"unauthorized\",\"message\":\"\\u001b[2J\"}", challenge, token, "200\n\n{}"],
        ),
        with(b"e", &["429\nretry-after: 99999999999\n\n", "x"]),
        with(b"f", &["302\nlocation: http://127.0.0.1:1/\n\n"]),
        with(b"g", &["500\n\nnot JSON"]),
        with(b"s", &[&format!("{stream}event: message\ndata: {sealed}\n\n: alive\n\n")]),
        with(b"s", &[stream, "x"]),
        with(
            b"p",
            &[&format!("{{\"cursor\":\"0a-1\",\"events\":[{{\"event\":\"message\",\"data\":{sealed}}}]}}")],
        ),
    ]
}
