//! How long an answer takes says nothing of who somebody is: whether they exist, have a device, an authenticator, codes.
//!
//! A login that posts a request, and one that has nobody to post to, both ask when nearly all posts are through; what was
//! typed in vain is answered after a fixed time. A little chance on top of both hides what is left, some microseconds.
//! One post in twenty takes longer than the usual ones, and such a login is an enrolled person's. See the threat model.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use countersign_protocol::random;

/// Posts that are remembered.
const KEPT: usize = 64;
/// With fewer of them the time is [`AT_FIRST`].
const ENOUGH: usize = 8;
const AT_FIRST: Duration = time(60);
/// Where the server is known to be away: the design's limit is 20 ms.
const AWAY: Duration = time(5);
/// Longest time that a server's slowness is made everybody's.
const LONGEST: Duration = time(1_000);
/// Until something wrong is answered: longer than the slowest comparison, with its records on the disk, usually takes.
const WRONG: Duration = time(150);
/// Most that chance adds.
const CHANCE: Duration = time(10);

/// Tests that tell what has to happen at once get a hundredth of it, so that there is something to wait for all the same.
const fn time(milliseconds: u64) -> Duration {
    Duration::from_micros(milliseconds * if cfg!(test) { 10 } else { 1_000 })
}

/// How long logins took lately until their request was with the server.
#[derive(Default)]
pub(super) struct Even(RefCell<VecDeque<Duration>>);

impl Even {
    /// A login's request is with the server, so long after the login began.
    pub(super) fn note(&self, took: Duration) {
        let mut times = self.0.borrow_mut();
        if times.len() >= KEPT {
            times.pop_front();
        }
        times.push_back(took.min(LONGEST));
    }

    /// How long after its beginning a login asks: longer than nineteen of twenty posts take, and never the same.
    pub(super) fn first(&self) -> Duration {
        let mut times: Vec<Duration> = self.0.borrow().iter().copied().collect();
        times.sort_unstable();
        let usual = times.get(times.len() * 19 / 20).copied().filter(|_| times.len() >= ENOUGH);
        usual.unwrap_or(AT_FIRST) + chance()
    }
}

/// How long after its beginning a login asks for what can be typed without the server.
pub(super) fn away() -> Duration {
    AWAY + chance()
}

/// How long after it was typed something wrong is answered.
pub(super) fn wrong() -> Duration {
    WRONG + chance()
}

fn chance() -> Duration {
    CHANCE * u32::from(u16::from_be_bytes(random::bytes())) / (1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_longer_than_nearly_all_posts_and_no_slow_one_makes_it_much_longer() {
        let even = Even::default();
        let millis = Duration::from_millis;
        let about = |usual: Duration| usual..usual + CHANCE;
        assert!(about(AT_FIRST).contains(&even.first()));
        for took in 0..1000 {
            even.note(millis(if took % 64 == 0 { 900 } else { 3 + took % 5 }));
        }
        for _ in 0..100 {
            assert!(about(millis(7)).contains(&even.first()), "{:?}", even.first());
        }
        (0..KEPT).for_each(|_| even.note(millis(5000)));
        assert!(about(LONGEST).contains(&even.first()));
        assert_eq!(even.0.borrow().len(), KEPT);
    }

    #[test]
    fn chance_is_spread() {
        let mut times: Vec<Duration> = (0..1000).map(|_| wrong() - WRONG).collect();
        times.sort_unstable();
        assert!(times[500] > CHANCE * 4 / 10 && times[500] < CHANCE * 6 / 10, "{:?}", times[500]);
        assert!(times[0] < CHANCE / 10 && times[999] > CHANCE * 9 / 10 && times[999] < CHANCE);
    }
}
