//! Web Push: rings devices by way of their push services (RFC 8030, 8291, 8292).
//!
//! The host's call is answered before anything happens here. Nothing of this is needed for a message
//! to arrive: whoever has the app open hears of it by its stream.

mod address;
mod encrypt;
mod queue;
mod results;
mod send;
mod subscription;
mod vapid;
mod work;

pub(crate) use results::Results;
#[cfg(feature = "fuzzing")]
pub(crate) use send::retry_after;
pub(crate) use subscription::Subscription;
pub(crate) use work::Pusher;

use crate::app::App;
use crate::config;
use crate::directory::Peer;
use crate::envelope::Frame;
use crate::messages::{Key, Version};
use crate::pem;
use address::PublicOnly;
use p256::SecretKey;
use queue::{Message, Queue};
use reqwest::Client;
use reqwest::redirect::Policy;
use results::Answer;
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use vapid::Vapid;
use zeroize::Zeroizing;

/// Time to connect, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// While an answer is awaited, a connection that is silent for so long is asked whether it is alive; one
/// that does not answer for as long is given up. Else every push would meet it until it is forgotten.
const ALIVE: Duration = Duration::from_secs(3);
/// How long the end of a request is worth pushing.
const CLOSED_LIFE: Duration = Duration::from_secs(600);
/// How long a notice is tried; its push service may keep it longer.
const NOTICE_TRIES: Duration = Duration::from_secs(3600);
/// The same is logged of a push service no more often.
const WARN_EVERY: Duration = Duration::from_secs(600);
/// Most push services of which that is remembered.
const MAX_WARNED: usize = 1000;
/// Whom a push service's operator may ask, where the administrator has not said and the server has no
/// public address. Nobody reads it, but services want one.
const NOBODY: &str = "mailto:nobody@example.com";

/// Why pushes cannot be sent, in one plain line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    #[error("the server's key for Web Push in the database is damaged; restore it from a backup")]
    Key,
    #[error("[push] ca: {0}")]
    Ca(String),
    #[error("no HTTP client for Web Push: {0}")]
    Client(String),
}

/// All that is needed to ring devices.
pub(crate) struct Push {
    vapid: Vapid,
    http: Client,
    private_networks: bool,
    queue: Mutex<Queue>,
    /// Something can be tried.
    wake: Notify,
    results: Results,
    warned: Mutex<HashMap<(Arc<str>, Answer), Instant>>,
}

/// A new secret key for [`Push::new`].
pub(crate) fn new_secret() -> Zeroizing<[u8; 32]> {
    Zeroizing::new(encrypt::new_secret().to_bytes().into())
}

impl Push {
    /// `origin` is the server's own.
    pub(crate) fn new(settings: &config::Push, origin: &str, secret: &[u8; 32]) -> Result<Self, PushError> {
        let secret = SecretKey::from_slice(secret).map_err(|_| PushError::Key)?;
        let contact = match &settings.contact {
            Some(contact) => contact.clone(),
            None if origin.starts_with("https://") => origin.to_owned(),
            None => NOBODY.to_owned(),
        };
        let results = Results::default();
        Ok(Self {
            vapid: Vapid::new(&secret, contact),
            http: client(settings)?,
            private_networks: settings.private_networks,
            queue: Mutex::new(Queue::new(results.clone())),
            wake: Notify::new(),
            results,
            warned: Mutex::default(),
        })
    }

    /// The public key that browsers subscribe with.
    pub(crate) fn key(&self) -> &str {
        self.vapid.public()
    }

    /// Whether push services may be on any address and port.
    pub(crate) fn private_networks(&self) -> bool {
        self.private_networks
    }

    /// The counters.
    pub(crate) fn results(&self) -> &Results {
        &self.results
    }

    /// How many pushes wait or are under way.
    pub(crate) fn len(&self) -> usize {
        self.queue().len()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings a device, if it has a subscription. `life` is the message's in seconds.
    pub(crate) fn ring(&self, app: &App, key: Key, version: Version, frame: &Frame, life: u32) {
        let Some(subscription) = app.registry.subscription(key.device) else { return };
        let life = match version {
            Version::Request => Duration::from_secs(u64::from(life)),
            Version::Closed => CLOSED_LIFE,
            Version::Notice => NOTICE_TRIES,
        };
        let message = Message { version, frame: frame.clone(), until: Instant::now() + life };
        self.queue().offer(key, message, subscription.service());
        self.wake.notify_one();
    }

    /// Drops what waits for a device.
    pub(crate) fn forget(&self, device: Peer) {
        self.queue().cancel(device, None);
    }

    /// Drops what waits between a host and a device that are no longer linked.
    pub(crate) fn unlink(&self, host: Peer, device: Peer) {
        self.queue().cancel(device, Some(host));
    }

    /// Logs what is wrong with a push service, unless that was said not long ago.
    fn warn(&self, service: &Arc<str>, what: Answer, text: impl FnOnce() -> String) {
        let now = Instant::now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(service), what);
        if warned.get(&key).is_some_and(|at| now.duration_since(*at) < WARN_EVERY) {
            tracing::debug!("{}", text());
            return;
        }
        if warned.len() >= MAX_WARNED {
            warned.retain(|_, at| now.duration_since(*at) < WARN_EVERY);
        }
        if warned.len() < MAX_WARNED {
            warned.insert(key, now);
            tracing::warn!("{}", text());
        }
    }
}

fn client(settings: &config::Push) -> Result<Client, PushError> {
    let extra = match &settings.ca {
        Some(file) => {
            pem::read_roots(file).map_err(|why| PushError::Ca(format!("{}: {why}", file.display())))?
        }
        None => Vec::new(),
    };
    let builder = Client::builder()
        .user_agent(concat!("countersign-server/", env!("CARGO_PKG_VERSION")))
        .https_only(true)
        .tls_backend_preconfigured(tls(extra)?)
        // A proxy from the environment would be somebody else's choice, and resolve names by itself.
        .no_proxy()
        // What is posted to was checked; where it points to was not.
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(ALIVE)
        .http2_keep_alive_timeout(ALIVE)
        .tcp_nodelay(true);
    let builder =
        if settings.private_networks { builder } else { builder.dns_resolver(Arc::new(PublicOnly)) };
    builder.build().map_err(|error| PushError::Client(error.to_string()))
}

/// Trusts what the system trusts, and what is given.
fn tls(extra: Vec<CertificateDer<'static>>) -> Result<ClientConfig, PushError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| PushError::Client(error.to_string()))?;
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider);
    let mut config = match verifier {
        // "Dangerous" is any verifier that is not rustls's own; this one is the system's rules.
        Ok(verifier) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
        }
        Err(error) => {
            tracing::warn!(
                "no push service can be verified, so no phone is rung: {error}; install ca-certificates"
            );
            builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
