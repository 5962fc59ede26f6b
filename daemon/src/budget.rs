//! How many wrong codes a user may type, however often the daemon or the clock is set back.
//!
//! A failure is written down before the code is compared, so that stopping the daemon in between
//! wins nothing; a right code gives its entry back.

use crate::clock::{self, Forward};
use crate::files;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Failures in a [`SHORT`] time.
const SHORT_MOST: usize = 5;
/// The short time in seconds.
const SHORT: u64 = 15 * 60;
/// Failures in a [`LONG`] time.
const LONG_MOST: usize = 20;
/// The long time in seconds.
const LONG: u64 = 24 * 60 * 60;
/// Users with failures in the long time. With more, those who have nothing to guess are forgotten
/// first, so that invented names cannot use up anybody's budget.
const MAX_USERS: usize = 1_000;
/// Longest file in bytes.
const MAX_FILE: usize = 8 * 1024 * 1024;

/// The failures of all users.
#[derive(Debug)]
pub struct Budget {
    store: files::Store,
    state: RefCell<State>,
    clock: Forward,
}

/// Leave to compare one code. It counts as a failure unless given back.
#[derive(Debug)]
#[must_use]
pub struct Try {
    user: String,
    at: u64,
}

/// Whether a date has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Not yet.
    No,
    /// It has.
    Yes,
    /// It has, because the clock once stood beyond it; now it stands before it.
    Clock,
}

/// No leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// When to try again.
    pub retry: Duration,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// The latest time that was ever seen. Setting the clock back does not make failures younger, nor does it
    /// bring back a date that has passed.
    high_water: u64,
    /// Times of failures.
    users: BTreeMap<String, Vec<u64>>,
}

impl Budget {
    /// Reads the file, or starts without one.
    ///
    /// # Errors
    /// When it is there and cannot be read: without it everybody would have a full budget.
    pub fn open(path: &Path, owner: files::Owner) -> io::Result<Self> {
        let state: State = files::read_json(path, owner, MAX_FILE)?.unwrap_or_default();
        let clock = Forward::since(state.high_water);
        Ok(Self { store: files::Store::new(path), state: RefCell::new(state), clock })
    }

    /// Asks for leave to compare one code that this user typed; comes back when the disk knows.
    /// `holds` says whether a user has anything to guess, by whatever factor: one factor's flood of names must not
    /// free another's. Ask by [`crate::app::App::leave_to_guess`].
    ///
    /// # Errors
    /// When it cannot be written down: then nothing may be compared.
    pub async fn take(&self, user: &str, holds: impl Fn(&str) -> bool) -> io::Result<Result<Try, Blocked>> {
        let now = self.clock.now();
        if let Err(blocked) = self.state.borrow_mut().take(user, now, holds) {
            return Ok(Err(blocked));
        }
        self.write().await?;
        Ok(Ok(Try { user: user.into(), at: now }))
    }

    /// The code was right.
    ///
    /// # Errors
    /// When it cannot be written down; the try then still counts after a restart.
    pub async fn give_back(&self, taken: Try) -> io::Result<()> {
        if let Some(times) = self.state.borrow_mut().users.get_mut(&taken.user)
            && let Some(at) = times.iter().position(|time| *time == taken.at)
        {
            times.remove(at);
        }
        self.write().await
    }

    /// Whether a date has passed, in seconds since 1970. Once it has it stays so, wherever the clock is set to
    /// after that: then `Past::Clock` says that the clock alone would not say so.
    ///
    /// # Errors
    /// When that it has passed cannot be written down; it has all the same.
    pub async fn is_past(&self, date: u64) -> io::Result<Past> {
        let unix = clock::unix();
        if date > self.clock.now().max(unix) {
            return Ok(Past::No);
        }
        if self.state.borrow().high_water < date {
            let before = std::mem::replace(&mut self.state.borrow_mut().high_water, date);
            if let Err(error) = self.write().await {
                // Tried again the next time.
                let mut state = self.state.borrow_mut();
                if state.high_water == date {
                    state.high_water = before;
                }
                return Err(error);
            }
        }
        Ok(if date > unix { Past::Clock } else { Past::Yes })
    }

    /// Seconds since 1970 that only run forward.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Users who may try nothing now, and for how many seconds.
    #[must_use]
    pub fn blocked(&self) -> Vec<(String, u64)> {
        let now = self.clock.now();
        let state = self.state.borrow();
        let left = |times: &[u64]| blocked(times, now).map(|blocked| blocked.retry.as_secs());
        state.users.iter().filter_map(|(user, times)| Some((user.clone(), left(times)?))).collect()
    }

    /// Gives a user a full budget, or everybody.
    ///
    /// # Errors
    /// When it cannot be written down: it may be used up again after a restart.
    pub async fn forget(&self, user: Option<&str>) -> io::Result<()> {
        self.state.borrow_mut().users.retain(|name, _| user.is_some_and(|user| user != name));
        self.write().await
    }

    async fn write(&self) -> io::Result<()> {
        self.store.write(|| serde_json::to_vec(&*self.state.borrow())).await
    }
}

impl State {
    fn take(&mut self, user: &str, now: u64, holds: impl Fn(&str) -> bool) -> Result<(), Blocked> {
        self.high_water = self.high_water.max(now);
        self.users.retain(|_, times| {
            times.retain(|time| now.saturating_sub(*time) < LONG);
            !times.is_empty()
        });
        if self.users.len() >= MAX_USERS && !self.users.contains_key(user) {
            let nobody = self.users.iter().filter(|(name, _)| !holds(name));
            if let Some(name) = nobody.min_by_key(|(_, times)| times.last()).map(|(name, _)| name.clone()) {
                self.users.remove(&name);
            }
        }
        let times = self.users.entry(user.into()).or_default();
        match blocked(times, now) {
            Some(blocked) => Err(blocked),
            None => {
                times.push(now);
                Ok(())
            }
        }
    }
}

/// Whether failures at these times leave room for no more.
fn blocked(times: &[u64], now: u64) -> Option<Blocked> {
    for (most, span) in [(LONG_MOST, LONG), (SHORT_MOST, SHORT)] {
        // Times stand in order, so this one has to leave the span before there is room.
        if let Some(first) = times.len().checked_sub(most).and_then(|at| times.get(at))
            && now.saturating_sub(*first) < span
        {
            let free = first.saturating_add(span);
            return Some(Blocked { retry: Duration::from_secs(free.saturating_sub(now)) });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 1_800_000_000;

    #[test]
    fn five_in_a_quarter_of_an_hour_and_twenty_a_day() {
        let mut state = State::default();
        let mut now = DAY;
        for round in 0..4 {
            for _ in 0..5 {
                state.take("alice", now, |_| true).unwrap();
            }
            let blocked = state.take("alice", now + 1, |_| true).unwrap_err();
            if round < 3 {
                assert_eq!(blocked.retry, Duration::from_secs(SHORT - 1));
            }
            state.take(&format!("other{round}"), now, |_| true).unwrap();
            now += SHORT;
        }
        let blocked = state.take("alice", now, |_| true).unwrap_err();
        assert_eq!(blocked.retry, Duration::from_secs(LONG - 4 * SHORT));
        state.take("alice", DAY + LONG, |_| true).unwrap();
    }

    #[test]
    fn invented_names_neither_pile_up_nor_block_or_free_anybody() {
        let mut state = State::default();
        let holds = |user: &str| user == "alice" || user == "bob";
        for _ in 0..SHORT_MOST {
            state.take("alice", DAY, holds).unwrap();
        }
        for number in 0..MAX_USERS * 2 {
            state.take(&number.to_string(), DAY + 1, holds).unwrap();
        }
        assert_eq!(state.users.len(), MAX_USERS);
        assert!(state.take("alice", DAY + 2, holds).is_err(), "her failures still count");
        state.take("bob", DAY + 2, holds).unwrap();
        state.take("one more", DAY + 2 * LONG, holds).unwrap();
        assert_eq!(state.users.len(), 1);
    }

    #[tokio::test]
    async fn counted_before_comparing_and_kept_across_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget.json");
        let owner = files::Owner(nix::unistd::geteuid().as_raw());
        for _ in 0..5 {
            // A new daemon each time: killed after the failure was counted.
            let budget = Budget::open(&path, owner).unwrap();
            let _ = budget.take("alice", |_| true).await.unwrap().unwrap();
        }
        let budget = Budget::open(&path, owner).unwrap();
        assert!(budget.take("alice", |_| true).await.unwrap().is_err());
        assert!(budget.take("bob", |_| true).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_user_is_given_a_full_budget_and_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget.json");
        let owner = files::Owner(nix::unistd::geteuid().as_raw());
        let budget = Budget::open(&path, owner).unwrap();
        for user in ["alice", "bob"] {
            for _ in 0..SHORT_MOST {
                let _ = budget.take(user, |_| true).await.unwrap().unwrap();
            }
        }
        assert_eq!(budget.blocked().len(), 2);
        budget.forget(Some("alice")).await.unwrap();
        let budget = Budget::open(&path, owner).unwrap();
        assert_eq!(budget.blocked().iter().map(|(user, _)| user.as_str()).collect::<Vec<_>>(), ["bob"]);
        assert!(budget.take("alice", |_| true).await.unwrap().is_ok());
        budget.forget(None).await.unwrap();
        assert!(budget.blocked().is_empty());
    }

    #[tokio::test]
    async fn a_right_code_gives_its_try_back() {
        let folder = tempfile::tempdir().unwrap();
        let owner = files::Owner(nix::unistd::geteuid().as_raw());
        let budget = Budget::open(&folder.path().join("budget.json"), owner).unwrap();
        for _ in 0..50 {
            let taken = budget.take("alice", |_| true).await.unwrap().unwrap();
            budget.give_back(taken).await.unwrap();
        }
    }

    #[tokio::test]
    async fn setting_the_clock_back_refills_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget.json");
        let owner = files::Owner(nix::unistd::geteuid().as_raw());
        // Five failures by a clock that stood an hour ahead and was then set right.
        let ahead = clock::unix() + 3600;
        let state = State { high_water: ahead, users: [("alice".into(), vec![ahead; 5])].into() };
        files::replace(&path, &serde_json::to_vec(&state).unwrap()).unwrap();
        let budget = Budget::open(&path, owner).unwrap();
        assert!(budget.take("alice", |_| true).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_date_that_has_passed_does_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget.json");
        let owner = files::Owner(nix::unistd::geteuid().as_raw());
        let now = clock::unix();
        let budget = Budget::open(&path, owner).unwrap();
        assert_eq!(budget.is_past(now + 60).await.unwrap(), Past::No);
        assert!(!path.exists());
        assert_eq!(budget.is_past(now - 60).await.unwrap(), Past::Yes);
        assert_eq!(Budget::open(&path, owner).unwrap().state.borrow().high_water, now - 60);
        // By a clock that stood an hour ahead, and was then set right or back.
        let state = State { high_water: now + 3600, ..State::default() };
        files::replace(&path, &serde_json::to_vec(&state).unwrap()).unwrap();
        let budget = Budget::open(&path, owner).unwrap();
        assert_eq!(budget.is_past(now + 60).await.unwrap(), Past::Clock);
        assert_eq!(budget.is_past(now + 7200).await.unwrap(), Past::No);
    }

    #[test]
    fn a_broken_file_is_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget.json");
        files::replace(&path, b"{").unwrap();
        let owner = files::Owner(nix::unistd::geteuid().as_raw());
        assert!(Budget::open(&path, owner).unwrap_err().to_string().contains("budget.json"));
    }
}
