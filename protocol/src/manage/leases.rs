//! The leases that hold.

use serde::{Deserialize, Serialize};

/// Some leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leases {
    /// The oldest first, as many as fit.
    pub leases: Vec<Lease>,
    /// How many more there are.
    #[serde(default)]
    pub more: u32,
}

/// A lease: until it ends nobody is asked about the same login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its request's id.
    pub id: String,
    /// Whose account it opens.
    pub user: String,
    /// Who has granted it.
    pub granted_by: String,
    /// The PAM service.
    pub service: String,
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The ssh key's fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The terminal, for one of a session on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<String>,
    /// Seconds since 1970.
    pub until: u64,
    /// How often it was used.
    pub used: u32,
    /// How often it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
}
