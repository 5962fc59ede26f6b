//! Keys: OpenSSH signing keys (ed25519, or P-256 from browsers without ed25519) and X25519 keys
//! that messages are sealed to.

mod seal_key;
mod signing;

pub(crate) use seal_key::SealKem;
pub use seal_key::SealKey;
pub use signing::{Signer, SigningKey};

use crate::digest;
use crate::wire::{self, Reader, WireError};
use base64ct::{Base64, Base64Unpadded, Base64UrlUnpadded, Encoding};
use ed25519_dalek as ed25519;
use p256::ecdsa as p256_ecdsa;
use p256_ecdsa::signature::Verifier as _;
use std::fmt;

/// Longest public key line that is read, its comment included.
pub const MAX_LINE: usize = 8 * 1024;
/// Longest private key file that is read.
pub const MAX_PRIVATE: usize = 16 * 1024;

/// OpenSSH's name of ed25519 keys and their signatures.
pub const ED25519: &str = "ssh-ed25519";
/// OpenSSH's name of P-256 keys and their signatures.
pub const P256: &str = "ecdsa-sha2-nistp256";
const P256_CURVE: &str = "nistp256";
/// An uncompressed P-256 point: 4, x, y.
const P256_POINT: usize = 65;

/// Why something is not a key that is accepted here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a public key.
    #[error("not an OpenSSH public key: {0}")]
    Malformed(&'static str),
    /// A key, but of another type.
    #[error("a key of type {0}: only ssh-ed25519 and ecdsa-sha2-nistp256 are accepted")]
    Type(String),
    /// A certificate where a key belongs.
    #[error("a certificate, where a plain public key belongs")]
    Certificate,
    /// A public key for which anybody can make signatures.
    #[error("a weak key that must never be used")]
    Weak,
    /// Not a private key file.
    #[error("not an OpenSSH private key: {0}")]
    Private(String),
    /// The private key has a passphrase and none was given.
    #[error("the private key has a passphrase")]
    Encrypted,
    /// Not its passphrase.
    #[error("wrong passphrase for the private key")]
    Passphrase,
}

impl From<WireError> for KeyError {
    fn from(_: WireError) -> Self {
        Self::Malformed("its fields are wrong")
    }
}

/// A signature does not belong to the key and the bytes, or is not well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not valid")]
pub struct BadSignature;

impl From<WireError> for BadSignature {
    fn from(_: WireError) -> Self {
        Self
    }
}

/// A signature could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot sign: {0}")]
pub struct SignError(pub String);

/// A public signing key.
#[derive(Clone)]
pub struct PublicKey {
    kind: Kind,
    blob: Vec<u8>,
}

#[derive(Clone)]
enum Kind {
    Ed25519(ed25519::VerifyingKey),
    P256(p256_ecdsa::VerifyingKey),
}

impl PublicKey {
    /// Reads one OpenSSH line: type, base64 and perhaps a comment, without options.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn from_openssh(line: &str) -> Result<Self, KeyError> {
        if line.len() > MAX_LINE {
            return Err(KeyError::Malformed("the line is too long"));
        }
        // Blanks as OpenSSH knows them: other white space is a part of a word.
        let mut words =
            line.trim_end_matches(['\n', '\r']).split([' ', '\t']).filter(|word| !word.is_empty());
        let name = words.next().ok_or(KeyError::Malformed("the line is empty"))?;
        let encoded = words.next().ok_or(KeyError::Malformed("no base64 after the type"))?;
        let blob = decode_base64(encoded).ok_or(KeyError::Malformed("its base64 is damaged"))?;
        let key = Self::from_blob(&blob)?;
        if key.algorithm() == name {
            Ok(key)
        } else {
            Err(KeyError::Malformed("its type is not the named one"))
        }
    }

    /// Reads a line that must have no comment and no other spelling: how keys stand in messages.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn from_line(line: &str) -> Result<Self, KeyError> {
        let key = Self::from_openssh(line)?;
        if key.to_line() == line { Ok(key) } else { Err(KeyError::Malformed("more than type and base64")) }
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        let mut reader = Reader::new(blob);
        let name = reader.text()?;
        if name != ED25519 && name != P256 {
            return Err(if name.ends_with("-cert-v01@openssh.com") {
                KeyError::Certificate
            } else {
                KeyError::Type(crate::text::escape(crate::text::clip(name, 64)).into_owned())
            });
        }
        let key = Self::read_fields(name, &mut reader)?;
        reader.end()?;
        Ok(key)
    }

    /// Reads what follows the type's name, in a key or a certificate.
    pub(crate) fn read_fields(name: &str, reader: &mut Reader<'_>) -> Result<Self, KeyError> {
        let kind = if name == ED25519 {
            let bytes = <&[u8; 32]>::try_from(reader.string()?)
                .map_err(|_| KeyError::Malformed("an ed25519 key has 32 bytes"))?;
            let key = ed25519::VerifyingKey::from_bytes(bytes)
                .map_err(|_| KeyError::Malformed("not a point of the curve"))?;
            // A second encoding of the same point would be a second name for one key.
            if key.is_weak() || key.to_edwards().compress().as_bytes() != bytes {
                return Err(KeyError::Weak);
            }
            Kind::Ed25519(key)
        } else {
            if reader.text()? != P256_CURVE {
                return Err(KeyError::Malformed("another curve than its type says"));
            }
            let point = reader.string()?;
            if point.len() != P256_POINT || point.first() != Some(&4) {
                return Err(KeyError::Malformed("not an uncompressed P-256 point"));
            }
            Kind::P256(
                p256_ecdsa::VerifyingKey::from_sec1_bytes(point)
                    .map_err(|_| KeyError::Malformed("not a point of the curve"))?,
            )
        };
        Ok(Self::from_kind(kind))
    }

    fn from_kind(kind: Kind) -> Self {
        let mut blob = Vec::new();
        match &kind {
            Kind::Ed25519(key) => {
                wire::put_string(&mut blob, ED25519.as_bytes());
                wire::put_string(&mut blob, key.as_bytes());
            }
            Kind::P256(key) => {
                wire::put_string(&mut blob, P256.as_bytes());
                wire::put_string(&mut blob, P256_CURVE.as_bytes());
                wire::put_string(&mut blob, key.to_sec1_point(false).as_bytes());
            }
        }
        Self { kind, blob }
    }

    /// OpenSSH's name of its type.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self.kind {
            Kind::Ed25519(_) => ED25519,
            Kind::P256(_) => P256,
        }
    }

    /// One OpenSSH line without comment: how it stands in messages.
    #[must_use]
    pub fn to_line(&self) -> String {
        format!("{} {}", self.algorithm(), Base64::encode_string(&self.blob))
    }

    /// The binary form.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// SHA-256 of the binary form.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        digest::sha256(&self.blob)
    }

    /// The key id: [`Self::sha256`] in base64url without padding.
    #[must_use]
    pub fn id(&self) -> String {
        Base64UrlUnpadded::encode_string(&self.sha256())
    }

    /// `SHA256:…` as `ssh-keygen -lf` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", Base64Unpadded::encode_string(&self.sha256()))
    }

    /// Checks an SSH signature blob (string algorithm, string signature) over `data`.
    ///
    /// # Errors
    /// [`BadSignature`], for every cause alike.
    pub fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let mut reader = Reader::new(signature);
        let name = reader.string()?;
        let bytes = reader.string()?;
        reader.end()?;
        if name != self.algorithm().as_bytes() {
            return Err(BadSignature);
        }
        match &self.kind {
            Kind::Ed25519(key) => {
                let signature = ed25519::Signature::from_slice(bytes).map_err(|_| BadSignature)?;
                key.verify_strict(data, &signature).map_err(|_| BadSignature)
            }
            Kind::P256(key) => {
                let mut numbers = Reader::new(bytes);
                let (r, s) = (numbers.scalar()?, numbers.scalar()?);
                numbers.end()?;
                let signature = p256_ecdsa::Signature::from_scalars(r, s).map_err(|_| BadSignature)?;
                key.verify(data, &signature).map_err(|_| BadSignature)
            }
        }
    }
}

/// Base64 with or without its padding, in the one alphabet of OpenSSH.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(text).ok()
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.blob == other.blob
    }
}

impl Eq for PublicKey {}

impl std::hash::Hash for PublicKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.blob.hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

#[cfg(test)]
mod tests;
