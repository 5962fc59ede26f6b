//! Doors to what is private, for the fuzz targets in `fuzz/`.

use crate::acme;
use crate::app::{App, Shared};
use crate::config::{Config, Overrides};
use crate::directory::{KeyId, Role};
use crate::push::{self, Push};
use crate::registry::{self, Registered, Registry};
use crate::store::{StoreThread, connect, tables};
use crate::tokens::Caller;
use crate::{config, routes};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use countersign_protocol::api::{self, SignedCard};
use countersign_protocol::card;
use countersign_protocol::keys::PublicKey;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tower_service::Service;

/// Longest answer that is read.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Reads a configuration file.
///
/// # Errors
/// What the administrator is told.
pub fn config(file: &Path) -> Result<(), String> {
    Config::load(Some(file), Overrides::default()).map(drop).map_err(|error| error.to_string())
}

/// Reads a subscription; gives the endpoint that is called and the service as it is named in a log.
///
/// # Errors
/// What the device is told.
pub fn subscription(given: &api::Subscription, private: bool) -> Result<(String, String), String> {
    let read = push::Subscription::read(given, private).map_err(|bad| bad.to_string())?;
    Ok((read.endpoint().to_string(), read.service().to_string()))
}

/// How long a push service wants to be left alone.
#[must_use]
pub fn retry_after(text: &[u8], now: SystemTime) -> Option<Duration> {
    let value = HeaderValue::from_bytes(text).ok()?;
    push::retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value)]), now)
}

/// Reads a key and its chain as an ACME server gives it; when it has to be renewed, and how long it is good.
///
/// # Errors
/// What is logged.
pub fn certificate(pem: &[u8], now: SystemTime) -> Result<(Duration, Option<Duration>), String> {
    acme::times(pem, now)
}

/// An answer to a request.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body; nothing of an event stream.
    pub body: Vec<u8>,
}

/// A server without a network, with one host and one device that are linked.
pub struct Server {
    router: Router,
    runtime: Runtime,
    /// The bearer tokens of the host and the device, and a token with which another host may join.
    pub tokens: [String; 3],
    _app: Shared,
    _stop: watch::Sender<bool>,
    _thread: StoreThread,
}

impl Server {
    /// A new one, behind a proxy.
    ///
    /// # Panics
    /// When the folder cannot hold a database, or key and card are not in order.
    #[must_use]
    pub fn new(folder: &Path, settings: &str, host: &PublicKey, device: &SignedCard) -> Self {
        let file = folder.join("server.toml");
        let database = folder.join("server.db");
        std::fs::write(&file, settings).expect("the settings can be written");
        let over = Overrides { database: Some(database.clone()), ..Overrides::default() };
        let config = Config::load(Some(&file), over).expect("good settings");
        let (registry, thread, secret) = Registry::open(&database, 1000, 1000, false).expect("a database");
        let origin = config.origin_for(config.listen);
        let push = Push::new(&config::Push::default(), &origin, &secret).expect("a client");
        let (stop, stopping) = watch::channel(false);
        let app: Shared = Arc::new(App::new(&config, origin, registry, push, stopping));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let join = "join-0123456789abcdef0123456789abcdef".to_owned();
        for token in [&join, "first"] {
            let added = connect(&database)
                .map(|mut conn| tables::add_join_token(&mut conn, token, registry::now(), 3600));
            assert!(added.is_ok_and(|added| added.is_ok_and(|added| added)));
        }
        let tokens = runtime.block_on(introduce(&app, host, device));
        let router = routes::router(Arc::clone(&app), &config);
        let [host, device] = tokens;
        Self { router, runtime, tokens: [host, device, join], _app: app, _stop: stop, _thread: thread }
    }

    /// Answers a request; nothing when it is none. With `wind` nothing of it waits in real time.
    pub fn call(
        &mut self,
        (method, target): (&str, &str),
        headers: &[(String, Vec<u8>)],
        body: Vec<u8>,
        wind: bool,
    ) -> Option<Answer> {
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
        *request.uri_mut() = target.parse::<Uri>().ok()?;
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
        }
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        request.extensions_mut().insert(ConnectInfo(peer));
        let answered = Service::call(&mut self.router, request);
        Some(self.runtime.block_on(async {
            if wind {
                tokio::time::pause();
            }
            let (parts, body) = answered.await.unwrap_or_else(|never| match never {}).into_parts();
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers: Vec<(String, String)> =
                parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            let is_stream = headers.iter().any(|(_, value)| value.starts_with("text/event-stream"));
            let body = if is_stream { Vec::new() } else { whole(body).await };
            if wind {
                tokio::time::resume();
            }
            Answer { status: parts.status.as_u16(), headers, body }
        }))
    }
}

async fn whole(body: Body) -> Vec<u8> {
    to_bytes(body, MAX_ANSWER).await.expect("a bounded answer").to_vec()
}

/// Makes host and device known and gives each a token.
async fn introduce(app: &Shared, host: &PublicKey, device: &SignedCard) -> [String; 2] {
    let (host_id, verified) = (KeyId(host.sha256()), card::verify(device).expect("a good card"));
    let device_id = KeyId(verified.key.sha256());
    let joined = app.registry.join("first".to_owned(), host_id, host.to_line(), "db-1".to_owned()).await;
    joined.expect("the host joins");
    let put = app.registry.put_card(device_id, device.clone(), 1, Some(host_id)).await;
    assert!(matches!(put, Ok(Registered::Done { changed: true })));
    [(host_id, Role::Host), (device_id, Role::Device)].map(|(id, role)| {
        let (peer, _) = app.registry.find(&id).expect("it is known");
        app.tokens.give(Caller { peer, id, role }, Instant::now())
    })
}
