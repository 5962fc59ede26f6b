//! What systemd is told. Without systemd all of it does nothing.

use sd_notify::NotifyState;
use std::future::pending;
use std::time::Duration;

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

/// Says again and again that the daemon lives, twice as often as asked; sleeps for ever when nobody asks.
pub async fn watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| *limit > Duration::ZERO) else {
        return pending().await;
    };
    let mut beat = tokio::time::interval(limit / 2);
    loop {
        beat.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // A service manager that does not listen is no reason to stop logins.
    let _ = sd_notify::notify(state);
}
