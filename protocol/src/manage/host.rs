//! How the daemon is, and that its host is known to the server.

use serde::{Deserialize, Serialize};

/// How the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The host's name as phones see it.
    pub host: String,
    /// Fingerprint of the host key, `SHA256:…`.
    pub host_key: String,
    /// The server's address.
    pub server: String,
    /// Whether the stream from the server is open.
    pub connected: bool,
    /// Why not, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Logins that wait for a decision now.
    pub waiting: u32,
    /// Devices that may approve here.
    pub devices: u32,
    /// Faults of the configuration that was read last; empty when it is in force.
    #[serde(default)]
    pub config_faults: Vec<String>,
    /// Whether its files say something else by now, which nothing has read yet. Told to root alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub config_changed: bool,
    /// Faults of the administrator's files of approvers, revoked keys and certificates: the file is not taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approver_faults: Vec<String>,
}

/// The host is known to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The server's address.
    pub server: String,
    /// Fingerprint of the host key.
    pub host_key: String,
}
