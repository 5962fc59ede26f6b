//! Why a call on the bus was not carried out.

use countersign_protocol::manage;
use countersign_protocol::text::{clip, escape};

/// Longest line of an error, in bytes.
const MAX_TEXT: usize = 500;

/// An error as the bus names it, and one line for a person that says what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// `org.countersign.Countersign1.Error.…`, or the bus's own.
    pub(super) name: &'static str,
    /// The line.
    pub(super) text: String,
}

macro_rules! ours {
    ($name:literal) => {
        concat!("org.countersign.Countersign1.Error.", $name)
    };
}

pub(super) const NOT_AUTHORIZED: &str = ours!("NotAuthorized");
pub(super) const NO_AUTHORITY: &str = ours!("NoAuthority");
pub(super) const NOT_FOUND: &str = ours!("NotFound");
pub(super) const REFUSED: &str = ours!("Refused");
pub(super) const BAD_CALL: &str = ours!("BadCall");
pub(super) const BUSY: &str = ours!("Busy");
pub(super) const STOPPED: &str = ours!("Stopped");
pub(super) const UNREACHABLE: &str = ours!("ServerUnreachable");
pub(super) const DAEMON_DOWN: &str = ours!("DaemonDown");
pub(super) const BROKEN: &str = ours!("Fault");
pub(super) const UNKNOWN_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";
pub(super) const UNKNOWN_INTERFACE: &str = "org.freedesktop.DBus.Error.UnknownInterface";
pub(super) const UNKNOWN_OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";
pub(super) const UNKNOWN_PROPERTY: &str = "org.freedesktop.DBus.Error.UnknownProperty";
pub(super) const READ_ONLY: &str = "org.freedesktop.DBus.Error.PropertyReadOnly";
pub(super) const INVALID_ARGS: &str = "org.freedesktop.DBus.Error.InvalidArgs";

impl Fault {
    /// One; what comes from outside is made harmless here.
    pub(super) fn new(name: &'static str, text: impl AsRef<str>) -> Self {
        let text = escape(text.as_ref());
        Self { name, text: clip(&text, MAX_TEXT).to_owned() }
    }

    /// The daemon cannot be reached, or went away.
    pub(super) fn down(why: impl std::fmt::Display) -> Self {
        Self::new(
            DAEMON_DOWN,
            format!("countersignd does not answer ({why}): see systemctl status countersignd"),
        )
    }

    /// What the daemon says.
    pub(super) fn of_daemon(error: &str, message: &str) -> Self {
        use manage::error;
        let name = match error {
            error::NOT_PERMITTED => NOT_AUTHORIZED,
            error::NOT_FOUND => NOT_FOUND,
            error::REFUSED => REFUSED,
            error::UNREACHABLE => UNREACHABLE,
            error::BAD_CALL => BAD_CALL,
            BUSY_DAEMON => BUSY,
            _ => BROKEN,
        };
        Self::new(name, message)
    }

    /// Whether the daemon, not the call, is the reason.
    pub(super) fn is_down(&self) -> bool {
        self.name == DAEMON_DOWN
    }
}

/// The daemon has no place for one more connection.
const BUSY_DAEMON: &str = "org.countersign.Busy";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_harmless_line_of_bounded_length() {
        let fault = Fault::new(BROKEN, format!("a\nb\x1b[2J{}", "\u{202e}é".repeat(MAX_TEXT)));
        assert!(fault.text.len() <= MAX_TEXT, "{}", fault.text.len());
        assert!(!fault.text.contains(['\n', '\x1b', '\u{202e}']), "{}", fault.text);
    }

    #[test]
    fn what_the_daemon_does_not_permit_is_not_authorized_here() {
        assert_eq!(Fault::of_daemon(manage::error::NOT_PERMITTED, "x").name, NOT_AUTHORIZED);
        assert_eq!(Fault::of_daemon("org.example.New", "x").name, BROKEN);
    }
}
