//! The two clocks.

use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the host was booted, sleep included. Nobody can set this clock: deadlines use it.
#[must_use]
pub fn boot() -> Duration {
    // The clock exists on every kernel that the daemon runs on.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// Seconds since 1970. For people and for other machines; an administrator can set it.
#[must_use]
pub fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_run() {
        let before = boot();
        std::thread::sleep(Duration::from_millis(5));
        assert!(boot() > before);
        assert!(unix() > 1_700_000_000);
    }
}
