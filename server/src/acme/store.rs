//! What outlives a restart: the account at the authority, and the certificate with its key.

use super::AcmeError;
use crate::config::Acme;
use countersign_protocol::digest;
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Longest file that is read.
const MAX_FILE: u64 = 256 * 1024;

pub(super) struct Store {
    certificate: PathBuf,
    account: PathBuf,
}

impl Store {
    /// Makes the directory, for its owner alone. The files' names say for whom they are, so that
    /// other names or another authority start anew.
    pub(super) fn open(state: &Path, acme: &Acme) -> Result<Self, AcmeError> {
        let dir = state.join("acme");
        let made = match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::set_permissions(&dir, Permissions::from_mode(0o700))
            }
            made => made,
        };
        made.map_err(|error| AcmeError::File(dir.clone(), error.to_string()))?;
        let account = named(&[&acme.directory]);
        let mut parts = vec![acme.directory.as_str()];
        parts.extend(acme.domains.iter().map(String::as_str));
        Ok(Self {
            certificate: dir.join(format!("certificate-{}.pem", named(&parts))),
            account: dir.join(format!("account-{account}.json")),
        })
    }

    pub(super) fn certificate(&self) -> Result<Option<Vec<u8>>, String> {
        read(&self.certificate)
    }

    pub(super) fn keep_certificate(&self, pem: &[u8]) -> Result<(), String> {
        write(&self.certificate, pem)
    }

    pub(super) fn account(&self) -> Result<Option<Vec<u8>>, String> {
        read(&self.account)
    }

    pub(super) fn keep_account(&self, json: &[u8]) -> Result<(), String> {
        write(&self.account, json)
    }

    pub(super) fn forget_account(&self) {
        // If it cannot be removed, it cannot be written either, and that is said.
        let _ = fs::remove_file(&self.account);
    }
}

fn named(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    digest::hex(&hash.finalize()).chars().take(16).collect()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let at = |error: io::Error| format!("{}: {error}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(error)),
    };
    let mut content = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut content).map_err(at)?;
    Ok(Some(content))
}

/// Replaces the file as a whole: whoever reads sees the old one or the new one.
fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    let at = |error: io::Error| format!("{}: {error}", path.display());
    let new = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(at)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(at)?;
    fs::rename(&new, path).map_err(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme(domain: &str) -> Acme {
        Acme {
            domains: vec![domain.to_owned()],
            contact: None,
            directory: "https://acme.example/dir".to_owned(),
            ca: None,
        }
    }

    #[test]
    fn what_is_kept_is_its_owners_alone_and_for_these_names() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path(), &acme("a.example")).unwrap();
        assert_eq!(store.certificate(), Ok(None));
        store.keep_certificate(b"one").unwrap();
        store.keep_certificate(b"two").unwrap();
        store.keep_account(b"account").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&state.path().join("acme")), 0o700);
        assert_eq!(mode(&store.certificate), 0o600);
        assert_eq!(mode(&store.account), 0o600);
        let again = Store::open(state.path(), &acme("a.example")).unwrap();
        assert_eq!(again.certificate().unwrap().unwrap(), b"two");
        let other = Store::open(state.path(), &acme("b.example")).unwrap();
        assert_eq!(other.certificate(), Ok(None));
        assert_eq!(other.account().unwrap().unwrap(), b"account", "one account for all names");
        other.forget_account();
        assert_eq!(again.account(), Ok(None));
        assert_eq!(fs::read_dir(state.path().join("acme")).unwrap().count(), 1, "nothing half written");
    }

    #[test]
    fn a_missing_state_directory_is_named() {
        let Err(error) = Store::open(Path::new("/nonexistent/state"), &acme("a.example")) else {
            panic!("made")
        };
        assert!(error.to_string().starts_with("/nonexistent/state/acme: "), "{error}");
    }
}
