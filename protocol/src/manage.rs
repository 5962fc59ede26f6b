//! `org.countersign.Manage`: what `countersign` (the command) asks of the daemon.
//!
//! The calls are here, what they are answered with is in a module a family.
//!
//! Same sockets and framing as [`crate::login`]. On the root socket everything is allowed; on the
//! other one only what its comment says, and only about the caller's own uid.

mod blocks;
mod codes;
mod devices;
mod events;
mod host;
mod leases;
mod pairing;
mod requests;

pub use blocks::{Block, BlockKind, Held};
pub use codes::{Authenticator, Codes, CodesLeft, MAX_ONCE, MAX_REASON, MIN_ONCE, OnceCode};
pub use devices::{Device, Devices, Revoked};
pub use events::Event;
pub use host::{Joined, Status};
pub use leases::{Lease, Leases};
pub use pairing::{PairingAnswered, PairingChecked, PairingOpened, PairingStep, RingAnswer, Rung};
pub use requests::{MIN_REQUEST_ID, Request, Requests};

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

/// The answer where nothing is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {}

/// From now on the connection is somebody else's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acting {
    /// Whose.
    pub uid: u32,
    /// That user's name; none where the host knows nobody of that number, and where root's rights were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}
