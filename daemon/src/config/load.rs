//! The configuration's file.

use super::read::read_all;
use super::{Config, Fault, MAX_CONFIG};
use crate::files::{FileFault, Owner, list_trusted, read_trusted};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Most entries in the folder of further files.
const MAX_DROP_INS: usize = 200;

/// The policy in force, and what is wrong with the file that was read last.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The last one without faults.
    pub good: Option<Rc<Config>>,
    /// Faults of the file as it was read last, `path:line:column: text`; none when `good` is it.
    pub faults: Vec<String>,
}

/// What is wrong with a file, for the two places where it is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// One line each, for the log and for `countersign status`.
    pub lines: Vec<String>,
    /// With the line and a caret, for a person at a terminal.
    pub drawings: Vec<String>,
}

impl Faults {
    fn add(&mut self, fault: &Fault, name: &str, source: &str) {
        self.lines.push(fault.line(name, source));
        self.drawings.push(fault.drawing(name, source));
    }
}

impl Loaded {
    /// Reads the file; a faulty one leaves the good policy in force.
    ///
    /// # Errors
    /// Its faults.
    pub fn reload(&mut self, path: &Path, owner: Owner) -> Result<Rc<Config>, Faults> {
        match load(path, owner) {
            Ok(config) => {
                let config = Rc::new(config);
                *self = Self { good: Some(Rc::clone(&config)), faults: Vec::new() };
                Ok(config)
            }
            Err(faults) => {
                self.faults.clone_from(&faults.lines);
                Err(faults)
            }
        }
    }
}

/// Reads a configuration: the file, and before it what is in the folder of the same name and `.d`, in the
/// order of the names. All has to be root's or `owner`'s and nobody else's to write.
///
/// # Errors
/// All its faults.
pub fn load(path: &Path, owner: Owner) -> Result<Config, Faults> {
    let mut faults = Faults::default();
    let mut files = Vec::new();
    let mut paths = drop_ins(path, owner).unwrap_or_else(|(folder, why)| {
        faults.add(&Fault::whole(why), &folder, "");
        Vec::new()
    });
    paths.push(path.to_path_buf());
    for path in paths {
        let name = path.to_string_lossy().into_owned();
        match read_trusted(&path, owner, MAX_CONFIG) {
            Ok(source) => files.push((name, source)),
            Err(fault) => faults.add(&Fault::whole(fault.to_string()), &name, ""),
        }
    }
    let read: Vec<(&str, &str)> = files.iter().map(|(name, source)| (name.as_str(), source.as_str())).collect();
    match read_all(&read) {
        Ok(config) if faults.lines.is_empty() => return Ok(config),
        Ok(_) => {}
        // What a file lacks that could not be read is not worth a word.
        Err(_) if !faults.lines.is_empty() => {}
        Err(more) => {
            for (number, fault) in more {
                let (name, source) = read.get(number).copied().unwrap_or_default();
                faults.add(&fault, name, source);
            }
        }
    }
    Err(faults)
}

/// The files of the folder beside the configuration, where there is one.
fn drop_ins(path: &Path, owner: Owner) -> Result<Vec<PathBuf>, (String, String)> {
    let mut folder = path.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    let fault = |why: String| (folder.to_string_lossy().into_owned(), why);
    let mut paths = Vec::new();
    let entries = match list_trusted(&folder, owner, MAX_DROP_INS) {
        Ok(entries) => entries,
        Err(FileFault::Missing) => return Ok(paths),
        Err(other) => return Err(fault(other.to_string())),
    };
    for name in entries {
        // Others are what editors and package managers leave behind.
        if !name.starts_with('.') && name.ends_with(".toml") {
            paths.push(folder.join(name));
        }
    }
    paths.sort();
    Ok(paths)
}
