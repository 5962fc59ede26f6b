//! The module's arguments in a PAM service file.

use std::ffi::CStr;
use std::path::PathBuf;

/// Longest path of a Unix socket: `sun_path` less its NUL.
const MAX_SOCKET_PATH: usize = 107;

/// What stands behind `pam_countersign.so` on its line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// `socket=PATH`: the daemon's socket in place of the usual two.
    pub(crate) socket: Option<PathBuf>,
    /// `daemon_down=ignore`: go on with the next module when nobody listens on the socket.
    pub(crate) ignore_when_down: bool,
    /// `debug`: log each step.
    pub(crate) debug: bool,
    /// `passwordless`: no password goes before; only whom a rule of the policy names for that gets in.
    pub(crate) passwordless: bool,
}

/// An argument that is not understood. A misspelt one must not weaken a login, so it refuses.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum BadArgument {
    #[error(
        "unknown module argument \"{0}\": write socket=PATH, daemon_down=refuse, daemon_down=ignore, passwordless or debug"
    )]
    Unknown(String),
    #[error(
        "module argument \"{0}\": the socket has to be an absolute path of at most {MAX_SOCKET_PATH} bytes"
    )]
    Socket(String),
}

impl Arguments {
    /// Reads the arguments; the first one that is not understood is the error.
    pub(crate) fn parse(arguments: &[&CStr]) -> Result<Self, BadArgument> {
        let mut parsed = Self::default();
        for argument in arguments {
            let named = || argument.to_string_lossy().into_owned();
            let text = argument.to_str().map_err(|_| BadArgument::Unknown(named()))?;
            match text.split_once('=') {
                None if text == "debug" => parsed.debug = true,
                None if text == "passwordless" => parsed.passwordless = true,
                Some(("daemon_down", "refuse")) => parsed.ignore_when_down = false,
                Some(("daemon_down", "ignore")) => parsed.ignore_when_down = true,
                Some(("socket", path)) if path.starts_with('/') && path.len() <= MAX_SOCKET_PATH => {
                    parsed.socket = Some(PathBuf::from(path));
                }
                Some(("socket", _)) => return Err(BadArgument::Socket(named())),
                _ => return Err(BadArgument::Unknown(named())),
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
#[path = "../../tests/manual/page.rs"]
mod page;
#[cfg(test)]
mod tests {
    use super::page::Page;
    use super::*;

    #[test]
    fn nothing_means_refuse() {
        assert_eq!(
            Arguments::parse(&[]),
            Ok(Arguments { socket: None, ignore_when_down: false, debug: false, passwordless: false })
        );
    }

    #[test]
    fn all_of_them() {
        let parsed =
            Arguments::parse(&[c"debug", c"daemon_down=ignore", c"passwordless", c"socket=/run/x/pam.sock"]);
        let socket = Some(PathBuf::from("/run/x/pam.sock"));
        assert_eq!(parsed, Ok(Arguments { socket, ignore_when_down: true, debug: true, passwordless: true }));
        let last_wins = Arguments::parse(&[c"daemon_down=ignore", c"daemon_down=refuse"]);
        assert_eq!(last_wins, Ok(Arguments::default()));
    }

    #[test]
    fn anything_else_is_an_error() {
        for bad in [
            c"",
            c"Debug",
            c"debug=1",
            c"daemon_down",
            c"daemon_down=allow",
            c"failmode=safe",
            c"passwordless=no",
            c"\xff",
        ] {
            assert!(matches!(Arguments::parse(&[bad]), Err(BadArgument::Unknown(_))), "{bad:?}");
        }
        let long = std::ffi::CString::new(format!("socket=/{}", "x".repeat(MAX_SOCKET_PATH))).unwrap();
        for bad in [c"socket=", c"socket=run/pam.sock", long.as_c_str()] {
            assert!(matches!(Arguments::parse(&[bad]), Err(BadArgument::Socket(_))), "{bad:?}");
        }
    }

    #[test]
    fn the_manual_has_every_argument_and_no_other() {
        let told = Page::open("pam_countersign.8").keys("ARGUMENTS", "Cm");
        for argument in &told {
            let value = if argument.ends_with('=') { "/run/x.sock" } else { "" };
            let argument = std::ffi::CString::new(format!("{argument}{value}")).unwrap();
            assert!(Arguments::parse(&[&argument]).is_ok(), "{argument:?}");
        }
        // What a wrong one is told names them all.
        let advice = Arguments::parse(&[c"x"]).unwrap_err().to_string();
        let (_, words) = advice.split_once("write ").unwrap();
        let words = words.split(", ").flat_map(|word| word.split(" or "));
        assert_eq!(told, words.map(|word| word.trim_end_matches("PATH").to_owned()).collect());
    }
}
