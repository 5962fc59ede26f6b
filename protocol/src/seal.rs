//! Sealing: HPKE base mode (RFC 9180) with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM.
//!
//! A sealed message is bound to its type, its sender's key and its recipient (the device card, or
//! the request's reply key) through `info`, and to the envelope's exact bytes through `aad`. All
//! plaintexts have one length. The seal hides; who sent it is proven by the signature inside, which
//! [`crate::signed::verify_message`] checks before anything is parsed.

use crate::digest;
use crate::keys::{PublicKey, SealKem, SealKey};
use crate::message::{self, Envelope, MAX_BODY, MAX_ENVELOPE, MessageType, PADDED, Sealed};
use crate::wire::{Reader, WireError};
use base64ct::{Base64, Encoding};
use hpke::aead::AesGcm128;
use hpke::kdf::HkdfSha256;
use hpke::rand_core::{CryptoRng, UnwrapErr};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

const LABEL: &[u8] = b"countersign message v1";
const ENC: usize = 32;
const TAG: usize = 16;
/// Bytes of `enc` and ciphertext.
const SEALED: usize = ENC + PADDED + TAG;
/// Characters of their base64.
const SEALED_TEXT: usize = SEALED.div_ceil(3) * 4;

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient {
    /// The X25519 public key: a device's, or a request's reply key.
    pub seal_key: [u8; 32],
    /// SHA-256 of the device card's JSON bytes, or of the 32-byte reply key.
    pub hash: [u8; 32],
}

impl Recipient {
    /// The host, by a request's reply key.
    #[must_use]
    pub fn reply_key(key: [u8; 32]) -> Self {
        Self { seal_key: key, hash: digest::sha256(&key) }
    }
}

/// What was inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What the relay saw.
    pub envelope: Envelope,
    /// The message's bytes: unverified until the signature is checked.
    pub body: Vec<u8>,
    /// Armored SSHSIG over them.
    pub signature: String,
}

/// Why a message is not sealed or not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The message is over its limit.
    #[error("the message is too long to be sealed")]
    TooLong,
    /// The envelope's fields do not fit the message.
    #[error("the envelope does not fit the message")]
    Envelope,
    /// The recipient's key is none.
    #[error("the recipient's key is not usable")]
    Recipient,
    /// Not of the only possible length, or not base64.
    #[error("the sealed message is damaged")]
    Malformed,
    /// Not sealed for this recipient, type, sender and envelope.
    #[error("the sealed message does not open: it was altered or is for somebody else")]
    Closed,
    /// It opened, but its inside is not laid out as it must be.
    #[error("the sealed message's inside is damaged")]
    Inside,
}

impl From<WireError> for SealError {
    fn from(_: WireError) -> Self {
        Self::Inside
    }
}

/// Seals a signed message for one recipient.
///
/// # Errors
/// [`SealError`] when it is too long, the envelope says something else, or the key is no key.
pub fn seal(
    message_type: MessageType,
    sender: &PublicKey,
    recipient: &Recipient,
    envelope: &Envelope,
    body: &[u8],
    signature: &str,
) -> Result<Sealed, SealError> {
    let mut random = UnwrapErr(getrandom::SysRng);
    seal_with(&mut random, message_type, sender, recipient, envelope, body, signature)
}

/// [`seal`] with a given source of randomness, for test vectors.
pub(crate) fn seal_with(
    random: &mut impl CryptoRng,
    message_type: MessageType,
    sender: &PublicKey,
    recipient: &Recipient,
    envelope: &Envelope,
    body: &[u8],
    signature: &str,
) -> Result<Sealed, SealError> {
    check_envelope(envelope, message_type, sender)?;
    let plaintext = pad(body, signature)?;
    let envelope = serde_json::to_string(envelope).map_err(|_| SealError::Envelope)?;
    if envelope.len() > MAX_ENVELOPE {
        return Err(SealError::TooLong);
    }
    let key =
        <SealKem as Kem>::PublicKey::from_bytes(&recipient.seal_key).map_err(|_| SealError::Recipient)?;
    let (enc, ciphertext) = hpke::single_shot_seal_with_rng::<AesGcm128, HkdfSha256, SealKem>(
        &OpModeS::Base,
        &key,
        &info(message_type, sender, &recipient.hash),
        &plaintext,
        envelope.as_bytes(),
        random,
    )
    .map_err(|_| SealError::Recipient)?;
    let mut bytes = enc.to_bytes().to_vec();
    bytes.extend_from_slice(&ciphertext);
    Ok(Sealed { envelope, sealed: Base64::encode_string(&bytes) })
}

/// Opens a message. `sender` is who should have sent it: bound by the seal, proven by the signature
/// inside, which is the caller's to verify.
///
/// # Errors
/// [`SealError`]; nothing of a message that does not open is given out.
pub fn open(
    message_type: MessageType,
    key: &SealKey,
    recipient_hash: [u8; 32],
    sender: &PublicKey,
    sealed: &Sealed,
) -> Result<Opened, SealError> {
    let envelope = peek(sealed)?;
    check_envelope(&envelope, message_type, sender)?;
    if sealed.sealed.len() != SEALED_TEXT {
        return Err(SealError::Malformed);
    }
    let bytes = Base64::decode_vec(&sealed.sealed).map_err(|_| SealError::Malformed)?;
    let (enc, ciphertext) =
        bytes.split_at_checked(ENC).filter(|_| bytes.len() == SEALED).ok_or(SealError::Malformed)?;
    let enc = <SealKem as Kem>::EncappedKey::from_bytes(enc).map_err(|_| SealError::Malformed)?;
    let plaintext = Zeroizing::new(
        hpke::single_shot_open::<AesGcm128, HkdfSha256, SealKem>(
            &OpModeR::Base,
            key.secret(),
            &enc,
            &info(message_type, sender, &recipient_hash),
            ciphertext,
            sealed.envelope.as_bytes(),
        )
        .map_err(|_| SealError::Closed)?,
    );
    let (body, signature) = unpad(&plaintext)?;
    Ok(Opened { envelope, body, signature })
}

/// Reads a sealed message's envelope: what the relay may know, and nothing that is proven yet.
///
/// # Errors
/// [`SealError`] when it is too long or not an envelope.
pub fn peek(sealed: &Sealed) -> Result<Envelope, SealError> {
    if sealed.envelope.len() > MAX_ENVELOPE {
        return Err(SealError::TooLong);
    }
    if sealed.sealed.len() != SEALED_TEXT {
        return Err(SealError::Malformed);
    }
    let envelope: Envelope = serde_json::from_str(&sealed.envelope).map_err(|_| SealError::Malformed)?;
    let named = digest::is_key_id(&envelope.from) && digest::is_key_id(&envelope.to);
    if envelope.version == message::VERSION && named && digest::is_hex(&envelope.id, 32) {
        Ok(envelope)
    } else {
        Err(SealError::Envelope)
    }
}

fn check_envelope(
    envelope: &Envelope,
    message_type: MessageType,
    sender: &PublicKey,
) -> Result<(), SealError> {
    let fits = envelope.version == message::VERSION
        && envelope.message_type == message_type
        && envelope.from == sender.id()
        && digest::is_hex(&envelope.id, 32);
    if fits { Ok(()) } else { Err(SealError::Envelope) }
}

pub(crate) fn info(message_type: MessageType, sender: &PublicKey, recipient_hash: &[u8; 32]) -> Vec<u8> {
    [LABEL, message_type.as_str().as_bytes(), &sender.sha256(), recipient_hash].concat()
}

/// `u16 length ‖ body ‖ u16 length ‖ signature ‖ zeros`, [`PADDED`] bytes in all.
fn pad(body: &[u8], signature: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
    if body.len() > MAX_BODY {
        return Err(SealError::TooLong);
    }
    let mut out = Zeroizing::new(Vec::with_capacity(PADDED));
    for part in [body, signature.as_bytes()] {
        let len = u16::try_from(part.len()).map_err(|_| SealError::TooLong)?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(part);
        if out.len() > PADDED {
            return Err(SealError::TooLong);
        }
    }
    out.resize(PADDED, 0);
    Ok(out)
}

fn unpad(plaintext: &[u8]) -> Result<(Vec<u8>, String), SealError> {
    let mut reader = Reader::new(plaintext);
    let len = reader.u16()?;
    let body = reader.take(len.into())?;
    let len = reader.u16()?;
    let signature = reader.take(len.into())?;
    let rest = reader.take(reader.left())?;
    if body.len() > MAX_BODY || rest.iter().any(|b| *b != 0) {
        return Err(SealError::Inside);
    }
    let signature = std::str::from_utf8(signature).map_err(|_| SealError::Inside)?;
    Ok((body.to_vec(), signature.to_owned()))
}

#[cfg(test)]
pub(crate) mod tests;
