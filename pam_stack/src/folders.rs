//! Where service files are found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use countersign_files::{FileFault, Links, open_regular};

use crate::Service;

/// Longest file that is read.
pub const MAX_FILE: usize = 256 * 1024;
/// Most files of a folder that are listed.
const MAX_NAMES: usize = 4096;

/// The folders that libpam looks into, the administrator's first, and texts that stand in place of files.
#[derive(Debug, Clone, Default)]
pub struct Folders {
    folders: Vec<PathBuf>,
    overlay: BTreeMap<String, String>,
}

/// A file that was read, and whose it is.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What it says.
    pub service: Service,
    /// Its owner and mode; nothing for a text that stands in place of a file.
    pub owner: Option<(u32, u32)>,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", .path.display())]
pub struct ReadFault {
    /// Which.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub fault: FileFault,
}

impl Folders {
    /// libpam's own.
    #[must_use]
    pub fn system() -> Self {
        Self::of(["/etc/pam.d", "/usr/lib/pam.d"])
    }

    /// Others; the first that has a file has it.
    #[must_use]
    pub fn of<P: Into<PathBuf>>(folders: impl IntoIterator<Item = P>) -> Self {
        Self { folders: folders.into_iter().map(Into::into).collect(), overlay: BTreeMap::new() }
    }

    /// The same with a text in place of a file of the first folder: what would be if it were written.
    #[must_use]
    pub fn with(mut self, name: &str, text: &str) -> Self {
        self.overlay.insert(name.to_owned(), text.to_owned());
        self
    }

    /// The administrator's folder.
    #[must_use]
    pub fn first(&self) -> &Path {
        self.folders.first().map_or(Path::new("/etc/pam.d"), PathBuf::as_path)
    }

    /// The names of all services, without what package managers and editors leave behind, and without those that
    /// libpam could not be asked for.
    ///
    /// # Errors
    /// When the first folder that is there cannot be listed, or none is there.
    pub fn names(&self) -> Result<Vec<String>, ReadFault> {
        let mut names: BTreeSet<String> = self.overlay.keys().cloned().collect();
        let (mut is_any, mut missing) = (!names.is_empty(), None);
        for folder in &self.folders {
            let listed = std::fs::read_dir(folder);
            match listed {
                Ok(entries) => {
                    is_any = true;
                    let entries = entries.take(MAX_NAMES).filter_map(Result::ok);
                    names.extend(entries.filter_map(|entry| entry.file_name().into_string().ok()));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    missing.get_or_insert(ReadFault { path: folder.clone(), fault: FileFault::Missing });
                }
                Err(error) => return Err(ReadFault { path: folder.clone(), fault: FileFault::Io(error) }),
            }
        }
        match missing {
            Some(missing) if !is_any => Err(missing),
            _ => Ok(names.into_iter().filter(|name| is_service(name)).collect()),
        }
    }

    /// A service's file, or one that another includes; a name that begins with / is a path.
    ///
    /// # Errors
    /// When there is none, or it is none that can be read.
    pub fn read(&self, name: &str) -> Result<Seen, ReadFault> {
        if let Some(text) = self.overlay.get(name) {
            return Ok(Seen { service: Service::read(&self.first().join(name), text), owner: None });
        }
        let mut last = None;
        for folder in &self.folders {
            // For a name that begins with / this is the name itself.
            let path = folder.join(name);
            match read(&path) {
                Ok(seen) => return Ok(seen),
                Err(fault) => last.get_or_insert(ReadFault { path, fault }),
            };
        }
        Err(last.unwrap_or_else(|| ReadFault { path: PathBuf::from(name), fault: FileFault::Missing }))
    }
}

/// Whosever it is: libpam reads it, too. Who can change it is for the caller to look at.
fn read(path: &Path) -> Result<Seen, FileFault> {
    let file = open_regular(path, Links::Followed, OpenOptions::new().read(true))?;
    let data = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE {
        return Err(FileFault::TooLong(MAX_FILE));
    }
    let service = Service::read(path, &String::from_utf8_lossy(&bytes));
    Ok(Seen { service, owner: Some((data.uid(), data.mode() & 0o7777)) })
}

fn is_service(name: &str) -> bool {
    const LEFT: [&str; 9] = [
        ".dpkg-old",
        ".dpkg-new",
        ".dpkg-dist",
        ".dpkg-bak",
        ".rpmnew",
        ".rpmsave",
        ".rpmorig",
        ".bak",
        ".orig",
    ];
    !name.starts_with('.') && !name.ends_with('~') && !LEFT.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_administrators_folder_comes_first() {
        let (own, vendor) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(own.path().join("a"), "auth required own.so").unwrap();
        for name in ["a", "b", "b.dpkg-dist", ".x.swp", "c~"] {
            std::fs::write(vendor.path().join(name), "auth required vendor.so").unwrap();
        }
        let folders = Folders::of([own.path(), vendor.path()]);
        assert_eq!(folders.names().unwrap(), ["a", "b"]);
        assert!(folders.read("a").unwrap().service.text.contains("own"));
        assert!(folders.read("b").unwrap().service.text.contains("vendor"));
        assert!(
            folders.read(vendor.path().join("a").to_str().unwrap()).unwrap().service.text.contains("vendor")
        );
        assert_eq!(folders.read("z").unwrap_err().path, own.path().join("z"));
        let changed = folders.with("b", "auth required new.so").with("n", "");
        assert_eq!(changed.names().unwrap(), ["a", "b", "n"]);
        assert!(changed.read("b").unwrap().service.text.contains("new"));
    }

    #[test]
    fn a_folder_that_is_nowhere_is_said() {
        assert!(matches!(Folders::of(["/nowhere/pam.d"]).names().unwrap_err().fault, FileFault::Missing));
    }
}
