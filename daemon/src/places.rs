//! Room for connections. Root's programs always have some: others share all but 4,096, or half where fewer can
//! be open, a user has few of these, and numbers that are no user's have few together, since anybody may have
//! thousands of them (`/etc/subuid`).

use crate::caller::Caller;
use crate::person;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Connections of one user on the socket for everybody.
pub const MAX_OF_A_USER: u32 = 4;
/// Connections of all numbers together that are no user's.
pub const MAX_OF_STRANGERS: u32 = 4;
/// Connections of all, where so many descriptors may be open.
pub const MAX_CONNECTIONS: u32 = 16_384;
/// Connections of all who are not root.
pub const MAX_OF_USERS: u32 = 12_288;
/// Descriptors for the daemon's own files, look-ups and the server, where there are so many.
const OWN: u32 = 64;
/// Callers of whom the name service is asked at a time; the others are told to come again, so that they do not
/// fill the users' places while it is slow.
const MOST_ASKING: u32 = 64;
/// Users who are remembered not to be strangers.
const MAX_KNOWN: usize = 4_096;

/// How many connections there are, and whose.
pub struct Places {
    most: u32,
    most_of_users: u32,
    taken: RefCell<Taken>,
    known: RefCell<HashSet<u32>>,
    asking: Cell<u32>,
}

#[derive(Default)]
struct Taken {
    all: u32,
    users: u32,
    strangers: u32,
    by_uid: HashMap<u32, u32>,
}

/// A connection's place; free again when dropped.
pub struct Place {
    places: Rc<Places>,
    uid: Option<u32>,
    is_strangers: bool,
}

impl Places {
    /// For a process that may open so many files.
    #[must_use]
    pub fn new(descriptors: u64) -> Self {
        let descriptors = u32::try_from(descriptors).unwrap_or(u32::MAX);
        let most = descriptors.saturating_sub(OWN.min(descriptors / 2)).min(MAX_CONNECTIONS);
        let most_of_users = (most / 2).max(most.saturating_sub(MAX_CONNECTIONS - MAX_OF_USERS));
        Self {
            most,
            most_of_users,
            taken: RefCell::default(),
            known: RefCell::default(),
            asking: Cell::new(0),
        }
    }

    /// A place, unless the caller has too many already, or all have.
    pub fn enter(self: &Rc<Self>, caller: &Caller) -> Option<Place> {
        let mut taken = self.taken.borrow_mut();
        if taken.all >= self.most {
            return None;
        }
        if !caller.root_socket {
            if taken.users >= self.most_of_users {
                return None;
            }
            let own = taken.by_uid.entry(caller.uid).or_default();
            if *own >= MAX_OF_A_USER {
                return None;
            }
            *own += 1;
            taken.users += 1;
        }
        taken.all += 1;
        let uid = (!caller.root_socket).then_some(caller.uid);
        Some(Place { places: Rc::clone(self), uid, is_strangers: false })
    }

    /// Whether the name service knows the caller; `None` where it does not say so in time, or too many others
    /// are asked about.
    pub async fn knows(&self, uid: u32) -> Option<bool> {
        if self.known.borrow().contains(&uid) {
            return Some(true);
        }
        if self.asking.get() >= MOST_ASKING {
            return None;
        }
        let asking = Asking::new(&self.asking);
        let is_known = person::exists(uid).await.ok();
        drop(asking);
        if is_known == Some(true) {
            let mut known = self.known.borrow_mut();
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
            known.insert(uid);
        }
        is_known
    }
}

/// A caller of whom the name service is asked.
struct Asking<'a>(&'a Cell<u32>);

impl<'a> Asking<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Place {
    /// Makes it one of those that strangers share; false where there is none left.
    pub fn share(&mut self) -> bool {
        let mut taken = self.places.taken.borrow_mut();
        if taken.strangers >= MAX_OF_STRANGERS {
            return false;
        }
        taken.strangers += 1;
        self.is_strangers = true;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.borrow_mut();
        taken.all = taken.all.saturating_sub(1);
        taken.strangers = taken.strangers.saturating_sub(self.is_strangers.into());
        let Some(uid) = self.uid else { return };
        taken.users = taken.users.saturating_sub(1);
        if let Some(own) = taken.by_uid.get_mut(&uid) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_uid.remove(&uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What systemd grants.
    const PLENTY: u64 = 524_288;

    fn caller(uid: u32, root_socket: bool) -> Caller {
        Caller { uid, gid: uid, pid: None, root_socket }
    }

    /// All places that users can have, each user's own number of them.
    fn all_of_users(places: &Rc<Places>) -> Vec<Place> {
        let enter = |number| places.enter(&caller(1000 + number / MAX_OF_A_USER, false));
        (0..=MAX_CONNECTIONS).map_while(enter).collect()
    }

    #[test]
    fn a_user_has_four_places_and_gets_them_back() {
        let places = Rc::new(Places::new(PLENTY));
        let mut held: Vec<_> = (0..4).map(|_| places.enter(&caller(1000, false)).unwrap()).collect();
        assert!(places.enter(&caller(1000, false)).is_none());
        assert!(places.enter(&caller(1001, false)).is_some());
        held.pop();
        assert!(places.enter(&caller(1000, false)).is_some());
        held.clear();
        let taken = places.taken.borrow();
        assert!(taken.by_uid.is_empty());
        assert_eq!((taken.all, taken.users), (0, 0));
    }

    #[test]
    fn users_cannot_take_roots_places_however_few_files_may_be_open() {
        for (descriptors, users, all) in [
            (PLENTY, MAX_OF_USERS, MAX_CONNECTIONS),
            (16_384, 12_224, 16_320),
            (1_024, 480, 960),
            (40, 10, 20),
        ] {
            let places = Rc::new(Places::new(descriptors));
            let mut held = all_of_users(&places);
            assert_eq!(held.len() as u32, users, "of {descriptors}");
            held.extend((0..all - users).map(|_| places.enter(&caller(0, true)).unwrap()));
            assert!(places.enter(&caller(0, true)).is_none());
        }
    }

    #[test]
    fn numbers_that_are_nobodys_share_a_few_places() {
        let places = Rc::new(Places::new(PLENTY));
        let mut entered: Vec<_> = (0..100).map(|uid| places.enter(&caller(uid, false)).unwrap()).collect();
        let shared: Vec<_> = entered.iter_mut().map(Place::share).collect();
        assert_eq!(shared.iter().filter(|shared| **shared).count() as u32, MAX_OF_STRANGERS);
        drop(entered);
        assert!(places.enter(&caller(7, false)).unwrap().share());
        assert_eq!(places.taken.borrow().strangers, 0);
    }

    #[tokio::test]
    async fn who_is_known_is_asked_for_once() {
        let places = Places::new(PLENTY);
        assert_eq!((places.knows(4_000_000_000).await, places.knows(0).await), (Some(false), Some(true)));
        let _hangs = person::hang_strangers();
        assert_eq!((places.knows(0).await, places.knows(1).await), (Some(true), None));
        assert_eq!(places.asking.get(), 0);
    }

    #[tokio::test]
    async fn so_many_are_asked_about_at_a_time() {
        let places = Places::new(PLENTY);
        places.asking.set(MOST_ASKING);
        assert_eq!(places.knows(0).await, None);
        places.asking.set(0);
        assert_eq!(places.knows(0).await, Some(true));
    }
}
