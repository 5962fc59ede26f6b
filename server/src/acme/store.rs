//! What outlives a restart: the account at the authority, and the certificate with its key.

use super::AcmeError;
use crate::config::Acme;
use crate::store::keeper;
use countersign_files::{FileFault, Links, Owner, read_bytes, replace};
use countersign_protocol::digest;
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Display, Path, PathBuf};

/// Longest file that is read.
const MAX_FILE: usize = 256 * 1024;

pub(super) struct Store {
    certificate: PathBuf,
    account: PathBuf,
    owner: Owner,
}

impl Store {
    /// Makes the directory, for its owner alone. The files' names say for whom they are, so that
    /// other names or another authority start anew.
    pub(super) fn open(state: &Path, acme: &Acme) -> Result<Self, AcmeError> {
        let dir = state.join("acme");
        let owner = keeper(&dir);
        let at = |error: io::Error| AcmeError::File(dir.clone(), error.to_string());
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let data = fs::symlink_metadata(&dir).map_err(at)?;
                if !data.is_dir() {
                    return Err(AcmeError::File(
                        dir,
                        "it has to be a directory; move away what is there".into(),
                    ));
                }
                if data.uid() != 0 && data.uid() != owner.0 {
                    return Err(AcmeError::File(dir, FileFault::Owner(data.uid()).to_string()));
                }
                fs::set_permissions(&dir, Permissions::from_mode(0o700)).map_err(at)?;
            }
            made => made.map_err(at)?,
        }
        let account = named(&[&acme.directory]);
        let mut parts = vec![acme.directory.as_str()];
        parts.extend(acme.domains.iter().map(String::as_str));
        Ok(Self {
            certificate: dir.join(format!("certificate-{}.pem", named(&parts))),
            account: dir.join(format!("account-{account}.json")),
            owner,
        })
    }

    pub(super) fn certificate(&self) -> Result<Option<Vec<u8>>, String> {
        self.read(&self.certificate)
    }

    pub(super) fn keep_certificate(&self, pem: &[u8]) -> Result<(), String> {
        write(&self.certificate, pem)
    }

    pub(super) fn account(&self) -> Result<Option<Vec<u8>>, String> {
        self.read(&self.account)
    }

    pub(super) fn keep_account(&self, json: &[u8]) -> Result<(), String> {
        write(&self.account, json)
    }

    pub(super) fn forget_account(&self) {
        // If it cannot be removed, it cannot be written either, and that is said.
        let _ = fs::remove_file(&self.account);
    }

    /// Where they are, for messages.
    pub(super) fn certificate_path(&self) -> Display<'_> {
        self.certificate.display()
    }

    pub(super) fn account_path(&self) -> Display<'_> {
        self.account.display()
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, String> {
        match read_bytes(path, self.owner, Links::Refused, MAX_FILE) {
            Ok(content) => Ok(Some(content)),
            Err(FileFault::Missing) => Ok(None),
            Err(fault) => Err(format!("{}: {fault}", path.display())),
        }
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

/// Replaces the file as a whole: whoever reads sees the old one or the new one.
fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    replace(path, content).map_err(|error| format!("{}: {error}", path.display()))
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
