//! What the stories of a run came to, so that a run in which nothing happens is no success.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use countersign_protocol::audit::Record;

use super::world::number_in;
use crate::login::facts::Facts;
use crate::login::state::tests::{EVENTS, STATES};
use crate::login::state::{Event, State, next};

/// What a long run has to have seen.
const ALL: [&str; 21] = [
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
    "no lease: only a tap was asked for",
    "no lease: too old for the rule",
    "no lease: the rule has none",
];

/// What a usual run has to have seen: each way in beside a device's decision, and what alone keeps each from opening.
const USUAL: [&str; 59] = [
    "asked with a list",
    "granted apt.install",
    "granted apt.remove",
    "granted by Ask",
    "granted by AskOfAlice",
    "granted by AskOfGuest",
    "granted by AskOfJob",
    "granted deploy.web",
    "list refused",
    "rule by action",
    "rule by command",
    "rule by hours",
    "rule by origin",
    "QR code asked for",
    "granted allow",
    "granted by a scanned code",
    "granted device",
    "granted lease",
    "granted phone-code",
    "granted recovery",
    "granted token",
    "granted totp",
    "no code: it is of another time",
    "no code: it was used, or a later one",
    "no code: the rule allows none",
    "no lease: another account or program",
    "no lease: another address",
    "no lease: another boot",
    "no lease: another key",
    "no lease: another session",
    "no lease: another terminal",
    "no lease: it is used up",
    "no lease: its device has ended",
    "no lease: its person has said no",
    "no lease: its time is over",
    "no lease: nothing to bind it to",
    "no lease: the administrator has ended it",
    "no lease: the server is away",
    "not allowed: it is no login of somebody at the machine",
    "not allowed: the day has passed",
    "not allowed: the server was there a minute ago",
    "one of many at once",
    "passed without a device",
    "refused after a denial",
    "refused after a report",
    "rule by group",
    "rule by host",
    "rule by network",
    "rule by new_source",
    "rule by remote",
    "rule by requester",
    "rule by service",
    "rule by stage",
    "rule by user",
    "rule says Approve",
    "rule says Deny",
    "rule says Observe",
    "rule says Skip",
    "unwritten granted",
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
        self.without(&ALL)
    }

    /// What a usual run should have seen and has not.
    pub(super) fn missing_usually(&self) -> Vec<&str> {
        self.without(&USUAL)
    }

    fn without<'a>(&self, all: &[&'a str]) -> Vec<&'a str> {
        all.iter().copied().filter(|what| !self.0.contains_key(*what)).collect()
    }
}
