//! A folder for what is read from files, in memory where there is such a place.

use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder that goes away with it.
pub struct Place(TempDir);

impl Place {
    /// A new one.
    ///
    /// # Panics
    /// When no folder can be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        Self(made.expect("a folder"))
    }

    /// The path of a name in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file that only its owner reads.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("own file");
        path
    }

    /// Contents of the files whose name holds this, in order of their names; they are gone then.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn take(&self, part: &str) -> Vec<Vec<u8>> {
        let entries = std::fs::read_dir(self.0.path()).expect("own folder");
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.expect("own folder").path())
            .filter(|path| path.to_string_lossy().contains(part))
            .collect();
        paths.sort();
        let read = |path: PathBuf| {
            let content = std::fs::read(&path).expect("own file");
            std::fs::remove_file(path).expect("own file");
            content
        };
        paths.into_iter().map(read).collect()
    }
}
