//! A certificate by ACME (RFC 8555): got at the start, kept on disk, renewed in time. Proven by
//! TLS-ALPN-01 (RFC 8737), on the port where everybody connects, so that no other is needed.

mod authority;
mod certificate;
mod resolver;
mod store;

use crate::config::Acme;
use authority::{Authority, Failure};
use certificate::Certificate;
use resolver::Resolver;
use rustls::ServerConfig;
use rustls::crypto::ring;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use store::Store;
use tokio::sync::Notify;

/// Longest time from asking for a certificate to having it.
const ORDER: Duration = Duration::from_secs(300);
/// How often the clock is looked at: it may be set, and a suspended machine's timers stand still.
const LOOK: Duration = Duration::from_secs(3600);

/// Why there is no ACME, in one plain line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcmeError {
    #[error("{0}: {1}")]
    File(PathBuf, String),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Keeps a certificate for the server's names.
pub(crate) struct Keeper {
    authority: Authority,
    store: Store,
    resolver: Arc<Resolver>,
    names: String,
    wake: Notify,
}

impl Keeper {
    /// Takes up the certificate that is kept in `state`, if it is there.
    pub(crate) fn open(acme: &Acme, state: &Path) -> Result<Arc<Self>, AcmeError> {
        let store = Store::open(state, acme)?;
        let resolver = Arc::new(Resolver::default());
        let names = acme.domains.join(", ");
        match store.certificate() {
            Ok(Some(pem)) => match Certificate::parse(&pem) {
                Ok(kept) => resolver.deploy(kept),
                Err(why) => {
                    let file = store.certificate_path();
                    tracing::warn!("{file}: {why}; another certificate for {names} is asked for");
                }
            },
            Ok(None) => {}
            Err(why) => tracing::warn!("{why}; another certificate for {names} is asked for"),
        }
        let authority = Authority::new(acme, Arc::clone(&resolver))?;
        Ok(Arc::new(Self { authority, store, resolver, names, wake: Notify::new() }))
    }

    /// TLS with whatever certificate is the present one.
    pub(crate) fn tls(&self) -> Result<Arc<ServerConfig>, AcmeError> {
        let resolver = Arc::clone(&self.resolver);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), resolver::PROTOCOL.to_vec()];
        Ok(Arc::new(config))
    }

    /// Tries again at once what has failed.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Gets and renews, for ever.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut failures = 0;
        loop {
            let now = SystemTime::now();
            let present = self.resolver.present();
            let due = present.as_ref().map_or(Duration::ZERO, |present| present.due_in(now));
            if !due.is_zero() {
                failures = 0;
                self.sleep(due.min(LOOK)).await;
                continue;
            }
            let Err(why) = self.renew().await else { continue };
            let again = why.wait(failures);
            failures += 1;
            let (names, next) = (&self.names, span(again));
            match present.and_then(|present| present.left(now)) {
                Some(left) => tracing::error!(
                    "the certificate for {names} cannot be renewed: {why}; the present one is good for {}; \
                     next try in {next}",
                    span(left)
                ),
                None => tracing::error!(
                    "no certificate for {names}: {why}; nobody can connect until there is one; next try in {next}"
                ),
            }
            self.sleep(again).await;
        }
    }

    async fn renew(&self) -> Result<(), Failure> {
        tracing::info!("asking {} for a certificate for {}", self.authority.directory(), self.names);
        let ordered = tokio::time::timeout(ORDER, self.authority.order(&self.store)).await;
        self.resolver.forget_proofs();
        let pem = match ordered {
            Ok(pem) => pem?,
            Err(_) => return Err(Failure::Refused(format!("not done within {}", span(ORDER)))),
        };
        let new = Certificate::parse(&pem).map_err(Failure::Refused)?;
        let now = SystemTime::now();
        let Some(left) = new.left(now).filter(|_| !new.due_in(now).is_zero()) else {
            // Asking again at once would only annoy the authority.
            return Err(Failure::Refused(
                "the new one is about to end already: is this machine's clock right?".into(),
            ));
        };
        tracing::info!("a new certificate for {}, good for {}", self.names, span(left));
        self.resolver.deploy(new);
        if let Err(error) = self.store.keep_certificate(&pem) {
            tracing::error!(
                "the new certificate cannot be kept, so that a restart will need another: {error}"
            );
        }
        Ok(())
    }

    async fn sleep(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.wake.notified() => {}
        }
    }
}

/// A time as people say it.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} minutes", seconds / 60),
        7_200..=172_799 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// When a certificate has to be renewed, and how long it is good.
#[cfg(feature = "fuzzing")]
pub(crate) fn times(pem: &[u8], now: SystemTime) -> Result<(Duration, Option<Duration>), String> {
    Certificate::parse(pem).map(|certificate| (certificate.due_in(now), certificate.left(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_the_unit_that_fits() {
        for (seconds, text) in
            [(5, "5 s"), (120, "2 minutes"), (7_200, "2 hours"), (172_800, "2 days"), (5_200_000, "60 days")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
