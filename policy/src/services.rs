//! What a PAM service's name says of it.

use countersign_protocol::login::ASK_SERVICE;
use countersign_protocol::message::Kind;

/// Services that unlock a screen: the person is already logged in.
const LOCKERS: [&str; 15] = [
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
    "waylock",
    "xfce4-screensaver",
    "xscreensaver",
    "xsecurelock",
];

/// Greeters, and the console: a person stands in front of them, and is not logged in yet.
const GREETERS: [&str; 10] =
    ["gdm-password", "greetd", "lightdm", "login", "lxdm", "ly", "plasmalogin", "sddm", "wdm", "xdm"];

/// Services of programs that have one field, and put what was typed there into every prompt, or a user's name: a
/// question for a code would be answered with the password. Each was tried, or its conversation was read.
const ONE_FIELD: [&str; 6] = ["gtklock", "hyprlock", "i3lock", "sddm", "swaylock", "waylock"];

/// A greeter that takes the first question for the password's, and shows no text with it: LightDM's, with the gtk greeter.
const HIDES_FIRST_PROMPT: &str = "lightdm";

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
    } else if is_polkit(service) || service == ASK_SERVICE {
        Kind::Action
    } else {
        Kind::Login
    }
}

/// Whether somebody stands in front of the machine: a greeter, the console, a locker. Nobody else's name is one.
#[must_use]
pub fn is_seat(service: &str) -> bool {
    GREETERS.contains(&service) || LOCKERS.contains(&service)
}

/// Whether the service certainly prompts at a terminal.
#[must_use]
pub fn has_terminal(kind: Kind, service: &str) -> bool {
    kind == Kind::Command || TERMINALS.contains(&service)
}

/// Whether the service's program has one field, so that nothing can be asked beside the password.
#[must_use]
pub fn has_one_field(service: &str) -> bool {
    ONE_FIELD.contains(&service)
}

/// Whether the service's program shows no text with the first question: what it is for has to be said before.
#[must_use]
pub fn hides_first_prompt(service: &str) -> bool {
    service == HIDES_FIRST_PROMPT
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
            ("ask", Kind::Action, false),
            ("login", Kind::Login, true),
            ("gdm-password", Kind::Login, false),
        ] {
            assert_eq!(kind(service), means, "{service}");
            assert_eq!(has_terminal(means, service), terminal, "{service}");
        }
        for (service, seat) in
            [("lightdm", true), ("xsecurelock", true), ("sshd", false), ("sudo", false), ("remote", false)]
        {
            assert_eq!(is_seat(service), seat, "{service}");
        }
        assert!(is_sshd("sshd-internal") && !is_sshd("ssh"));
    }

    #[test]
    fn what_asks_in_a_field_of_its_own_is_none_of_one_field() {
        for service in ONE_FIELD {
            assert!(has_one_field(service) && !has_terminal(kind(service), service), "{service}");
        }
        for service in
            ["gdm-password", "lightdm", "kde", "xscreensaver", "xsecurelock", "login", "sudo", "i3lock2"]
        {
            assert!(!has_one_field(service), "{service}");
        }
    }
}
