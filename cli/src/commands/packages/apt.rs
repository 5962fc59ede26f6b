//! What apt tells its hooks (`DPkg::Pre-Install-Pkgs`, version 3 of that protocol): its settings, an empty line, and a line
//! for each step, of nine fields: name, version, architecture and Multi-Arch that are there, a sign, the three that will be, and a
//! file or what else happens.

use super::transaction::{Change, MAX_CHANGES, MAX_FIELD, Transaction, What};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Longest path of a package's file in bytes.
const MAX_PATH: usize = 4096;

/// What of apt's settings is of use here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// How apt was called, by its own word.
    pub command_line: Option<String>,
    /// Where its files are: names and values of settings, as `-o` takes them.
    pub places: Vec<(String, String)>,
}

/// Reads it all.
///
/// # Errors
/// What is wrong, and in which line.
pub(super) fn parse(input: &[u8]) -> Result<(Settings, Transaction), String> {
    let Some(rest) = input.strip_prefix(b"VERSION 3\n") else {
        return Err("apt does not speak version 3 of its protocol to hooks: the hook's lines in /etc/apt/apt.conf.d have to be \
                    those of /usr/share/countersign/apt/99countersign"
            .to_owned());
    };
    let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") else {
        return Err("what apt said ends within its settings".to_owned());
    };
    // Settings may hold anything; they are read for their words only.
    let settings = settings(&String::from_utf8_lossy(&rest[..end]));
    let first = 3 + rest[..end].iter().filter(|b| **b == b'\n').count() + 1;
    let steps =
        std::str::from_utf8(&rest[end + 2..]).map_err(|_| "what apt said of packages is no UTF-8 text")?;
    if !steps.is_empty() && !steps.ends_with('\n') {
        return Err("what apt said ends within a line".to_owned());
    }
    let mut changes = Vec::new();
    for (line, number) in steps.lines().zip(first..) {
        changes.push(change(line).map_err(|fault| format!("line {number} of what apt said: {fault}"))?);
        // Each package that is unpacked is set up later: two lines.
        if changes.len() > 2 * MAX_CHANGES {
            return Err(too_many());
        }
    }
    let changes = without_follow_ups(changes);
    if changes.len() > MAX_CHANGES {
        return Err(too_many());
    }
    let transaction = Transaction::new(changes, settings.command_line.as_deref());
    Ok((settings, transaction))
}

fn too_many() -> String {
    format!("more than {MAX_CHANGES} packages at once: do it in parts")
}

/// What is set up after it was unpacked in the same transaction is one change.
fn without_follow_ups(changes: Vec<Change>) -> Vec<Change> {
    let unpacked: HashSet<_> = changes
        .iter()
        .filter(|change| change.file.is_some())
        .map(|change| (change.name.clone(), change.architecture.clone()))
        .collect();
    let follows = |change: &Change| {
        change.what == What::Configure
            && unpacked.contains(&(change.name.clone(), change.architecture.clone()))
    };
    changes.into_iter().filter(|change| !follows(change)).collect()
}

fn change(line: &str) -> Result<Change, &'static str> {
    let fields: Vec<&str> = line.splitn(9, ' ').collect();
    let [name, old, old_architecture, _, sign, new, new_architecture, _, doing] = fields[..] else {
        return Err("it has not nine fields");
    };
    if name.is_empty() || fields[..8].iter().any(|field| field.len() > MAX_FIELD) {
        return Err("a field is empty or too long");
    }
    let version = |text: &str| (text != "-").then(|| text.to_owned());
    let (old, new) = (version(old), version(new));
    let (what, file) = match (doing, sign) {
        ("**REMOVE**", _) => (What::Remove, None),
        ("**CONFIGURE**", _) => (What::Configure, None),
        (path, _) if !is_file(path) => {
            return Err("its last field is neither a file's path nor what else happens");
        }
        (path, "<") if old.is_none() => (What::Install, Some(path)),
        (path, "<") => (What::Upgrade, Some(path)),
        (path, "=") => (What::Reinstall, Some(path)),
        (path, ">") => (What::Downgrade, Some(path)),
        _ => return Err("it does not say whether the new version is newer"),
    };
    // What is there no more is told by what was there.
    let (new, architecture) =
        if what == What::Remove { (None, old_architecture) } else { (new, new_architecture) };
    if (what == What::Remove && old.is_none()) || (what != What::Remove && new.is_none()) {
        return Err("it names no version");
    }
    Ok(Change {
        what,
        name: name.to_owned(),
        architecture: architecture.to_owned(),
        old,
        new,
        file: file.map(PathBuf::from),
        sha256: None,
        origin: None,
    })
}

fn is_file(text: &str) -> bool {
    text.len() <= MAX_PATH && Path::new(text).is_absolute()
}

fn settings(text: &str) -> Settings {
    let mut settings = Settings::default();
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let is_place = name == "RootDir" || name == "Dir" || name.starts_with("Dir::");
        // Names that end in colons are lists, which hold patterns and programs.
        let is_plain =
            !name.ends_with(':') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:".contains(&b));
        if name == "CommandLine::AsString" {
            settings.command_line = Some(unquoted(value));
        } else if is_place && is_plain {
            settings.places.push((name.to_owned(), unquoted(value)));
        }
    }
    settings
}

/// Text in which apt has written some characters as `%` and two hex digits.
fn unquoted(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[path = "apt_tests.rs"]
mod tests;
