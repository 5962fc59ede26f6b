//! The devices that may approve.

use serde::{Deserialize, Serialize};

/// Some devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// In order of pairing.
    pub devices: Vec<Device>,
}

/// What was taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// In order of pairing.
    pub devices: Vec<Device>,
    /// Whether the device goes on approving for somebody else.
    #[serde(default)]
    pub still_anothers: bool,
}

/// A device that may approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// For whom.
    pub user: String,
    /// The name it gives itself.
    pub name: String,
    /// Fingerprint of its signing key.
    pub fingerprint: String,
    /// When it was paired, seconds since 1970.
    pub paired_at: u64,
    /// When it last decided, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<u64>,
    /// By which principals its certificates make its user one of those who may approve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<String>,
}
