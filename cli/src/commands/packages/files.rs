//! The packages' files, by their digests: before anybody is asked, and once more after.

use super::transaction::Transaction;
use crate::output::{Exit, Failure, Outcome};
use countersign_files::{Links, open_regular};
use countersign_protocol::digest;
use countersign_protocol::text::escape;
use sha2::{Digest, Sha256};
use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;

/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 32 * 1024 * 1024 * 1024;

/// Writes each file's digest beside it.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn digest(transaction: &mut Transaction) -> Outcome {
    for change in &mut transaction.changes {
        change.sha256 = change.file.as_deref().map(sha256).transpose()?;
    }
    Ok(())
}

/// Whether all files are still what they were.
///
/// # Errors
/// Names the first one that is not.
pub(super) fn verify(transaction: &Transaction) -> Outcome {
    for change in &transaction.changes {
        let Some(file) = change.file.as_deref() else { continue };
        if change.sha256.as_ref() != Some(&sha256(file)?) {
            let file = file.to_string_lossy();
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "{} is not the file that was approved: it was changed meanwhile. Nothing was installed; find out who \
                     changes it before you try again",
                    escape(&file)
                ),
            ));
        }
    }
    Ok(())
}

fn sha256(path: &Path) -> Outcome<String> {
    let broken = |why: &dyn std::fmt::Display| Failure::broken(escape(&path.to_string_lossy()), why);
    let mut options = OpenOptions::new();
    let file = open_regular(path, Links::Followed, options.read(true)).map_err(|e| broken(&e))?;
    let mut file = file.take(MAX_FILE + 1);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut length = 0;
    loop {
        let n = file.read(&mut buffer).map_err(|e| broken(&e))?;
        if n == 0 {
            return Ok(digest::hex(&hash.finalize()));
        }
        length += n as u64;
        if length > MAX_FILE {
            return Err(broken(&format!("it is longer than {MAX_FILE} bytes")));
        }
        hash.update(&buffer[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::transaction::{Change, What};
    use super::*;

    #[test]
    fn a_file_that_changes_or_goes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.deb");
        std::fs::write(&file, "abc").unwrap();
        let mut transaction = Transaction::new(
            vec![Change {
                what: What::Install,
                name: "a".into(),
                architecture: "all".into(),
                old: None,
                new: Some("1".into()),
                file: Some(file.clone()),
                sha256: None,
                origin: None,
            }],
            None,
        );
        digest(&mut transaction).unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(transaction.changes[0].sha256.as_deref(), Some(abc));
        verify(&transaction).unwrap();
        std::fs::write(&file, "abd").unwrap();
        assert_eq!(verify(&transaction).unwrap_err().exit, Exit::Refused);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(verify(&transaction).unwrap_err().exit, Exit::Broken);
        std::fs::create_dir(&file).unwrap();
        assert_eq!(digest(&mut transaction).unwrap_err().exit, Exit::Broken);
    }
}
