//! What `explain` is told of a login has to be what a login could bring along: another one would meet no condition, and
//! nobody would see why.

use std::net::IpAddr;

use countersign_protocol::login::Action;
use countersign_protocol::text::escape;

use crate::args::Explain;
use crate::output::{Exit, Failure, Outcome};

/// Longest name of a host.
const MAX_HOST: usize = 253;
/// How the types of ssh keys begin.
const KEY_TYPES: [&str; 3] = ["ssh-", "ecdsa-sha2-", "sk-"];
/// Characters of a SHA-256 digest in base64.
const DIGEST: usize = 43;

/// # Errors
/// Which of the arguments is none, and how it is written.
pub(super) fn check(login: &Explain) -> Outcome<()> {
    for (option, value, is_one, how) in [
        (
            "--from",
            &login.from,
            is_place as fn(&str) -> bool,
            "one address, such as 192.0.2.7 or 2001:db8::7, or a name",
        ),
        ("--key", &login.key, is_fingerprint, "a fingerprint as ssh-keygen -l prints it: SHA256:…"),
        (
            "--key-type",
            &login.key_type,
            is_key_type,
            "a type such as ssh-ed25519 or sk-ssh-ed25519@openssh.com",
        ),
        (
            "--action",
            &login.action,
            Action::is_name,
            "an action's name, of letters, digits, \".\", \"_\" and \"-\"",
        ),
    ] {
        if let Some(value) = value.as_deref().filter(|value| !is_one(value)) {
            return Err(Failure::new(Exit::Usage, format!("{option} \"{}\": write {how}", escape(value))));
        }
    }
    Ok(())
}

/// An address, or what may be a host's name: its last part is not a number.
fn is_place(text: &str) -> bool {
    // A link-local address names its interface behind a percent sign.
    let bare = text.split('%').next().unwrap_or_default();
    if bare.parse::<IpAddr>().is_ok() {
        return true;
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or_default();
    text.len() <= MAX_HOST && name.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_fingerprint(text: &str) -> bool {
    text.strip_prefix("SHA256:").is_some_and(|digest| {
        digest.len() == DIGEST
            && digest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
    })
}

fn is_key_type(text: &str) -> bool {
    KEY_TYPES.iter().any(|begins| text.len() > begins.len() && text.starts_with(begins))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_a_name() {
        for place in ["192.0.2.7", "2001:db8::7", "fe80::1%eth0", "laptop", "a-1.example.com", "a.example."] {
            assert!(is_place(place), "{place}");
        }
        for other in ["", "300.1.1.1", "10.0.0.1/8", "[2001:db8::7]", "2001:db8::g", "a b", "a..b", "10.0.0"]
        {
            assert!(!is_place(other), "{other}");
        }
    }

    #[test]
    fn a_key_is_its_fingerprint_and_a_type_is_written_out() {
        assert!(is_fingerprint(&format!("SHA256:{}", "a".repeat(43))));
        for other in ["foo", "SHA256:", "SHA256:abc", "MD5:00"] {
            assert!(!is_fingerprint(other), "{other}");
        }
        assert!(is_key_type("ssh-ed25519") && is_key_type("sk-ssh-ed25519@openssh.com"));
        for other in ["ed25519", "ssh-", "rsa"] {
            assert!(!is_key_type(other), "{other}");
        }
    }
}
