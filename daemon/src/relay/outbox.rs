//! What this host has to say to phones, kept until it is said: for each request its newest version,
//! posted again after every reconnect because the server may forget at any time.

use std::collections::HashMap;
use std::time::Duration;

use countersign_protocol::message::Sealed;

/// Most requests that are kept; beyond it posting is refused.
pub(super) const MOST: usize = 20_000;
/// Pause before what was refused is said again; each one is twice as long as the one before.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is; then only after the next reconnect.
const MOST_AGAIN: u32 = 7;

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Somebody waits for an answer. Not rung for where another request has just rung.
    Request { ring: bool },
    /// A request is over.
    End,
    /// A person's devices have changed. Said once.
    Notice { ring: bool },
}

/// A request's newest version, or a notice.
#[derive(Clone)]
pub(super) struct Entry {
    /// One message a device, and perhaps notices beside an end.
    pub messages: Vec<Sealed>,
    /// Boot clock: not worth posting after that.
    pub until: Duration,
    /// What it says.
    pub what: What,
    /// Whether the server has once said that it holds it; then it does not ring again.
    pub acknowledged: bool,
    /// Whether it was ever sent, so that the server may hold it.
    pub sent: bool,
    /// Whether all its devices had a stream open when it was acknowledged.
    pub heard: bool,
    /// How often a server that is there has refused it.
    refused: u32,
}

impl Entry {
    /// One that was not sent yet.
    pub(super) fn new(messages: Vec<Sealed>, until: Duration, what: What) -> Self {
        Self { messages, until, what, acknowledged: false, sent: false, heard: false, refused: 0 }
    }

    pub(super) fn is_end(&self) -> bool {
        self.what == What::End
    }

    /// Whether devices may be rung when it is posted now.
    pub(super) fn rings(&self) -> bool {
        match self.what {
            What::Request { ring } | What::Notice { ring } => ring && !self.acknowledged,
            What::End => false,
        }
    }
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
            // What was said to the end stays for a phone that has not heard it, but takes no room
            // from what has to be said yet.
            if self.entries.len() >= MOST {
                self.entries.retain(|_, entry| !(entry.is_end() && entry.acknowledged));
            }
            self.sweep_at = (self.entries.len() * 2).clamp(64, MOST);
        }
        let known = self.entries.get(id);
        if known.is_some_and(|known| known.is_end() && !entry.is_end())
            || (known.is_none() && self.entries.len() >= MOST)
        {
            return false;
        }
        self.entries.insert(id.to_owned(), entry);
        true
    }

    /// Puts the end of a request in its place, unless nobody can have heard of the request: then
    /// there is nothing to end. Whether it has to be posted.
    pub(super) fn put_end(&mut self, id: &str, entry: Entry, now: Duration) -> bool {
        if self.entries.get(id).is_some_and(|known| !known.sent) {
            self.entries.remove(id);
            return false;
        }
        // That it may have rung stays known while its end is on the way.
        self.put(id, Entry { sent: true, ..entry }, now)
    }

    /// The newest version of a request, about to be sent.
    pub(super) fn sending(&mut self, id: &str) -> Option<&Entry> {
        let entry = self.entries.get_mut(id)?;
        entry.sent = true;
        Some(entry)
    }

    /// The newest version of a request.
    pub(super) fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// The server holds this version, and so many devices listen. An end has been said to the end, and
    /// stays only so that it can be said again to a phone that did not hear it; a notice goes.
    pub(super) fn acknowledge(&mut self, id: &str, what: What, listening: u32) {
        if let Some(entry) = self.entries.get_mut(id)
            && entry.what == what
        {
            entry.acknowledged = true;
            entry.heard = usize::try_from(listening).is_ok_and(|n| n >= entry.messages.len());
        }
        if matches!(what, What::Notice { .. }) {
            self.entries.remove(id);
        }
    }

    /// A server that is there has refused this version: after how long it is worth another try. An open request
    /// has somebody waiting who learns of it.
    pub(super) fn refused(&mut self, id: &str) -> Option<Duration> {
        let entry = self.entries.get_mut(id).filter(|entry| !matches!(entry.what, What::Request { .. }))?;
        let pause = AGAIN.checked_mul(1 << entry.refused.min(MOST_AGAIN))?;
        entry.refused += 1;
        (entry.refused <= MOST_AGAIN).then_some(pause)
    }

    /// Whether the server does not hold it yet, and it is still worth saying.
    pub(super) fn is_unsaid(&self, id: &str, now: Duration) -> bool {
        self.entries.get(id).is_some_and(|entry| !entry.acknowledged && entry.until > now)
    }

    /// Whether it is a request that is not over.
    pub(super) fn is_open(&self, id: &str) -> bool {
        self.entries.get(id).is_some_and(|entry| matches!(entry.what, What::Request { .. }))
    }

    /// Ids of what has to be posted again once the server is back: open requests always, the rest until
    /// it is acknowledged. Open ones first, for somebody waits; of each kind those that have been
    /// there longest. What is too old goes.
    pub(super) fn due(&mut self, now: Duration) -> Vec<String> {
        self.entries.retain(|_, entry| entry.until > now);
        let mut due: Vec<_> =
            self.entries.iter().filter(|(_, entry)| !(entry.is_end() && entry.acknowledged)).collect();
        due.sort_by_key(|(_, entry)| (!matches!(entry.what, What::Request { .. }), entry.until));
        due.into_iter().map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: What = What::Request { ring: true };

    fn entry(closed: bool) -> Entry {
        let what = if closed { What::End } else { OPEN };
        Entry { sent: true, ..Entry::new(Vec::new(), Duration::from_secs(60), what) }
    }

    #[test]
    fn the_end_of_a_request_is_never_undone() {
        let now = Duration::ZERO;
        let mut outbox = Outbox::default();
        assert!(outbox.put("a", entry(false), now));
        assert!(outbox.put("a", entry(true), now));
        assert!(!outbox.put("a", entry(false), now));
        assert!(outbox.get("a").is_some_and(Entry::is_end));
    }

    #[test]
    fn open_requests_are_said_again_and_acknowledged_ends_are_not() {
        let now = Duration::ZERO;
        let mut outbox = Outbox::default();
        outbox.put("open", entry(false), now);
        outbox.acknowledge("open", OPEN, 0);
        outbox.put("over", entry(true), now);
        assert_eq!(outbox.due(now).len(), 2);
        outbox.acknowledge("over", OPEN, 0);
        assert_eq!(outbox.due(now).len(), 2, "the acknowledgement of an older version says nothing");
        outbox.acknowledge("over", What::End, 0);
        assert_eq!(outbox.due(now), ["open"]);
        assert!(outbox.due(Duration::from_secs(61)).is_empty());
    }

    #[test]
    fn what_is_said_again_comes_in_order_and_open_requests_first() {
        let mut outbox = Outbox::default();
        for (id, closed, until) in [("d", true, 90), ("c", true, 80), ("b", false, 70), ("a", false, 60)] {
            let until = Duration::from_secs(until);
            outbox.put(id, Entry { until, ..entry(closed) }, Duration::ZERO);
        }
        assert_eq!(outbox.due(Duration::ZERO), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_notice_is_said_once_and_only_a_request_that_may_ring_rings() {
        let mut outbox = Outbox::default();
        let notice = What::Notice { ring: true };
        outbox.put("n", Entry::new(Vec::new(), Duration::from_secs(60), notice), Duration::ZERO);
        assert!(outbox.get("n").is_some_and(Entry::rings));
        assert_eq!(outbox.due(Duration::ZERO), ["n"], "not said yet");
        outbox.acknowledge("n", notice, 1);
        assert!(outbox.due(Duration::ZERO).is_empty() && outbox.get("n").is_none());
        outbox.put("a", entry(false), Duration::ZERO);
        assert!(outbox.get("a").is_some_and(Entry::rings));
        outbox.acknowledge("a", OPEN, 0);
        assert!(!outbox.get("a").is_some_and(Entry::rings), "it has rung");
        outbox.put("b", Entry { what: What::Request { ring: false }, ..entry(false) }, Duration::ZERO);
        assert!(!outbox.get("b").is_some_and(Entry::rings));
        assert!(!entry(true).rings());
    }

    #[test]
    fn what_is_refused_is_said_again_a_few_times_at_growing_pauses() {
        let mut outbox = Outbox::default();
        outbox.put("a", entry(true), Duration::ZERO);
        let pauses: Vec<_> = (0..20).filter_map(|_| outbox.refused("a")).map(|p| p.as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64]);
        assert!(outbox.is_unsaid("a", Duration::ZERO) && !outbox.is_unsaid("a", Duration::from_secs(60)));
        outbox.acknowledge("a", What::End, 0);
        assert!(!outbox.is_unsaid("a", Duration::ZERO));
        outbox.put("open", entry(false), Duration::ZERO);
        assert_eq!(outbox.refused("open"), None, "somebody waits, and has a say");
        assert!(outbox.is_unsaid("open", Duration::ZERO) && !outbox.is_unsaid("unknown", Duration::ZERO));
    }

    #[test]
    fn a_request_that_was_never_sent_needs_no_end() {
        let mut outbox = Outbox::default();
        outbox.put("unheard", Entry { sent: false, ..entry(false) }, Duration::ZERO);
        assert!(!outbox.put_end("unheard", entry(true), Duration::ZERO));
        outbox.put("sent", Entry { sent: false, ..entry(false) }, Duration::ZERO);
        assert!(outbox.sending("sent").is_some());
        assert!(outbox.put_end("sent", entry(true), Duration::ZERO));
        assert_eq!(outbox.due(Duration::ZERO), ["sent"]);
        // It has rung, though its end has not been sent yet.
        assert!(outbox.get("sent").is_some_and(|end| end.is_end() && end.sent));
    }

    #[test]
    fn ends_that_were_heard_take_no_room_from_requests() {
        let mut outbox = Outbox::default();
        for number in 0..MOST {
            assert!(outbox.put(&number.to_string(), entry(true), Duration::ZERO));
            outbox.acknowledge(&number.to_string(), What::End, 0);
        }
        assert!(outbox.put("one more", entry(false), Duration::ZERO));
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
