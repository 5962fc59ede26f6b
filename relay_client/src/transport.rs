//! The connection: HTTP/2 over rustls, or over plain TCP on loopback.

use crate::RelayError;
use crate::origin;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Time to connect, TLS included.
const CONNECT: Duration = Duration::from_millis(1500);
/// Longest CA file.
const MAX_CA: usize = 1024 * 1024;
/// A connection that brings nothing for this long is asked whether it is alive.
const PING_AFTER: Duration = Duration::from_secs(30);
/// How long it has to answer.
const PING_ANSWER: Duration = Duration::from_secs(5);

/// Where the server is, and whom to trust for it.
#[derive(Debug, Clone)]
pub struct Server {
    /// For example `https://push.example.com`.
    pub origin: String,
    /// CA certificates in PEM, trusted in place of the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// How soon a dead connection is noticed while nothing happens, and how often a client wakes for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Lively,
    /// Only the stream's comments show that the server is there: each timer costs wake-ups, too.
    Calm,
}

pub(crate) struct Transport {
    origin: String,
    base: Url,
    tls: Option<ClientConfig>,
    http: RwLock<Http>,
    pace: Pace,
}

/// The client in use, with its connections, and how many there were before it.
#[derive(Clone)]
pub(crate) struct Http {
    pub(crate) client: Client,
    pub(crate) number: u64,
}

impl Transport {
    pub(crate) fn new(server: Server, pace: Pace) -> Result<Self, RelayError> {
        let base = origin::parse(&server.origin)?;
        let tls = match base.scheme() {
            "https" => Some(tls_config(server.ca_pem.as_deref())?),
            _ => None,
        };
        let http = RwLock::new(Http { client: build(tls.clone(), pace)?, number: 0 });
        Ok(Self { origin: server.origin, base, tls, http, pace })
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The address of a path, which may have a query.
    pub(crate) fn url(&self, path: &str) -> Result<Url, RelayError> {
        self.base.join(path).map_err(|_| RelayError::Origin)
    }

    /// One more client, whose connections nobody else uses.
    pub(crate) fn apart(&self) -> Result<Client, RelayError> {
        build(self.tls.clone(), self.pace)
    }

    pub(crate) fn http(&self) -> Http {
        self.http.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the connection: it did not answer, and a pooled one would be used again.
    pub(crate) fn reset(&self) {
        self.leave(self.http().number);
    }

    /// The same for the connection of that number only: of many calls on a dead one the first to notice makes
    /// the next one, for all of them.
    pub(crate) fn leave(&self, number: u64) {
        let mut http = self.http.write().unwrap_or_else(PoisonError::into_inner);
        if http.number == number
            && let Ok(client) = build(self.tls.clone(), self.pace)
        {
            *http = Http { client, number: number.wrapping_add(1) };
        }
    }
}

fn build(tls: Option<ClientConfig>, pace: Pace) -> Result<Client, RelayError> {
    let builder = Client::builder()
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
        // A proxy from the environment would be somebody else's choice.
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .pool_idle_timeout(None);
    let builder = match pace {
        Pace::Lively => builder.http2_keep_alive_interval(PING_AFTER).http2_keep_alive_timeout(PING_ANSWER),
        Pace::Calm => builder,
    };
    let builder = match tls {
        Some(config) => builder.https_only(true).tls_backend_preconfigured(config),
        None => builder.http2_prior_knowledge().tls_backend_preconfigured(empty_tls()?),
    };
    builder.build().map_err(|e| RelayError::Ca(e.to_string()))
}

fn tls_config(ca_pem: Option<&[u8]>) -> Result<ClientConfig, RelayError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| RelayError::Ca(e.to_string()))?;
    let mut config = match ca_pem {
        Some(pem) => builder.with_root_certificates(roots(pem)?).with_no_client_auth(),
        None => {
            let verifier = rustls_platform_verifier::Verifier::new(provider)
                .map_err(|e| RelayError::Ca(format!("the system's own: {e}")))?;
            // "Dangerous" is any verifier that is not rustls's own; this one is the system's rules.
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Trusts nobody: plain HTTP needs no roots, and reading the system's takes time and memory.
fn empty_tls() -> Result<ClientConfig, RelayError> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| RelayError::Ca(e.to_string()))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, RelayError> {
    if pem.len() > MAX_CA {
        return Err(RelayError::Ca(format!("the file is longer than {MAX_CA} bytes")));
    }
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| RelayError::Ca(e.to_string()))?;
        store.add(certificate).map_err(|e| RelayError::Ca(e.to_string()))?;
    }
    if store.is_empty() {
        return Err(RelayError::Ca("the file holds no certificate in PEM".into()));
    }
    Ok(store)
}
