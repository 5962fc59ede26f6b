//! `org.countersign.Manage`: what `countersign` (the command) asks of the daemon.
//!
//! Same sockets and framing as [`crate::login`]. On the root socket everything is allowed; on the
//! other one only what its comment says, and only about the caller's own uid.

use crate::message::{ClosedOutcome, Confirm, Kind};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The trouble of a daemon that has only just begun to connect.
pub const NOT_CONNECTED_YET: &str = "not connected yet";

/// A call of the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "parameters")]
pub enum Call {
    /// How the daemon is: [`Status`]. Anybody.
    #[serde(rename = "org.countersign.Manage.Status")]
    Status {},
    /// Registers this host at its server with a one-time token: [`Joined`].
    #[serde(rename = "org.countersign.Manage.Join")]
    Join {
        /// From `countersign-server token`.
        token: Zeroizing<String>,
    },
    /// Opens a pairing: [`PairingStep`]. It ends with the connection. Anybody may ask for
    /// themselves once they have a paired device, whose approval is asked for first.
    #[serde(rename = "org.countersign.Manage.Pair")]
    Pair {
        /// For whom.
        user: String,
    },
    /// The code that the paired device shows after approving; empty to wait for its decision:
    /// [`PairingStep`].
    #[serde(rename = "org.countersign.Manage.PairApprove")]
    PairApprove {
        /// Six digits.
        code: Zeroizing<String>,
    },
    /// Waits until a phone has answered the open pairing: [`PairingAnswered`].
    #[serde(rename = "org.countersign.Manage.PairWait")]
    PairWait {},
    /// The pairing code that the phone shows: [`PairingChecked`].
    #[serde(rename = "org.countersign.Manage.PairCode")]
    PairCode {
        /// Six digits.
        code: Zeroizing<String>,
    },
    /// Rings the device that this connection has just paired, once, and waits for an answer: [`Rung`].
    #[serde(rename = "org.countersign.Manage.Ring")]
    Ring {},
    /// The paired devices: [`Devices`]. Anybody about their own.
    #[serde(rename = "org.countersign.Manage.Devices")]
    Devices {
        /// Only this user's; all without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
    /// Removes a device for good: [`Devices`] that were removed. Anybody about their own.
    #[serde(rename = "org.countersign.Manage.Revoke")]
    Revoke {
        /// Whose.
        user: String,
        /// Its name or `SHA256:…` fingerprint.
        device: String,
    },
    /// Makes new recovery codes, the old ones end: [`Codes`].
    #[serde(rename = "org.countersign.Manage.NewCodes")]
    NewCodes {
        /// For whom.
        user: String,
        /// How many, 1 to 20.
        count: u8,
    },
    /// How many recovery codes are left: [`CodesLeft`]. Anybody about their own.
    #[serde(rename = "org.countersign.Manage.CodesLeft")]
    CodesLeft {
        /// Whose.
        user: String,
    },
    /// Makes one code that opens once within some time, as a recovery code does; an earlier one ends: [`OnceCode`].
    #[serde(rename = "org.countersign.Manage.NewOnce")]
    NewOnce {
        /// For whom.
        user: String,
        /// How long it is good, [`MIN_ONCE`] to [`MAX_ONCE`].
        seconds: u32,
        /// Why, for the audit.
        reason: String,
    },
    /// Makes a new secret for the user's authenticator, the old one ends: [`Authenticator`].
    #[serde(rename = "org.countersign.Manage.NewAuthenticator")]
    NewAuthenticator {
        /// For whom.
        user: String,
    },
    /// That polkit is about to ask a user's agent for a password, and for what: [`Noted`]. For polkit's own daemon,
    /// whose rule calls it, and root.
    #[serde(rename = "org.countersign.Manage.PolkitAsks")]
    PolkitAsks {
        /// For whom something is to be done.
        subject: String,
        /// The action's name.
        action: String,
        /// The same in words; may be empty.
        text: String,
    },
    /// What is held against people and places: [`Held`]. Root.
    #[serde(rename = "org.countersign.Manage.Blocks")]
    Blocks {},
    /// Ends it: [`Held`] that it was. Root.
    #[serde(rename = "org.countersign.Manage.Unblock")]
    Unblock {
        /// Of this user; of everybody without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// From this address, or `user NAME`; from everywhere without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
    },
    /// The leases that hold: [`Leases`]. Anybody about their own.
    #[serde(rename = "org.countersign.Manage.Leases")]
    Leases {
        /// Only those that this user has granted, or that open this user's account; all without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
    /// Ends leases: [`Leases`] that have ended. Anybody their own.
    #[serde(rename = "org.countersign.Manage.EndLeases")]
    EndLeases {
        /// Whose; everybody's without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// What its id begins with; all of them without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// The requests that wait: [`Requests`]. Anybody about their own: their account is to be entered, or they ask.
    #[serde(rename = "org.countersign.Manage.Requests")]
    Requests {
        /// Only this user's; all without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// Those after the one of this id, in the order of an earlier list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Ends a request, whose login is refused: the [`Request`] that it was. Anybody their own.
    #[serde(rename = "org.countersign.Manage.CancelRequest")]
    CancelRequest {
        /// What its id begins with.
        id: String,
    },
    /// Tells what happens from now on, an [`Event`] a reply, until the caller goes. Root of everything, others of their
    /// own things.
    #[serde(rename = "org.countersign.Manage.Watch")]
    Watch {},
    /// What follows on this connection is asked by somebody else, whom the caller answers for: [`Acting`]. Root, as
    /// the first call; a `Begin` of [`crate::login`] may follow, too.
    #[serde(rename = "org.countersign.Manage.ActFor")]
    ActFor {
        /// Who asks.
        uid: u32,
        /// With root's rights, since an administrator has authorized it; else with the user's own.
        as_administrator: bool,
    },
}

/// Fewest characters of a request's id that name it.
pub const MIN_REQUEST_ID: usize = 4;
/// Shortest and longest time in seconds that a code made for a while is good for.
pub const MIN_ONCE: u32 = 60;
/// See [`MIN_ONCE`].
pub const MAX_ONCE: u32 = 24 * 3600;
/// Longest reason for one in bytes.
pub const MAX_REASON: usize = 200;

/// The answer where nothing is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {}

/// Names of the errors that calls end in.
pub mod error {
    /// The call or its parameters are not understood.
    pub const BAD_CALL: &str = "org.countersign.Manage.BadCall";
    /// The caller may not do this.
    pub const NOT_PERMITTED: &str = "org.countersign.Manage.NotPermitted";
    /// A person said no, or did not say yes in time.
    pub const REFUSED: &str = "org.countersign.Manage.Refused";
    /// No such user, device or pairing.
    pub const NOT_FOUND: &str = "org.countersign.Manage.NotFound";
    /// The server cannot be reached or refused.
    pub const UNREACHABLE: &str = "org.countersign.Manage.Unreachable";
    /// Something broke on this host.
    pub const FAULT: &str = "org.countersign.Manage.Fault";
}

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

/// How far a pairing is, before a phone can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum PairingStep {
    /// A paired device was asked: the code that it shows has to be typed.
    Approve {
        /// How often one may be typed.
        tries: u8,
        /// Seconds until the question ends.
        expires_in: u32,
    },
    /// A phone may answer.
    Opened(PairingOpened),
}

/// A pairing is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairingOpened {
    /// What the QR code carries: a link with everything in its fragment.
    pub link: String,
    /// What is typed where the link cannot be opened.
    pub ticket: String,
    /// Seconds until it closes.
    pub expires_in: u32,
}

/// A phone has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairingAnswered {
    /// The name it gives itself; escape it before showing.
    pub name: String,
    /// Fingerprint of its signing key.
    pub fingerprint: String,
    /// How often a code may be typed.
    pub tries: u8,
}

/// What came of a pairing code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum PairingChecked {
    /// The device may approve from now on.
    Paired(Device),
    /// Not the code.
    Wrong {
        /// Tries that are left; at 0 the pairing is over.
        tries: u8,
    },
}

/// What came of a test ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// What its person answered; nothing when nobody did in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<RingAnswer>,
}

/// Answers to a test ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RingAnswer {
    /// It rang.
    Rang,
    /// Denied: somebody holds the device who does not expect it.
    Denied,
}

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

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A request waits.
    RequestOpened(Request),
    /// One is over.
    RequestClosed {
        /// Its id.
        id: String,
        /// Whose account was to be entered.
        user: String,
        /// Who asked, where that is somebody else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requester: Option<String>,
        /// How it ended.
        outcome: ClosedOutcome,
    },
    /// A device may approve from now on.
    DevicePaired(Device),
    /// It may no longer.
    DeviceRemoved(Device),
    /// How the daemon is now, as everybody may know it. The first one comes at once.
    Status(Status),
    /// Too much happened at once, and some of it is not told: ask anew.
    Lost {},
}

/// From now on the connection is somebody else's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acting {
    /// Whose.
    pub uid: u32,
    /// That user's name; none where the host knows nobody of that number, and where root's rights were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

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
