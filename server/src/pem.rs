//! Certificates and keys as PEM, in files of the administrator's.

use countersign_files::{Links, Owner, read_bytes, read_whosever};
use rustls::RootCertStore;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use zeroize::Zeroizing;

/// Longest such file in bytes: more than all the roots that a system trusts.
const MAX_FILE: usize = 1024 * 1024;

/// Reads a file of the server's own certificate. A link is followed, because programs that renew certificates
/// put one in front; and the file may be that program's user's.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let bytes = read_whosever(path, Links::Followed, MAX_FILE);
    bytes.map(Zeroizing::new).map_err(|fault| fault.to_string())
}

/// The certificates of a file; at least one.
pub(crate) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    chain(&read(path)?)
}

/// The certificates of a file, each of which can be a root.
pub(crate) fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    // Whom they make us believe is for the administrator to say.
    let bytes =
        read_bytes(path, Owner::own(), Links::Followed, MAX_FILE).map_err(|fault| fault.to_string())?;
    let chain = chain(&bytes)?;
    for (n, certificate) in chain.iter().enumerate() {
        RootCertStore::empty()
            .add(certificate.clone())
            .map_err(|error| format!("its certificate {} is not one: {error}", n + 1))?;
    }
    Ok(chain)
}

/// The private key of a file.
pub(crate) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    key(&read(path)?)
}

/// The certificates in a text; at least one.
pub(crate) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(told)?;
    if chain.is_empty() { Err("no certificate is in it; PEM is expected".to_owned()) } else { Ok(chain) }
}

/// The private key in a text.
pub(crate) fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        Error::NoItemsFound => "no private key is in it; PEM is expected".to_owned(),
        error => told(error),
    })
}

/// Without the lines at fault: they may be long, or secret.
fn told(error: Error) -> String {
    match error {
        Error::MissingSectionEnd { .. } => "it ends too early: an -----END line is missing".to_owned(),
        Error::IllegalSectionStart { .. } => "it is no PEM: a -----BEGIN line is damaged".to_owned(),
        Error::Base64Decode(_) => "it is damaged: what is below a -----BEGIN line is not base64".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_one_short_line() {
        let begin = "-----BEGIN CERTIFICATE-----\n";
        let long = format!("-----BEGIN {}\n", "x".repeat(100_000));
        for (text, why) in [
            ("", "no certificate"),
            ("\u{0}\u{1b}[31m\n", "no certificate"),
            (begin, "-----END line is missing"),
            (&long, "-----BEGIN line is damaged"),
            (&format!("{begin}?\n-----END CERTIFICATE-----\n"), "not base64"),
        ] {
            let told = chain(text.as_bytes()).unwrap_err();
            assert!(told.contains(why) && told.len() < 100, "{told}");
        }
        assert!(key(b"").unwrap_err().contains("no private key"));
    }

    #[test]
    fn a_root_has_to_be_a_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let told = read_roots(&path).unwrap_err();
        assert!(told.starts_with("its certificate 1 is not one: "), "{told}");
    }
}
