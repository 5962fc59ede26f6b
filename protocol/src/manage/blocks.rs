//! What is held against people and places.

use serde::{Deserialize, Serialize};

/// What is held against people and places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// In no order that means anything.
    pub blocks: Vec<Block>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What it is.
    pub what: BlockKind,
    /// Whose logins; without, those that a local user asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// From where; from everywhere without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Seconds that are left of it.
    pub seconds: u64,
}

/// What is held against somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// Nobody decided too often: devices do not ring, logins go on.
    Quiet,
    /// Denied: refused for a moment, then without ringing.
    Denied,
    /// Reported: refused.
    Reported,
    /// Too many wrong typed codes: none is compared.
    Codes,
}
