//! HTTPS: certificate files, or an authority that issues certificates.

use super::ConfigError;
use serde::Deserialize;
use std::path::PathBuf;

/// Who issues certificates when nothing is said.
pub(super) const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Most names in one certificate.
const MAX_DOMAINS: usize = 32;

/// A certificate chain and its private key, both PEM. Read again on SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Certificates by ACME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acme {
    /// All in one certificate; the first is the server's.
    pub(crate) domains: Vec<String>,
    /// A URL, for example `mailto:admin@example.com`.
    pub(crate) contact: Option<String>,
    pub(crate) directory: String,
    /// The only roots that are believed for `directory`, PEM.
    pub(crate) ca: Option<PathBuf>,
}

impl Acme {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(bad) = self.domains.iter().find(|domain| !is_domain(domain)) {
            return Err(ConfigError(format!(
                "domain: {bad:?} is not of the form push.example.com (lower case, no https://, no port, no *)"
            )));
        }
        if self.domains.len() > MAX_DOMAINS {
            return Err(ConfigError(format!("domain: more than {MAX_DOMAINS} names")));
        }
        if !self.directory.starts_with("https://") {
            return Err(ConfigError(format!("acme_directory: {:?} is not an https:// URL", self.directory)));
        }
        match &self.contact {
            Some(contact) if !contact.contains('@') || contact.contains(char::is_whitespace) => Err(
                ConfigError("acme_contact is not a mail address, for example admin@example.com".to_owned()),
            ),
            _ => Ok(()),
        }
    }
}

/// Whether an authority may certify it: a name with a dot, as DNS has it.
fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let named = name.rsplit('.').next().is_some_and(|top| !top.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && name.contains('.') && named && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_names_that_dns_may_hold() {
        for good in ["push.example.com", "a-1.example", "xn--bcher-kva.example", "1.example"] {
            assert!(is_domain(good), "{good}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for bad in [
            "",
            "localhost",
            "192.0.2.1",
            "Push.example.com",
            "*.example.com",
            "https://a.example",
            "a.example:443",
            "a..example",
            ".example",
            "a.example.",
            "-a.example",
            "a b.example",
            "[::1]",
            &long,
        ] {
            assert!(!is_domain(bad), "{bad}");
        }
    }
}
