//! Why the server cannot be reached.

use std::time::Duration;

use countersign_relay_client::RelayError;

/// Why the server cannot be reached, for two kinds of readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In fixed words: whoever logs in must not read what a server says, which may be a lie that asks for
    /// codes, nor where it is.
    pub brief: String,
    /// For the administrator.
    pub full: String,
    /// How long the server asks to be left alone.
    pub(super) leave: Duration,
}

impl Trouble {
    /// In words of ours.
    pub(crate) fn of(words: impl Into<String>) -> Self {
        let full = words.into();
        Self { brief: full.clone(), full, leave: Duration::ZERO }
    }
}

impl From<&RelayError> for Trouble {
    fn from(error: &RelayError) -> Self {
        let leave = match error {
            RelayError::Limited { retry_after } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        Self { brief: error.brief(), full: error.to_string(), leave }
    }
}
