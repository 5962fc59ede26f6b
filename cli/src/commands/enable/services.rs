//! Which services can be turned on, and which go together.

use countersign_pam_stack::examine::{NOBODY, SHARED};

use crate::output::{Exit, Failure, Outcome};

/// Longest name.
const MAX_NAME: usize = 64;
/// It stands in for services without a file.
const OTHER: &str = "other";
/// The same program asks for the second one when it opens a login shell.
const COMPANIONS: [(&str, &str); 2] = [("sudo", "sudo-i"), ("su", "su-l")];

/// Whether it could be a service's name.
pub(super) fn is_name(name: &str) -> bool {
    let is_one = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.+@".contains(&byte);
    !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with(['.', '-']) && name.bytes().all(is_one)
}

/// # Errors
/// Why it is none that is turned on.
pub(super) fn check(name: &str) -> Outcome {
    let no = |why: String| Err(Failure::new(Exit::Usage, why));
    if !is_name(name) {
        return no("a service has the name of a file in /etc/pam.d: sshd, sudo, su, login".to_owned());
    }
    if SHARED.contains(&name) {
        return no(format!(
            "{name} is included by other services, cron among them, and all of these would ask: name the service \
             itself, such as sshd or sudo"
        ));
    }
    if NOBODY.contains(&name) || name == OTHER {
        return no(format!(
            "{name} is no service that people log in with, so that nobody would be there to approve"
        ));
    }
    Ok(())
}

/// What is not seen of a service in its file.
pub(super) fn remark(name: &str) -> Option<&'static str> {
    (name == "polkit-1").then_some(
        "polkit asks for the password of the identity that is chosen in its dialog, mostly an administrator's, and that \
         person's phone rings; root's is its caller's. Who has no phone can do nothing then that needs polkit.",
    )
}

/// The service that goes with this one.
pub(super) fn companion(name: &str) -> Option<&'static str> {
    COMPANIONS.iter().find(|(first, _)| *first == name).map(|(_, second)| *second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_would_ask_nobody_are_refused() {
        for name in ["sshd", "sudo", "sudo-i", "su", "login", "gdm-password", "lightdm", "polkit-1"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in
            ["cron", "common-auth", "other", "system-auth", "", "../shadow", "a/b", ".sshd", "-x", "Sshd"]
        {
            assert!(check(name).is_err(), "{name}");
        }
        assert_eq!((companion("sudo"), companion("sshd")), (Some("sudo-i"), None));
    }
}
