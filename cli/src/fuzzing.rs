//! Doors to what is private, for the fuzz targets in `fuzz/`.

use crate::approver::desktop;
use crate::approver::inbox::{Inbox, Now};
use crate::commands::audit::fuzzing as audit;
use crate::output::Outcome;
use std::path::{Path, PathBuf};

/// A popup as the desktop gets it.
pub struct Popup {
    /// Its head.
    pub summary: String,
    /// Its body, as markup.
    pub markup: String,
    /// Its body, as text.
    pub text: String,
}

/// The popups of an inbox.
#[must_use]
pub fn popups(inbox: &Inbox, now: Now) -> Vec<Popup> {
    desktop::drawn(inbox, now)
}

/// Verifies a log; gives the digest of its last line.
///
/// # Errors
/// What the administrator is told.
pub fn audit_verified(file: &Path, approvers: &[PathBuf]) -> Outcome<String> {
    audit::verified(file, approvers)
}

/// What `countersign audit show` says of a log.
///
/// # Errors
/// What the administrator is told.
pub fn audit_shown(file: &Path, approvers: &[PathBuf]) -> Outcome<Vec<String>> {
    audit::shown(file, approvers)
}
