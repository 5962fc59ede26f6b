//! Writing the lines of an ALLOWED SIGNERS file.

use crate::keys::PublicKey;
use crate::message::namespace;
use crate::text;
use std::fmt;

/// Longest comment that is written, in bytes.
const MAX_COMMENT: usize = 128;

/// A user's name that must not stand in such a file, where `*`, `?`, `!` and commas are patterns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the user name \"{0}\" cannot stand in an approvers file")]
pub struct BadPrincipal(String);

/// The line that lets a device approve for one user: its key, for decisions and device cards only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    principal: String,
    key: PublicKey,
    comment: String,
}

impl Line {
    /// A line for exactly one user.
    ///
    /// # Errors
    /// [`BadPrincipal`] when [`text::is_principal`] does not hold.
    pub fn new(principal: &str, key: PublicKey, comment: &str) -> Result<Self, BadPrincipal> {
        if !text::is_principal(principal) {
            return Err(BadPrincipal(text::escape(text::clip(principal, 64)).into_owned()));
        }
        let comment = text::escape(text::clip(comment, MAX_COMMENT)).into_owned();
        Ok(Self { principal: principal.to_owned(), key, comment })
    }
}

impl fmt::Display for Line {
    /// Without a newline at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { principal, key, comment } = self;
        let (decision, card) = (namespace::DECISION, namespace::CARD);
        write!(f, "{principal} namespaces=\"{decision},{card}\" {}", key.to_line())?;
        if comment.is_empty() { Ok(()) } else { write!(f, " {comment}") }
    }
}
