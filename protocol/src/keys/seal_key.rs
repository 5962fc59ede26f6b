//! Private sealing keys.

use hpke::{Deserializable, Kem, Serializable};
use std::fmt;
use zeroize::Zeroizing;

pub(crate) type SealKem = hpke::kem::X25519HkdfSha256;

/// An X25519 private key that messages are sealed to. Wiped when dropped.
pub struct SealKey {
    secret: <SealKem as Kem>::PrivateKey,
}

impl SealKey {
    /// A new key.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_bytes(&Zeroizing::new(crate::random::bytes()))
    }

    /// The key of 32 secret bytes.
    ///
    /// # Panics
    /// Never: every 32 bytes are a key.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        #[expect(clippy::expect_used, reason = "fails for other lengths only")]
        let secret = <SealKem as Kem>::PrivateKey::from_bytes(bytes).expect("32 bytes");
        Self { secret }
    }

    /// Its 32 secret bytes, for a file that only its owner reads.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes().into())
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        SealKem::sk_to_pk(&self.secret).to_bytes().into()
    }

    pub(crate) fn secret(&self) -> &<SealKem as Kem>::PrivateKey {
        &self.secret
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}
