//! OpenSSH certificates (PROTOCOL.certkeys), read strictly.

use crate::keys::{self, KeyError, PublicKey, decode_base64};
use crate::signers::Refusal;
use base64ct::{Base64, Encoding};

use crate::wire::{Reader, WireError};

/// The critical option that a device's certificate carries, so that it opens nothing but approvals
/// and no login certificate approves.
pub const APPROVER_OPTION: &str = "approver@countersign.org";
/// Longest certificate in bytes.
pub const MAX_CERTIFICATE: usize = 8 * 1024;
/// Longest line with a certificate and its comment.
const MAX_LINE: usize = 2 * MAX_CERTIFICATE;
/// Most principals or options in a certificate.
const MAX_ITEMS: usize = 256;
const USER: u32 = 1;
const SUFFIX: &str = "-cert-v01@openssh.com";

/// Why bytes are not a certificate that is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Its fields are damaged.
    #[error("the certificate is damaged: {0}")]
    Malformed(&'static str),
    /// Its key or its CA's key is not accepted.
    #[error("the certificate holds {0}")]
    Key(#[from] KeyError),
    /// The CA's signature does not belong to it.
    #[error("the certificate's own signature is not valid")]
    Signature,
}

impl From<WireError> for CertificateError {
    fn from(error: WireError) -> Self {
        Self::Malformed(error.what())
    }
}

/// A certificate whose CA's signature is valid. Whether the CA is trusted is
/// [`crate::signers::AllowedSigners::authorize`]'s business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub(crate) key: PublicKey,
    pub(crate) ca: PublicKey,
    pub(crate) is_user: bool,
    pub(crate) principals: Vec<String>,
    pub(crate) valid_after: u64,
    pub(crate) valid_before: u64,
    pub(crate) critical: Vec<(String, Vec<u8>)>,
    key_id: String,
    serial: u64,
    blob: Vec<u8>,
}

impl Certificate {
    /// Reads the binary form and checks its CA's signature.
    ///
    /// # Errors
    /// [`CertificateError`] says what is wrong with it.
    pub fn from_blob(blob: &[u8]) -> Result<Self, CertificateError> {
        if blob.len() > MAX_CERTIFICATE {
            return Err(CertificateError::Malformed("it is too long"));
        }
        let mut reader = Reader::new(blob);
        let name = reader.text()?;
        let algorithm = name
            .strip_suffix(SUFFIX)
            .map(|stem| {
                if stem == keys::ED25519 {
                    Ok(keys::ED25519)
                } else if stem == keys::P256 {
                    Ok(keys::P256)
                } else {
                    Err(stem)
                }
            })
            .ok_or(CertificateError::Malformed("it has no certificate's type"))?
            .map_err(|stem| KeyError::Type(crate::text::escape(crate::text::clip(stem, 64)).into_owned()))?;
        let _nonce = reader.string()?;
        let key = PublicKey::read_fields(algorithm, &mut reader)?;
        let serial = reader.u64()?;
        let kind = reader.u32()?;
        let key_id = reader.text()?.to_owned();
        let principals = read_principals(reader.string()?)?;
        let valid_after = reader.u64()?;
        let valid_before = reader.u64()?;
        let critical = read_options(reader.string()?)?;
        let _extensions = read_options(reader.string()?)?;
        let _reserved = reader.string()?;
        let ca = PublicKey::from_blob(reader.string()?)?;
        let signed = blob.len().checked_sub(reader.left()).and_then(|n| blob.get(..n)).unwrap_or_default();
        let signature = reader.string()?;
        reader.end()?;
        ca.verify(signed, signature).map_err(|_| CertificateError::Signature)?;
        Ok(Self {
            key,
            ca,
            is_user: kind == USER,
            principals,
            valid_after,
            valid_before,
            critical,
            key_id,
            serial,
            blob: blob.to_vec(),
        })
    }

    /// Reads a line of a `*-cert.pub` file: type, base64 and perhaps a comment.
    ///
    /// # Errors
    /// [`CertificateError`] says what is wrong with it.
    pub fn from_openssh(line: &str) -> Result<Self, CertificateError> {
        if line.len() > MAX_LINE {
            return Err(CertificateError::Malformed("the line is too long"));
        }
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let (name, encoded) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let blob = decode_base64(encoded).ok_or(CertificateError::Malformed("its base64 is damaged"))?;
        let certificate = Self::from_blob(&blob)?;
        match name.strip_suffix(SUFFIX) {
            Some(stem) if stem == certificate.key.algorithm() => Ok(certificate),
            _ => Err(CertificateError::Malformed("its type is not the named one")),
        }
    }

    /// Whether it can ever be an approver's, whoever trusts its CA.
    ///
    /// # Errors
    /// Why not.
    pub fn check_approver(&self) -> Result<(), Refusal> {
        if !self.is_user {
            return Err(Refusal::CertificateType);
        }
        // A value would be a restriction that this version does not know.
        match self.critical.as_slice() {
            [(name, value)] if name == APPROVER_OPTION && value.is_empty() => Ok(()),
            _ => Err(Refusal::CertificateOptions),
        }
    }

    /// Its type and its base64, as in a `*-cert.pub` file.
    #[must_use]
    pub fn to_line(&self) -> String {
        format!("{}{SUFFIX} {}", self.key.algorithm(), Base64::encode_string(&self.blob))
    }

    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Who issued it.
    #[must_use]
    pub fn ca(&self) -> &PublicKey {
        &self.ca
    }

    /// Whom it names.
    #[must_use]
    pub fn principals(&self) -> &[String] {
        &self.principals
    }

    /// Whether it holds at this time, in seconds since 1970.
    #[must_use]
    pub fn is_in_time(&self, at: u64) -> bool {
        at >= self.valid_after && !self.is_over(at)
    }

    /// Whether it will never hold again.
    #[must_use]
    pub fn is_over(&self, at: u64) -> bool {
        at >= self.valid_before
    }

    /// The text that the CA named it by, as given: escape it before showing.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The CA's serial number.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }
}

fn read_principals(bytes: &[u8]) -> Result<Vec<String>, CertificateError> {
    let mut reader = Reader::new(bytes);
    let mut principals = Vec::new();
    while !reader.is_empty() {
        if principals.len() == MAX_ITEMS {
            return Err(CertificateError::Malformed("it has too many principals"));
        }
        principals.push(reader.text()?.to_owned());
    }
    Ok(principals)
}

/// Options by name. They stand in order and once each, as PROTOCOL.certkeys demands.
fn read_options(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, CertificateError> {
    let mut reader = Reader::new(bytes);
    let mut options: Vec<(String, Vec<u8>)> = Vec::new();
    while !reader.is_empty() {
        if options.len() == MAX_ITEMS {
            return Err(CertificateError::Malformed("it has too many options"));
        }
        let name = reader.text()?.to_owned();
        let value = reader.string()?.to_vec();
        if options.last().is_some_and(|(last, _)| *last >= name) {
            return Err(CertificateError::Malformed("its options are out of order"));
        }
        options.push((name, value));
    }
    Ok(options)
}
