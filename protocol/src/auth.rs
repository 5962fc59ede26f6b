//! Authentication at the push server: a signed statement that is worth nothing at another server,
//! for another key or a second time.

use crate::api::{AuthStatement, Challenge, Proof};
use crate::keys::{KeyError, PublicKey, SignError, Signer};
use crate::message::namespace;
use crate::sshsig::{self, SshSigError};

/// Longest statement in bytes.
pub const MAX_STATEMENT: usize = 1024;
/// Longest nonce in bytes.
pub const MAX_NONCE: usize = 128;

/// Why a proof is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The statement is over its limit or not JSON.
    #[error("not an authentication statement")]
    Malformed,
    /// Its signature is wrong.
    #[error("the authentication statement: {0}")]
    Signature(#[from] SshSigError),
    /// Its key is not accepted.
    #[error("the authentication statement names {0}")]
    Key(#[from] KeyError),
    /// Signed by another key than its own.
    #[error("the authentication statement is signed by another key than it names")]
    OtherKey,
    /// Made for another server.
    #[error("the authentication statement was made for another server address")]
    Origin,
    /// Too late.
    #[error("the authentication statement has expired")]
    Expired,
}

/// A proof that holds. The server still has to use up the nonce: it must have given it out for this
/// key, and takes it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Who holds the private key.
    pub key: PublicKey,
    /// The nonce that was signed.
    pub nonce: String,
    /// When it ends, as signed, seconds since 1970.
    pub expires_at: u64,
}

/// Answers a challenge.
///
/// # Errors
/// The signer's own.
pub fn prove(signer: &dyn Signer, origin: &str, challenge: &Challenge) -> Result<Proof, AuthError> {
    let statement = AuthStatement {
        origin: origin.to_owned(),
        key: signer.public_key().to_line(),
        nonce: challenge.nonce.clone(),
        expires_at: challenge.expires_at,
    };
    let statement = serde_json::to_string(&statement).map_err(|_| AuthError::Malformed)?;
    if statement.len() > MAX_STATEMENT || challenge.nonce.len() > MAX_NONCE {
        return Err(AuthError::Malformed);
    }
    let signature = sshsig::sign(signer, namespace::AUTH, statement.as_bytes())?;
    Ok(Proof { statement, signature })
}

/// Checks a proof at the server whose origin is `origin`, at `now` seconds since 1970.
///
/// # Errors
/// [`AuthError`] says why it is refused.
pub fn verify(proof: &Proof, origin: &str, now: u64) -> Result<Proven, AuthError> {
    if proof.statement.len() > MAX_STATEMENT {
        return Err(AuthError::Malformed);
    }
    let by = sshsig::verify(&proof.signature, namespace::AUTH, proof.statement.as_bytes())?;
    let statement: AuthStatement =
        serde_json::from_str(&proof.statement).map_err(|_| AuthError::Malformed)?;
    if PublicKey::from_line(&statement.key)? != by.key {
        return Err(AuthError::OtherKey);
    }
    if statement.origin != origin {
        return Err(AuthError::Origin);
    }
    if statement.nonce.is_empty() || statement.nonce.len() > MAX_NONCE {
        return Err(AuthError::Malformed);
    }
    if now >= statement.expires_at {
        return Err(AuthError::Expired);
    }
    Ok(Proven { key: by.key, nonce: statement.nonce, expires_at: statement.expires_at })
}
