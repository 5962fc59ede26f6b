//! A certificate with its key, and when it has to be renewed.

use crate::pem;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use x509_cert::der::Decode;

/// Renewed when this part of its life is left: weeks, for trying again when the authority is down.
const LEFT: u32 = 3;

#[derive(Debug, Clone)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    from: SystemTime,
    until: SystemTime,
}

impl Certificate {
    /// Reads a key and its chain, both PEM.
    pub(super) fn parse(pem: &[u8]) -> Result<Self, String> {
        let key = pem::key(pem)?;
        let chain = pem::chain(pem)?;
        let leaf = chain.first().ok_or("it holds no certificate")?;
        let leaf = x509_cert::Certificate::from_der(leaf).map_err(|error| format!("its chain: {error}"))?;
        let validity = leaf.tbs_certificate().validity();
        let (from, until) = (validity.not_before.to_system_time(), validity.not_after.to_system_time());
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| format!("its key: {error}"))?;
        Ok(Self { key: Arc::new(key), from, until })
    }

    /// How long until it has to be renewed.
    pub(super) fn due_in(&self, now: SystemTime) -> Duration {
        let life = self.until.duration_since(self.from).unwrap_or_default();
        let due = self.until - life / LEFT;
        due.duration_since(now).unwrap_or_default()
    }

    /// How long it is still good.
    pub(super) fn left(&self, now: SystemTime) -> Option<Duration> {
        self.until.duration_since(now).ok().filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    pub(in crate::acme) fn pem(name: &str) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2030, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 4, 1);
        key.serialize_pem() + &params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn it_is_renewed_when_a_third_of_its_life_is_left() {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let certificate = Certificate::parse(pem("push.example.com").as_bytes()).unwrap();
        let issued = certificate.from;
        assert_eq!(certificate.due_in(issued), DAY * 60);
        assert_eq!(certificate.due_in(issued + DAY * 59), DAY);
        assert_eq!(certificate.due_in(issued + DAY * 61), Duration::ZERO);
        assert_eq!(certificate.left(issued + DAY * 61), Some(DAY * 29));
        assert_eq!(certificate.left(issued + DAY * 91), None);
    }

    #[test]
    fn what_is_not_a_key_and_its_certificate_is_refused() {
        let (one, other) = (pem("a.example"), pem("b.example"));
        let (key, chain) = one.split_at(one.find("-----BEGIN CERTIFICATE").unwrap());
        let (other_key, _) = other.split_at(other.find("-----BEGIN CERTIFICATE").unwrap());
        for bad in
            ["", "nothing", key, chain, &format!("{other_key}{chain}"), &format!("{key}{}", &chain[..200])]
        {
            assert!(Certificate::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Certificate::parse(format!("{chain}{key}").as_bytes()).is_ok());
    }
}
