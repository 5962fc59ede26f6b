//! What the stories of a run came to, so that a run in which nothing happens is no success.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use countersign_protocol::audit::Record;

use super::world::number_in;
use crate::login::facts::Facts;
use crate::login::state::tests::{EVENTS, STATES};
use crate::login::state::{Event, State, next};

/// What a long run has to have seen.
const ALL: [&str; 18] = [
    "granted by two",
    "granted device",
    "granted once",
    "granted phone-code",
    "granted recovery",
    "granted token",
    "denied",
    "expired",
    "withdrawn",
    "unreachable",
    "fault",
    "restart",
    "end told",
    "decision delivered",
    "decision counted",
    "unwritten granted",
    "unwritten withdrawn",
    "failure told",
];

/// Lines of the state table that no story goes by: nobody is prompted, and so nothing typed, before the server has
/// answered or time for that is over.
pub(super) const UNREACHED: [(State, Event); 3] =
    [(State::New, Event::Factor), (State::New, Event::TooManyTries), (State::New, Event::Replace)];

thread_local! {
    /// The lines of the state table by which requests went on this thread.
    static TAKEN: RefCell<HashSet<(State, Event)>> = RefCell::default();
    /// Logins of stories by what the audit calls them.
    static BEGUN: RefCell<HashMap<String, usize>> = RefCell::default();
}

/// A login begins that the audit will call so.
pub(crate) fn begins(id: &str, facts: &Facts) {
    let number = number_in(facts.command.as_deref());
    BEGUN.with_borrow_mut(|begun| number.map(|number| begun.insert(id.to_owned(), number)));
}

/// Which login of a story the audit calls so.
pub(super) fn begun(id: &str) -> Option<usize> {
    BEGUN.with_borrow(|begun| begun.get(id).copied())
}

/// A request goes by this line of the table.
pub(crate) fn takes(state: State, event: Event) {
    TAKEN.with_borrow_mut(|taken| taken.insert((state, event)));
}

/// Lines of the table by which no request went.
pub(super) fn untaken() -> Vec<(State, Event)> {
    let all = STATES.into_iter().flat_map(|state| EVENTS.map(|event| (state, event)));
    let lines = all.filter(|(state, event)| next(*state, *event).is_some());
    TAKEN.with_borrow(|taken| lines.filter(|line| !taken.contains(line)).collect())
}

/// How often each thing was seen.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<String, u32>);

impl Seen {
    pub(super) fn note(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    /// Counts how a login ended.
    pub(super) fn count(&mut self, record: &Record) {
        let outcome = record.outcome.as_deref().unwrap_or("without an outcome");
        if outcome == "granted" && !record.further.is_empty() {
            self.note("granted by two");
        }
        match record.factor.as_deref() {
            Some(factor) => self.note(&format!("{outcome} {factor}")),
            None => self.note(outcome),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// What a long run should have seen and has not.
    pub(super) fn missing(&self) -> Vec<&str> {
        ALL.into_iter().filter(|what| !self.0.contains_key(*what)).collect()
    }
}
