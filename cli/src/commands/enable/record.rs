//! A change that waits to be confirmed: what it is, and the files as they were before it.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use countersign_files::{FileFault, Owner, create_new, read_trusted, replace, sync_directory};
use countersign_protocol::digest::sha256_hex;
use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::places::Places;
use crate::output::{Exit, Failure, Outcome};

/// Version of the record.
const VERSION: u32 = 1;
/// Longest record.
const MAX_RECORD: usize = 256 * 1024;
/// How long a change waits for another one that is being written.
const LOCKED: Duration = Duration::from_secs(15);

/// A change of some files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::commands) struct Record {
    version: u32,
    /// The services that were named, and those that go with them.
    pub(super) services: Vec<String>,
    /// Those of them that were not on before.
    pub(super) new: Vec<String>,
    /// In which boot.
    pub(super) boot: String,
    /// When it began.
    pub(super) began: Moment,
    /// How many seconds later it is taken back.
    pub(super) within: u64,
    /// When the last file was written; nothing: it is not finished.
    pub(super) finished: Option<Moment>,
    /// In which session: the kernel's number of it, where there is one.
    pub(super) audit_session: Option<u32>,
    /// What was changed.
    pub(super) files: Vec<Changed>,
}

/// One of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Changed {
    pub(super) path: PathBuf,
    /// In which file of the record's folder it is as it was; nothing: it was not there.
    saved: Option<String>,
    /// Digest of that.
    was: Option<String>,
    /// Digest of what is written there.
    wrote: String,
}

/// A file that is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) path: PathBuf,
    /// Nothing: it is not there.
    pub(super) old: Option<Vec<u8>>,
    pub(super) new: Vec<u8>,
    /// Its mode, where it is not there.
    pub(super) mode: u32,
}

/// What a file is now, beside what a record says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Now {
    /// As it was before.
    Before,
    /// As it was written.
    Written,
    /// Somebody has changed it since.
    Edited,
    /// Somebody has taken it away since.
    Gone,
}

impl Changed {
    pub(super) fn now(&self, bytes: Option<&[u8]>) -> Now {
        let digest = bytes.map(sha256_hex);
        match digest {
            digest if digest == self.was => Now::Before,
            Some(digest) if digest == self.wrote => Now::Written,
            Some(_) => Now::Edited,
            None => Now::Gone,
        }
    }

    /// The file as it was; nothing when it was not there.
    pub(super) fn saved(&self, places: &Places) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = self.saved_at(places) else { return Ok(None) };
        let bytes = std::fs::read(path)?;
        if Some(sha256_hex(&bytes)) != self.was {
            return Err(io::Error::other("what was saved of it is damaged"));
        }
        Ok(Some(bytes))
    }

    /// Where that is.
    pub(super) fn saved_at(&self, places: &Places) -> Option<PathBuf> {
        // The name is ours; one that leads elsewhere is not followed.
        Some(places.pending().join(Path::new(self.saved.as_ref()?).file_name()?))
    }
}

impl Record {
    /// Saves the files as they are, then what the change is. From here on it is taken back, whatever happens.
    pub(super) fn begin(
        places: &Places,
        services: Vec<String>,
        new: Vec<String>,
        edits: &[Edit],
        within: u64,
        audit_session: Option<u32>,
    ) -> Outcome<Self> {
        let folder = places.pending();
        let broken = |error: io::Error| Failure::broken(folder.display(), error);
        clear(places).map_err(broken)?;
        let mut files = Vec::new();
        for (number, edit) in edits.iter().enumerate() {
            let saved = edit.old.as_ref().map(|_| format!("{number}.saved"));
            if let (Some(name), Some(old)) = (&saved, &edit.old) {
                super::steps::passed();
                let mut file = create_new(&folder.join(name)).map_err(broken)?;
                io::Write::write_all(&mut file, old).and_then(|()| file.sync_all()).map_err(broken)?;
            }
            let was = edit.old.as_deref().map(sha256_hex);
            files.push(Changed { path: edit.path.clone(), saved, was, wrote: sha256_hex(&edit.new) });
        }
        sync_directory(&places.record()).map_err(broken)?;
        let record = Self {
            version: VERSION,
            services,
            new,
            boot: super::moment::boot()?,
            began: Moment::now()?,
            within,
            finished: None,
            audit_session,
            files,
        };
        record.write(places)?;
        Ok(record)
    }

    /// Writes it anew.
    pub(super) fn write(&self, places: &Places) -> Outcome {
        let path = places.record();
        let broken = |error: &dyn std::fmt::Display| Failure::broken(path.display(), error);
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| broken(&error))?;
        super::steps::passed();
        replace(&path, &bytes).map_err(|error| broken(&error))?;
        super::steps::passed();
        Ok(())
    }

    /// The change that waits; `None` where none does.
    pub(super) fn read(places: &Places) -> Outcome<Option<Self>> {
        let path = places.record();
        let broken = |why: &dyn std::fmt::Display| Failure::broken(path.display(), why);
        let text = match read_trusted(&path, Owner::own(), MAX_RECORD) {
            Ok(text) => text,
            Err(FileFault::Missing) => return Ok(None),
            Err(FileFault::Unreadable(_)) => {
                return Err(Failure::new(Exit::NotPermitted, "run this as root"));
            }
            Err(fault) => return Err(broken(&fault)),
        };
        match serde_json::from_str::<Self>(&text) {
            Ok(record) if record.version == VERSION => Ok(Some(record)),
            Ok(record) => Err(broken(&format!("it is of version {}", record.version))),
            Err(error) => Err(broken(&error)),
        }
    }

    /// The change waits no longer, and what was saved goes.
    pub(super) fn end(places: &Places) -> io::Result<()> {
        super::files::remove(&places.record())?;
        clear(places)
    }
}

/// Makes the folder, and takes out what an earlier change left there.
fn clear(places: &Places) -> io::Result<()> {
    make(places)?;
    for entry in std::fs::read_dir(places.pending())?.take(4096) {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "saved") {
            super::steps::passed();
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn make(places: &Places) -> io::Result<()> {
    let folder = places.pending();
    let made = |mode: u32, folder: &Path| match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) => sync_directory(folder),
        Err(_) => Ok(()),
    };
    made(0o755, &places.ours())?;
    made(0o700, &folder)
}

/// Only one process at a time changes files. Whoever takes a change back goes on all the same when another one does not end:
/// `None`.
pub(super) fn lock(places: &Places) -> Outcome<Option<File>> {
    let folder = places.pending();
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::new(Exit::NotPermitted, "run this as root"),
        _ => Failure::broken(folder.display(), error),
    };
    make(places).map_err(broken)?;
    let file = File::open(&folder).map_err(broken)?;
    let end = Instant::now() + LOCKED;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(broken(error)),
        }
    }
}
