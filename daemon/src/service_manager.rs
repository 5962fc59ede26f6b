//! What systemd is told. Without systemd all of it does nothing.

use sd_notify::NotifyState;
use std::future::pending;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Logins are served.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The policy is read again; [`ready`] follows.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// No more logins are taken.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Says again and again that the daemon lives, at least twice as often as asked; sleeps for ever when nobody asks.
/// It is said whenever something `happens`, so that an idle daemon is not woken for this alone.
pub async fn watchdog<F: Future<Output = ()>>(happens: impl Fn() -> F) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| *limit > Duration::ZERO) else {
        return pending().await;
    };
    loop {
        tell(&[NotifyState::Watchdog]);
        let told = Instant::now();
        let soon = async {
            while told.elapsed() < limit / 4 {
                happens().await;
            }
        };
        // Either is a good time.
        let _ = timeout(limit / 2, soon).await;
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // A service manager that does not listen is no reason to stop logins.
    let _ = sd_notify::notify(state);
}
