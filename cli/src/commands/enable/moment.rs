//! When something was, on the clocks that do not go back.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::output::{Failure, Outcome};

/// One moment of one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment {
    /// Milliseconds since the boot, as the starts of processes are told.
    pub(super) since_boot: u64,
    /// The same without the time asleep, as logind tells the starts of sessions.
    pub(super) awake: u64,
    /// Seconds since 1970, to be shown.
    pub(super) unix: u64,
}

impl Moment {
    pub(super) fn now() -> Outcome<Self> {
        let read = |clock| {
            let time = clock_gettime(clock).map_err(|error| Failure::broken("the clock", error))?;
            Ok(u64::try_from(Duration::from(time).as_millis()).unwrap_or(u64::MAX))
        };
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Ok(Self { since_boot: read(ClockId::CLOCK_BOOTTIME)?, awake: read(ClockId::CLOCK_MONOTONIC)?, unix })
    }
}

/// Which boot this is.
pub(super) fn boot() -> Outcome<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let id = fs::read_to_string(path).map_err(|error| Failure::broken(path, error))?;
    Ok(id.trim().to_owned())
}
