//! What a person is spared: rings without end, and logins from where they have just said no.
//!
//! Quiet only silences. A request that does not ring is open like any other, and the app shows it, so that
//! nobody keeps an owner out by asking in their name. What refuses is a person's own word: a denial for
//! [`AFTER_DENIAL`], a report for [`AFTER_REPORT`], and only for logins of that person from that place.
//!
//! All of it is on the disk a second later, and when the daemon ends.

mod bars;
mod quiet;

use crate::clock::Forward;
use crate::files;
use crate::log::Log;
use bars::Bars;
pub use bars::Refused;
use quiet::Quiet;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// Seconds for which a denial refuses the next login from the same place: programs that ask again by themselves,
/// as sudo does, are over by then. Who has denied their own login by mistake waits no longer.
pub const AFTER_DENIAL: u64 = 20;
/// Seconds for which a report does.
pub const AFTER_REPORT: u64 = 24 * 60 * 60;
/// Most people, and most local callers, that something is remembered of; whoever has been calm for longest goes first.
const MOST: usize = 1_000;
/// Longest file in bytes: names and places are at most 255 bytes, which JSON may write six times as long.
const MAX_FILE: usize = 64 * 1024 * 1024;
/// How long changes are gathered before they are written.
const GATHER: Duration = Duration::from_secs(1);

/// Who was asked too often, and who is refused from where.
pub struct Fatigue {
    store: files::Store,
    state: RefCell<State>,
    /// What the disk holds.
    saved: RefCell<State>,
    clock: Forward,
    /// Open requests by person and place.
    open: Rc<RefCell<HashMap<(String, String), u32>>>,
    changed: Notify,
    unsaved: Cell<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// The latest time that was ever seen, so that a clock that is set back ends nothing sooner.
    high_water: u64,
    /// By the person whose devices ring.
    people: BTreeMap<String, Quiet>,
    /// By the local user who asks about others.
    callers: BTreeMap<String, Quiet>,
    /// By person: the places from where they are refused.
    bars: BTreeMap<String, Bars>,
}

/// Who is asked, on whose behalf and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// Who wants in, and whose devices may ring unless they are others'.
    pub person: String,
    /// Others whose devices may ring for it: those who have to approve, each once.
    pub others: Vec<String>,
    /// Where the login comes from.
    pub place: Place,
    /// The local user who asks, where that is somebody else.
    pub caller: Option<String>,
}

/// Where a login comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// An address, `user NAME` or a terminal.
    pub name: String,
    /// Whether a report refuses it for long: the kernel vouches for it, or the program that gives rights away, and it
    /// is not where somebody stands in front of the machine.
    pub may_block: bool,
}

/// A request that is open, for as long as this lives.
pub struct Counted {
    asking: Asking,
    open: Rc<RefCell<HashMap<(String, String), u32>>>,
    /// Whether it was counted as one that may ring.
    counted: bool,
    /// Whether it rings.
    pub rings: bool,
}

/// Something that is held against a person or a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What.
    pub what: What,
    /// Of whom, unless a local caller as such is meant.
    pub user: Option<String>,
    /// From where.
    pub source: Option<String>,
    /// Seconds that it still holds.
    pub left: u64,
}

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Devices do not ring.
    Quiet,
    /// Logins are refused after a denial, or do not ring.
    Denied,
    /// Logins are refused after a report.
    Reported,
}

impl Fatigue {
    /// Reads the file, or starts without one.
    ///
    /// # Errors
    /// When it is there and cannot be read: without it everybody would be rung for anew.
    pub fn open(path: &Path, owner: files::Owner) -> io::Result<Self> {
        let state: State = files::read_json(path, owner, MAX_FILE)?.unwrap_or_default();
        Ok(Self {
            store: files::Store::new(path),
            clock: Forward::since(state.high_water),
            saved: RefCell::new(state.clone()),
            state: RefCell::new(state),
            open: Rc::default(),
            changed: Notify::new(),
            unsaved: Cell::default(),
        })
    }

    /// A request begins. With `wants` it would ring, and counts as undecided until the person lets somebody in.
    /// It does not ring while it is quiet for any of those whose devices it is for, nor beside another open one of the same person from the same place:
    /// that has rung, and the app shows both.
    pub fn begin(&self, asking: Asking, wants: bool) -> Counted {
        let key = (asking.person.clone(), asking.place.name.clone());
        let alone = {
            let mut open = self.open.borrow_mut();
            let count = open.entry(key).or_default();
            *count += 1;
            *count == 1
        };
        let rings = wants && self.count(&asking) && alone;
        Counted { asking, open: Rc::clone(&self.open), counted: wants, rings }
    }

    fn count(&self, asking: &Asking) -> bool {
        let now = self.clock.now();
        self.change(|state| {
            let mut rings = true;
            for name in asking.people() {
                rings &= count(&mut state.people, name, now);
            }
            if let Some(caller) = &asking.caller {
                rings &= count(&mut state.callers, caller, now);
            }
            rings && !state.bars.get(&asking.person).is_some_and(|bars| bars.silence(&asking.place.name, now))
        })
    }

    /// The request was never sent to anybody.
    pub fn give_back(&self, counted: &Counted) {
        if !counted.counted {
            return;
        }
        self.change(|state| {
            for name in counted.asking.people() {
                state.people.get_mut(name).map(Quiet::give_back);
            }
            let caller = counted.asking.caller.as_ref().and_then(|caller| state.callers.get_mut(caller));
            caller.map(Quiet::give_back);
        });
    }

    /// Why a login is refused without asking anybody.
    #[must_use]
    pub fn refuses(&self, person: &str, place: &Place) -> Option<Refused> {
        self.state.borrow().bars.get(person)?.refuses(&place.name, self.clock.now())
    }

    /// The person, or the others, have let somebody in: they are there, and know of it.
    pub fn succeeded(&self, asking: &Asking) {
        let Asking { person, place, caller, .. } = asking;
        self.change(|state| {
            for name in asking.people() {
                state.people.remove(name);
            }
            caller.as_ref().map(|caller| state.callers.remove(caller));
            if let Some(bars) = state.bars.get_mut(person) {
                bars.forgive(&place.name);
            }
        });
    }

    /// The person has said no.
    pub fn denied(&self, asking: &Asking) {
        let now = self.clock.now();
        self.change(|state| state.bars_of(&asking.person, now).denied(&asking.place.name, now));
    }

    /// The person has said that it was not them. Whether that blocks the place.
    pub fn reported(&self, asking: &Asking) -> bool {
        let now = self.clock.now();
        self.denied(asking);
        if asking.place.may_block {
            self.change(|state| state.bars_of(&asking.person, now).reported(&asking.place.name, now));
        }
        asking.place.may_block
    }

    /// Everything that holds now, of this user and from this source where they are given.
    #[must_use]
    pub fn held(&self, user: Option<&str>, source: Option<&str>) -> Vec<Held> {
        let now = self.clock.now();
        let state = self.state.borrow();
        let people = state.people.iter().filter_map(|(name, one)| {
            Some(Held { what: What::Quiet, user: Some(name.clone()), source: None, left: one.left(now)? })
        });
        let callers = state.callers.iter().filter_map(|(name, one)| {
            Some(Held { what: What::Quiet, user: None, source: Some(of_caller(name)), left: one.left(now)? })
        });
        let bars = state.bars.iter().flat_map(|(name, bars)| bars.held(name, now));
        let wanted = people.chain(callers).chain(bars).filter(|held| {
            let is =
                |wanted: Option<&str>, held: &Option<String>| wanted.is_none() || wanted == held.as_deref();
            is(user, &held.user) && is(source, &held.source)
        });
        wanted.collect()
    }

    /// Ends what [`Self::held`] tells, and what has not come so far yet.
    ///
    /// # Errors
    /// When that cannot be written down: it may be back after a restart.
    pub async fn forget(&self, user: Option<&str>, source: Option<&str>) -> io::Result<()> {
        self.change(|state| {
            let meant = |name: &str| user.is_none_or(|user| user == name);
            match source {
                None => {
                    state.people.retain(|name, _| !meant(name));
                    state.callers.retain(|name, _| !meant(name));
                    state.bars.retain(|name, _| !meant(name));
                }
                Some(source) => {
                    state.callers.retain(|name, _| of_caller(name) != source);
                    let bars = state.bars.iter_mut().filter(|(name, _)| meant(name));
                    bars.for_each(|(_, bars)| bars.forget(source));
                }
            }
        });
        self.save().await
    }

    /// Writes what changes, a moment after it has. Never comes back by itself.
    pub async fn keep(&self, log: &Log) {
        loop {
            self.changed.notified().await;
            tokio::time::sleep(GATHER).await;
            if let Err(error) = self.save().await {
                log.error(&format!("who was asked too often cannot be written down: {error}"));
            }
        }
    }

    /// Writes what is not written yet, if anything.
    ///
    /// # Errors
    /// When it cannot be written; it is tried again after the next change.
    pub async fn save(&self) -> io::Result<()> {
        if !self.unsaved.replace(false) {
            return Ok(());
        }
        let now = self.clock.now();
        {
            let mut state = self.state.borrow_mut();
            state.tidy(now);
            // Most logins are let in before it comes to that, and cost no disk.
            if state.same_as(&self.saved.borrow()) {
                return Ok(());
            }
            state.high_water = state.high_water.max(now);
        }
        let content = || {
            let state = self.state.borrow().clone();
            let bytes = serde_json::to_vec(&state);
            *self.saved.borrow_mut() = state;
            bytes
        };
        let written = self.store.write(content).await;
        if written.is_err() {
            *self.saved.borrow_mut() = State::default();
            self.unsaved.set(true);
        }
        written
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.unsaved.set(true);
        self.changed.notify_one();
        change(&mut self.state.borrow_mut())
    }
}

impl State {
    fn bars_of(&mut self, person: &str, now: u64) -> &mut Bars {
        if self.bars.len() >= MOST && !self.bars.contains_key(person) {
            self.bars.retain(|_, bars| bars.tidy(now));
            let first =
                self.bars.iter().min_by_key(|(_, bars)| bars.last_end()).map(|(name, _)| name.clone());
            first.filter(|_| self.bars.len() >= MOST).map(|name| self.bars.remove(&name));
        }
        self.bars.entry(person.to_owned()).or_default()
    }

    fn tidy(&mut self, now: u64) {
        self.people.retain(|_, quiet| !quiet.is_over(now));
        self.callers.retain(|_, quiet| !quiet.is_over(now));
        self.bars.retain(|_, bars| bars.tidy(now));
    }

    fn same_as(&self, other: &Self) -> bool {
        self.people == other.people && self.callers == other.callers && self.bars == other.bars
    }
}

fn count(of: &mut BTreeMap<String, Quiet>, name: &str, now: u64) -> bool {
    if of.len() >= MOST && !of.contains_key(name) {
        let calmest = of.iter().min_by_key(|(_, quiet)| quiet.last()).map(|(name, _)| name.clone());
        calmest.map(|name| of.remove(&name));
    }
    of.entry(name.to_owned()).or_default().rings(now)
}

/// A local caller as a place.
#[must_use]
pub fn of_caller(name: &str) -> String {
    format!("user {name}")
}

impl Asking {
    /// Everybody for whom a request counts.
    fn people(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.person).chain(&self.others)
    }
}

impl Counted {
    /// Who is asked.
    #[must_use]
    pub fn asking(&self) -> &Asking {
        &self.asking
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let key = (self.asking.person.clone(), self.asking.place.name.clone());
        let mut open = self.open.borrow_mut();
        if let Some(count) = open.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
