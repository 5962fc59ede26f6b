//! When somebody's devices stop ringing, and for how long.

use serde::{Deserialize, Serialize};

/// Undecided requests that ring.
pub(super) const RINGING: u32 = 3;
/// Seconds of the first quiet; each one that follows is twice as long.
pub(super) const FIRST: u64 = 15 * 60;
/// Longest quiet in seconds.
pub(super) const LONGEST: u64 = 4 * 60 * 60;
/// Seconds without a request after which all is forgotten.
const CALM: u64 = 24 * 60 * 60;

/// Requests that nobody has decided, and the quiet that they have led to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quiet {
    /// Since the last success.
    undecided: u32,
    last: u64,
    /// Length of the quiet; 0 while there was none.
    length: u64,
    until: u64,
}

impl Quiet {
    /// Counts a request that begins; whether it may ring. After a quiet one rings, and the next quiet begins with it.
    pub(super) fn rings(&mut self, now: u64) -> bool {
        if self.is_over(now) {
            *self = Self::default();
        }
        self.undecided = self.undecided.saturating_add(1);
        self.last = now;
        if now < self.until {
            return false;
        }
        if self.length > 0 || self.undecided >= RINGING {
            self.length = (self.length * 2).clamp(FIRST, LONGEST);
            self.until = now.saturating_add(self.length);
        }
        true
    }

    /// One of them has rung nowhere.
    pub(super) fn give_back(&mut self) {
        self.undecided = self.undecided.saturating_sub(1);
        if self.undecided < RINGING {
            (self.length, self.until) = (0, 0);
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Whether it says nothing any more.
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.undecided == 0 || now >= self.until.max(self.last.saturating_add(CALM))
    }

    /// Seconds for which it is still quiet.
    pub(super) fn left(&self, now: u64) -> Option<u64> {
        self.until.checked_sub(now).filter(|left| *left > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn three_ring_and_then_one_after_each_quiet_which_grows() {
        let mut quiet = Quiet::default();
        let rang: Vec<u64> = (NOW..NOW + 24 * 60 * 60).filter(|now| quiet.rings(*now)).collect();
        let after: Vec<u64> = rang.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mut expected = vec![1, 1, FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST];
        expected.resize(after.len(), LONGEST);
        assert_eq!(after, expected);
        assert!((9..=12).contains(&rang.len()), "in a whole day: {}", rang.len());
    }

    #[test]
    fn a_day_of_calm_forgets_and_less_does_not() {
        let mut quiet = Quiet::default();
        assert!((0..RINGING).all(|_| quiet.rings(NOW)));
        assert!(!quiet.rings(NOW + FIRST - 1));
        assert!(quiet.rings(NOW + CALM - 1));
        assert!(!quiet.rings(NOW + CALM), "one rings after a quiet");
        let later = NOW + 2 * CALM;
        assert!((0..RINGING).all(|_| quiet.rings(later)));
        assert!(!quiet.rings(later));
    }

    #[test]
    fn what_rang_nowhere_does_not_count() {
        let mut quiet = Quiet::default();
        for _ in 0..20 {
            assert!(quiet.rings(NOW));
            quiet.give_back();
        }
        assert!(quiet.is_over(NOW));
    }
}
