//! A push server of a few lines, and a wire that can be cut.
#![allow(dead_code, reason = "each test file uses a part")]

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use axum::{Json, Router};
use countersign_protocol::api::{
    Challenge, ChallengeFor, Directory, Hello, Join, Mail, Mails, Polled, PolledEvent, Post, Posted, Proof,
    Register, SignedCard, Token, event,
};
use countersign_protocol::auth;
use countersign_protocol::keys::{Signer, SigningKey};
use countersign_protocol::message::Sealed;
use countersign_relay_client::{RelayClient, Server};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) origin: Mutex<String>,
    pub(crate) tokens: AtomicUsize,
    /// Only the newest token counts, and none after this is set.
    pub(crate) forget_tokens: AtomicBool,
    /// Streams are held back as a buffering proxy does.
    pub(crate) hold_streams: AtomicBool,
    /// Lists are answered after two seconds.
    pub(crate) slow_lists: AtomicBool,
    /// Polls wait as long as they are asked to.
    pub(crate) slow_polls: AtomicBool,
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) versions: Mutex<Vec<Version>>,
}

type Shared = State<Arc<Fake>>;

impl Fake {
    fn authorized(&self, headers: &HeaderMap) -> Result<(), StatusCode> {
        let newest = format!("Bearer t{}", self.tokens.load(Ordering::SeqCst));
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if self.forget_tokens.swap(false, Ordering::SeqCst) {
            self.tokens.fetch_add(1, Ordering::SeqCst);
            return Err(StatusCode::UNAUTHORIZED);
        }
        if given == Some(newest.as_str()) { Ok(()) } else { Err(StatusCode::UNAUTHORIZED) }
    }

    fn note(&self, text: impl Into<String>) {
        self.log.lock().unwrap().push(text.into());
    }

    pub(crate) fn noted(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

pub(crate) fn sealed(id: u8) -> Sealed {
    Sealed { envelope: format!("{id}"), sealed: "x".into() }
}

pub(crate) fn router(fake: Arc<Fake>) -> Router {
    Router::new()
        .route("/v1/auth/challenge", post(challenge))
        .route("/v1/auth/token", post(token))
        .route("/v1/hosts", post(join))
        .route("/v1/devices", post(register).get(directory))
        .route("/v1/devices/{id}", put(put_card).delete(unlink))
        .route("/v1/messages", post(messages))
        .route("/v1/lists/{id}", put(put_list))
        .route("/v1/lists/{host}/{id}", get(list))
        .route("/v1/stream", get(stream))
        .route("/v1/poll", get(poll))
        .route("/v1/mailboxes/{id}", any(mailbox))
        .route("/v1/mailboxes/{id}/{slot}", any(slot))
        .with_state(fake)
}

async fn challenge(_: Shared, Json(_): Json<ChallengeFor>) -> Json<Challenge> {
    Json(Challenge { nonce: "nonce".into(), expires_at: 1000 })
}

async fn token(State(fake): Shared, Json(proof): Json<Proof>) -> Response {
    let origin = fake.origin.lock().unwrap().clone();
    if auth::verify(&proof, &origin, 999).is_err() {
        return StatusCode::FORBIDDEN.into_response();
    }
    let number = fake.tokens.fetch_add(1, Ordering::SeqCst) + 1;
    Json(Token { token: format!("t{number}"), expires_in: 600 }).into_response()
}

async fn join(State(fake): Shared, Json(join): Json<Join>) -> Response {
    let origin = fake.origin.lock().unwrap().clone();
    let held = auth::verify(&join.proof, &origin, 999).is_ok();
    fake.note(format!("join {} {} {held}", join.name, join.token));
    let problem = |code: &str| {
        Json(serde_json::json!({ "code": code, "message": "get another\nwith countersign-server token" }))
    };
    match join.token.as_str() {
        "good" => StatusCode::CREATED.into_response(),
        "slow" => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "7")]).into_response(),
        "moved" => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/v1/hosts2")]).into_response(),
        "broken" => StatusCode::BAD_GATEWAY.into_response(),
        _ => (StatusCode::FORBIDDEN, problem("token-used")).into_response(),
    }
}

async fn put_list(
    State(fake): Shared,
    headers: HeaderMap,
    Path(id): Path<String>,
    request: Request,
) -> Result<StatusCode, StatusCode> {
    fake.authorized(&headers)?;
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body =
        axum::body::to_bytes(request.into_body(), 1024).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    fake.note(format!("list {id} {query} {kind} {body:?}"));
    if fake.slow_lists.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn list(
    State(fake): Shared,
    headers: HeaderMap,
    Path((host, id)): Path<(String, String)>,
) -> Result<Vec<u8>, StatusCode> {
    fake.authorized(&headers)?;
    if id == "none" { Err(StatusCode::NOT_FOUND) } else { Ok(format!("{host} {id}").into_bytes()) }
}

async fn register(State(fake): Shared, Json(register): Json<Register>) -> StatusCode {
    fake.note(format!("register {}", register.mailbox));
    StatusCode::CREATED
}

async fn directory(
    State(fake): Shared,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Directory>, StatusCode> {
    fake.versions.lock().unwrap().push(request.version());
    fake.authorized(&headers)?;
    Ok(Json(Directory { devices: vec![SignedCard { card: "{}".into(), signature: "s".into() }] }))
}

async fn put_card(State(fake): Shared, Path(id): Path<String>, headers: HeaderMap) -> Result<(), StatusCode> {
    fake.authorized(&headers)?;
    fake.note(format!("card {id}"));
    Ok(())
}

async fn unlink(
    State(fake): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, StatusCode> {
    fake.authorized(&headers)?;
    fake.note(format!("unlink {id}"));
    Ok(StatusCode::NO_CONTENT)
}

async fn messages(State(fake): Shared, headers: HeaderMap, Json(post): Json<Post>) -> Response {
    if let Err(status) = fake.authorized(&headers) {
        return status.into_response();
    }
    match post.ttl {
        1 => "not JSON".into_response(),
        2 => Body::from(vec![b'x'; 5 << 20]).into_response(),
        _ => (StatusCode::ACCEPTED, Json(Posted { listening: 2, unknown: Vec::new() })).into_response(),
    }
}

async fn stream(
    State(fake): Shared,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    fake.authorized(&headers)?;
    match query.get("comments") {
        None => fake.note("stream"),
        Some(seconds) => fake.note(format!("stream comments={seconds}")),
    }
    if fake.hold_streams.load(Ordering::SeqCst) {
        return Ok(Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>())
            .into_response());
    }
    let hello = serde_json::to_string(&Hello { server: "9".into(), epoch: "e".into() }).unwrap();
    let decision = serde_json::to_string(&sealed(1)).unwrap();
    let text = format!(
        "event: {}\ndata: {hello}\n\n:\n\nevent: later\ndata: x\n\nevent: {}\ndata: {decision}\n\n",
        event::HELLO,
        event::DECISION,
    );
    Ok(text.into_response())
}

async fn poll(
    State(fake): Shared,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Json<Polled>, StatusCode> {
    fake.authorized(&headers)?;
    let after = query.get("after").cloned().unwrap_or_default();
    fake.note(format!("poll after={after} wait={}", query["wait"]));
    if fake.slow_polls.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_secs(query["wait"].parse().unwrap_or(0))).await;
    }
    let number = after.strip_prefix("e-").and_then(|n| n.parse::<u8>().ok()).unwrap_or(0) + 1;
    let event = PolledEvent { event: event::DECISION.into(), data: sealed(number) };
    Ok(Json(Polled { cursor: format!("e-{number}"), events: vec![event] }))
}

async fn mailbox(State(fake): Shared, Path(id): Path<String>, request: Request) -> Result<(), StatusCode> {
    fake.authorized(request.headers())?;
    fake.note(format!("{} {id}", request.method()));
    Ok(())
}

async fn slot(
    State(fake): Shared,
    Path((id, slot)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let (method, has_token) =
        (request.method().clone(), request.headers().contains_key(header::AUTHORIZATION));
    let body = axum::body::to_bytes(request.into_body(), 1 << 16).await.unwrap();
    let data = serde_json::from_slice::<Mail>(&body).map(|mail| mail.data).unwrap_or_default();
    let after = query.get("after").cloned().unwrap_or_default();
    fake.note(format!("{method} {id} {slot} {data}{after} token={has_token}"));
    Json(Mails { mails: vec!["mail".into()] }).into_response()
}

/// Starts the server; gives it and its address.
pub(crate) async fn start() -> (Arc<Fake>, SocketAddr) {
    let fake = Arc::new(Fake::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    *fake.origin.lock().unwrap() = format!("http://{address}");
    let router = router(fake.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (fake, address)
}

pub(crate) fn client(origin: &str) -> Arc<RelayClient> {
    let server = Server { origin: origin.into(), ca_pem: None };
    let signer: Arc<dyn Signer> = Arc::new(SigningKey::generate());
    Arc::new(RelayClient::new(server, signer).unwrap())
}

/// A wire between client and server.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) connections: AtomicUsize,
    /// Connections up to this number carry nothing any more.
    pub(crate) dead: AtomicUsize,
}

impl Wire {
    pub(crate) async fn before(server: SocketAddr) -> (Arc<Self>, SocketAddr) {
        let wire = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = wire.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let far = TcpStream::connect(server).await.unwrap();
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(carry(shared.clone(), number, near_read, far_write));
                tokio::spawn(carry(shared.clone(), number, far_read, near_write));
            }
        });
        (wire, address)
    }
}

async fn carry(
    wire: Arc<Wire>,
    number: usize,
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if number > wire.dead.load(Ordering::SeqCst) && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
