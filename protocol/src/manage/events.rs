//! What a watcher is told.

use super::{Device, Request, Status};
use crate::message::ClosedOutcome;
use serde::{Deserialize, Serialize};

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
