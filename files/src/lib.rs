//! Reading files that have to be trustworthy, and replacing files so that a crash leaves the old
//! or the new one. Nothing that lies in a file's place can make a program wait or fill its memory.
//!
//! [`read_trusted`] reads a file that must be root's or an [`Owner`]'s, [`replace`] writes one as a
//! whole; [`FileFault`] says what is wrong with a file, and names it.
#![forbid(unsafe_code)]

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Bits of a mode that let group or others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Who may own a file beside root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(pub u32);

impl Owner {
    /// The user that this process runs as.
    #[must_use]
    pub fn own() -> Self {
        Self(geteuid().as_raw())
    }
}

/// What becomes of a symbolic link in a file's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// It is no file.
    Refused,
    /// The file that it leads to is looked at as if it lay there: programs that fetch certificates
    /// put links in front of them.
    Followed,
}

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
    #[error(
        "it belongs to user {0}, and has to be root's or the user's as whom this runs: chown root FILE, chgrp it to \
         that user's group, chmod 640 FILE"
    )]
    Owner(u32),
    /// It is somebody else's, and may be nobody's but root's.
    #[error(
        "it belongs to user {0}, and has to be root's: chown root FILE, chgrp it to the group of the user as whom \
         this runs, chmod 640 FILE"
    )]
    NotRoots(u32),
    /// Others may write it.
    #[error("its mode {0:04o} lets group or others write; chmod go-w FILE")]
    Mode(u32),
    /// It is too long.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// It is no text.
    #[error("it is not UTF-8 text")]
    NotText,
    /// This process has no right to.
    #[error("this runs as user {0}, who may not read it; chgrp it to that user's group, and chmod g+r FILE")]
    Unreadable(u32),
    /// The system refused.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Opens a regular file, whosever it is. Never waits, whatever is there.
///
/// # Errors
/// [`FileFault`] says what is wrong with the file.
pub fn open_regular(path: &Path, links: Links, options: &mut OpenOptions) -> Result<File, FileFault> {
    // Without blocking: a pipe in the file's place must not stop a program.
    let mut flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    if links == Links::Refused {
        flags |= OFlag::O_NOFOLLOW;
    }
    let file = options.custom_flags(flags.bits()).open(path).map_err(|error| {
        match error.raw_os_error().map(nix::Error::from_raw) {
            Some(nix::Error::ELOOP) => FileFault::Link,
            Some(nix::Error::ENOENT) => FileFault::Missing,
            Some(nix::Error::ENXIO | nix::Error::EISDIR) => FileFault::NotAFile,
            Some(nix::Error::EACCES) => FileFault::Unreadable(Owner::own().0),
            _ => FileFault::Io(error),
        }
    })?;
    // Of what was opened, not of what may be there by now.
    if !file.metadata()?.is_file() {
        return Err(FileFault::NotAFile);
    }
    Ok(file)
}

/// Opens a regular file that belongs to root or to `owner` and that nobody else can write.
///
/// # Errors
/// [`FileFault`] says what is wrong with the file.
pub fn open(path: &Path, owner: Owner, links: Links, options: &mut OpenOptions) -> Result<File, FileFault> {
    let file = open_regular(path, links, options)?;
    trust(&file.metadata()?, owner)?;
    Ok(file)
}

fn trust(data: &Metadata, owner: Owner) -> Result<(), FileFault> {
    let uid = data.uid();
    if uid != 0 && uid != owner.0 {
        return Err(if owner.0 == 0 { FileFault::NotRoots } else { FileFault::Owner }(uid));
    }
    refuse_writable(data)
}

/// Names of what is in a folder that belongs to root or to `owner` and that nobody else can write. Names
/// that are no text are left out.
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
    trust(&data, owner)?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        if names.len() == max {
            return Err(FileFault::TooMany(max));
        }
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

fn refuse_writable(data: &Metadata) -> Result<(), FileFault> {
    match data.mode() {
        mode if mode & WRITABLE_BY_OTHERS != 0 => Err(FileFault::Mode(mode & 0o7777)),
        _ => Ok(()),
    }
}

/// Reads such a file of at most so many bytes.
///
/// # Errors
/// [`FileFault`] says what is wrong with the file.
pub fn read_bytes(path: &Path, owner: Owner, links: Links, max: usize) -> Result<Vec<u8>, FileFault> {
    read_opened(open(path, owner, links, OpenOptions::new().read(true))?, max)
}

/// Reads a file whosever it is, for whose owner it says nothing that would not be theirs to say: a certificate
/// and its key, which some other program's user may have fetched. Nobody else may write it.
///
/// # Errors
/// [`FileFault`] says what is wrong with the file.
pub fn read_whosever(path: &Path, links: Links, max: usize) -> Result<Vec<u8>, FileFault> {
    let file = open_regular(path, links, OpenOptions::new().read(true))?;
    refuse_writable(&file.metadata()?)?;
    read_opened(file, max)
}

fn read_opened(file: File, max: usize) -> Result<Vec<u8>, FileFault> {
    // At once: a vector that grows leaves copies of secrets behind.
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(max).min(max);
    let mut bytes = Vec::with_capacity(length + 1);
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(FileFault::TooLong(max));
    }
    Ok(bytes)
}

/// Reads such a text; links are refused.
///
/// # Errors
/// [`FileFault`] says what is wrong with the file.
pub fn read_trusted(path: &Path, owner: Owner, max: usize) -> Result<String, FileFault> {
    let bytes = read_bytes(path, owner, Links::Refused, max)?;
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

/// The same for a file of the administrator's: owner and mode of the one that is there are kept; a new one has
/// this mode.
///
/// # Errors
/// The old file is still there.
pub fn replace_kept(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let kept = match std::fs::symlink_metadata(path) {
        Ok(data) => Some(data),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let temporary = beside(path, ".new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = create_new(&temporary)?;
    file.write_all(bytes)?;
    if let Some(data) = &kept {
        fchown(&file, Some(data.uid()), Some(data.gid()))?;
    }
    // After the owner: to change that takes bits away.
    let mode = kept.map_or(mode, |data| data.mode() & 0o7777);
    file.set_permissions(Permissions::from_mode(mode))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    #[test]
    fn only_a_file_that_nobody_else_can_write_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let read = |owner| read_trusted(&path, owner, 10);
        assert!(matches!(read(Owner::own()), Err(FileFault::Missing)));
        replace(&path, b"content").unwrap();
        assert_eq!(read(Owner::own()).unwrap(), "content");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        for mode in [0o620, 0o602, 0o666] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert!(matches!(read(Owner::own()), Err(FileFault::Mode(found)) if found == mode));
        }
        replace(&path, b"more than ten bytes").unwrap();
        assert!(matches!(read(Owner::own()), Err(FileFault::TooLong(10))));
        replace(&path, b"\xff").unwrap();
        assert!(matches!(read(Owner::own()), Err(FileFault::NotText)));
    }

    #[test]
    fn links_pipes_and_folders_are_not_followed_or_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"content").unwrap();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(read_trusted(&link, Owner::own(), 10), Err(FileFault::Link)));
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read_trusted(&pipe, Owner::own(), 10), Err(FileFault::NotAFile)));
        assert!(matches!(read_trusted(folder.path(), Owner::own(), 10), Err(FileFault::NotAFile)));
        let mut writing = OpenOptions::new();
        let writing = writing.append(true).create(true);
        for path in [&pipe, folder.path()] {
            let opened = open(path, Owner::own(), Links::Refused, writing);
            assert!(matches!(opened, Err(FileFault::NotAFile)));
        }
    }

    #[test]
    fn a_link_is_followed_to_a_file_that_is_trustworthy_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        let read = || read_bytes(&link, Owner::own(), Links::Followed, 10);
        replace(&path, b"content").unwrap();
        symlink(&path, &link).unwrap();
        assert_eq!(read().unwrap(), b"content");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o622)).unwrap();
        assert!(matches!(read(), Err(FileFault::Mode(0o622))));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(read(), Err(FileFault::Missing)));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read(), Err(FileFault::NotAFile)));
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
        assert!(matches!(read_trusted(&path, Owner(0), 10), Err(FileFault::NotRoots(12345))));
        assert!(read_trusted(&path, Owner(12345), 10).is_ok());
        assert_eq!(read_whosever(&path, Links::Refused, 10).unwrap(), b"content");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o660)).unwrap();
        assert!(matches!(read_whosever(&path, Links::Refused, 10), Err(FileFault::Mode(0o660))));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        // Root's file is good for everybody.
        chown(&path, Some(0), None).unwrap();
        assert!(read_trusted(&path, Owner(12345), 10).is_ok());
    }

    #[test]
    fn a_file_of_the_administrators_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mode = || std::fs::metadata(&path).unwrap().mode() & 0o7777;
        replace_kept(&path, b"new", 0o644).unwrap();
        assert_eq!(mode(), 0o644);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        replace_kept(&path, b"newer", 0o644).unwrap();
        assert_eq!((mode(), std::fs::read(&path).unwrap()), (0o640, b"newer".to_vec()));
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
