//! Private signing keys.

use super::{KeyError, Kind, MAX_PRIVATE, PublicKey, SignError};
use crate::text::{clip, escape};
use crate::wire;
use ed25519_dalek as ed25519;
use p256::ecdsa as p256_ecdsa;
use p256_ecdsa::signature::Signer as _;
use ssh_key::private::{EcdsaKeypair, Ed25519Keypair, KeypairData};
use std::fmt;
use zeroize::Zeroizing;

/// Longest part of a file that an error shows, in bytes.
const MAX_SHOWN: usize = 100;

/// Whatever can sign: a key in memory, an agent.
pub trait Signer: Send + Sync {
    /// The key that signatures belong to.
    fn public_key(&self) -> &PublicKey;

    /// Signs, and gives an SSH signature blob: string algorithm, string signature.
    ///
    /// # Errors
    /// [`SignError`] when there is no signature, for example because the agent has lost the key.
    fn sign(&self, data: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A private signing key in memory. Wiped when dropped.
pub struct SigningKey {
    secret: Secret,
    public: PublicKey,
}

enum Secret {
    Ed25519(ed25519::SigningKey),
    P256(p256_ecdsa::SigningKey),
}

impl SigningKey {
    /// A new ed25519 key.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_seed(&Zeroizing::new(crate::random::bytes()))
    }

    /// The ed25519 key of a 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::from_secret(Secret::Ed25519(ed25519::SigningKey::from_bytes(seed)))
    }

    fn from_secret(secret: Secret) -> Self {
        let public = PublicKey::from_kind(match &secret {
            Secret::Ed25519(key) => Kind::Ed25519(key.verifying_key()),
            Secret::P256(key) => Kind::P256(*key.verifying_key()),
        });
        Self { secret, public }
    }

    /// Reads an OpenSSH private key file's text.
    ///
    /// # Errors
    /// [`KeyError::Encrypted`] when it has a passphrase and none is given.
    pub fn from_openssh(pem: &str, passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        if pem.len() > MAX_PRIVATE {
            return Err(KeyError::Private("the file is too long".into()));
        }
        let mut key = ssh_key::PrivateKey::from_openssh(pem).map_err(private)?;
        if key.is_encrypted() {
            key = key.decrypt(passphrase.ok_or(KeyError::Encrypted)?).map_err(|_| KeyError::Passphrase)?;
        }
        let secret = match key.key_data() {
            KeypairData::Ed25519(pair) => {
                let seed = Zeroizing::new(pair.private.to_bytes());
                Secret::Ed25519(ed25519::SigningKey::from_bytes(&seed))
            }
            KeypairData::Ecdsa(EcdsaKeypair::NistP256 { private, .. }) => Secret::P256(
                p256_ecdsa::SigningKey::from_slice(private.as_slice())
                    .map_err(|_| KeyError::Private("its number is out of range".into()))?,
            ),
            _ => return Err(KeyError::Type(shown(key.algorithm().as_str()))),
        };
        let read = Self::from_secret(secret);
        let stated = key.public_key().to_bytes().map_err(private)?;
        if stated == read.public.blob {
            Ok(read)
        } else {
            Err(KeyError::Private("its public half is another key's".into()))
        }
    }

    /// The text of an OpenSSH private key file without passphrase.
    ///
    /// # Errors
    /// [`KeyError::Private`] when the comment is too long to be encoded.
    pub fn to_openssh(&self, comment: &str) -> Result<Zeroizing<String>, KeyError> {
        let data = match &self.secret {
            Secret::Ed25519(key) => KeypairData::from(Ed25519Keypair::from(key)),
            Secret::P256(key) => {
                let secret = p256::SecretKey::from(key);
                KeypairData::from(EcdsaKeypair::NistP256 {
                    public: key.verifying_key().to_sec1_point(false),
                    private: secret.into(),
                })
            }
        };
        ssh_key::PrivateKey::new(data, comment)
            .map_err(private)?
            .to_openssh(ssh_key::LineEnding::LF)
            .map_err(private)
    }
}

/// The parser may quote what stands in the file.
fn private(error: ssh_key::Error) -> KeyError {
    KeyError::Private(shown(&error.to_string()))
}

fn shown(text: &str) -> String {
    escape(clip(text, MAX_SHOWN)).into_owned()
}

impl Signer for SigningKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, data: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut body = Vec::new();
        match &self.secret {
            Secret::Ed25519(key) => body.extend_from_slice(&key.sign(data).to_bytes()),
            Secret::P256(key) => {
                let signature: p256_ecdsa::Signature = key.sign(data);
                let (r, s) = signature.split_bytes();
                wire::put_scalar(&mut body, r.as_ref());
                wire::put_scalar(&mut body, s.as_ref());
            }
        }
        let mut blob = Vec::new();
        wire::put_string(&mut blob, self.public.algorithm().as_bytes());
        wire::put_string(&mut blob, &body);
        Ok(blob)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.fingerprint())
    }
}
