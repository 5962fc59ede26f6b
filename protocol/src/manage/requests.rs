//! The requests that wait.

use crate::message::{Confirm, Kind};
use serde::{Deserialize, Serialize};

/// Fewest characters of a request's id that name it.
pub const MIN_REQUEST_ID: usize = 4;

/// Some requests that wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// The one whose time is over next comes first; as many as fit.
    pub requests: Vec<Request>,
    /// How many more there are; `after` asks for them.
    #[serde(default)]
    pub more: u32,
}

/// A request that waits. Texts are as the request says them: escape them before showing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its id.
    pub id: String,
    /// Whose account is to be entered.
    pub user: String,
    /// Who asks, where that is somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// The PAM service.
    pub service: String,
    /// What kind of thing it is.
    pub kind: Kind,
    /// The command line of the calling process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What is to be done, where it is no command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<String>,
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// When it was made, seconds since 1970.
    pub issued_at: u64,
    /// Seconds that are left.
    pub expires_in: u32,
    /// What has to be done beside approving.
    pub confirm: Confirm,
    /// How many people have to approve.
    pub needed: u8,
    /// How many have.
    pub approved: u32,
    /// Whether the server is out of reach.
    pub unreachable: bool,
}
