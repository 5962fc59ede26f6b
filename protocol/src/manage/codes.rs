//! What is typed in place of the phone.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Shortest and longest time in seconds that a code made for a while is good for.
pub const MIN_ONCE: u32 = 60;
/// See [`MIN_ONCE`].
pub const MAX_ONCE: u32 = 24 * 3600;
/// Longest reason for one in bytes.
pub const MAX_REASON: usize = 200;

/// New recovery codes. They are kept nowhere in this form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codes {
    /// `xxxx-xxxx-xxxx-xxxx`.
    pub codes: Vec<Zeroizing<String>>,
}

/// Recovery codes that are left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodesLeft {
    /// Unused codes.
    pub left: u32,
    /// Whether there is an authenticator's secret.
    #[serde(default)]
    pub totp: bool,
    /// Until when the code opens that root has made for a while, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once_until: Option<u64>,
}

/// A code that opens once. It is kept nowhere in this form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnceCode {
    /// `xxxx-xxxx-xxxx-xxxx`.
    pub code: Zeroizing<String>,
    /// Until when, seconds since 1970 by the host's clock.
    pub ends_at: u64,
}

/// A new authenticator (RFC 6238), told this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authenticator {
    /// Its secret in base32, to type.
    pub secret: Zeroizing<String>,
    /// The same as an `otpauth:` link, for a QR code.
    pub link: Zeroizing<String>,
}
