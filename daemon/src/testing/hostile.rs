//! A push server that means harm: it answers each call as a test wants, and tells what it was told. What it is
//! not told to spoil it does as it should, so that the host comes back after each attack.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use countersign_protocol::api::{Challenge, Hello, Polled, PolledEvent, Post, Posted, Token, event};
use countersign_protocol::message::Sealed;
use futures_util::stream;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::wire::Wire;

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(100_000);
/// What "endless" is: more than anybody may take in.
const ENDLESS: u64 = 100 * 1024 * 1024;
/// Bytes of it at once.
const PIECE: usize = 64 * 1024;

/// A call of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Challenge,
    Token,
    Post,
    Stream,
    Poll,
}

/// How one call is answered.
#[derive(Debug, Clone)]
pub(crate) enum Lie {
    /// With this status, and the rest as it should be.
    Status(u16),
    /// With a redirection to a place that must not be asked.
    Redirect(u16),
    /// Too many, and this `Retry-After`.
    Later(&'static str),
    /// Headers of so many bytes in all, in one or in many.
    Headers(u32, bool),
    /// A `Content-Length` that is this much off.
    Length(i32),
    /// A `Content-Encoding` that is none.
    Encoded(&'static str),
    /// This in place of the body.
    Body(&'static [u8]),
    /// The honest body with one bit changed, cut there, or twice.
    Flipped(u16),
    Cut(u16),
    Twice,
    /// A body without an end: as fast as it is taken, or a byte now and then.
    Endless(u8),
    Dripping,
    /// Nothing at all.
    Silent,
}

/// The server, as its test holds it.
pub(crate) struct Hostile {
    pub(crate) origin: String,
    pub(crate) wire: Wire,
    shared: Arc<Shared>,
    posts: UnboundedReceiver<Post>,
}

struct Shared {
    lies: Mutex<HashMap<Call, VecDeque<Lie>>>,
    posted: UnboundedSender<Post>,
    stream: Mutex<Option<UnboundedSender<Bytes>>>,
    kept: watch::Sender<Kept>,
    /// Tokens so far; only the last one counts.
    tokens: AtomicU32,
    /// Streams are held back, so that the host has to poll.
    no_streams: AtomicBool,
    endless: AtomicU64,
    trapped: AtomicU32,
}

/// What it keeps for the host, and says again on each new stream, each with its number.
#[derive(Default)]
struct Kept {
    decisions: Vec<(u32, Sealed)>,
    /// The number of the last one that it ever kept.
    last: u32,
}

impl Kept {
    fn after(&self, number: u32) -> impl Iterator<Item = &Sealed> {
        self.decisions.iter().filter(move |(of, _)| *of > number).map(|(_, decision)| decision)
    }
}

impl Hostile {
    pub(crate) async fn start() -> Self {
        let (posted, posts) = unbounded_channel();
        let shared = Arc::new(Shared {
            lies: Mutex::default(),
            posted,
            stream: Mutex::default(),
            kept: watch::channel(Kept::default()).0,
            tokens: AtomicU32::new(0),
            no_streams: AtomicBool::new(false),
            endless: AtomicU64::new(0),
            trapped: AtomicU32::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Wire::before(listener.local_addr().unwrap()).await;
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        // At once: nothing is to wait for an acknowledgement, which may take 40 ms.
        let listener = listener.tap_io(|connection| connection.set_nodelay(true).unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin: format!("http://{}", wire.address), wire, shared, posts }
    }

    /// Answers one of the next calls of that kind so.
    pub(crate) fn lie(&self, call: Call, lie: Lie) {
        self.shared.lies.lock().unwrap().entry(call).or_default().push_back(lie);
        match call {
            // It has to earn a new one, and open a new stream.
            Call::Challenge | Call::Token => {
                self.shared.tokens.fetch_add(1, Ordering::SeqCst);
                self.cut();
            }
            Call::Stream => self.cut(),
            Call::Poll => {
                self.shared.no_streams.store(true, Ordering::SeqCst);
                self.cut();
            }
            Call::Post => {}
        }
    }

    /// From now on it does as it should.
    pub(crate) fn behave(&self) {
        self.shared.lies.lock().unwrap().clear();
        self.shared.no_streams.store(false, Ordering::SeqCst);
        self.wire.heal();
        self.cut();
    }

    pub(crate) fn cut(&self) {
        *self.shared.stream.lock().unwrap() = None;
    }

    /// Posts that came since the last time.
    pub(crate) fn posts(&mut self) -> Vec<Post> {
        std::iter::from_fn(|| self.posts.try_recv().ok()).collect()
    }

    /// Hands a decision to the host, on each stream anew.
    pub(crate) fn keep(&self, decision: &Sealed) {
        self.shared.kept.send_modify(|kept| {
            kept.last += 1;
            kept.decisions.push((kept.last, decision.clone()));
        });
        self.send(event(decision));
    }

    pub(crate) fn forget(&self) {
        self.shared.kept.send_modify(|kept| kept.decisions.clear());
    }

    /// Says something on the stream that it does not keep.
    pub(crate) fn deliver(&self, decision: &Sealed) {
        self.send(event(decision));
    }

    /// Says anything on the stream.
    pub(crate) fn send(&self, bytes: impl Into<Bytes>) {
        if let Some(stream) = self.shared.stream.lock().unwrap().as_ref() {
            let _ = stream.send(bytes.into());
        }
    }

    /// Bytes of endless bodies that were taken, and calls of a place that nobody may be sent to.
    pub(crate) fn taken(&self) -> (u64, u32) {
        (self.shared.endless.load(Ordering::SeqCst), self.shared.trapped.load(Ordering::SeqCst))
    }
}

/// A decision as it comes down a stream.
pub(crate) fn event(decision: &Sealed) -> String {
    format!("event: {}\ndata: {}\n\n", event::DECISION, serde_json::to_string(decision).unwrap())
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let call = match uri.path() {
        "/v1/auth/challenge" => Call::Challenge,
        "/v1/auth/token" => Call::Token,
        "/v1/messages" => Call::Post,
        "/v1/stream" => Call::Stream,
        "/v1/poll" => Call::Poll,
        _ => {
            shared.trapped.fetch_add(1, Ordering::SeqCst);
            return StatusCode::NOT_FOUND.into_response();
        }
    };
    let lie = shared.lies.lock().unwrap().get_mut(&call).and_then(VecDeque::pop_front);
    let token = format!("Bearer {}", shared.tokens.load(Ordering::SeqCst));
    let knows = headers.get(header::AUTHORIZATION).is_some_and(|given| given.as_bytes() == token.as_bytes());
    if !knows && !matches!(call, Call::Challenge | Call::Token) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let honest = match call {
        Call::Challenge => json(&Challenge { nonce: "nonce".into(), expires_at: 1 }),
        Call::Token => {
            let number = shared.tokens.fetch_add(1, Ordering::SeqCst) + 1;
            json(&Token { token: number.to_string(), expires_in: 600 })
        }
        Call::Post => {
            if let Ok(post) = serde_json::from_slice(&body) {
                let _ = shared.posted.send(post);
            }
            json(&Posted { listening: 1, unknown: Vec::new() })
        }
        Call::Poll => json(&polled(&shared, uri.query().unwrap_or_default()).await),
        Call::Stream if shared.no_streams.load(Ordering::SeqCst) => {
            sleep(FOR_EVER).await;
            Vec::new()
        }
        Call::Stream if lie.is_none() => return open_stream(&shared),
        Call::Stream => hello().into_bytes(),
    };
    match lie {
        Some(lie) => lie.answer(honest, &shared).await,
        None => honest.into_response(),
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

fn hello() -> String {
    let hello = serde_json::to_string(&Hello { server: "hostile".into(), epoch: "1".into() }).unwrap();
    format!("event: {}\ndata: {hello}\n\n", event::HELLO)
}

/// What came after what the host knows, as soon as there is some. A host on a busy machine polls without being made to: a
/// stream whose first words take three seconds to get through is one that is held back.
async fn polled(shared: &Shared, query: &str) -> Polled {
    let asked = |name: &str| {
        let number = query.split('&').find_map(|one| one.strip_prefix(name));
        number.and_then(|number| number.parse().ok()).unwrap_or(0_u32)
    };
    let (after, wait) = (asked("after="), Duration::from_secs(asked("wait=").into()));
    let mut kept = shared.kept.subscribe();
    let _ = timeout(wait, kept.wait_for(|kept| kept.after(after).next().is_some())).await.is_ok();
    let kept = kept.borrow();
    let polled =
        |decision: &Sealed| PolledEvent { event: event::DECISION.to_owned(), data: decision.clone() };
    Polled { cursor: kept.last.to_string(), events: kept.after(after).map(polled).collect() }
}

fn open_stream(shared: &Shared) -> Response {
    let (frames, came) = unbounded_channel();
    let _ = frames.send(Bytes::from(hello()));
    for decision in shared.kept.borrow().after(0) {
        let _ = frames.send(Bytes::from(event(decision)));
    }
    *shared.stream.lock().unwrap() = Some(frames);
    let next = |mut came: UnboundedReceiver<Bytes>| async move {
        let frame = came.recv().await?;
        Some((Ok::<_, std::io::Error>(frame), came))
    };
    Body::from_stream(stream::unfold(came, next)).into_response()
}

impl Lie {
    async fn answer(self, honest: Vec<u8>, shared: &Arc<Shared>) -> Response {
        let with = |name: HeaderName, value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            ([(name, value)], honest.clone()).into_response()
        };
        match self {
            Self::Status(status) => (StatusCode::from_u16(status).unwrap(), honest).into_response(),
            Self::Redirect(status) => {
                let status = StatusCode::from_u16(status).unwrap();
                (status, [(header::LOCATION, "/trap")]).into_response()
            }
            Self::Later(when) => {
                let mut answer = with(header::RETRY_AFTER, when);
                *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                answer
            }
            Self::Headers(bytes, is_one) => {
                let mut answer = honest.into_response();
                let (count, length) = if is_one { (1, bytes) } else { (bytes / 100, 50) };
                let value = HeaderValue::from_str(&"v".repeat(length as usize)).unwrap();
                for number in 0..count {
                    let name = HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap();
                    answer.headers_mut().insert(name, value.clone());
                }
                answer
            }
            Self::Length(off) => {
                let length = (i64::try_from(honest.len()).unwrap() + i64::from(off)).max(0).to_string();
                // As a stream, so that nobody mends it on the way.
                let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from(honest))]);
                ([(header::CONTENT_LENGTH, length)], Body::from_stream(body)).into_response()
            }
            Self::Encoded(how) => with(header::CONTENT_ENCODING, how),
            Self::Body(body) => body.into_response(),
            Self::Flipped(bit) => {
                let mut body = honest;
                let at = usize::from(bit) % (body.len() * 8);
                body[at / 8] ^= 1 << (at % 8);
                body.into_response()
            }
            Self::Cut(length) => {
                let length = usize::from(length) % honest.len();
                honest[..length].to_vec().into_response()
            }
            Self::Twice => honest.repeat(2).into_response(),
            Self::Endless(byte) => endless(Arc::clone(shared), byte),
            Self::Dripping => {
                let drip = stream::unfold((), |()| async {
                    sleep(Duration::from_millis(300)).await;
                    Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
                });
                Body::from_stream(drip).into_response()
            }
            Self::Silent => {
                sleep(FOR_EVER).await;
                StatusCode::OK.into_response()
            }
        }
    }
}

fn endless(shared: Arc<Shared>, byte: u8) -> Response {
    let piece = Bytes::from(vec![byte; PIECE]);
    let next = move |sent: u64| {
        let (shared, piece) = (Arc::clone(&shared), piece.clone());
        async move {
            if sent >= ENDLESS {
                return None;
            }
            shared.endless.fetch_add(PIECE as u64, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Some((Ok::<_, std::io::Error>(piece), sent + PIECE as u64))
        }
    };
    Body::from_stream(stream::unfold(0, next)).into_response()
}

/// Bodies that are no answer.
pub(crate) const NONSENSE: [&[u8]; 8] = [
    b"",
    b"{",
    b"null",
    b"<html>captive portal</html>",
    b"{\"token\":7,\"expires_in\":-1,\"listening\":99999999999,\"unknown\":{}}",
    b"{\"token\":\"a\\nb\",\"expires_in\":4294967295,\"nonce\":\"\",\"expires_at\":18446744073709551615}",
    b"\xff\xfe\x00\x00",
    &[b'['; 10_000],
];
