//! Where a crash may happen: a test ends the program before and after each write to the disk.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many more of them are passed; 0: all.
static LEFT: AtomicU32 = AtomicU32::new(0);

/// From now on the program dies at the given one.
pub(super) fn die_at(number: Option<u32>) {
    LEFT.store(number.unwrap_or(0), Ordering::Relaxed);
}

/// One of them.
pub(super) fn passed() {
    let left = LEFT.load(Ordering::Relaxed);
    if left == 1 {
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
    }
    LEFT.store(left.saturating_sub(1), Ordering::Relaxed);
}
