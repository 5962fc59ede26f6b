//! Challenges: nonces that the server recognises as its own without remembering them, so that a
//! flood of callers takes no memory. Only one that was answered with a valid signature is
//! remembered, until it expires.

use base64ct::{Base64UrlUnpadded, Encoding};
use countersign_protocol::api::Challenge;
use countersign_protocol::random;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Seconds that a challenge may be answered.
const LIFE: u64 = 60;
/// Most answered challenges that are remembered.
const MAX_ANSWERED: usize = 100_000;

/// Gives out nonces and takes each back once.
pub(crate) struct Challenges {
    /// New at every start: what was given out before is worth nothing.
    secret: [u8; 64],
    answered: Mutex<HashMap<[u8; 16], u64>>,
}

/// Why a nonce is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadNonce {
    /// Not given out by this server since its start, or for another key or time.
    Unknown,
    Expired,
    /// Taken before.
    Used,
    /// Too many are remembered.
    Full,
}

impl Challenges {
    pub(crate) fn new() -> Self {
        Self { secret: random::bytes(), answered: Mutex::default() }
    }

    /// A challenge for the holder of a key, by its id.
    pub(crate) fn give(&self, key: &[u8; 32], now: u64) -> Challenge {
        let random = random::bytes::<16>();
        let expires_at = now + LIFE;
        let mut nonce = [0u8; 48];
        let (head, tail) = nonce.split_at_mut(16);
        head.copy_from_slice(&random);
        tail.copy_from_slice(&self.mac(&random, key, expires_at).finalize().into_bytes());
        Challenge { nonce: Base64UrlUnpadded::encode_string(&nonce), expires_at }
    }

    /// Whether a nonce is this server's and may still be used.
    pub(crate) fn check(
        &self,
        nonce: &str,
        key: &[u8; 32],
        expires_at: u64,
        now: u64,
    ) -> Result<(), BadNonce> {
        let random = self.read(nonce, key, expires_at, now)?;
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.contains_key(&random) { Err(BadNonce::Used) } else { Ok(()) }
    }

    /// Takes back a nonce whose signature is valid and whose key may do something here: a nonce that
    /// is taken takes memory.
    pub(crate) fn take(
        &self,
        nonce: &str,
        key: &[u8; 32],
        expires_at: u64,
        now: u64,
    ) -> Result<(), BadNonce> {
        let random = self.read(nonce, key, expires_at, now)?;
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.len() >= MAX_ANSWERED {
            return Err(BadNonce::Full);
        }
        match answered.insert(random, expires_at) {
            None => Ok(()),
            Some(_) => Err(BadNonce::Used),
        }
    }

    /// What makes a nonce of ours different from the others.
    fn read(&self, nonce: &str, key: &[u8; 32], expires_at: u64, now: u64) -> Result<[u8; 16], BadNonce> {
        let mut bytes = [0u8; 48];
        let bytes = Base64UrlUnpadded::decode(nonce, &mut bytes).map_err(|_| BadNonce::Unknown)?;
        let (random, tag) = bytes.split_first_chunk::<16>().ok_or(BadNonce::Unknown)?;
        self.mac(random, key, expires_at).verify_slice(tag).map_err(|_| BadNonce::Unknown)?;
        if now >= expires_at {
            return Err(BadNonce::Expired);
        }
        Ok(*random)
    }

    /// Forgets what has expired.
    pub(crate) fn sweep(&self, now: u64) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.retain(|_, expires_at| *expires_at > now);
    }

    fn mac(&self, random: &[u8; 16], key: &[u8; 32], expires_at: u64) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.secret.into());
        mac.update(random);
        mac.update(key);
        mac.update(&expires_at.to_be_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_once_for_its_key_and_time() {
        let challenges = Challenges::new();
        let (key, other) = ([1; 32], [2; 32]);
        let Challenge { nonce, expires_at } = challenges.give(&key, 1000);
        let take = |nonce: &str, key, expires_at, now| challenges.take(nonce, key, expires_at, now);
        assert_eq!(take(&nonce, &other, expires_at, 1000), Err(BadNonce::Unknown));
        assert_eq!(take(&nonce, &key, expires_at + 600, 1000), Err(BadNonce::Unknown));
        assert_eq!(take(&nonce, &key, expires_at, expires_at), Err(BadNonce::Expired));
        let check = || challenges.check(&nonce, &key, expires_at, 1000);
        assert_eq!((check(), check()), (Ok(()), Ok(())), "looking uses nothing up");
        assert_eq!(take(&nonce, &key, expires_at, expires_at - 1), Ok(()));
        assert_eq!(check(), Err(BadNonce::Used));
        assert_eq!(take(&nonce, &key, expires_at, 1000), Err(BadNonce::Used));
        for bad in ["", "AAAA", &"A".repeat(64), &nonce[..62], &format!("{nonce}A"), &"A".repeat(10_000)] {
            assert_eq!(take(bad, &key, expires_at, 1000), Err(BadNonce::Unknown), "{bad}");
        }
    }

    #[test]
    fn another_start_of_the_server_does_not_know_it() {
        let Challenge { nonce, expires_at } = Challenges::new().give(&[1; 32], 1000);
        assert_eq!(Challenges::new().take(&nonce, &[1; 32], expires_at, 1000), Err(BadNonce::Unknown));
    }

    #[test]
    fn what_has_expired_is_forgotten() {
        let challenges = Challenges::new();
        let Challenge { nonce, expires_at } = challenges.give(&[1; 32], 1000);
        challenges.take(&nonce, &[1; 32], expires_at, 1000).unwrap();
        challenges.sweep(expires_at - 1);
        assert_eq!(challenges.take(&nonce, &[1; 32], expires_at, 1000), Err(BadNonce::Used));
        challenges.sweep(expires_at);
        assert!(challenges.answered.lock().unwrap().is_empty());
    }
}
