//! Device cards: a device's public keys, signed by the device itself.

use crate::api::SignedCard;
use crate::digest;
use crate::keys::{KeyError, PublicKey, SignError, Signer};
use crate::message::{Card, MAX_DEVICE_NAME, VERSION, namespace};
use crate::seal::Recipient;
use crate::sshsig::{self, SshSigError};
use base64ct::{Base64, Encoding};

/// Longest card in bytes of JSON.
pub const MAX_CARD: usize = 1024;

/// A card whose signature is valid, by the key that it names. Whether that device may approve is
/// another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCard {
    /// What it says.
    pub card: Card,
    /// Its JSON bytes as signed.
    pub bytes: Vec<u8>,
    /// SHA-256 of [`Self::bytes`].
    pub hash: [u8; 32],
    /// The device's signing key.
    pub key: PublicKey,
    /// The X25519 key that requests are sealed to.
    pub seal_key: [u8; 32],
    /// Armored SSHSIG over [`Self::bytes`].
    pub signature: String,
}

impl VerifiedCard {
    /// The device, as somebody to seal for.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient { seal_key: self.seal_key, hash: self.hash }
    }
}

/// Why a card is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// It cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Over [`MAX_CARD`].
    #[error("the device card is too long")]
    TooLong,
    /// Its signature is wrong.
    #[error("the device card: {0}")]
    Signature(#[from] SshSigError),
    /// Signed by another key than its own.
    #[error("the device card is signed by another key than it names")]
    OtherKey,
    /// Its key is not accepted.
    #[error("the device card names {0}")]
    Key(#[from] KeyError),
    /// A field is wrong.
    #[error("the device card: {0}")]
    Field(&'static str),
}

/// Signs a card with the key that it names.
///
/// # Errors
/// [`CardError`] when a field is wrong or the signer has another key.
pub fn sign(signer: &dyn Signer, card: &Card) -> Result<SignedCard, CardError> {
    check(card, signer.public_key())?;
    let card = serde_json::to_string(card).map_err(|_| CardError::Field("cannot be written as JSON"))?;
    if card.len() > MAX_CARD {
        return Err(CardError::TooLong);
    }
    let signature = sshsig::sign(signer, namespace::CARD, card.as_bytes())?;
    Ok(SignedCard { card, signature })
}

/// Verifies a card's signature, then reads it.
///
/// # Errors
/// [`CardError`] says what is wrong with it.
pub fn verify(signed: &SignedCard) -> Result<VerifiedCard, CardError> {
    if signed.card.len() > MAX_CARD {
        return Err(CardError::TooLong);
    }
    let by = sshsig::verify(&signed.signature, namespace::CARD, signed.card.as_bytes())?;
    let card: Card =
        serde_json::from_str(&signed.card).map_err(|_| CardError::Field("not the JSON of a card"))?;
    let seal_key = check(&card, &by.key)?;
    let bytes = signed.card.as_bytes().to_vec();
    let signature = signed.signature.clone();
    Ok(VerifiedCard { card, hash: digest::sha256(&bytes), bytes, key: by.key, seal_key, signature })
}

fn check(card: &Card, signer: &PublicKey) -> Result<[u8; 32], CardError> {
    if card.version != VERSION {
        return Err(CardError::Field("of another version"));
    }
    if PublicKey::from_line(&card.key)? != *signer {
        return Err(CardError::OtherKey);
    }
    if card.name.len() > MAX_DEVICE_NAME {
        return Err(CardError::Field("its name is too long"));
    }
    seal_key(&card.seal).ok_or(CardError::Field("its sealing key is not 32 bytes of base64"))
}

/// Reads an X25519 public key in base64, as it stands in cards and requests. All zeros, the only
/// small-order point that could get here by accident, is refused; sealing refuses the others.
pub(crate) fn seal_key(text: &str) -> Option<[u8; 32]> {
    let mut key = [0u8; 32];
    let len = Base64::decode(text, &mut key).ok()?.len();
    (len == key.len() && key != [0; 32]).then_some(key)
}
