//! The signed messages. What is signed are the JSON bytes as sent, never a re-encoding, so a
//! reader verifies first and parses after.

mod request;

pub use request::{
    Approvals, Confirm, Context, Kind, List, MAX_DETAIL, MAX_LIST, MAX_OFFSET, MAX_PLACE, MAX_ZONE, Place,
    PlaceSource, Remote, RemoteSource, Request, SshKey, Zone,
};

use serde::{Deserialize, Serialize};

/// Version of every message here.
pub const VERSION: u32 = 1;
/// Longest signed body of any message in bytes.
pub const MAX_BODY: usize = 2048;
/// Longest validity of a request in seconds where the service gives the person time.
pub const MAX_EXPIRES_IN: u32 = 600;
/// Digits of the code that a phone shows after approving.
pub const CODE_DIGITS: usize = 6;

/// SSHSIG namespaces, one for each kind of message, so that no signature serves twice.
pub mod namespace {
    /// A host's [`super::Request`].
    pub const REQUEST: &str = "request@countersign.org";
    /// A device's [`super::Decision`].
    pub const DECISION: &str = "decision@countersign.org";
    /// A host's [`super::Closed`].
    pub const CLOSED: &str = "closed@countersign.org";
    /// A device's own [`super::Card`].
    pub const CARD: &str = "device@countersign.org";
    /// A host's [`super::Receipt`].
    pub const RECEIPT: &str = "paired@countersign.org";
    /// A host's [`super::Notice`].
    pub const NOTICE: &str = "notice@countersign.org";
    /// A device's [`super::Removal`].
    pub const REMOVAL: &str = "remove@countersign.org";
    /// An [`crate::api::AuthStatement`].
    pub const AUTH: &str = "auth@countersign.org";
}

/// Who a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name, for people.
    pub name: String,
    /// Its public key, one OpenSSH line without comment.
    pub key: String,
}

/// What a person answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// [`VERSION`].
    pub version: u32,
    /// SHA-256 of the request's bytes in hex.
    pub request: String,
    /// The answer.
    pub decision: Answer,
    /// Six random digits, with an approval of a request with [`Confirm::Code`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// A lease, with an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Seconds since 1970 by the device's clock.
    pub decided_at: u64,
    /// Rises with every decision of this device; a step back hints at a copied key.
    pub counter: u64,
}

/// Answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Let it happen.
    Approve,
    /// Do not.
    Deny,
    /// Do not: it was not me.
    Report,
}

/// Approving again is not needed until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Seconds since 1970 by the host's clock.
    pub until: u64,
    /// What it holds for: the request's service. A host takes no other one.
    pub scope: String,
}

/// The end of a request: version 1 of its register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// [`VERSION`].
    pub version: u32,
    /// The request's id.
    pub id: String,
    /// SHA-256 of the request's bytes in hex.
    pub request: String,
    /// How it ended.
    pub outcome: ClosedOutcome,
    /// Seconds since 1970 by the host's clock.
    pub closed_at: u64,
}

/// How a request ended, in the words that a phone shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClosedOutcome {
    /// Approved, and let in.
    Approved,
    /// Denied.
    Denied,
    /// Reported.
    Reported,
    /// Nobody decided in time, or the code was not typed.
    Expired,
    /// The asking side went away.
    Withdrawn,
    /// Three wrong codes.
    Failed,
    /// Another request took its place.
    Replaced,
    /// Another factor was used.
    Otherwise,
}

/// A device's public keys, signed by the device itself in `device@countersign.org`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// [`VERSION`].
    pub version: u32,
    /// The signing key, one OpenSSH line without comment.
    pub key: String,
    /// The X25519 public key in base64; requests are sealed to it.
    pub seal: String,
    /// Rises with every new card of this device.
    pub serial: u64,
    /// What its owner calls it, at most [`MAX_DEVICE_NAME`] bytes.
    pub name: String,
}

/// Longest name of a device in bytes.
pub const MAX_DEVICE_NAME: usize = 64;

/// What a host gives a device that it has paired; only then does the device trust the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// [`VERSION`].
    pub version: u32,
    /// Who paired.
    pub host: Host,
    /// For whom.
    pub user: String,
    /// SHA-256 of the device card's bytes in hex.
    pub card: String,
    /// Seconds since 1970 by the host's clock.
    pub paired_at: u64,
}

/// What a host tells a user's devices about them: after one was added or removed, and from time to
/// time beside a [`Closed`]. Its register's id is the same for all notices of a host about a user
/// ([`Notice::id`]), so that a newer one takes the place of an older one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// [`VERSION`].
    pub version: u32,
    /// First 16 bytes of SHA-256(`"countersign notice v1"` ‖ user) in hex.
    pub id: String,
    /// Whose devices.
    pub user: String,
    /// A fresh X25519 public key in base64; a [`Removal`] is sealed to it.
    pub reply_key: String,
    /// What has happened, when that is why it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<DeviceEvent>,
    /// The devices that may approve now, the last used first, as many as fit.
    pub devices: Vec<NoticeDevice>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u32,
    /// Seconds since 1970 by the host's clock; an older notice than the one known is passed over.
    pub issued_at: u64,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What happened to a user's devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceEvent {
    /// What.
    pub what: DeviceChange,
    /// Key id of the device.
    pub device: String,
    /// Its name.
    pub name: String,
}

/// Kinds of [`DeviceEvent`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChange {
    /// It may approve from now on.
    Paired,
    /// It may no longer approve.
    Removed,
}

/// A device in a [`Notice`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeDevice {
    /// Its key id.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Seconds since 1970.
    pub paired_at: u64,
    /// When it last decided, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<u64>,
}

/// A device takes another one (or itself) from a user's devices, for good. Sealed to the `reply_key`
/// of a [`Notice`], whose id is the envelope's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// [`VERSION`].
    pub version: u32,
    /// SHA-256 of the notice's bytes in hex.
    pub notice: String,
    /// Key id of the device that goes.
    pub device: String,
    /// Seconds since 1970 by the device's clock.
    pub decided_at: u64,
    /// Shared with the decisions.
    pub counter: u64,
}

/// Kinds of sealed messages; part of what the seal is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageType {
    /// [`Request`], host to device.
    Request,
    /// [`Closed`], host to device.
    Closed,
    /// [`Decision`], device to host.
    Decision,
    /// [`Receipt`], host to device.
    Receipt,
    /// [`Notice`], host to device.
    Notice,
    /// [`Removal`], device to host.
    Removal,
}

impl MessageType {
    /// Its name, as in the envelope.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Closed => "closed",
            Self::Decision => "decision",
            Self::Receipt => "receipt",
            Self::Notice => "notice",
            Self::Removal => "removal",
        }
    }

    /// The namespace that its signature is in.
    #[must_use]
    pub fn namespace(self) -> &'static str {
        match self {
            Self::Request => namespace::REQUEST,
            Self::Closed => namespace::CLOSED,
            Self::Decision => namespace::DECISION,
            Self::Receipt => namespace::RECEIPT,
            Self::Notice => namespace::NOTICE,
            Self::Removal => namespace::REMOVAL,
        }
    }
}

/// What the relay sees of a message. Its exact bytes are authenticated by the seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// [`VERSION`].
    pub version: u32,
    /// What is inside.
    #[serde(rename = "type")]
    pub message_type: MessageType,
    /// Key id of the sender.
    pub from: String,
    /// Key id of the recipient.
    pub to: String,
    /// The request's id.
    pub id: String,
}

/// A sealed message as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The JSON text of an [`Envelope`], exactly as authenticated. At most [`MAX_ENVELOPE`] bytes.
    pub envelope: String,
    /// Base64 of HPKE's `enc` (32 bytes) and ciphertext ([`PADDED`] + 16 bytes).
    pub sealed: String,
}

/// Longest envelope in bytes.
pub const MAX_ENVELOPE: usize = 512;
/// Length of every plaintext before sealing.
pub const PADDED: usize = 3072;
