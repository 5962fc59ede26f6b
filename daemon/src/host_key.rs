//! The host's own signing key: made at the first start, never changed after.

use crate::files::{self, FileFault, Owner};
use countersign_protocol::keys::{MAX_PRIVATE, SigningKey};
use std::io::{self, Write};
use std::path::Path;
use zeroize::Zeroizing;

/// What the credential is called.
const CREDENTIAL: &str = "host_key";

/// Reads the key, or makes one when there is none.
///
/// # Errors
/// Names the file: it is never replaced, because phones know this host by it.
pub fn load_or_create(path: &Path, owner: Owner, comment: &str) -> io::Result<SigningKey> {
    let named = |fault: String| io::Error::other(format!("{}: {fault}", path.display()));
    match files::read_trusted(path, owner, MAX_PRIVATE) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            check_private(path).map_err(named)?;
            SigningKey::from_openssh(&text, None).map_err(|error| named(error.to_string()))
        }
        Err(FileFault::Missing) => create(path, comment).map_err(|error| named(error.to_string())),
        Err(fault) => Err(named(fault.to_string())),
    }
}

/// The key that the service manager hands over as the credential `host_key`, if it does: one that is kept encrypted, say.
///
/// # Errors
/// What is wrong with it: then it is not looked for elsewhere.
pub fn credential(folder: Option<&Path>, owner: Owner) -> io::Result<Option<SigningKey>> {
    let Some(path) = folder.map(|folder| folder.join(CREDENTIAL)) else { return Ok(None) };
    let named = |fault: String| io::Error::other(format!("{}: {fault}", path.display()));
    // Who may read it is the service manager's business; its modes do not say.
    match files::read_trusted(&path, owner, MAX_PRIVATE) {
        Ok(text) => {
            let key = SigningKey::from_openssh(&Zeroizing::new(text), None);
            key.map(Some).map_err(|error| named(error.to_string()))
        }
        Err(FileFault::Missing) => Ok(None),
        Err(fault) => Err(named(fault.to_string())),
    }
}

fn create(path: &Path, comment: &str) -> io::Result<SigningKey> {
    let key = SigningKey::generate();
    let text = key.to_openssh(comment).map_err(io::Error::other)?;
    // Under another name until it is whole: a crash must not leave half a key in its place.
    let temporary = files::beside(path, ".new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = files::create_new(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // A link fails where a rename would replace a key that another start has just made.
    std::fs::hard_link(&temporary, path)?;
    std::fs::remove_file(&temporary)?;
    files::sync_directory(path)?;
    Ok(key)
}

fn check_private(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let mode = std::fs::symlink_metadata(path).map_err(|error| error.to_string())?.mode();
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(format!(
            "its mode {:04o} lets others read it; it may be known: chmod 600 FILE, and make a new one if in doubt",
            mode & 0o7777
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::keys::Signer;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn a_credential_is_the_key_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner(nix::unistd::geteuid().as_raw());
        assert!(credential(None, owner).unwrap().is_none());
        assert!(credential(Some(folder.path()), owner).unwrap().is_none());
        let made = load_or_create(&folder.path().join(CREDENTIAL), owner, "host").unwrap();
        let read = credential(Some(folder.path()), owner).unwrap().unwrap();
        assert_eq!(made.public_key(), read.public_key());
        std::fs::write(folder.path().join(CREDENTIAL), "x").unwrap();
        assert!(credential(Some(folder.path()), owner).unwrap_err().to_string().contains(CREDENTIAL));
    }

    #[test]
    fn the_key_is_made_once_and_read_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host_key");
        let owner = Owner(nix::unistd::geteuid().as_raw());
        // What an earlier start left half done is no key.
        std::fs::write(files::beside(&path, ".new"), "half").unwrap();
        let made = load_or_create(&path, owner, "host").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!files::beside(&path, ".new").exists());
        let read = load_or_create(&path, owner, "host").unwrap();
        assert_eq!(made.public_key(), read.public_key());
        let shown = std::process::Command::new("ssh-keygen").arg("-lf").arg(&path).output();
        if let Ok(shown) = shown {
            let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
            assert!(shown.contains(&made.public_key().fingerprint()) && shown.contains(" host "), "{shown}");
        }
    }

    #[test]
    fn a_bad_key_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host_key");
        let owner = Owner(nix::unistd::geteuid().as_raw());
        files::replace(&path, b"no key").unwrap();
        assert!(load_or_create(&path, owner, "").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"no key");
        std::fs::remove_file(&path).unwrap();
        load_or_create(&path, owner, "").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(load_or_create(&path, owner, "").unwrap_err().to_string().contains("0640"));
    }
}
