//! `countersign audit`: reads the daemon's log, without the daemon.

mod extract;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod leases;
mod observed;
mod show;
mod verify;

pub(super) use observed::observed;
pub(super) use show::{Wanted, show};
pub(super) use verify::verify;

use crate::output::{Exit, Failure, Outcome};
use countersign_files::{self as files, FileFault, Links};
use countersign_protocol::audit::MAX_LINE;
use countersign_protocol::signers::{AllowedSigners, MAX_FILE};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The lines of a log, one at a time: a log may be larger than memory.
struct Lines {
    file: BufReader<File>,
    path: PathBuf,
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> Outcome<Self> {
        Ok(Self { file: BufReader::new(open(path)?), path: path.to_owned(), number: 0 })
    }

    /// The next line without its end; a line that is too long is cut, so that it reads as none.
    fn next(&mut self) -> Outcome<Option<String>> {
        let mut bytes = Vec::new();
        let limit = MAX_LINE as u64 + 2;
        let n = (&mut self.file)
            .take(limit)
            .read_until(b'\n', &mut bytes)
            .map_err(|e| Failure::broken(self.path.display(), e))?;
        if n == 0 {
            return Ok(None);
        }
        self.number += 1;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        } else if n as u64 == limit {
            self.file.skip_until(b'\n').map_err(|e| Failure::broken(self.path.display(), e))?;
            return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
        }
        // Not lossily: another line must not pass for the one that was written.
        let line = String::from_utf8(bytes);
        line.map(Some).map_err(|_| bad(&self.path, self.number, "it is not a record: it is no UTF-8 text"))
    }
}

fn bad(file: &Path, line: u64, why: &str) -> Failure {
    Failure::new(Exit::Broken, format!("{}: line {line}: {why}", file.display()))
}

fn open(path: &Path) -> Outcome<File> {
    File::open(path).map_err(|e| match e.kind() {
        ErrorKind::PermissionDenied => not_permitted(path),
        ErrorKind::NotFound => missing(path),
        _ => Failure::broken(path.display(), e),
    })
}

/// A text of so many bytes at most. Whoever runs this as root must not wait for what lies in a file's place, nor read it
/// without end.
fn read_text(path: &Path, max: usize) -> Outcome<String> {
    let bytes = files::open_regular(path, Links::Followed, OpenOptions::new().read(true)).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > max { Err(FileFault::TooLong(max)) } else { Ok(bytes) }
    });
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| FileFault::NotText));
    text.map_err(|fault| match fault {
        FileFault::Missing => missing(path),
        FileFault::Unreadable(_) => not_permitted(path),
        fault => Failure::broken(path.display(), fault),
    })
}

fn missing(path: &Path) -> Failure {
    Failure::new(Exit::Refused, format!("{}: there is no such file", path.display()))
}

fn not_permitted(path: &Path) -> Failure {
    Failure::new(Exit::NotPermitted, format!("{}: permission denied: run this as root", path.display()))
}

/// Files of accepted keys with their paths. One of the default places may be empty.
fn approvers(paths: &[PathBuf]) -> Outcome<Vec<(PathBuf, AllowedSigners)>> {
    let mut found = Vec::new();
    for path in paths {
        let text = match read_text(path, MAX_FILE) {
            Err(f) if f.exit == Exit::Refused && crate::args::is_default_approvers(path) => continue,
            text => text?,
        };
        let signers = AllowedSigners::parse(&text).map_err(|faults| {
            let first = faults.first().map(ToString::to_string).unwrap_or_default();
            Failure::broken(path.display(), first)
        })?;
        found.push((path.clone(), signers));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
