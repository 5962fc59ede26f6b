//! How often callers who are not root may ask. Each time writes an audit record and rings a phone, and
//! what they fill is everybody's.

use std::collections::HashMap;
use std::time::Duration;

/// Most questions of a user in a [`SPAN`].
pub(super) const MOST: u32 = 20;
/// The time over which they are counted.
const SPAN: Duration = Duration::from_secs(60);

/// Who asked how often lately.
#[derive(Default)]
pub(super) struct Pace {
    asked: HashMap<u32, (Duration, u32)>,
}

impl Pace {
    /// Counts a question; whether it may be asked. `now` is the boot clock.
    pub(super) fn allows(&mut self, uid: u32, now: Duration) -> bool {
        self.asked.retain(|_, (began, _)| now < *began + SPAN);
        let (_, count) = self.asked.entry(uid).or_insert((now, 0));
        *count = count.saturating_add(1);
        *count <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_asks_too_often_waits_and_others_do_not() {
        let (mut pace, now) = (Pace::default(), Duration::from_secs(100));
        assert!((0..MOST).all(|_| pace.allows(1000, now)));
        assert!(!pace.allows(1000, now + SPAN / 2));
        assert!(pace.allows(1001, now));
        assert!(pace.allows(1000, now + SPAN));
        assert_eq!(pace.asked.len(), 1, "what is long ago is forgotten");
    }
}
