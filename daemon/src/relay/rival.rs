//! Another machine with this host's key, as copied images have it. The server serves one stream a key, so
//! that each takes it from the other: this one leaves it for a while, longer each time, unless a login
//! wants it.

use std::path::Path;
use std::time::Duration;

/// The stream is left to the other for at least about that long, whoever waits here.
pub(super) const LEAST: Duration = Duration::from_secs(5);
/// Longest that it is left while nobody waits here.
const LONGEST: Duration = Duration::from_secs(300);
/// A stream that stood so long was not fought over.
const CALM: Duration = Duration::from_secs(900);
/// How often it is said.
const SAID_EVERY: Duration = Duration::from_secs(3600);

/// Why the server cannot be reached meanwhile, in a few words.
pub(super) const WHY: &str = "another machine uses this host's key";

/// What the administrator has to know, and to do.
pub(super) fn advice(fingerprint: &str, key: &Path) -> String {
    format!(
        "another machine uses this host key: {fingerprint} is on two machines, as when one was copied from the other; \
         the server serves one at a time, so logins fail in turns. On the copy: stop countersignd, remove {}, start it, \
         then countersign join, and pair its devices again",
        key.display()
    )
}

/// What is known of the other one.
#[derive(Default)]
pub(super) struct Rival {
    /// How long it was left alone last.
    left: Option<Duration>,
    said: Option<Duration>,
}

impl Rival {
    /// Whether it has shown up lately.
    pub(super) fn is_about(&self) -> bool {
        self.left.is_some()
    }

    /// It took the stream, which had stood for so long; how long to leave it.
    pub(super) fn took(&mut self, stood: Duration) -> Duration {
        let before = self.left.filter(|_| stood < CALM);
        let leave = before.map_or(LEAST, |before| (before * 2).min(LONGEST));
        self.left = Some(leave);
        leave
    }

    /// Whether it is time to say so, by the boot clock.
    pub(super) fn is_to_be_said(&mut self, now: Duration) -> bool {
        let is_due = self.said.is_none_or(|said| now.saturating_sub(said) >= SAID_EVERY);
        if is_due {
            self.said = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_left_alone_longer_each_time_until_it_stood_in_calm() {
        let mut rival = Rival::default();
        assert!(!rival.is_about());
        let seconds: Vec<u64> = (0..9).map(|_| rival.took(LEAST).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert!(rival.is_about());
        assert_eq!(rival.took(CALM), LEAST);
    }

    #[test]
    fn it_is_said_once_an_hour() {
        let mut rival = Rival::default();
        let said = (0..7200).filter(|second| rival.is_to_be_said(Duration::from_secs(*second))).count();
        assert_eq!(said, 2);
        let line = advice("SHA256:abc", Path::new("/var/lib/countersign/host_key"));
        assert!(line.contains("SHA256:abc") && line.contains("/var/lib/countersign/host_key"), "{line}");
    }
}
