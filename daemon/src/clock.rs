//! The two clocks.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the host was booted, sleep included. Nobody can set this clock: deadlines use it.
#[must_use]
pub fn boot() -> Duration {
    #[cfg(test)]
    if let Some(now) = wound::boot() {
        return now;
    }
    // The clock exists on every kernel that the daemon runs on.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// Seconds since 1970. For people and for other machines; an administrator can set it.
#[must_use]
pub fn unix() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    #[cfg(test)]
    let now = wound::calendar().unwrap_or(now).saturating_add_signed(wound::apart());
    now
}

/// The same moment, for what goes by the calendar.
#[must_use]
pub fn now() -> Timestamp {
    #[cfg(test)]
    if wound::calendar().is_some() {
        return Timestamp::from_second(unix().try_into().unwrap()).unwrap();
    }
    Timestamp::now()
}

/// Seconds since 1970 that only run forward: from the wall clock, or from a later time that was seen before, by the
/// boot clock.
#[derive(Debug, Clone, Copy)]
pub struct Forward {
    started: (u64, Duration),
}

impl Forward {
    /// Starts now, and never before `high_water`.
    #[must_use]
    pub fn since(high_water: u64) -> Self {
        Self { started: (unix().max(high_water), boot()) }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.started.0.saturating_add(boot().saturating_sub(self.started.1).as_secs())
    }
}

/// A boot clock that goes with the runtime's, which a test may have paused and wound forward.
#[cfg(test)]
pub(crate) mod wound {
    use std::cell::Cell;
    use std::time::Duration;
    use tokio::time::Instant;

    /// A clock that is younger than this would have had no time before it.
    const BEFORE: Duration = Duration::from_secs(1_000_000);

    thread_local! {
        /// When this thread began to follow, and how long its machine has slept since.
        static FOLLOWED: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    }

    thread_local! {
        static APART: Cell<i64> = const { Cell::new(0) };
        /// What the calendar's clock showed when this thread began to follow.
        static CALENDAR: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Somebody sets the calendar's clock of this thread by so many seconds.
    pub(crate) fn set_apart(seconds: i64) {
        APART.set(seconds);
    }

    pub(super) fn apart() -> i64 {
        APART.get()
    }

    /// From now on this thread's boot clock is the runtime's.
    pub(crate) fn follow() {
        FOLLOWED.set(Some((Instant::now(), Duration::ZERO)));
    }

    /// The same, and so is the calendar's, which shows this first.
    pub(crate) fn follow_from(unix: u64) {
        follow();
        CALENDAR.set(Some(unix));
        APART.set(0);
    }

    pub(super) fn calendar() -> Option<u64> {
        let (since, slept) = FOLLOWED.get()?;
        Some(CALENDAR.get()? + (since.elapsed() + slept).as_secs())
    }

    /// The machine sleeps: the boot clock goes on, and timers do not.
    pub(crate) fn sleep(time: Duration) {
        FOLLOWED.set(FOLLOWED.get().map(|(since, slept)| (since, slept + time)));
    }

    pub(super) fn boot() -> Option<Duration> {
        FOLLOWED.get().map(|(since, slept)| BEFORE + since.elapsed() + slept)
    }
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
