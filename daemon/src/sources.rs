//! Where users were let in from before, so that a rule, and the person at the phone, can tell a new place.

use crate::{clock, files};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Places that are remembered of one user; the one not used for longest goes first.
const MOST_OF_A_USER: usize = 64;
/// Users whose places are remembered.
const MOST_USERS: usize = 2_000;
/// Longest file in bytes: each name and place is at most 255 bytes, which JSON may write six times as long.
const MAX_FILE: usize = 64 * 1024 * 1024;
/// Seconds after which a place that is used is written down again. A login from a known place costs no disk.
const OFTEN: u64 = 24 * 60 * 60;

/// Where users were let in from.
#[derive(Debug)]
pub struct Sources {
    store: files::Store,
    /// User, place, and when it was used last in seconds since 1970.
    seen: RefCell<BTreeMap<String, BTreeMap<String, Seen>>>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    last: u64,
}

impl Sources {
    /// Reads the file, or starts without one.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn open(path: &Path, owner: files::Owner) -> io::Result<Self> {
        let seen = files::read_json(path, owner, MAX_FILE)?.unwrap_or_default();
        Ok(Self { store: files::Store::new(path), seen: RefCell::new(seen) })
    }

    /// Whether a user was never let in from there.
    #[must_use]
    pub fn is_new(&self, user: &str, place: &str) -> bool {
        !self.seen.borrow().get(user).is_some_and(|places| places.contains_key(place))
    }

    /// A user was let in from there.
    ///
    /// # Errors
    /// When it cannot be written down: the place stays new.
    pub async fn note(&self, user: &str, place: &str) -> io::Result<()> {
        let now = clock::unix();
        let known = self.seen.borrow().get(user).and_then(|places| places.get(place)).copied();
        if known.is_some_and(|seen| now < seen.last.saturating_add(OFTEN)) {
            return Ok(());
        }
        self.add(user, place, now);
        let written = self.store.write(|| serde_json::to_vec(&*self.seen.borrow())).await;
        if written.is_err() && known.is_none() {
            self.seen.borrow_mut().get_mut(user).map(|places| places.remove(place));
        }
        written
    }

    fn add(&self, user: &str, place: &str, now: u64) {
        let mut seen = self.seen.borrow_mut();
        if seen.len() >= MOST_USERS && !seen.contains_key(user) {
            let last = |places: &BTreeMap<String, Seen>| places.values().map(|seen| seen.last).max();
            let oldest = seen.iter().min_by_key(|(_, places)| last(places)).map(|(user, _)| user.clone());
            oldest.map(|user| seen.remove(&user));
        }
        let places = seen.entry(user.to_owned()).or_default();
        if places.len() >= MOST_OF_A_USER && !places.contains_key(place) {
            let oldest = places.iter().min_by_key(|(_, seen)| seen.last).map(|(place, _)| place.clone());
            oldest.map(|place| places.remove(&place));
        }
        places.insert(place.to_owned(), Seen { last: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(path: &Path) -> Sources {
        Sources::open(path, files::Owner::own()).unwrap()
    }

    #[tokio::test]
    async fn a_place_is_new_once_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sources.json");
        let first = sources(&path);
        assert!(first.is_new("alice", "192.0.2.7"));
        first.note("alice", "192.0.2.7").await.unwrap();
        for sources in [first, sources(&path)] {
            assert!(!sources.is_new("alice", "192.0.2.7"));
            assert!(sources.is_new("alice", "192.0.2.8") && sources.is_new("bob", "192.0.2.7"));
        }
    }

    #[tokio::test]
    async fn there_is_a_limit_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let sources = sources(&dir.path().join("sources.json"));
        for place in 0..=MOST_OF_A_USER as u64 {
            sources.add("alice", &place.to_string(), 1000 + place);
        }
        assert!(sources.is_new("alice", "0") && !sources.is_new("alice", "1"));
        for user in 0..MOST_USERS as u64 {
            sources.add(&format!("user{user}"), "x", 5000 + user);
        }
        assert!(sources.is_new("alice", "1") && !sources.is_new("user0", "x"));
        assert_eq!(sources.seen.borrow().len(), MOST_USERS);
    }

    #[tokio::test]
    async fn what_cannot_be_written_down_stays_new() {
        let dir = tempfile::tempdir().unwrap();
        let sources = sources(&dir.path().join("none").join("sources.json"));
        assert!(sources.note("alice", "192.0.2.7").await.is_err());
        assert!(sources.is_new("alice", "192.0.2.7"));
    }
}
