//! The audit log: JSON lines, each of which holds the digest of the line before, with the signed
//! request and decision inside, so that `ssh-keygen` can check them years later.
//!
//! The chain shows edits, removals and another order, but for the end of the file: whoever can write
//! it can cut or change the last line. Keep [`Chain::head`] elsewhere (syslog does) to see that, too.

mod chain;
mod evidence;

pub use chain::{BadLine, Chain, ChainFault, verify};
pub use evidence::{Evidence, EvidenceFault};

use serde::{Deserialize, Serialize};

/// Version of the records.
pub const VERSION: u32 = 1;
/// Longest line in bytes.
pub const MAX_LINE: usize = 64 * 1024;
/// What stands behind a login's reason where there was nobody to ask.
pub const NO_DEVICE: &str = "(there is no device to ask)";
/// One line. `version`, `seq` and `previous` are set by [`Chain::append`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// Counted from 1, without gaps.
    pub seq: u64,
    /// SHA-256 in hex of the line before, without its newline.
    pub previous: String,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What happened, for example `login`, `paired`, `revoked`.
    pub event: String,
    /// The login's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The PAM service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `auth` or `session`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// This host's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// By which factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<String>,
    /// Whose device decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<String>,
    /// Fingerprint of the deciding device's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What was asked for, where that was no login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The same in words, as the phones were told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Where it came from, as whoever asked has said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// SHA-256 in hex of the list that belongs to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// The policy's rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The request's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Armored SSHSIG over them, by the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_signature: Option<String>,
    /// The decision's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Armored SSHSIG over them, by the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_signature: Option<String>,
    /// The other people's decisions, where several have decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Further>,
    /// Certificates that the host has found beside signatures without one, by which those approvals counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// The bytes of the removal by which one device ended another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<String>,
    /// Armored SSHSIG over them, by the device that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal_signature: Option<String>,
}

/// One more person's decision about a record's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Further {
    /// Whose device decided.
    pub approver: String,
    /// Fingerprint of its key.
    pub device: String,
    /// The decision's bytes.
    pub decision: String,
    /// Armored SSHSIG over them, by the device.
    pub decision_signature: String,
}
