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
/// With fewer of them the time is that of the slowest, and at least [`AT_FIRST`].
const ENOUGH: usize = 8;
const AT_FIRST: Duration = time(100);
/// Where the server is known to be away: the design's limit is 20 ms.
const AWAY: Duration = time(3);
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

/// How long posts of logins took lately.
#[derive(Default)]
pub(super) struct Even {
    /// From the login's beginning until its request was with the server.
    logins: Times,
    /// The post alone.
    posts: Times,
}

impl Even {
    /// A request is with the server. `login` is how long its login took until then, if it was the first.
    pub(super) fn note(&self, login: Option<Duration>, post: Duration) {
        if let Some(login) = login {
            self.logins.note(login);
        }
        self.posts.note(post);
    }

    /// When a login asks, by the boot clock: later than nineteen of twenty posts would be through that began when it
    /// began, and when it posted, and never the same. `began` is for its first prompt.
    pub(super) fn until(&self, began: Option<Duration>, posting: Duration) -> Duration {
        let login = began.map(|began| began + self.logins.usual());
        (posting + self.posts.usual()).max(login.unwrap_or_default()) + chance()
    }
}

#[derive(Default)]
struct Times(RefCell<VecDeque<Duration>>);

impl Times {
    fn note(&self, took: Duration) {
        let mut times = self.0.borrow_mut();
        if times.len() >= KEPT {
            times.pop_front();
        }
        times.push_back(took.min(LONGEST));
    }

    fn usual(&self) -> Duration {
        let mut times: Vec<Duration> = self.0.borrow().iter().copied().collect();
        times.sort_unstable();
        match times.len() {
            few @ ..ENOUGH => times.get(few.wrapping_sub(1)).copied().unwrap_or_default().max(AT_FIRST),
            many => times.get(many * 19 / 20).copied().unwrap_or(LONGEST),
        }
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
    fn it_is_later_than_nearly_all_posts_and_no_slow_one_makes_it_much_later() {
        let even = Even::default();
        let (millis, posting) = (Duration::from_millis, Duration::from_secs(100));
        let began = posting - millis(2);
        let about = |usual: Duration| usual..usual + CHANCE;
        assert!(about(posting + AT_FIRST).contains(&even.until(Some(began), posting)));
        even.note(None, millis(4));
        assert!(about(posting + millis(4)).contains(&even.until(None, posting)), "slower than at first");
        for took in 0..1000 {
            let post = millis(if took % 64 == 0 { 900 } else { 3 + took % 5 });
            even.note(Some(post + millis(1)), post);
        }
        for _ in 0..100 {
            assert!(about(posting + millis(7)).contains(&even.until(None, posting)));
            // Names were looked up slowly, or fast.
            assert!(about(posting + millis(7)).contains(&even.until(Some(began), posting)));
            assert!(about(posting + millis(8)).contains(&even.until(Some(posting), posting)));
        }
        (0..KEPT).for_each(|_| even.note(Some(millis(5000)), millis(5000)));
        assert!(about(posting + LONGEST).contains(&even.until(Some(posting), posting)));
        assert_eq!(even.posts.0.borrow().len(), KEPT);
    }

    #[test]
    fn chance_is_spread() {
        let mut times: Vec<Duration> = (0..1000).map(|_| wrong() - WRONG).collect();
        times.sort_unstable();
        assert!(times[500] > CHANCE * 4 / 10 && times[500] < CHANCE * 6 / 10, "{:?}", times[500]);
        assert!(times[0] < CHANCE / 10 && times[999] > CHANCE * 9 / 10 && times[999] < CHANCE);
    }
}
