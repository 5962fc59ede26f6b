//! ALLOWED SIGNERS (ssh-keygen(1)): which keys may approve for whom.
//!
//! Read as `ssh-keygen -Y verify -f` reads them, and stricter: unknown options, other key types and
//! certificates in place of keys are faults, times need their `Z`, and a certificate counts only
//! with the approver option, through a `cert-authority` line, for a principal that it names.

mod certificates;
mod line;
mod parse;
mod revoked;

pub use certificates::Certificates;
pub use line::{BadPrincipal, Line};
pub use revoked::Revoked;

use crate::certificate::{APPROVER_OPTION, Certificate};
use crate::keys::PublicKey;
use crate::sshsig::Signed;
use crate::text;
use std::fmt;

/// Longest file in bytes.
pub const MAX_FILE: usize = 1024 * 1024;
/// Most faults that are reported of one file.
pub const MAX_FAULTS: usize = 20;

/// A fault and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFault {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// The lines of an ALLOWED SIGNERS file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedSigners {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    principals: String,
    is_authority: bool,
    namespaces: Option<String>,
    valid_after: Option<u64>,
    valid_before: Option<u64>,
    key: PublicKey,
}

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a name that may stand in such a file.
    #[error("the user's name cannot stand in an approvers file")]
    Principal,
    /// No line has this key for this user.
    #[error("the key is not listed for this user")]
    NotListed,
    /// The line is for other namespaces.
    #[error("the key is listed, but not for this kind of message")]
    Namespace,
    /// Before the line's `valid-after`.
    #[error("the key is listed, but not valid yet")]
    NotYet,
    /// At or after the line's `valid-before`.
    #[error("the key is listed, but no longer valid")]
    Expired,
    /// The key is revoked.
    #[error("the key is revoked")]
    Revoked,
    /// The certificate's CA is revoked.
    #[error("the certificate's authority is revoked")]
    RevokedAuthority,
    /// A certificate where the key itself is listed.
    #[error("the key came with a certificate, but is listed without cert-authority")]
    CertificateOnPlainLine,
    /// A host certificate.
    #[error("the certificate is not a user certificate")]
    CertificateType,
    /// The certificate's own validity.
    #[error("the certificate is expired or not valid yet")]
    CertificateTime,
    /// The certificate does not name the user.
    #[error("the certificate does not name this user")]
    CertificatePrincipal,
    /// A login certificate or another that is not for approving.
    #[error("the certificate's critical options are not exactly {APPROVER_OPTION}")]
    CertificateOptions,
}

impl AllowedSigners {
    /// Reads a file's text.
    ///
    /// # Errors
    /// All faults, up to [`MAX_FAULTS`]. A file with a fault counts for nothing.
    pub fn parse(file: &str) -> Result<Self, Vec<LineFault>> {
        parse::lines(file, parse::entry).map(|entries| Self { entries })
    }

    /// Number of lines with a key.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no line has a key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a valid signature counts for `principal` in `namespace`, at `at` seconds since 1970.
    ///
    /// # Errors
    /// [`Refusal`]: of several lines for the key, the first one's reason.
    pub fn authorize(
        &self,
        principal: &str,
        namespace: &str,
        signed: &Signed,
        at: u64,
        revoked: &Revoked,
    ) -> Result<(), Refusal> {
        if !text::is_principal(principal) {
            return Err(Refusal::Principal);
        }
        if revoked.contains(&signed.key) {
            return Err(Refusal::Revoked);
        }
        if signed.certificate.as_ref().is_some_and(|c| revoked.contains(c.ca())) {
            return Err(Refusal::RevokedAuthority);
        }
        let mut first = None;
        for entry in self.entries.iter().filter(|entry| crate::pattern::in_list(principal, &entry.principals))
        {
            match entry.accepts(principal, namespace, signed, at) {
                Ok(()) => return Ok(()),
                Err(Refusal::NotListed) => {}
                Err(refusal) => {
                    first.get_or_insert(refusal);
                }
            }
        }
        Err(first.unwrap_or(Refusal::NotListed))
    }
}

impl Entry {
    fn accepts(&self, principal: &str, namespace: &str, signed: &Signed, at: u64) -> Result<(), Refusal> {
        match (&signed.certificate, self.is_authority) {
            (None, false) if self.key == signed.key => {}
            (Some(_), false) if self.key == signed.key => return Err(Refusal::CertificateOnPlainLine),
            (Some(certificate), true) if self.key == certificate.ca => {
                check_certificate(certificate, principal, at)?;
            }
            _ => return Err(Refusal::NotListed),
        }
        if self.namespaces.as_ref().is_some_and(|list| !crate::pattern::in_list(namespace, list)) {
            return Err(Refusal::Namespace);
        }
        if self.valid_after.is_some_and(|after| at < after) {
            return Err(Refusal::NotYet);
        }
        if self.valid_before.is_some_and(|before| at >= before) {
            return Err(Refusal::Expired);
        }
        Ok(())
    }
}

fn check_certificate(certificate: &Certificate, principal: &str, at: u64) -> Result<(), Refusal> {
    certificate.check_approver()?;
    if !certificate.is_in_time(at) {
        return Err(Refusal::CertificateTime);
    }
    // To OpenSSH a certificate without principals is everybody's.
    if !certificate.principals.iter().any(|name| name == principal) {
        return Err(Refusal::CertificatePrincipal);
    }
    Ok(())
}
