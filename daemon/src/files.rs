//! Reading files that have to be trustworthy, and replacing files so that a crash leaves the old
//! or the new one.

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Bits of a mode that let group or others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Who may own a file beside root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(pub u32);

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// It is not there.
    #[error("it does not exist")]
    Missing,
    /// It is a link, which could lead anywhere.
    #[error("it is a symbolic link; put the file itself there")]
    Link,
    /// It is a directory, a pipe, a socket or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// It is a file where a folder has to be.
    #[error("it is not a folder")]
    NotAFolder,
    /// It has too many entries.
    #[error("it has more than {0} entries")]
    TooMany(usize),
    /// It is somebody else's.
    #[error("it belongs to user {0}; it has to be root's: chown root FILE")]
    Owner(u32),
    /// Others may write it.
    #[error("its mode {0:04o} lets group or others write; chmod go-w FILE")]
    Mode(u32),
    /// It is too long.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// It is no text.
    #[error("it is not UTF-8 text")]
    NotText,
    /// The daemon's user has no right to.
    #[error(
        "countersignd runs as user {0} and may not read it; chmod a+r FILE, or chgrp it to that user's group"
    )]
    Unreadable(u32),
    /// The system refused.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

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

/// Names of what is in a folder that belongs to root or to `owner` and that nobody else can write. Names that
/// are no text are left out.
///
/// # Errors
/// [`FileFault`] says what is wrong with the folder.
pub fn list_trusted(folder: &Path, owner: Owner, max: usize) -> Result<Vec<String>, FileFault> {
    let data = match std::fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FileFault::Missing),
        data => data?,
    };
    if data.is_symlink() {
        return Err(FileFault::Link);
    }
    if !data.is_dir() {
        return Err(FileFault::NotAFolder);
    }
    if data.uid() != 0 && data.uid() != owner.0 {
        return Err(FileFault::Owner(data.uid()));
    }
    if data.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(FileFault::Mode(data.mode() & 0o7777));
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        if names.len() == max {
            return Err(FileFault::TooMany(max));
        }
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// Reads a file that belongs to root or to `owner` and that nobody else can write.
///
/// # Errors
/// [`FileFault`] says what is wrong with the file.
pub fn read_trusted(path: &Path, owner: Owner, max: usize) -> Result<String, FileFault> {
    // Without blocking: a pipe in the file's place must not stop the daemon.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(|error| {
        match error.raw_os_error() {
            Some(code) if code == nix::Error::ELOOP as i32 => FileFault::Link,
            Some(code) if code == nix::Error::ENOENT as i32 => FileFault::Missing,
            Some(code) if code == nix::Error::ENXIO as i32 => FileFault::NotAFile,
            Some(code) if code == nix::Error::EACCES as i32 => FileFault::Unreadable(geteuid().as_raw()),
            _ => FileFault::Io(error),
        }
    })?;
    // Of what was opened, not of what may be there by now.
    let data = file.metadata()?;
    if !data.is_file() {
        return Err(FileFault::NotAFile);
    }
    if data.uid() != 0 && data.uid() != owner.0 {
        return Err(FileFault::Owner(data.uid()));
    }
    if data.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(FileFault::Mode(data.mode() & 0o7777));
    }
    // At once: a vector that grows leaves copies of secrets behind.
    let length = usize::try_from(data.len()).unwrap_or(max).min(max);
    let mut bytes = Vec::with_capacity(length + 1);
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(FileFault::TooLong(max));
    }
    String::from_utf8(bytes).map_err(|_| FileFault::NotText)
}

/// Puts a file with mode 0600 in place of the one that is there, and comes back when the disk
/// holds it.
///
/// # Errors
/// The old file is still there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = beside(path, ".new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = create_new(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_directory(path)
}

/// Creates a file with mode 0600 that must not exist yet.
///
/// # Errors
/// Also when it exists.
pub fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes a new name in the file's directory last.
///
/// # Errors
/// When the directory cannot be synced.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// The path with something added to its file name.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
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
        let Some(bytes) = content()? else { return Ok(()) };
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
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| named(&error)),
        Err(FileFault::Missing) => Ok(None),
        Err(fault) => Err(named(&fault)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    fn own() -> Owner {
        Owner(geteuid().as_raw())
    }

    #[test]
    fn only_a_file_that_nobody_else_can_write_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let read = |owner| read_trusted(&path, owner, 10);
        assert!(matches!(read(own()), Err(FileFault::Missing)));
        replace(&path, b"content").unwrap();
        assert_eq!(read(own()).unwrap(), "content");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        for mode in [0o620, 0o602, 0o666] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert!(matches!(read(own()), Err(FileFault::Mode(found)) if found == mode));
        }
        replace(&path, b"more than ten bytes").unwrap();
        assert!(matches!(read(own()), Err(FileFault::TooLong(10))));
        replace(&path, b"\xff").unwrap();
        assert!(matches!(read(own()), Err(FileFault::NotText)));
    }

    #[test]
    fn links_pipes_and_folders_are_not_followed_or_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"content").unwrap();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(read_trusted(&link, own(), 10), Err(FileFault::Link)));
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read_trusted(&pipe, own(), 10), Err(FileFault::NotAFile)));
        assert!(matches!(read_trusted(folder.path(), own(), 10), Err(FileFault::NotAFile)));
    }

    #[test]
    fn somebody_elses_file_is_refused() {
        if !geteuid().is_root() {
            return eprintln!("only root can give files away: nothing tested");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"content").unwrap();
        chown(&path, Some(12345), None).unwrap();
        assert!(matches!(read_trusted(&path, Owner(0), 10), Err(FileFault::Owner(12345))));
        assert!(read_trusted(&path, Owner(12345), 10).is_ok());
        // Root's file is good for everybody.
        chown(&path, Some(0), None).unwrap();
        assert!(read_trusted(&path, Owner(12345), 10).is_ok());
    }

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

    #[test]
    fn a_replacement_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"old").unwrap();
        std::fs::create_dir(beside(&path, ".new")).unwrap();
        assert!(replace(&path, b"new").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }
}
