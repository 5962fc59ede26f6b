//! A host's copies of devices' certificates, one a line as in `*-cert.pub`: what is known of a device before it
//! decides. They say nothing by themselves: whose authority counts for whom stands in the approvers file.

use super::{LineFault, parse};
use crate::certificate::Certificate;
use crate::keys::PublicKey;
use std::collections::HashMap;

/// Longest line: those by which a login's approvals counted stand in its record of the audit.
const MAX_LINE: usize = 2048;

/// Certificates by the key that they are about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    by_key: HashMap<Vec<u8>, Vec<Certificate>>,
}

impl Certificates {
    /// Reads a file's text. Its authorities' signatures are checked; whether any is trusted is
    /// [`super::AllowedSigners::authorize`]'s business, and so is the time.
    ///
    /// # Errors
    /// All faults; a certificate that can never let anybody approve is one.
    pub fn parse(file: &str) -> Result<Self, Vec<LineFault>> {
        let mut by_key: HashMap<Vec<u8>, Vec<Certificate>> = HashMap::new();
        for certificate in parse::lines(file, certificate)? {
            by_key.entry(certificate.key().blob().to_vec()).or_default().push(certificate);
        }
        Ok(Self { by_key })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// How many of them are over, at `at` seconds since 1970.
    #[must_use]
    pub fn over(&self, at: u64) -> usize {
        self.by_key.values().flatten().filter(|certificate| certificate.is_over(at)).count()
    }

    /// Those about a key, in their order.
    #[must_use]
    pub fn of(&self, key: &PublicKey) -> &[Certificate] {
        self.by_key.get(key.blob()).map_or(&[], Vec::as_slice)
    }
}

fn certificate(line: &str) -> Result<Certificate, String> {
    if line.len() > MAX_LINE {
        return Err(format!("the line is longer than {MAX_LINE} bytes: certify with fewer names"));
    }
    let certificate = Certificate::from_openssh(line).map_err(|error| error.to_string())?;
    certificate.check_approver().map_err(|refusal| refusal.to_string())?;
    if certificate.principals().is_empty() {
        return Err("the certificate names nobody: make it with -n and its user's name".into());
    }
    Ok(certificate)
}
