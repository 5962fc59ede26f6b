//! Pairing: how a device and a host learn each other's keys through a relay that neither trusts.
//!
//! The link (or QR code) carries 16 secret bytes `T` past the relay, from the host's terminal to the
//! phone. `T` is a hash of the 32 bytes `N` that the host reveals only after it has fixed one device
//! card; the six-digit pairing code is computed from `N`, the host's key and that card. So nobody who
//! sees the link can choose a card whose code equals another's: the code that the phone shows and
//! the person types at the terminal fits one pair of keys only.
//!
//! Messages stand in mailbox slots: `m1` and `m2` as base64 of nonce, AES-128-GCM ciphertext and
//! tag, `m3` as the JSON text of a sealed receipt.

mod host;
mod phone;
mod ticket;
mod typed;

pub use host::{CodeError, FirstError, HostPairing};
pub use phone::{PhonePairing, Pinned, Revealed};
pub use ticket::{Ticket, TicketError, is_origin};
pub use typed::TypedTicket;

use crate::api::MAX_MAIL;
use crate::card::CardError;
use crate::digest;
use crate::keys::{KeyError, PublicKey};
use crate::message::{CODE_DIGITS, Host};
use crate::seal::SealError;
use crate::signed::MessageError;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Nonce};
use base64ct::{Base64, Encoding};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Tries at the pairing code.
pub const TRIES: u8 = 3;

const NONCE: usize = 12;
const TICKET_LABEL: &[u8] = b"countersign pair v1";
const CODE_LABEL: &[u8] = b"countersign pair code v1";

/// Why pairing does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairingError {
    /// The link is unusable.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// The device's card is unusable.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The host's key is unusable.
    #[error("the host's key: {0}")]
    Key(#[from] KeyError),
    /// The receipt cannot be made or is not authentic.
    #[error("the pairing receipt: {0}")]
    Message(#[from] MessageError),
    /// The receipt cannot be sealed or opened.
    #[error("the pairing receipt: {0}")]
    Seal(#[from] SealError),
    /// A message does not open, or not for this device.
    #[error(
        "the host's answer does not fit this pairing: somebody else may have used the link first; start again"
    )]
    Reveal,
    /// What the host reveals contradicts the link.
    #[error("the host's answer contradicts the link: do not go on, and tell the administrator")]
    Contradiction,
    /// The receipt is for another device, user or host.
    #[error("the pairing receipt is not for this pairing")]
    Receipt,
    /// Not a name that may stand in an approvers file.
    #[error("a user of this name cannot be paired: the name cannot stand in an approvers file")]
    User,
    /// A step out of order.
    #[error("pairing is not at this step")]
    Order,
}

/// Bytes of [`First::fresh`].
const FRESH: usize = 16;

/// The plaintext of `m1`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    /// The device's [`crate::api::SignedCard`].
    card: String,
    signature: String,
    /// Random bytes in base64, drawn once the host's key hash is known. The code must not be
    /// foreseeable by whoever knows the card: with a typed ticket the hash is the relay's word, and a
    /// relay that has read the ticket could otherwise look for a key of its own with a fitting code.
    fresh: String,
}

/// The plaintext of `m2`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reveal {
    version: u32,
    /// `N` in base64.
    n: Zeroizing<String>,
    host: Host,
    user: String,
}

/// What both sides compute from `T`.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Secrets {
    mailbox: [u8; 16],
    card: [u8; 16],
    reveal: [u8; 16],
}

impl Secrets {
    fn derive(t: &[u8; 16]) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, t);
        let expand = |info: &[u8]| {
            let mut out = [0u8; 16];
            #[expect(clippy::expect_used, reason = "fails only beyond 8160 bytes")]
            hkdf.expand(info, &mut out).expect("16 bytes");
            out
        };
        Self { mailbox: expand(b"mailbox"), card: expand(b"card"), reveal: expand(b"reveal") }
    }

    /// What `m1` is bound to: the mailbox and the host's key.
    fn first_aad(&self, host_key: &[u8; 32]) -> Vec<u8> {
        [self.mailbox.as_slice(), host_key].concat()
    }
}

/// The first 16 bytes of SHA-256 over the label and `N`.
fn ticket_secret(n: &[u8; 32]) -> Zeroizing<[u8; 16]> {
    let hash = digest::sha256(&[TICKET_LABEL, n].concat());
    let mut t = Zeroizing::new([0u8; 16]);
    t.iter_mut().zip(hash).for_each(|(out, byte)| *out = byte);
    t
}

/// The six digits that tie `N`, the host's key and the device's card together.
fn code(n: &[u8; 32], host_key: &PublicKey, card_hash: &[u8; 32]) -> Zeroizing<String> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(n).expect("any length");
    mac.update(CODE_LABEL);
    mac.update(&host_key.sha256());
    mac.update(card_hash);
    let tag: [u8; 32] = mac.finalize().into_bytes().into();
    let [a, b, c, d, e, f, g, h, ..] = tag;
    let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]) % 10u64.pow(6);
    Zeroizing::new(format!("{number:0width$}", width = CODE_DIGITS))
}

/// Base64 of nonce, ciphertext and tag.
fn encrypt(key: &[u8; 16], nonce: [u8; NONCE], aad: &[u8], plaintext: &[u8]) -> Option<String> {
    let sealed =
        Aes128Gcm::new(key.into()).encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad }).ok()?;
    let mail = Base64::encode_string(&[nonce.as_slice(), &sealed].concat());
    (mail.len() <= MAX_MAIL).then_some(mail)
}

fn decrypt(key: &[u8; 16], aad: &[u8], mail: &str) -> Option<Zeroizing<Vec<u8>>> {
    if mail.len() > MAX_MAIL {
        return None;
    }
    let bytes = Base64::decode_vec(mail).ok()?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
    Aes128Gcm::new(key.into())
        .decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad })
        .ok()
        .map(Zeroizing::new)
}

#[cfg(test)]
mod tests;
