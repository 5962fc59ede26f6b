//! What a host asks a person, and all that it says of it.

use super::Host;
use serde::{Deserialize, Serialize};

/// What a host asks a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`super::VERSION`].
    pub version: u32,
    /// 16 random bytes in hex.
    pub id: String,
    /// A fresh X25519 public key in base64; the decision is sealed to it.
    pub reply_key: String,
    /// Who asks.
    pub host: Host,
    /// Who wants in.
    pub user: String,
    /// The user's number on that host.
    pub uid: u32,
    /// Who typed the command, where that is somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// The PAM service.
    pub service: String,
    /// What kind of thing it is.
    pub kind: Kind,
    /// The command line of the calling process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What is to be done, by its name: of `countersign ask`, of polkit, or of the daemon itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The same in words, as the program says it that asks; at most [`MAX_DETAIL`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What it is to be done to, where that is too long for a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<List>,
    /// The terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<String>,
    /// Where from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// The ssh key that was accepted before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key: Option<SshKey>,
    /// What the host knows beside that, for the person to weigh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// Seconds since 1970 by the host's clock.
    pub issued_at: u64,
    /// Seconds, at most [`super::MAX_EXPIRES_IN`].
    pub expires_in: u32,
    /// What the person has to do beside approving.
    pub confirm: Confirm,
    /// The longest lease that the phone may grant, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_max: Option<u32>,
    /// How many logins a lease is good for, where the policy counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_uses: Option<u32>,
    /// Whose decisions count, and how many are needed.
    pub approvals: Approvals,
}

/// Longest [`Request::detail`] in bytes.
pub const MAX_DETAIL: usize = 300;
/// Longest list in bytes.
pub const MAX_LIST: usize = 256 * 1024;

/// A list that belongs to a request and travels beside it, encrypted: UTF-8 text, a line for each thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// SHA-256 of the text in hex.
    pub sha256: String,
    /// The text's length, at most [`MAX_LIST`].
    pub bytes: u32,
    /// How many lines it has; the last one needs no line feed.
    pub lines: u32,
    /// Base64 of a fresh AES-128 key, good for this list alone.
    pub key: String,
}

/// Kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Somebody logs in.
    Login,
    /// A command runs with other rights: sudo, su.
    Command,
    /// A screen is unlocked, or another caller that is not root asks about itself.
    Unlock,
    /// Something that a program or person on the host wants to have allowed, named by [`Request::action`].
    Action,
    /// Nothing: the host rings a device to see that it rings.
    Test,
}

/// Where a login comes from, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// An address, or what the application gave as one.
    pub address: String,
    /// The port, when the kernel said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whose word it is.
    pub source: RemoteSource,
}

/// Whose word an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RemoteSource {
    /// The kernel's: the peer of the connection itself.
    Kernel,
    /// The application's: PAM_RHOST.
    Pam,
    /// Nobody's.
    None,
}

/// An ssh key that sshd accepted before it asked PAM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshKey {
    /// `SHA256:…`.
    pub fingerprint: String,
    /// For example `ssh-ed25519` or `sk-ssh-ed25519@openssh.com`.
    #[serde(rename = "type")]
    pub key_type: String,
}

/// Longest [`Place`] in bytes.
pub const MAX_PLACE: usize = 96;
/// Longest name of a time zone in bytes.
pub const MAX_ZONE: usize = 64;
/// Furthest that a time zone is from UTC, in minutes.
pub const MAX_OFFSET: i16 = 18 * 60;

/// What a host knows of a login that nobody has told it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The user was never let in from this address before, as far as the host remembers.
    #[serde(default, skip_serializing_if = "is_false")]
    pub new_source: bool,
    /// Where the address may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The host's time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
}

/// Where an address may be, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// City and country, in English, at most [`MAX_PLACE`] bytes.
    pub text: String,
    /// Whose word it is.
    pub source: PlaceSource,
}

/// Whose word a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaceSource {
    /// That of a table of addresses on the host.
    Geoip,
}

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Its name, for example `Europe/Berlin`, where the host knows it; at most [`MAX_ZONE`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Minutes that it is ahead of UTC when the request is made, at most [`MAX_OFFSET`] either way.
    pub offset: i16,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What a person has to do beside approving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    /// Type the phone's six digits at the terminal.
    Code,
    /// Nothing.
    Tap,
}

/// Whose decisions count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvals {
    /// How many people.
    pub needed: u8,
    /// Their names.
    pub from: Vec<String>,
}
