//! Which certificate a connection is shown.

use super::certificate::Certificate;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// What an authority speaks that checks whose name it is.
pub(super) const PROTOCOL: &[u8] = b"acme-tls/1";

#[derive(Debug, Default)]
pub(super) struct Resolver {
    present: RwLock<Option<Certificate>>,
    /// What an authority is shown, by name.
    proofs: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Resolver {
    pub(super) fn present(&self) -> Option<Certificate> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn deploy(&self, certificate: Certificate) {
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
    }

    /// Shows an authority this for a name.
    pub(super) fn prove(&self, name: &str, proof: CertifiedKey) {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::new(proof));
    }

    pub(super) fn forget_proofs(&self) {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn choose(&self, checks: bool, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        if checks {
            self.proofs.lock().unwrap_or_else(PoisonError::into_inner).get(name?).cloned()
        } else {
            self.present().map(|certificate| certificate.key)
        }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // RFC 8737: who checks offers this protocol and no other.
        let checks = hello
            .alpn()
            .is_some_and(|mut offered| offered.next() == Some(PROTOCOL) && offered.next().is_none());
        self.choose(checks, hello.server_name())
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::tests::pem;
    use super::*;

    #[test]
    fn proofs_are_for_who_checks_and_certificates_for_everybody_else() {
        let resolver = Resolver::default();
        assert!(resolver.choose(false, Some("a.example")).is_none());
        let certificate = Certificate::parse(pem("a.example").as_bytes()).unwrap();
        resolver.deploy(certificate.clone());
        let proof = Certificate::parse(pem("proof.example").as_bytes()).unwrap();
        resolver.prove("a.example", CertifiedKey::clone(&proof.key));
        let shown = |checks, name| resolver.choose(checks, name).map(|key| key.cert.clone());
        assert_eq!(shown(true, Some("a.example")), Some(proof.key.cert.clone()));
        assert_eq!(shown(true, Some("b.example")), None);
        assert_eq!(shown(true, None), None);
        assert_eq!(shown(false, Some("a.example")), Some(certificate.key.cert.clone()));
        assert_eq!(shown(false, None), Some(certificate.key.cert.clone()));
        resolver.forget_proofs();
        assert_eq!(shown(true, Some("a.example")), None);
    }
}
