//! SSHSIG signatures (PROTOCOL.sshsig), as `ssh-keygen -Y sign` and `-Y verify` make and check them.
//! SHA-512 only, one exact namespace.

use crate::certificate::{Certificate, CertificateError};
use crate::keys::{KeyError, PublicKey, SignError, Signer};
use crate::wire::{self, Reader, WireError};
use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha512};

/// Longest armored signature in bytes; one by a certificate needs the most.
pub const MAX_ARMORED: usize = 16 * 1024;

const HEAD: &str = "-----BEGIN SSH SIGNATURE-----";
const TAIL: &str = "-----END SSH SIGNATURE-----";
const MAGIC: &[u8; 6] = b"SSHSIG";
const VERSION: u32 = 1;
const HASH: &str = "sha512";
/// ssh-keygen's width of an armored line.
const WIDTH: usize = 70;

/// Why an SSHSIG is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshSigError {
    /// Not an SSHSIG.
    #[error("not an SSH signature: {0}")]
    Malformed(&'static str),
    /// Made for something else.
    #[error("the signature was made for another purpose")]
    Namespace,
    /// Its hash is not SHA-512.
    #[error("the signature does not use sha512")]
    Hash,
    /// Its key is not accepted.
    #[error("the signature is by {0}")]
    Key(#[from] KeyError),
    /// Its certificate is not readable.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// It does not belong to the bytes.
    #[error("the signature is not valid")]
    Signature,
}

impl From<WireError> for SshSigError {
    fn from(error: WireError) -> Self {
        Self::Malformed(error.what())
    }
}

/// Whose valid signature it is. Says nothing about trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The key that signed.
    pub key: PublicKey,
    /// The certificate that the signature brought along; its key is [`Self::key`].
    pub certificate: Option<Certificate>,
}

/// Signs bytes in a namespace, armored as `ssh-keygen -Y sign` does.
///
/// # Errors
/// The signer's own.
pub fn sign(signer: &dyn Signer, namespace: &str, data: &[u8]) -> Result<String, SignError> {
    sign_as(signer, signer.public_key().blob(), namespace, data)
}

/// Signs like [`sign`], but brings the signer's certificate (its binary form) along.
///
/// # Errors
/// The signer's own, or that the certificate is another key's.
pub fn sign_with_certificate(
    signer: &dyn Signer,
    certificate: &[u8],
    namespace: &str,
    data: &[u8],
) -> Result<String, SignError> {
    let read = Certificate::from_blob(certificate).map_err(|e| SignError(e.to_string()))?;
    if read.key() != signer.public_key() {
        return Err(SignError("the certificate is another key's".into()));
    }
    sign_as(signer, certificate, namespace, data)
}

fn sign_as(signer: &dyn Signer, key: &[u8], namespace: &str, data: &[u8]) -> Result<String, SignError> {
    let signature = signer.sign(&signed_data(namespace, data))?;
    let mut blob = MAGIC.to_vec();
    blob.extend_from_slice(&VERSION.to_be_bytes());
    wire::put_string(&mut blob, key);
    wire::put_string(&mut blob, namespace.as_bytes());
    wire::put_string(&mut blob, b"");
    wire::put_string(&mut blob, HASH.as_bytes());
    wire::put_string(&mut blob, &signature);
    Ok(armor(&blob))
}

/// Checks an armored signature over exactly these bytes in exactly this namespace.
///
/// # Errors
/// [`SshSigError`] says what is wrong with it.
pub fn verify(armored: &str, namespace: &str, data: &[u8]) -> Result<Signed, SshSigError> {
    let blob = dearmor(armored)?;
    let mut reader = Reader::new(&blob);
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(SshSigError::Malformed("it does not begin with SSHSIG"));
    }
    if reader.u32()? != VERSION {
        return Err(SshSigError::Malformed("it is of another version"));
    }
    let key = reader.string()?;
    if reader.string()? != namespace.as_bytes() {
        return Err(SshSigError::Namespace);
    }
    if !reader.string()?.is_empty() {
        return Err(SshSigError::Malformed("its reserved field is in use"));
    }
    if reader.string()? != HASH.as_bytes() {
        return Err(SshSigError::Hash);
    }
    let signature = reader.string()?;
    reader.end()?;

    let signed = match PublicKey::from_blob(key) {
        Ok(key) => Signed { key, certificate: None },
        Err(KeyError::Certificate) => {
            let certificate = Certificate::from_blob(key)?;
            Signed { key: certificate.key().clone(), certificate: Some(certificate) }
        }
        Err(error) => return Err(error.into()),
    };
    signed.key.verify(&signed_data(namespace, data), signature).map_err(|_| SshSigError::Signature)?;
    Ok(signed)
}

fn signed_data(namespace: &str, data: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    wire::put_string(&mut out, namespace.as_bytes());
    wire::put_string(&mut out, b"");
    wire::put_string(&mut out, HASH.as_bytes());
    wire::put_string(&mut out, &Sha512::digest(data));
    out
}

fn armor(blob: &[u8]) -> String {
    let encoded = Base64::encode_string(blob);
    let mut out = String::with_capacity(encoded.len() + encoded.len() / WIDTH + 64);
    out.push_str(HEAD);
    for (i, c) in encoded.chars().enumerate() {
        if i % WIDTH == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    out.push('\n');
    out.push_str(TAIL);
    out.push('\n');
    out
}

fn dearmor(armored: &str) -> Result<Vec<u8>, SshSigError> {
    if armored.len() > MAX_ARMORED {
        return Err(SshSigError::Malformed("it is too long"));
    }
    let body = armored
        .strip_prefix(HEAD)
        .and_then(|rest| rest.trim_end().strip_suffix(TAIL))
        .filter(|body| body.starts_with('\n') && body.ends_with('\n'))
        .ok_or(SshSigError::Malformed("its first or last line is missing"))?;
    // No carriage returns: ssh-keygen does not take them, and has to check this one day.
    let encoded: String = body.chars().filter(|c| *c != '\n').collect();
    Base64::decode_vec(&encoded).map_err(|_| SshSigError::Malformed("its base64 is damaged"))
}
