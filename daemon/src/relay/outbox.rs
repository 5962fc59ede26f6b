//! What this host has to say to phones, kept until it is said: for each request its newest version,
//! posted again after every reconnect because the server may forget at any time.

use std::collections::HashMap;
use std::time::Duration;

use countersign_protocol::message::Sealed;

/// Most requests that are kept; beyond it posting is refused.
pub(super) const MOST: usize = 20_000;

/// A request's newest version.
#[derive(Clone)]
pub(super) struct Entry {
    /// One message a device.
    pub messages: Vec<Sealed>,
    /// Boot clock: not worth posting after that.
    pub until: Duration,
    /// Whether it says that the request is over.
    pub closed: bool,
    /// Whether the server has once said that it holds it; then it does not ring again.
    pub acknowledged: bool,
}

/// Newest versions by request id.
#[derive(Default)]
pub(super) struct Outbox {
    entries: HashMap<String, Entry>,
    sweep_at: usize,
}

impl Outbox {
    /// Keeps a version, unless a closed one is there already or there is no room.
    pub(super) fn put(&mut self, id: &str, entry: Entry, now: Duration) -> bool {
        // Old ones go when their number has doubled, so that a post costs the same at any number.
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, entry| entry.until > now);
            self.sweep_at = (self.entries.len() * 2).clamp(64, MOST);
        }
        let known = self.entries.get(id);
        if known.is_some_and(|known| known.closed && !entry.closed)
            || (known.is_none() && self.entries.len() >= MOST)
        {
            return false;
        }
        self.entries.insert(id.to_owned(), entry);
        true
    }

    /// The newest version of a request.
    pub(super) fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// The server holds this version. A closed one has been said to the end, and stays only so that
    /// it can be said again to a phone that did not hear it.
    pub(super) fn acknowledge(&mut self, id: &str, closed: bool) {
        if let Some(entry) = self.entries.get_mut(id)
            && entry.closed == closed
        {
            entry.acknowledged = true;
        }
    }

    /// Ids of what has to be posted again once the server is back: open requests always, ends until
    /// they are acknowledged. What is too old goes.
    pub(super) fn due(&mut self, now: Duration) -> Vec<String> {
        self.entries.retain(|_, entry| entry.until > now);
        self.entries
            .iter()
            .filter(|(_, entry)| !(entry.closed && entry.acknowledged))
            .map(|(id, _)| id.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(closed: bool) -> Entry {
        Entry { messages: Vec::new(), until: Duration::from_secs(60), closed, acknowledged: false }
    }

    #[test]
    fn the_end_of_a_request_is_never_undone() {
        let now = Duration::ZERO;
        let mut outbox = Outbox::default();
        assert!(outbox.put("a", entry(false), now));
        assert!(outbox.put("a", entry(true), now));
        assert!(!outbox.put("a", entry(false), now));
        assert!(outbox.get("a").is_some_and(|entry| entry.closed));
    }

    #[test]
    fn open_requests_are_said_again_and_acknowledged_ends_are_not() {
        let now = Duration::ZERO;
        let mut outbox = Outbox::default();
        outbox.put("open", entry(false), now);
        outbox.acknowledge("open", false);
        outbox.put("over", entry(true), now);
        assert_eq!(outbox.due(now).len(), 2);
        outbox.acknowledge("over", false);
        assert_eq!(outbox.due(now).len(), 2, "the acknowledgement of an older version says nothing");
        outbox.acknowledge("over", true);
        assert_eq!(outbox.due(now), ["open"]);
        assert!(outbox.due(Duration::from_secs(61)).is_empty());
    }

    #[test]
    fn there_is_a_limit() {
        let mut outbox = Outbox::default();
        for number in 0..MOST {
            assert!(outbox.put(&number.to_string(), entry(false), Duration::ZERO));
        }
        assert!(!outbox.put("one more", entry(false), Duration::ZERO));
        assert!(outbox.put("one more", entry(false), Duration::from_secs(61)));
    }
}
