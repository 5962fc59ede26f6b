//! What the stories of a run came to, so that a run in which nothing happens is no success.

use std::collections::BTreeMap;

use countersign_protocol::audit::Record;

/// What a long run has to have seen.
const ALL: [&str; 12] = [
    "granted device",
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
];

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
