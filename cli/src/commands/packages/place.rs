//! Whether a package's file can be exchanged under somebody's hands: what passes unasked, by its own name or by its origin,
//! is believed only of files that nobody but root can touch until dpkg or rpm opens them.

use super::transaction::Transaction;
use nix::sys::statvfs::{FsFlags, statvfs};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Bits of a mode that let group or others write. A sticky folder is others' as well: who may mount something in it can
/// make that look like root's.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Where package managers keep what they have fetched. Nobody mounts anything below it but root, who may have mounted it
/// as hard as what users mount.
const SYSTEMS: &str = "/var";
/// Most links on the way to a file, as the kernel has it.
const MAX_LINKS: u32 = 40;

/// Whether all files are root's alone.
pub(super) fn are_roots_alone(transaction: &Transaction) -> bool {
    transaction.changes.iter().filter_map(|change| change.file.as_deref()).all(is_roots_alone)
}

/// Takes the origin from whatever others could exchange.
pub(super) fn distrust(transaction: &mut Transaction) {
    for change in &mut transaction.changes {
        if change.origin.is_some() && !change.file.as_deref().is_some_and(is_roots_alone) {
            change.origin = None;
        }
    }
}

/// Whether a file, and every folder and link on the way to it, belongs to root, and nobody else may write it.
fn is_roots_alone(file: &Path) -> bool {
    let mut at = PathBuf::from("/");
    let mut left = backwards(file);
    let mut links = 0;
    if !file.is_absolute() || !is_roots(&at) {
        return false;
    }
    while let Some(next) = left.pop() {
        if next == ".." {
            at.pop();
            continue;
        }
        at.push(next);
        if !is_roots(&at) {
            return false;
        }
        if let Ok(target) = std::fs::read_link(&at) {
            links += 1;
            if links > MAX_LINKS {
                return false;
            }
            at.pop();
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            left.extend(backwards(&target));
        }
    }
    at.is_file()
}

/// The names on a path, the last one first.
fn backwards(path: &Path) -> Vec<OsString> {
    let names =
        path.components().rev().filter(|one| matches!(one, Component::Normal(_) | Component::ParentDir));
    names.map(|one| one.as_os_str().to_owned()).collect()
}

/// A link has no mode of its own: who may change it is who may write the folder that it lies in.
fn is_roots(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|data| {
        data.uid() == 0
            && (data.is_symlink() || data.mode() & WRITABLE_BY_OTHERS == 0 && !is_users_mount(path))
    })
}

/// Whether a user may have mounted what this lies in: a stick or an image says itself whose its files are. What users may
/// mount has neither set-uid programs nor devices.
fn is_users_mount(path: &Path) -> bool {
    let both = FsFlags::ST_NOSUID | FsFlags::ST_NODEV;
    !path.starts_with(SYSTEMS) && !statvfs(path).is_ok_and(|mount| !mount.flags().contains(both))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_own_files_are_roots() {
        // Plain, not the shortest way, and links on the way.
        for good in ["/etc/passwd", "/usr/../etc/./passwd", "/bin/sh"] {
            assert!(is_roots_alone(Path::new(good)), "{good}");
        }
        for bad in ["/etc", "/no/such/file", "etc/passwd", "", "/dev/null"] {
            assert!(!is_roots_alone(Path::new(bad)), "{bad}");
        }
    }

    #[test]
    fn what_lies_where_others_may_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.deb");
        std::fs::write(&file, "x").unwrap();
        // Its own, and in a private folder, but that lies among everybody's.
        assert!(!is_roots_alone(&file));
        // A link there to what is root's can be set to something else.
        let link = folder.path().join("b.deb");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(!is_roots_alone(&link));
        let round = folder.path().join("round");
        std::os::unix::fs::symlink("round", &round).unwrap();
        assert!(!is_roots_alone(&round));
    }
}
