//! The phone code: eight digits for a host that cannot reach the server, or whose phone cannot.
//!
//! The terminal shows a [`Challenge`] as a QR code; the phone computes the code from it with its
//! sealing key, the host with the private half of the challenge's reply key. The challenge is not
//! signed: whoever alters it gets a code that fits nothing.
//!
//! A device that holds a request and cannot send its answer computes eight digits out of that request in the same
//! way, under a label of their own.

use crate::keys::{PublicKey, SealKey};
use crate::text::clip;
use crate::wire::{Reader, WireError};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Longest challenge in bytes: a QR code of version 5, which is 24 rows of a terminal.
pub const MAX_CHALLENGE: usize = 106;
/// Digits of the code.
pub const DIGITS: usize = 8;
/// Longest user in bytes; for a longer one there is no phone code.
pub const MAX_USER: usize = ROOM - 2 * CUT.len();

const VERSION: u8 = 1;
const LABEL: &[u8] = b"countersign phone code v1";
const LABEL_REQUEST: &[u8] = b"countersign request code v1";
/// Version, host, reply key, time, validity, and the three lengths.
const FIXED: usize = 1 + 16 + 32 + 4 + 1 + 3;
/// For service, user and address together.
const ROOM: usize = MAX_CHALLENGE - FIXED;
/// What a text ends in that was cut, so that it is not taken for a whole one.
const CUT: &str = "…";

/// Why there is no phone code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneCodeError {
    /// The user's name is empty or over [`MAX_USER`].
    #[error("a phone code needs a user name of 1 to {MAX_USER} bytes")]
    User,
    /// The service's name is empty.
    #[error("a phone code needs the name of a service")]
    Service,
    /// Another code, or a damaged one.
    #[error("not a challenge of Countersign, or a damaged one")]
    Malformed,
    /// Made by a later version.
    #[error("a challenge of a later version: update this program")]
    Version,
    /// Of a host that the device does not know.
    #[error("the challenge is of another host")]
    OtherHost,
    /// A key with which everybody would compute the same.
    #[error("the challenge's key is not usable")]
    Key,
}

impl From<WireError> for PhoneCodeError {
    fn from(_: WireError) -> Self {
        Self::Malformed
    }
}

/// What the terminal shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The first 16 bytes of SHA-256 over the host key's blob.
    pub host: [u8; 16],
    /// A fresh X25519 public key.
    pub reply_key: [u8; 32],
    /// When it was made, seconds since 1970 by the host's clock.
    pub time: u32,
    /// Seconds that it is good for.
    pub ttl: u8,
    /// The PAM service.
    pub service: String,
    /// Who wants in.
    pub user: String,
    /// Where from; empty when local.
    pub address: String,
}

impl Challenge {
    /// A challenge that fits; the address, then the service are cut.
    ///
    /// # Errors
    /// [`PhoneCodeError`] when user or service cannot be in one.
    pub fn new(
        host_key: &PublicKey,
        reply_key: [u8; 32],
        time: u32,
        ttl: u8,
        (service, user, address): (&str, &str, &str),
    ) -> Result<Self, PhoneCodeError> {
        if user.is_empty() || user.len() > MAX_USER {
            return Err(PhoneCodeError::User);
        }
        if service.is_empty() {
            return Err(PhoneCodeError::Service);
        }
        let room = ROOM - user.len();
        // An address that was cut to nothing would say that the login is local.
        let service = cut(service, room - address.len().min(CUT.len()));
        let address = cut(address, room - service.len());
        let host = host_prefix(host_key);
        Ok(Self { host, reply_key, time, ttl, service, user: user.to_owned(), address })
    }

    /// Its bytes, as in the QR code.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_CHALLENGE);
        out.push(VERSION);
        out.extend_from_slice(&self.host);
        out.extend_from_slice(&self.reply_key);
        out.extend_from_slice(&self.time.to_be_bytes());
        out.push(self.ttl);
        for text in [&self.service, &self.user, &self.address] {
            // Nothing here is longer than a byte can count: `new` and `parse` see to it.
            let text = clip(text, u8::MAX.into());
            out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// Reads a challenge. Whatever shows its texts escapes them first.
    ///
    /// # Errors
    /// [`PhoneCodeError`] says why it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, PhoneCodeError> {
        if bytes.len() > MAX_CHALLENGE {
            return Err(PhoneCodeError::Malformed);
        }
        let mut reader = Reader::new(bytes);
        let [version] = reader.array::<1>()?;
        if version != VERSION {
            return Err(if version > VERSION { PhoneCodeError::Version } else { PhoneCodeError::Malformed });
        }
        let (host, reply_key, time) = (reader.array()?, reader.array()?, reader.u32()?);
        let [ttl] = reader.array()?;
        let mut text = || {
            let [length] = reader.array::<1>()?;
            let text = std::str::from_utf8(reader.take(length.into())?);
            text.map(str::to_owned).map_err(|_| PhoneCodeError::Malformed)
        };
        let (service, user, address) = (text()?, text()?, text()?);
        if !reader.is_empty() || service.is_empty() || user.is_empty() {
            return Err(PhoneCodeError::Malformed);
        }
        Ok(Self { host, reply_key, time, ttl, service, user, address })
    }
}

/// The code as the device computes it for a challenge of a host that it has pinned.
///
/// # Errors
/// [`PhoneCodeError`] when the challenge is another host's, or its key gives no secret.
pub fn at_device(
    key: &SealKey,
    card_hash: &[u8; 32],
    host_key: &PublicKey,
    challenge: &Challenge,
) -> Result<Zeroizing<String>, PhoneCodeError> {
    if challenge.host != host_prefix(host_key) {
        return Err(PhoneCodeError::OtherHost);
    }
    compute(key, challenge.reply_key, card_hash, host_key, (LABEL, &challenge.to_bytes()))
}

/// The code as the host computes it, for one device, with the private half of its reply key.
///
/// # Errors
/// [`PhoneCodeError::Key`] when the card's key gives no secret.
pub fn at_host(
    reply: &SealKey,
    card_hash: &[u8; 32],
    card_seal_key: [u8; 32],
    host_key: &PublicKey,
    challenge: &Challenge,
) -> Result<Zeroizing<String>, PhoneCodeError> {
    compute(reply, card_seal_key, card_hash, host_key, (LABEL, &challenge.to_bytes()))
}

/// The code of a device that has approved a request and cannot send that. `reply_key` is the request's, `digest`
/// the SHA-256 of its bytes in hex, as a decision names it.
///
/// # Errors
/// [`PhoneCodeError::Key`] when the request's key gives no secret.
pub fn of_request_at_device(
    key: &SealKey,
    card_hash: &[u8; 32],
    host_key: &PublicKey,
    reply_key: [u8; 32],
    digest: &str,
) -> Result<Zeroizing<String>, PhoneCodeError> {
    compute(key, reply_key, card_hash, host_key, (LABEL_REQUEST, digest.as_bytes()))
}

/// The same as the host computes it, with the private half of the request's reply key.
///
/// # Errors
/// [`PhoneCodeError::Key`] when the card's key gives no secret.
pub fn of_request_at_host(
    reply: &SealKey,
    card_hash: &[u8; 32],
    card_seal_key: [u8; 32],
    host_key: &PublicKey,
    digest: &str,
) -> Result<Zeroizing<String>, PhoneCodeError> {
    compute(reply, card_seal_key, card_hash, host_key, (LABEL_REQUEST, digest.as_bytes()))
}

/// Compares what was typed with a code, blanks and dashes aside, in a time that says nothing.
#[must_use]
pub fn matches(typed: &str, code: &str) -> bool {
    let typed: Zeroizing<String> =
        Zeroizing::new(typed.chars().filter(|c| !matches!(c, ' ' | '-' | '\t' | '\n')).collect());
    typed.as_bytes().ct_eq(code.as_bytes()).into()
}

fn compute(
    secret: &SealKey,
    public: [u8; 32],
    card_hash: &[u8; 32],
    host_key: &PublicKey,
    (label, about): (&[u8], &[u8]),
) -> Result<Zeroizing<String>, PhoneCodeError> {
    let shared = Zeroizing::new(x25519_dalek::x25519(*secret.to_bytes(), public));
    if bool::from(shared.as_slice().ct_eq(&[0; 32])) {
        return Err(PhoneCodeError::Key);
    }
    let info = [label, card_hash, &host_key.sha256()].concat();
    let mut key = Zeroizing::new([0u8; 32]);
    #[expect(clippy::expect_used, reason = "fails only beyond 8160 bytes")]
    Hkdf::<Sha256>::new(None, shared.as_slice()).expand(&info, key.as_mut()).expect("32 bytes");
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key.as_slice()).expect("any length");
    mac.update(about);
    let tag: [u8; 32] = mac.finalize().into_bytes().into();
    let [a, b, c, d, e, f, g, h, ..] = tag;
    let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]) % 10u64.pow(8);
    Ok(Zeroizing::new(format!("{number:0width$}", width = DIGITS)))
}

/// What of a host key is in a challenge.
fn host_prefix(host_key: &PublicKey) -> [u8; 16] {
    let mut prefix = [0; 16];
    prefix.iter_mut().zip(host_key.sha256()).for_each(|(out, byte)| *out = byte);
    prefix
}

/// A text of at most `max` bytes, with a mark at its end where something is missing.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    format!("{}{CUT}", clip(text, max.saturating_sub(CUT.len())))
}

#[cfg(test)]
mod tests;
