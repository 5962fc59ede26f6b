//! Lists of open requests, encrypted, kept for a server that may forget them at any time.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// Most lists that are kept; at most 256 KiB each.
pub(super) const MOST: usize = 32;

struct Kept {
    sealed: Rc<[u8]>,
    /// Boot clock.
    until: Duration,
    /// Whether the server has said that it holds it, since the last connection.
    held: bool,
}

/// Lists by request id.
#[derive(Default)]
pub(super) struct Lists(HashMap<String, Kept>);

impl Lists {
    /// Keeps a list for as long as its request may be open; false when there are too many.
    pub(super) fn keep(&mut self, id: &str, sealed: Vec<u8>, until: Duration, now: Duration) -> bool {
        self.0.retain(|_, kept| kept.until > now);
        let has_room = self.0.len() < MOST || self.0.contains_key(id);
        if has_room {
            self.0.insert(id.to_owned(), Kept { sealed: sealed.into(), until, held: false });
        }
        has_room
    }

    /// The list that has to be said before its request is.
    pub(super) fn unsaid(&self, id: &str) -> Option<Rc<[u8]>> {
        self.0.get(id).filter(|kept| !kept.held).map(|kept| Rc::clone(&kept.sealed))
    }

    /// The server holds it.
    pub(super) fn held(&mut self, id: &str) {
        if let Some(kept) = self.0.get_mut(id) {
            kept.held = true;
        }
    }

    /// The server may have forgotten all of them.
    pub(super) fn doubt(&mut self) {
        self.0.values_mut().for_each(|kept| kept.held = false);
    }

    /// Its request is over.
    pub(super) fn drop(&mut self, id: &str) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_said_until_it_is_held_and_again_after_a_reconnect() {
        let mut lists = Lists::default();
        let end = Duration::from_secs(60);
        assert!(lists.unsaid("a").is_none());
        assert!(lists.keep("a", vec![1], end, Duration::ZERO));
        assert_eq!(lists.unsaid("a").as_deref(), Some([1].as_slice()));
        lists.held("a");
        assert!(lists.unsaid("a").is_none());
        lists.doubt();
        assert!(lists.unsaid("a").is_some());
        lists.drop("a");
        assert!(lists.unsaid("a").is_none());
    }

    #[test]
    fn there_is_a_limit_and_what_is_over_takes_no_room() {
        let mut lists = Lists::default();
        let end = Duration::from_secs(60);
        for number in 0..MOST {
            assert!(lists.keep(&number.to_string(), vec![1], end, Duration::ZERO));
        }
        assert!(!lists.keep("one more", vec![1], end, Duration::ZERO));
        assert!(lists.keep("0", vec![2], end, Duration::ZERO), "in its own place");
        assert!(lists.keep("one more", vec![1], end, end));
    }
}
