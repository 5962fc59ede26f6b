//! The approver's directory: private to its owner, or refused.

use crate::output::{Exit, Failure, Outcome};
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::geteuid;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest file that is read here, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// A log of this many bytes is put aside and a new one begun.
const MAX_LOG: u64 = 512 * 1024;

/// An open directory. One process holds it at a time, because the decisions' counter must rise.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Home {
    /// Opens the directory, made with mode 0700 if it is missing.
    ///
    /// # Errors
    /// When it is somebody else's, open to others, or held by another process.
    pub fn open(path: &Path) -> Outcome<Self> {
        let broken = |e| Failure::broken(path.display(), e);
        match path.symlink_metadata() {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(broken)?;
            }
            Err(e) => return Err(broken(e)),
            Ok(_) => (),
        }
        let found = path.symlink_metadata().map_err(broken)?;
        if !found.is_dir() {
            return Err(Failure::new(Exit::NotPermitted, format!("{}: not a directory", path.display())));
        }
        private(path, &found, "700")?;
        let lock = open(&path.join("lock"), OpenOptions::new().write(true).create(true))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| match e {
            nix::errno::Errno::EWOULDBLOCK => Failure::new(
                Exit::Refused,
                format!("{}: another countersign approve uses it; stop that one first", path.display()),
            ),
            _ => Failure::broken(path.display(), e),
        })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// A file's bytes; nothing when there is none.
    ///
    /// # Errors
    /// When it is a link, somebody else's, open to others, or too long.
    pub fn read(&self, name: &str) -> Outcome<Option<Zeroizing<Vec<u8>>>> {
        let path = self.path.join(name);
        let file = match open(&path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(_) if matches!(path.symlink_metadata(), Err(e) if e.kind() == ErrorKind::NotFound) => {
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| Failure::broken(path.display(), e))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(Failure::broken(path.display(), "too long"));
        }
        Ok(Some(bytes))
    }

    /// Replaces a file as a whole: after a crash it is the old one or the new one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Outcome {
        let (path, new) = (self.path.join(name), self.path.join(format!(".{name}.new")));
        let broken = |e| Failure::broken(path.display(), e);
        // Left by a process that died; the lock says that nobody else is at it.
        match std::fs::remove_file(&new) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(broken(e)),
            _ => (),
        }
        let mut file = open(&new, OpenOptions::new().write(true).create_new(true))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(broken)?;
        std::fs::rename(&new, &path).map_err(broken)?;
        File::open(&self.path).and_then(|dir| dir.sync_all()).map_err(broken)
    }

    /// Adds to a log; a long one moves to `NAME.1` first.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&self, name: &str, line: &[u8]) -> Outcome {
        let path = self.path.join(name);
        let broken = |e| Failure::broken(path.display(), e);
        let mut file = open(&path, OpenOptions::new().append(true).create(true))?;
        if file.metadata().map_err(broken)?.len() > MAX_LOG {
            std::fs::rename(&path, self.path.join(format!("{name}.1"))).map_err(broken)?;
            file = open(&path, OpenOptions::new().append(true).create_new(true))?;
        }
        file.write_all(line).map_err(broken)
    }

    /// Where a file of it is, for messages.
    #[must_use]
    pub fn place(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

/// Opens one file of ours; never through a link, never one that others could have filled.
fn open(path: &Path, options: &mut OpenOptions) -> Outcome<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = options.mode(0o600).custom_flags(flags.bits()).open(path).map_err(|e| {
        let exit = match e.raw_os_error().map(nix::errno::Errno::from_raw) {
            Some(nix::errno::Errno::ELOOP | nix::errno::Errno::EACCES) => Exit::NotPermitted,
            _ => Exit::Broken,
        };
        Failure::new(exit, format!("{}: {e}", path.display()))
    })?;
    let found = file.metadata().map_err(|e| Failure::broken(path.display(), e))?;
    if !found.is_file() {
        return Err(Failure::new(Exit::NotPermitted, format!("{}: not an ordinary file", path.display())));
    }
    private(path, &found, "600")?;
    Ok(file)
}

fn private(path: &Path, found: &Metadata, wanted: &str) -> Outcome {
    let path = path.display();
    let why = if found.uid() != geteuid().as_raw() {
        format!("{path}: belongs to another user: choose another --home")
    } else if found.mode() & 0o077 != 0 {
        format!("{path}: open to others: chmod {wanted} {path}")
    } else {
        return Ok(());
    };
    Err(Failure::new(Exit::NotPermitted, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn everything_is_private() {
        let dir = crate::approver::testing::Dir::new();
        let path = dir.path().join("a/b");
        let home = Home::open(&path).unwrap();
        home.write("seal_key", b"x").unwrap();
        home.append("history.jsonl", b"{}\n").unwrap();
        assert_eq!(mode(&path), 0o700);
        for name in ["seal_key", "history.jsonl", "lock"] {
            assert_eq!(mode(&path.join(name)), 0o600, "{name}");
        }
        assert_eq!(&**home.read("seal_key").unwrap().unwrap(), b"x");
        assert_eq!(home.read("missing").unwrap(), None);
    }

    #[test]
    fn what_others_could_have_touched_is_refused() {
        let dir = crate::approver::testing::Dir::new();
        let home = Home::open(&dir.path().join("h")).unwrap();
        let file = dir.path().join("h/seal_key");
        home.write("seal_key", b"x").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        let failure = home.read("seal_key").unwrap_err();
        assert_eq!(failure.exit, Exit::NotPermitted);
        assert!(failure.message.contains("chmod 600"), "{failure:?}");

        std::fs::write(dir.path().join("target"), b"evil").unwrap();
        symlink(dir.path().join("target"), dir.path().join("h/hosts.json")).unwrap();
        assert_eq!(home.read("hosts.json").unwrap_err().exit, Exit::NotPermitted);
        assert_eq!(home.append("hosts.json", b"x").unwrap_err().exit, Exit::NotPermitted);
        // A fifo must not make it hang.
        nix::unistd::mkfifo(&dir.path().join("h/counter"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(home.read("counter").unwrap_err().exit, Exit::NotPermitted);
        drop(home);

        std::fs::set_permissions(dir.path().join("h"), PermissionsExt::from_mode(0o755)).unwrap();
        assert!(Home::open(&dir.path().join("h")).unwrap_err().message.contains("chmod 700"));
        symlink(dir.path().join("h"), dir.path().join("link")).unwrap();
        assert_eq!(Home::open(&dir.path().join("link")).unwrap_err().exit, Exit::NotPermitted);
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = crate::approver::testing::Dir::new();
        let first = Home::open(dir.path()).unwrap();
        assert!(Home::open(dir.path()).unwrap_err().message.contains("another countersign approve"));
        drop(first);
        Home::open(dir.path()).unwrap();
    }

    #[test]
    fn a_long_log_moves_aside() {
        let dir = crate::approver::testing::Dir::new();
        let home = Home::open(dir.path()).unwrap();
        home.append("log", &vec![b'x'; MAX_LOG as usize + 1]).unwrap();
        home.append("log", b"new\n").unwrap();
        assert_eq!(&**home.read("log").unwrap().unwrap(), b"new\n");
        assert!(dir.path().join("log.1").exists());
    }
}
