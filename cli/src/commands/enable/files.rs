//! Replacing the system's files: as a whole or not at all, with owner, mode, label and access list as they were.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use countersign_files::{FileFault, Links, Owner, create_new, open_regular, read_bytes, sync_directory};
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};

use super::steps;
use crate::output::{Exit, Failure, Outcome};

/// Longest file that is edited.
pub(super) const MAX_FILE: usize = 256 * 1024;
/// Longest list of a file's attributes, and longest attribute; the kernel's own limit.
const MAX_ATTRIBUTE: usize = 64 * 1024;

/// The bytes of a file that nobody but root can change; `None` where there is none.
pub(super) fn read(path: &Path) -> Outcome<Option<Vec<u8>>> {
    match read_bytes(path, Owner::own(), Links::Refused, MAX_FILE) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(FileFault::Missing) => Ok(None),
        Err(fault) => Err(Failure::new(Exit::Broken, format!("{}: {fault}", path.display()))),
    }
}

/// The bytes of a file whosever it is, for taking our lines out and for telling of them; `None` where there is none.
pub(super) fn look(path: &Path) -> Outcome<Option<Vec<u8>>> {
    let broken = |why: &dyn std::fmt::Display| Failure::broken(path.display(), why);
    let file = match open_regular(path, Links::Refused, OpenOptions::new().read(true)) {
        Ok(file) => file,
        Err(FileFault::Missing) => return Ok(None),
        Err(fault) => return Err(broken(&fault)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(|error| broken(&error))?;
    if bytes.len() > MAX_FILE {
        return Err(broken(&FileFault::TooLong(MAX_FILE)));
    }
    Ok(Some(bytes))
}

/// The mode of a file that is root's alone.
pub(super) const PRIVATE: u32 = 0o600;
/// The mode of a PAM service, which lockers that are not root read as well.
pub(super) const SERVICE: u32 = 0o644;

/// Puts these bytes in a file's place; the disk holds them when it comes back. A file that is not there yet is made, for root
/// alone.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_or_make(path, bytes, PRIVATE)
}

/// The same, with this mode where the file is not there yet.
pub(super) fn replace_or_make(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary(path);
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    steps::passed();
    let mut file = create_new(&temporary)?;
    let written = (|| {
        match open_regular(path, Links::Refused, OpenOptions::new().read(true)) {
            Ok(old) => keep(&old, &file)?,
            Err(FileFault::Missing) => file.set_permissions(PermissionsExt::from_mode(mode))?,
            Err(fault) => return Err(io::Error::other(fault.to_string())),
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        steps::passed();
        std::fs::rename(&temporary, path)
    })();
    steps::passed();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    sync_directory(path)
}

/// Replaces a file by a shorter one. On a full disk it is written in place: that needs no room.
pub(super) fn shorten(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let is_full =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    replace(path, bytes).or_else(|error| {
        let length = std::fs::symlink_metadata(path)?.len();
        if !is_full(&error) || length < bytes.len() as u64 {
            return Err(error);
        }
        let mut writing = OpenOptions::new();
        let mut file = open_regular(path, Links::Refused, writing.write(true))
            .map_err(|fault| io::Error::other(fault.to_string()))?;
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()
    })
}

/// Moves a saved file into a file's place: for a full disk, on which no new one can be written.
pub(super) fn put_back(saved: &Path, path: &Path) -> io::Result<()> {
    let not = |fault: FileFault| io::Error::other(fault.to_string());
    let mut reading = OpenOptions::new();
    let old = open_regular(path, Links::Refused, reading.read(true)).map_err(not)?;
    let new = open_regular(saved, Links::Refused, reading.read(true)).map_err(not)?;
    // What cannot be kept on such a disk is less than nobody getting in.
    let data = old.metadata()?;
    fchown(&new, Some(data.uid()), Some(data.gid()))?;
    new.set_permissions(PermissionsExt::from_mode(data.mode() & 0o7777))?;
    let _ = keep(&old, &new);
    std::fs::rename(saved, path)?;
    sync_directory(path)
}

/// Takes a file away, for good.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    steps::passed();
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_directory(path),
    }
}

/// Takes away what a crash may have left beside a file.
pub(super) fn clean(path: &Path) {
    // The next one to replace the file does it, too.
    let _ = std::fs::remove_file(temporary(path));
}

/// Hidden, so that no program takes it for a service.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.countersign-new"))
}

fn keep(old: &File, new: &File) -> io::Result<()> {
    let data = old.metadata()?;
    fchown(new, Some(data.uid()), Some(data.gid()))?;
    new.set_permissions(PermissionsExt::from_mode(data.mode() & 0o7777))?;
    let mut names = vec![0; MAX_ATTRIBUTE];
    let length = match flistxattr(old.as_fd(), &mut names[..]) {
        Ok(length) => length,
        // A file system without them.
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut value = vec![0; MAX_ATTRIBUTE];
    for name in
        names.get(..length).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty())
    {
        let length = fgetxattr(old.as_fd(), name, &mut value[..])?;
        let value = value.get(..length).unwrap_or_default();
        // What the new file has already by itself need not be set, and where that is not allowed may not.
        let mut own = vec![0; MAX_ATTRIBUTE];
        let has = fgetxattr(new.as_fd(), name, &mut own[..]).ok();
        if has.and_then(|length| own.get(..length)) != Some(value) {
            fsetxattr(new.as_fd(), name, value, XattrFlags::empty())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_keeps_its_mode_and_attributes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sshd");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let has_attributes = fsetxattr(&file, "user.test", b"value", XattrFlags::empty()).is_ok();
        // One that a crash left behind.
        std::fs::write(temporary(&path), "half").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        if has_attributes {
            let mut value = [0; 16];
            let length = fgetxattr(File::open(&path).unwrap(), "user.test", &mut value[..]).unwrap();
            assert_eq!(&value[..length], b"value");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        // One that is there keeps its own mode, another one gets what it needs.
        let new = folder.path().join("polkit-1");
        for (path, mode) in [(&path, 0o640), (&new, SERVICE)] {
            replace_or_make(path, b"new", SERVICE).unwrap();
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, mode);
        }
    }

    #[test]
    fn links_are_not_replaced_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(replace(&link, b"new").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(read(&link).is_err());
        assert!(read(&folder.path().join("none")).unwrap().is_none());
    }
}
