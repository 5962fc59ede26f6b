//! One clock for all processes of a measurement.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC.
pub(crate) fn monotonic() -> i64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |at| at.tv_sec() * 1_000_000_000 + at.tv_nsec())
}
