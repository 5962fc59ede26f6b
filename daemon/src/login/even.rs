//! How long it takes until somebody is asked says nothing of who they are: a login that posts a request, and one that
//! has nobody to post to, both wait for as long as nearly all posts took lately.
//!
//! One post in twenty takes longer than that, and such a login is an enrolled person's. See the threat model.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use countersign_protocol::random;

/// Posts that are remembered.
const KEPT: usize = 64;
/// With fewer of them the time is [`AT_FIRST`].
const ENOUGH: usize = 8;
const AT_FIRST: Duration = Duration::from_millis(60);
/// Longest time that a server's slowness is made everybody's.
const LONGEST: Duration = Duration::from_secs(1);

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
    pub(super) fn time(&self) -> Duration {
        let mut times: Vec<Duration> = self.0.borrow().iter().copied().collect();
        times.sort_unstable();
        let usual = times.get(times.len() * 19 / 20).copied().filter(|_| times.len() >= ENOUGH);
        let usual = usual.unwrap_or(AT_FIRST);
        usual + usual / 1024 * u32::from(random::bytes::<1>()[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_longer_than_nearly_all_posts_and_no_slow_one_makes_it_much_longer() {
        let even = Even::default();
        let millis = Duration::from_millis;
        assert!(even.time() >= AT_FIRST && even.time() < AT_FIRST * 5 / 4);
        for took in 0..1000 {
            even.note(millis(if took % 64 == 0 { 900 } else { 3 + took % 5 }));
        }
        for _ in 0..100 {
            assert!((millis(7)..millis(9)).contains(&even.time()), "{:?}", even.time());
        }
        (0..KEPT).for_each(|_| even.note(millis(5000)));
        assert!(even.time() < LONGEST * 5 / 4);
        assert_eq!(even.0.borrow().len(), KEPT);
    }
}
