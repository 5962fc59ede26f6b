//! `org.countersign.Login`: what the PAM module and the daemon say to each other.
//!
//! The module calls [`Call::Begin`] once, then does what each [`Step`] says and calls
//! [`Call::Continue`] until a [`Step::Verdict`] comes. One call is out at a time. Closing the
//! socket withdraws the login.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use zeroize::Zeroizing;

/// Version of this interface. A daemon answers an unknown one with an error.
pub const VERSION: u32 = 1;

/// Socket for callers that are root.
pub const ROOT_SOCKET: &str = "/run/countersign/pam.sock";
/// Socket for everybody else; a caller may ask about its own uid only.
pub const SELF_SOCKET: &str = "/run/countersign/self.sock";

/// The first reply to a call has to come within this many milliseconds.
pub const FIRST_REPLY_MS: u64 = 3_000;

/// Longest user, service, terminal, remote user or host name in bytes.
pub const MAX_NAME: usize = 256;
/// Longest command line that is sent, in bytes.
pub const MAX_COMMAND: usize = 1024;
/// Longest `SSH_AUTH_INFO_0` that is sent, in bytes.
pub const MAX_SSH_AUTH_INFO: usize = 8192;
/// The service of whoever asks for an action, as `countersign ask` does: no PAM service.
pub const ASK_SERVICE: &str = "ask";
/// Longest name of an action in bytes.
pub const MAX_ACTION: usize = 64;
/// Longest origin of an action in bytes.
pub const MAX_ORIGIN: usize = 64;
/// Most origins of an action.
pub const MAX_ORIGINS: usize = 16;

/// Longest text of a step and longest answer in bytes: `PAM_MAX_MSG_SIZE`, its NUL included.
pub const MAX_TEXT: usize = 511;

/// The environment variable (of the PAM handle) that carries the token of a grant from the `auth`
/// to the `session` stage.
pub const TOKEN_VARIABLE: &str = "COUNTERSIGN_GRANT";

/// A call of the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "parameters")]
pub enum Call {
    /// Starts a login.
    #[serde(rename = "org.countersign.Login.Begin")]
    Begin(Box<Begin>),
    /// Goes on after a step was carried out.
    #[serde(rename = "org.countersign.Login.Continue")]
    Continue(Continue),
}

/// Which PAM function is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// `pam_sm_authenticate`.
    Auth,
    /// `pam_sm_open_session`: cannot prompt.
    Session,
}

/// What the module knows of a login. All of it is what the application said, but for `peer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// [`VERSION`].
    pub version: u32,
    /// The PAM function.
    pub stage: Stage,
    /// PAM_SERVICE.
    pub service: String,
    /// PAM_USER.
    pub user: String,
    /// PAM_RHOST: an address, or a name when sshd has `UseDNS yes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_host: Option<String>,
    /// PAM_RUSER: who asks, for su and sudo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_user: Option<String>,
    /// PAM_TTY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<String>,
    /// `SSH_AUTH_INFO_0`: the methods that sshd has already accepted, a line each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_auth_info: Option<String>,
    /// The calling process's command line, arguments joined by spaces; set-uid callers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    /// The peer of sshd's inherited TCP socket, as the kernel says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// The session that the caller belongs to, as the kernel says; set-uid callers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// PAM_SILENT: nothing but prompts may be shown.
    #[serde(default)]
    pub silent: bool,
    /// The token of a grant in the `auth` stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Zeroizing<String>>,
    /// The service's line says that no password goes before it. It only ever narrows: who is not named for it by
    /// the policy is refused. A daemon that does not know it refuses the login.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passwordless: bool,
    /// What is to be done; with the service [`ASK_SERVICE`] and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// Something that is asked for in place of a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Its name, see [`Action::is_name`].
    pub name: String,
    /// The same in words, at most [`crate::message::MAX_DETAIL`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Where what is to be done comes from, for the policy: at most [`MAX_ORIGINS`], see [`Action::is_origin`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// Bytes of the list that belongs to it, at most [`crate::message::MAX_LIST`]. They follow in the answers to the first
    /// [`Step::Wait`]s, as many to each as fit into a frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<u32>,
}

impl Action {
    /// Whether a text may name an action: letters, digits, `.`, `_` and `-`, a letter or digit first.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        name.len() <= MAX_ACTION
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
    }

    /// Whether a text may be an origin: something, and nothing that acts on a terminal.
    #[must_use]
    pub fn is_origin(origin: &str) -> bool {
        (1..=MAX_ORIGIN).contains(&origin.len()) && !origin.chars().any(crate::text::is_active)
    }
}

/// The far end of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its address; an IPv4-mapped one is given as IPv4.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

/// A session of processes, by its leader: a shell on a terminal, for example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The leader's process.
    pub leader: i32,
    /// When that was started, in the kernel's ticks since boot: another process of that number has another.
    pub started: u64,
}

/// What came of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continue {
    /// The answer to [`Step::Ask`], or a part of an action's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Zeroizing<String>>,
    /// The conversation could not ask: PAM_CONV_ERR or a NULL answer. An answer that is no text is
    /// an answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cannot_ask: bool,
}

/// What the module has to do next. `deadline_ms` counts from the step's arrival: the reply to the
/// `Continue` that follows comes before it, or the module gives up by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum Step {
    /// Show a line, then `Continue`.
    Say {
        /// How to show it.
        style: Style,
        /// Plain text, one line.
        text: String,
        /// Milliseconds until the module gives up.
        deadline_ms: u64,
        /// It belongs to the prompt that follows: shown even where nothing but prompts may be.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        always: bool,
    },
    /// Prompt with echo, then `Continue` with the answer.
    Ask {
        /// Plain text, one line.
        text: String,
        /// Milliseconds that the daemon may take to reply to the answer.
        deadline_ms: u64,
    },
    /// Nothing to show; `Continue` at once, with the next part of the list as the answer while not all of it was sent
    /// that was announced.
    Wait {
        /// Milliseconds until the module gives up.
        deadline_ms: u64,
    },
    /// The end.
    Verdict(Verdict),
}

/// How a line is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// PAM_TEXT_INFO.
    Info,
    /// PAM_ERROR_MSG.
    Error,
}

/// How a login ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The outcome. Anything that the module does not know is an error and so a refusal.
    pub outcome: Outcome,
    /// Why, and what to do next: one line, shown as an error unless PAM_SILENT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A single-use token for the session stage, with a grant in the `auth` stage of sshd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Zeroizing<String>>,
}

/// How a login may end. Only [`Outcome::Granted`] opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A signed decision, or a factor that the policy allows.
    Granted,
    /// The policy has nothing to say here (`skip`, `observe`): PAM_IGNORE.
    Ignored,
    /// Denied: by a person, by the policy, by a wrong code, or for want of a device.
    Denied,
    /// Nobody decided in time.
    Expired,
    /// The asking side went away.
    Withdrawn,
    /// The server could not be reached and no offline factor was given.
    Unreachable,
    /// Too many waits or failures.
    Busy,
    /// The daemon's configuration is unusable.
    Misconfigured,
    /// Something broke.
    Fault,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_has_a_plain_name_and_origins_that_can_be_shown() {
        for name in ["deploy.web", "apt.install", "a", "9", &"a".repeat(MAX_ACTION), "A-b_c"] {
            assert!(Action::is_name(name), "{name}");
        }
        for name in ["", ".a", "-a", "_a", "a b", "a/b", "ä", "a\n", "a*", &"a".repeat(MAX_ACTION + 1)] {
            assert!(!Action::is_name(name), "{name}");
        }
        for origin in ["Debian", "LP-PPA-x", "o=Debian,a=stable", "Käse", &"o".repeat(MAX_ORIGIN)] {
            assert!(Action::is_origin(origin), "{origin}");
        }
        for origin in ["", "a\nb", "\u{202e}", "\u{1b}[m", &"o".repeat(MAX_ORIGIN + 1)] {
            assert!(!Action::is_origin(origin), "{origin}");
        }
    }
}
