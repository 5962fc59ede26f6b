//! What a package manager is about to do, and how a person is told.

use crate::output::{Exit, Failure, Outcome};
use countersign_protocol::digest;
use countersign_protocol::message::{MAX_DETAIL, MAX_LIST};
use countersign_protocol::text::clip;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

/// Most packages that one transaction may touch.
pub(super) const MAX_CHANGES: usize = 5_000;
/// Longest name, version or architecture in bytes.
pub(super) const MAX_FIELD: usize = 256;
/// Longest origin in bytes; a longer one is nobody's name.
const MAX_ORIGIN: usize = 64;
/// Most origins that a request names.
const MAX_ORIGINS: usize = 8;
/// What is said where nobody knows where a package comes from.
pub(super) const UNKNOWN: &str = "unknown";
/// Countersign's own packages, as Debian's and the RPMs are called.
const OWN: [&str; 5] =
    ["countersign", "libpam-countersign", "countersign-server", "pam_countersign", "countersign-selinux"];
/// How many packages of each kind the summary names.
const NAMED: usize = 3;

/// What happens to a package, the gravest first: so they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum What {
    /// It was not there.
    Install,
    /// An older version takes the place of a newer one.
    Downgrade,
    /// The same version once more.
    Reinstall,
    /// What was unpacked before is set up: its scripts run.
    Configure,
    /// It goes.
    Remove,
    /// A newer version takes the place of an older one.
    Upgrade,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Downgrade => "downgrade",
            Self::Reinstall => "reinstall",
            Self::Configure => "configure",
            Self::Remove => "remove",
            Self::Upgrade => "upgrade",
        }
    }

    /// What the action is called: rules tell these three apart.
    fn action(self) -> &'static str {
        match self {
            Self::Install | Self::Downgrade | Self::Reinstall | Self::Configure => "install",
            Self::Remove => "remove",
            Self::Upgrade => "upgrade",
        }
    }
}

/// One package, and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub what: What,
    pub name: String,
    pub architecture: String,
    /// The version that is there.
    pub old: Option<String>,
    /// The version that will be there.
    pub new: Option<String>,
    /// The package's file, where something is unpacked.
    pub file: Option<PathBuf>,
    /// SHA-256 of that file in hex, once it was read.
    pub sha256: Option<String>,
    /// Whose package it is, where that is known.
    pub origin: Option<String>,
}

impl Change {
    /// Name and versions, as the summary has them.
    fn said(&self) -> String {
        let name = word(&self.name);
        match (&self.old, &self.new) {
            (Some(old), Some(new)) if old != new => format!("{name} {} -> {}", word(old), word(new)),
            (_, Some(version)) | (Some(version), None) => format!("{name} {}", word(version)),
            (None, None) => name.into_owned(),
        }
    }

    /// Its line of the list.
    fn line(&self, with_digest: bool) -> String {
        let versions = match (&self.old, &self.new) {
            (Some(old), Some(new)) if old != new => format!("{} -> {}", word(old), word(new)),
            (_, Some(version)) | (Some(version), None) => word(version).into_owned(),
            (None, None) => "-".to_owned(),
        };
        let mut line =
            format!("{} {} {} {versions}", self.what.word(), word(&self.name), word(&self.architecture));
        // Writing to a String cannot fail.
        if self.file.is_some() {
            let _ = write!(line, " from {}", self.origin());
        }
        if let (Some(sha256), true) = (&self.sha256, with_digest) {
            let _ = write!(line, " sha256:{sha256}");
        }
        line
    }

    fn origin(&self) -> Cow<'_, str> {
        self.origin.as_deref().map_or(Cow::Borrowed(UNKNOWN), word)
    }
}

/// Whether a text can be an origin. What cannot be shown as it is could be taken for another one.
pub(super) fn is_origin(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_graphic() || b == b' ';
    !text.trim().is_empty() && text.len() <= MAX_ORIGIN && text.bytes().all(is_plain)
}

/// All that happens at once, the gravest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transaction {
    pub changes: Vec<Change>,
}

impl Transaction {
    /// `command_line` is what was typed: the packages that it names come first of their kind.
    pub(super) fn new(mut changes: Vec<Change>, command_line: Option<&str>) -> Self {
        let typed: BTreeSet<&str> = command_line.unwrap_or_default().split_ascii_whitespace().collect();
        changes.sort_by_key(|change| (change.what, !typed.contains(change.name.as_str())));
        Self { changes }
    }

    /// Whether nothing but Countersign itself is upgraded, taken back or removed. That has to work when nothing else of it
    /// does. To install it where it is not there is asked about like any other package.
    pub(super) fn is_own(&self) -> bool {
        let is_own = |change: &Change| change.what != What::Install && OWN.contains(&change.name.as_str());
        !self.changes.is_empty() && self.changes.iter().all(is_own)
    }

    /// The action's name: `apt.install` where anything is installed, else `apt.remove` where anything goes.
    pub(super) fn action(&self, manager: &str) -> String {
        let does = |action: &str| self.changes.iter().any(|change| change.what.action() == action);
        let action = ["install", "remove"].into_iter().find(|action| does(action)).unwrap_or("upgrade");
        format!("{manager}.{action}")
    }

    /// Whose packages come in; unknown ones have a name for that, so that no rule takes them for somebody's.
    pub(super) fn origins(&self) -> Vec<String> {
        let comes = |change: &&Change| !matches!(change.what, What::Remove);
        let mut origins: Vec<String> = self
            .changes
            .iter()
            .filter(comes)
            .map(|change| change.origin.clone().unwrap_or_else(|| UNKNOWN.to_owned()))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        if origins.len() > MAX_ORIGINS {
            origins.truncate(MAX_ORIGINS - 1);
            origins.push(UNKNOWN.to_owned());
        }
        origins
    }

    /// In one line of at most [`MAX_DETAIL`] bytes: `hello 2.10-3`, or `12 packages: install hello 2.10-3 and 2 more; …`.
    pub(super) fn summary(&self) -> String {
        if let [only] = self.changes.as_slice() {
            let said = only.said();
            let is_plain = matches!(only.what, What::Install | What::Remove | What::Upgrade);
            return shortened(if is_plain { said } else { format!("{} {said}", only.what.word()) });
        }
        let kinds = self.changes.chunk_by(|one, next| one.what == next.what).map(|kind| {
            let named: Vec<_> = kind.iter().take(NAMED).map(Change::said).collect();
            let more = match kind.len() - named.len() {
                0 => String::new(),
                left => format!(" and {left} more"),
            };
            format!("{} {}{more}", kind[0].what.word(), named.join(", "))
        });
        shortened(format!("{} packages: {}", self.changes.len(), kinds.collect::<Vec<_>>().join("; ")))
    }

    /// A line for each package, with the digest of its file. Where that is too long for a list the digests are one line, of
    /// `HASH` and a line feed each in the list's order.
    ///
    /// # Errors
    /// When it is too long without them, too.
    pub(super) fn list(&self) -> Outcome<String> {
        let whole = self.lines(true);
        if whole.len() <= MAX_LIST {
            return Ok(whole);
        }
        let hashes: String =
            self.changes.iter().filter_map(|c| c.sha256.as_ref()).map(|h| format!("{h}\n")).collect();
        let short =
            format!("{}all files sha256:{}\n", self.lines(false), digest::sha256_hex(hashes.as_bytes()));
        if short.len() <= MAX_LIST {
            return Ok(short);
        }
        Err(Failure::new(
            Exit::Usage,
            format!(
                "the list of {} packages is longer than {MAX_LIST} bytes: do it in parts, with fewer packages at once",
                self.changes.len()
            ),
        ))
    }

    fn lines(&self, with_digests: bool) -> String {
        self.changes.iter().map(|change| change.line(with_digests) + "\n").collect()
    }
}

/// A name or version without anything that acts on a terminal, ends a word or looks like another letter.
pub(super) fn word(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_graphic() && c != '\\';
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if is_plain(c) { c.to_string() } else { c.escape_unicode().to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

fn shortened(text: String) -> String {
    if text.len() <= MAX_DETAIL {
        return text;
    }
    format!("{}…", clip(&text, MAX_DETAIL - '…'.len_utf8()))
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
