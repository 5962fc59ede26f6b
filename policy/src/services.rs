//! What a PAM service's name says of it.

use countersign_protocol::message::Kind;

/// Services that unlock a screen: one field, and the person is already logged in.
const LOCKERS: [&str; 14] = [
    "cinnamon-screensaver",
    "gnome-screensaver",
    "gtklock",
    "hyprlock",
    "i3lock",
    "kde",
    "light-locker",
    "mate-screensaver",
    "physlock",
    "swaylock",
    "vlock",
    "xfce4-screensaver",
    "xscreensaver",
    "xsecurelock",
];

/// Services that run a command with other rights.
const COMMANDS: [&str; 8] = ["doas", "runuser", "runuser-l", "su", "su-l", "sudo", "sudo-i", "pkexec"];

/// Services beside those that certainly have a terminal to prompt at.
const TERMINALS: [&str; 2] = ["login", "remote"];

/// The service of polkit's helper.
const POLKIT: &str = "polkit-1";

/// What a login by this service is, where root's own programs name it.
#[must_use]
pub fn kind(service: &str) -> Kind {
    if LOCKERS.contains(&service) {
        Kind::Unlock
    } else if COMMANDS.contains(&service) {
        Kind::Command
    } else if is_polkit(service) {
        Kind::Action
    } else {
        Kind::Login
    }
}

/// Whether the service certainly prompts at a terminal.
#[must_use]
pub fn has_terminal(kind: Kind, service: &str) -> bool {
    kind == Kind::Command || TERMINALS.contains(&service)
}

/// Whether this is polkit's helper, which an authentication agent speaks with.
#[must_use]
pub fn is_polkit(service: &str) -> bool {
    service == POLKIT
}

/// Whether this is sshd, under whatever name its binary was started: its PAM service is its own file name.
#[must_use]
pub fn is_sshd(service: &str) -> bool {
    service == "sshd" || service.starts_with("sshd-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_the_service_does() {
        for (service, means, terminal) in [
            ("sudo", Kind::Command, true),
            ("swaylock", Kind::Unlock, false),
            ("polkit-1", Kind::Action, false),
            ("login", Kind::Login, true),
            ("gdm-password", Kind::Login, false),
        ] {
            assert_eq!(kind(service), means, "{service}");
            assert_eq!(has_terminal(means, service), terminal, "{service}");
        }
        assert!(is_sshd("sshd-internal") && !is_sshd("ssh"));
    }
}
