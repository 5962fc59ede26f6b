//! The cipher of pairing messages and a pairing that is the same in each run, by docs/protocol.md.

use crate::actors;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Nonce};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use countersign_protocol::digest::sha256;
use countersign_protocol::keys::Signer;
use countersign_protocol::pairing::{PhonePairing, Ticket};
use hkdf::Hkdf;
use serde_json::json;
use sha2::Sha256;

/// What the host draws and reveals late.
const N: [u8; 32] = [0x77; 32];

/// What both sides compute from a link.
pub struct Keys {
    /// The mailbox's id.
    pub mailbox: [u8; 16],
    /// For `m1`.
    pub card: [u8; 16],
    /// For `m2`.
    pub reveal: [u8; 16],
}

impl Keys {
    /// From the 16 bytes in the link.
    ///
    /// # Panics
    /// When it is no link.
    #[must_use]
    pub fn of_link(link: &str) -> Self {
        let t = link.split_once("#1.").and_then(|(_, rest)| rest.split('.').next()).expect("a link");
        let hkdf = Hkdf::<Sha256>::new(None, &Base64UrlUnpadded::decode_vec(t).expect("16 bytes"));
        let expand = |info: &[u8]| {
            let mut out = [0; 16];
            hkdf.expand(info, &mut out).expect("16 bytes");
            out
        };
        Self { mailbox: expand(b"mailbox"), card: expand(b"card"), reveal: expand(b"reveal") }
    }

    /// What `m1` is bound to, with the host of these tests.
    #[must_use]
    pub fn first_aad(&self) -> Vec<u8> {
        [&self.mailbox[..], &actors::host().public_key().sha256()].concat()
    }
}

/// Nonce, ciphertext and tag in base64.
///
/// # Panics
/// Never: nothing here is over the cipher's limit.
#[must_use]
pub fn encrypt(key: &[u8; 16], aad: &[u8], inside: &[u8]) -> String {
    let nonce = [7; 12];
    let sealed = Aes128Gcm::new(key.into()).encrypt(&Nonce::from(nonce), Payload { msg: inside, aad });
    Base64::encode_string(&[&nonce[..], &sealed.expect("encrypted")].concat())
}

/// The inverse.
///
/// # Panics
/// When it does not open.
#[must_use]
pub fn decrypt(key: &[u8; 16], aad: &[u8], mail: &str) -> Vec<u8> {
    let bytes = Base64::decode_vec(mail).expect("base64");
    let (nonce, sealed) = bytes.split_first_chunk::<12>().expect("a nonce");
    Aes128Gcm::new(key.into()).decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad }).expect("opens")
}

/// The device, with a link that the host could have made.
///
/// # Panics
/// Never: the link is in order.
#[must_use]
pub fn phone() -> PhonePairing {
    let t = sha256(&[&b"countersign pair v1"[..], &N].concat());
    let link = format!(
        "{}/pair#1.{}.{}",
        actors::ORIGIN,
        Base64UrlUnpadded::encode_string(t.get(..16).unwrap_or_default()),
        actors::host().public_key().id()
    );
    PhonePairing::new(Ticket::parse(&link).expect("a link"), &actors::signed_card()).expect("a card")
}

/// The inside of `m1`.
///
/// # Panics
/// Never: it is JSON.
#[must_use]
pub fn first() -> Vec<u8> {
    let card = actors::signed_card();
    let fresh = Base64::encode_string(&[6; 16]);
    serde_json::to_vec(&json!({ "card": card.card, "signature": card.signature, "fresh": fresh }))
        .expect("JSON")
}

/// The inside of `m2`.
///
/// # Panics
/// Never: it is JSON.
#[must_use]
pub fn reveal() -> Vec<u8> {
    let n = Base64::encode_string(&N);
    let host = actors::named_host();
    serde_json::to_vec(&json!({ "version": 1, "n": n, "host": host, "user": "alice" })).expect("JSON")
}
