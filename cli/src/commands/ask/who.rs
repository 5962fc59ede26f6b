//! Whose word is wanted, and who wants it.

use crate::output::{Exit, Failure, Outcome};
use countersign_protocol::text::escape;
use nix::unistd::{Uid, User, geteuid};
use std::fs;

/// The user whom the kernel remembers since the login, whatever they have become: of every process, and for good.
const LOGIN_UID: &str = "/proc/self/loginuid";
/// What it holds where nobody has logged in: jobs and services.
const NOBODY: u32 = u32::MAX;
/// Where sudo, pkexec and `PackageKit` leave word of who called them. Only where the kernel knows nothing.
const CALLERS: [&str; 3] = ["SUDO_UID", "PKEXEC_UID", "PACKAGEKIT_CALLER_UID"];

/// Who asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// In whose name.
    pub(super) user: String,
    /// Who is logged in behind it, where root asks.
    pub(super) requester: Option<String>,
}

/// # Errors
/// When somebody who is not root names another user, or the name service does not answer.
pub(super) fn who(user: Option<&str>) -> Outcome<Who> {
    // As of `--user "$SOMEBODY"` in a script that has not set it.
    if user == Some("") {
        return Err(Failure::new(Exit::Usage, "--user is empty: name somebody, or leave it away"));
    }
    let caller = geteuid();
    let own = name(caller)?.unwrap_or_else(|| caller.to_string());
    if !caller.is_root() {
        return match user.filter(|user| *user != own) {
            Some(other) => Err(Failure::new(
                Exit::NotPermitted,
                format!("only root asks for {}: leave --user away, or run this as root", escape(other)),
            )),
            None => Ok(Who { user: own, requester: None }),
        };
    }
    // Whoever is named was named for their phone; so is root.
    let behind = if user == Some(own.as_str()) { None } else { behind() };
    let requester = behind.map(name).transpose()?.flatten();
    Ok(Who { user: user.map_or(own, str::to_owned), requester })
}

/// Who is logged in behind a process of root's.
fn behind() -> Option<Uid> {
    let known = fs::read_to_string(LOGIN_UID).ok().and_then(|text| uid(&text));
    known
        .or_else(|| CALLERS.iter().find_map(|variable| uid(&std::env::var(variable).ok()?)))
        .map(Uid::from_raw)
}

fn uid(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|uid| *uid != NOBODY)
}

fn name(uid: Uid) -> Outcome<Option<String>> {
    let user = User::from_uid(uid).map_err(|error| Failure::broken("the name service", error))?;
    Ok(user.map(|user| user.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_behind_a_job() {
        assert_eq!(uid("4294967295\n"), None);
        assert_eq!(uid("1000"), Some(1000));
        for bad in ["", "-1", "alice", "4294967296"] {
            assert_eq!(uid(bad), None, "{bad}");
        }
    }
}
