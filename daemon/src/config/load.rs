//! The configuration's file.

use super::{Config, Fault, MAX_CONFIG, read};
use crate::files::{Owner, read_trusted};
use std::path::Path;
use std::rc::Rc;

/// The policy in force, and what is wrong with the file that was read last.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The last one without faults.
    pub good: Option<Rc<Config>>,
    /// Faults of the file as it was read last, `path:line:column: text`; none when `good` is it.
    pub faults: Vec<String>,
}

/// What is wrong with a file, for the two places where it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// One line each, for the log and for `countersign status`.
    pub lines: Vec<String>,
    /// With the line and a caret, for a person at a terminal.
    pub drawings: Vec<String>,
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

/// Reads a configuration that is root's or `owner`'s and nobody else's to write.
///
/// # Errors
/// All its faults.
pub fn load(path: &Path, owner: Owner) -> Result<Config, Faults> {
    let name = path.to_string_lossy();
    let (source, result) = match read_trusted(path, owner, MAX_CONFIG) {
        Ok(source) => {
            let result = read(&source);
            (source, result)
        }
        Err(fault) => (String::new(), Err(vec![Fault::whole(fault.to_string())])),
    };
    result.map_err(|faults| Faults {
        lines: faults.iter().map(|fault| fault.line(&name, &source)).collect(),
        drawings: faults.iter().map(|fault| fault.drawing(&name, &source)).collect(),
    })
}
