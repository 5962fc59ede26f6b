//! A push server that keeps no state: it shows a test what was posted, and hands on what the test gives it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use countersign_protocol::api::{Challenge, Hello, Mail, Mails, Post, Posted, Token, event};
use countersign_protocol::message::Sealed;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server, as its test holds it.
pub(crate) struct Push {
    pub(crate) origin: String,
    shared: Arc<Shared>,
    posts: UnboundedReceiver<Post>,
}

struct Shared {
    posted: UnboundedSender<Post>,
    /// The open stream; dropping it ends the stream.
    stream: Mutex<Option<UnboundedSender<String>>>,
    streams: AtomicUsize,
    /// Posts that are refused for a second each before one is taken.
    refuse: AtomicUsize,
    /// Devices that are said to listen.
    listening: AtomicU32,
    /// What is in each slot of each mailbox, by path.
    mails: Mutex<HashMap<String, Vec<String>>>,
}

impl Push {
    pub(crate) async fn start() -> Self {
        let (posted, posts) = unbounded_channel();
        let shared = Arc::new(Shared {
            posted,
            stream: Mutex::default(),
            streams: AtomicUsize::new(0),
            refuse: AtomicUsize::new(0),
            listening: AtomicU32::new(1),
            mails: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/v1/auth/challenge", post(challenge))
            .route("/v1/auth/token", post(token))
            .route("/v1/messages", post(messages))
            .route("/v1/stream", get(open_stream))
            .route("/v1/mailboxes/{id}", put(|| async {}).delete(|| async {}))
            .route("/v1/mailboxes/{id}/{slot}", get(mails).put(put_mail))
            .route("/v1/devices/{id}", delete(|| async {}))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, shared, posts }
    }

    /// The next post, in the order of their coming.
    pub(crate) async fn next(&mut self) -> Post {
        timeout(PATIENCE, self.posts.recv()).await.expect("nothing was posted").unwrap()
    }

    /// Nothing is posted for a moment.
    pub(crate) async fn is_quiet(&mut self) {
        sleep(Duration::from_millis(200)).await;
        assert!(self.posts.try_recv().is_err(), "something was posted");
    }

    /// Hands a decision to the host.
    pub(crate) fn deliver(&self, decision: &Sealed) {
        let data = serde_json::to_string(decision).unwrap();
        let frame = format!("event: {}\ndata: {data}\n\n", event::DECISION);
        self.shared.stream.lock().unwrap().as_ref().unwrap().send(frame).unwrap();
    }

    /// Says from now on that so many devices listen.
    pub(crate) fn listening(&self, devices: u32) {
        self.shared.listening.store(devices, Ordering::SeqCst);
    }

    /// Puts a device's message into a mailbox.
    pub(crate) fn mail(&self, mailbox: &str, slot: &str, mail: &str) {
        let mut mails = self.shared.mails.lock().unwrap();
        mails.entry(format!("{mailbox}/{slot}")).or_default().push(mail.to_owned());
    }

    /// The host's message in a mailbox.
    pub(crate) async fn mailed(&self, mailbox: &str, slot: &str) -> String {
        let place = format!("{mailbox}/{slot}");
        let found = async {
            loop {
                if let Some(mail) = self.shared.mails.lock().unwrap().get(&place).and_then(|m| m.first()) {
                    return mail.clone();
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, found).await.expect("nothing was mailed")
    }

    /// Ends the stream.
    pub(crate) fn cut(&self) {
        *self.shared.stream.lock().unwrap() = None;
    }

    /// Ends the stream as for another one with the same key.
    pub(crate) fn replace(&self) {
        let frame = format!("event: {}\ndata: {{}}\n\n", event::REPLACED);
        self.shared.stream.lock().unwrap().take().unwrap().send(frame).unwrap();
    }

    /// Streams that were opened so far.
    pub(crate) fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::SeqCst)
    }

    /// Refuses the next posts as too many.
    pub(crate) fn refuse(&self, posts: usize) {
        self.shared.refuse.store(posts, Ordering::SeqCst);
    }
}

async fn challenge() -> Json<Challenge> {
    Json(Challenge { nonce: "nonce".into(), expires_at: 1 })
}

async fn token() -> Json<Token> {
    Json(Token { token: "token".into(), expires_in: 600 })
}

async fn messages(State(shared): State<Arc<Shared>>, Json(post): Json<Post>) -> Response {
    let refused =
        shared.refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    if refused {
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")]).into_response();
    }
    let _ = shared.posted.send(post);
    let listening = shared.listening.load(Ordering::SeqCst);
    (StatusCode::ACCEPTED, Json(Posted { listening, unknown: Vec::new() })).into_response()
}

async fn mails(State(shared): State<Arc<Shared>>, Path((id, slot)): Path<(String, String)>) -> Json<Mails> {
    sleep(Duration::from_millis(20)).await;
    let mails = shared.mails.lock().unwrap().get(&format!("{id}/{slot}")).cloned().unwrap_or_default();
    Json(Mails { mails })
}

async fn put_mail(
    State(shared): State<Arc<Shared>>,
    Path((id, slot)): Path<(String, String)>,
    Json(mail): Json<Mail>,
) {
    shared.mails.lock().unwrap().insert(format!("{id}/{slot}"), vec![mail.data]);
}

async fn open_stream(State(shared): State<Arc<Shared>>) -> Body {
    let (frames, came) = unbounded_channel();
    let hello = serde_json::to_string(&Hello { server: "test".into(), epoch: "1".into() }).unwrap();
    frames.send(format!("event: {}\ndata: {hello}\n\n", event::HELLO)).unwrap();
    *shared.stream.lock().unwrap() = Some(frames);
    shared.streams.fetch_add(1, Ordering::SeqCst);
    let next = |mut came: UnboundedReceiver<String>| async move {
        let frame = came.recv().await?;
        Some((Ok::<_, std::io::Error>(frame), came))
    };
    Body::from_stream(stream::unfold(came, next))
}
