//! The daemon's files: what tells that one was changed, and those of its own, replaced as a whole.

pub use countersign_files::{
    FileFault, Links, Owner, beside, create_new, open, read_trusted, replace, sync_directory,
};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// What tells one version of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
    device: u64,
}

/// The version of the file that is there now; `None` when there is none.
///
/// # Errors
/// When it cannot be seen whether there is one.
pub fn version(path: &Path) -> io::Result<Option<Version>> {
    let data = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        data => data?,
    };
    Ok(Some(Version {
        modified: (data.mtime(), data.mtime_nsec()),
        changed: (data.ctime(), data.ctime_nsec()),
        size: data.size(),
        inode: data.ino(),
        device: data.dev(),
    }))
}

/// A file of the daemon's own that is replaced as a whole, one writer at a time.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    turn: Arc<Mutex<()>>,
}

impl Store {
    /// The file of that path.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.into(), turn: Arc::default() }
    }

    /// Writes what `content` gives when it is this writer's turn, and comes back when the disk
    /// holds it. Dropping the future does not tear the file.
    ///
    /// # Errors
    /// Names the file; the old one is still there.
    pub async fn write(&self, content: impl FnOnce() -> serde_json::Result<Vec<u8>>) -> io::Result<()> {
        self.change(|| Ok(Some(content()?))).await
    }

    /// The same where the file itself has to be read for it, which is safe only when it is one's turn. Nothing is
    /// written for `None`.
    ///
    /// # Errors
    /// Names the file; the old one is still there.
    pub async fn change(&self, content: impl FnOnce() -> io::Result<Option<Vec<u8>>>) -> io::Result<()> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        // Some of these files hold secrets.
        let Some(bytes) = content()?.map(Zeroizing::new) else { return Ok(()) };
        let path = self.path.clone();
        let write = move || {
            let written = replace(&path, &bytes);
            drop(turn);
            written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }
}

/// Reads a file of the daemon's own; `None` when there is none yet.
///
/// # Errors
/// Names the file and says what is wrong with it.
pub fn read_json<T: serde::de::DeserializeOwned>(
    path: &Path,
    owner: Owner,
    max: usize,
) -> io::Result<Option<T>> {
    let named = |fault: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {fault}", path.display()))
    };
    match read_trusted(path, owner, max) {
        Ok(text) => serde_json::from_str(&Zeroizing::new(text)).map(Some).map_err(|error| named(&error)),
        Err(FileFault::Missing) => Ok(None),
        Err(fault) => Err(named(&fault)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_many_writers_the_last_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let store = Store::new(&path);
        let latest = std::cell::Cell::new(0);
        let writers: Vec<_> = (0..20)
            .map(|number| {
                latest.set(number);
                store.write(|| Ok(latest.get().to_string().into_bytes()))
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "19");
    }
}
