//! Lists of open requests, encrypted, kept for a server that may forget them at any time.
//!
//! Whoever asks chooses how long a list is, so that neither its way nor its end may mean anything to others: it goes on a
//! connection of its own, before its request, and that it was not taken does not say that the server is away.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::api::MAX_TTL;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::line::Line;
use super::{POST_TIME, Relay, Trouble};
use crate::clock;

/// Most lists that are kept; at most 256 KiB each.
const MOST: usize = 32;
/// How long a list may take to the server, with its wait for those before it.
pub const LIST_TIME: Duration = Duration::from_secs(15);

struct Kept {
    sealed: Rc<[u8]>,
    /// Whether it is of root's program.
    by_root: bool,
    /// Boot clock.
    until: Duration,
    /// Whether the server has said that it holds it, since the last connection.
    held: bool,
    /// Whether it is being brought in the background.
    is_under_way: bool,
}

/// Lists by request id.
#[derive(Default)]
pub(super) struct Lists {
    kept: HashMap<String, Kept>,
    /// How often the server may have forgotten them.
    doubts: u64,
}

/// Turns to bring a list: one at a time, so that a slow line has room for logins; and nobody keeps root's waiting.
pub(super) struct Turns {
    of_root: Semaphore,
    of_others: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { of_root: Semaphore::new(1), of_others: Semaphore::new(1) }
    }
}

/// What has to be known to bring a list.
struct Unsaid {
    sealed: Rc<[u8]>,
    by_root: bool,
    /// For how many seconds the server is to keep it.
    ttl: u32,
    /// How often the server may have forgotten lists so far.
    doubts: u64,
}

impl Lists {
    /// Keeps a list for as long as its request may be open; false when there are too many.
    fn keep(&mut self, id: &str, sealed: Vec<u8>, by_root: bool, until: Duration, now: Duration) -> bool {
        self.kept.retain(|_, kept| kept.until > now);
        let has_room = self.kept.len() < MOST || self.kept.contains_key(id);
        if has_room {
            let kept = Kept { sealed: sealed.into(), by_root, until, held: false, is_under_way: false };
            self.kept.insert(id.to_owned(), kept);
        }
        has_room
    }

    /// The list that has to be said before its request is.
    fn unsaid(&self, id: &str, now: Duration) -> Option<Unsaid> {
        let kept = self.kept.get(id).filter(|kept| !kept.held && kept.until > now)?;
        let left = (kept.until - now).as_secs();
        let ttl = u32::try_from(left).unwrap_or(MAX_TTL).clamp(1, MAX_TTL);
        Some(Unsaid { sealed: Rc::clone(&kept.sealed), by_root: kept.by_root, ttl, doubts: self.doubts })
    }

    /// The server holds it, unless it may have forgotten all of them since there were so many doubts.
    fn held(&mut self, id: &str, doubts: u64) {
        if let Some(kept) = self.kept.get_mut(id).filter(|_| doubts == self.doubts) {
            kept.held = true;
        }
    }

    /// Says that a list is brought in the background from now on, or no more; whether that was otherwise.
    pub(super) fn is_under_way(&mut self, id: &str, is_now: bool) -> bool {
        self.kept.get_mut(id).is_some_and(|kept| std::mem::replace(&mut kept.is_under_way, is_now) != is_now)
    }

    /// The server may have forgotten all of them.
    pub(super) fn doubt(&mut self) {
        self.doubts += 1;
        self.kept.values_mut().for_each(|kept| kept.held = false);
    }

    /// Its request is over.
    pub(super) fn drop(&mut self, id: &str) {
        self.kept.remove(id);
    }
}

impl Relay {
    /// Keeps the encrypted list of a request ([`countersign_protocol::list::seal`]), for [`Self::bring_list`]. It is
    /// dropped with the request's end, or at `until` (boot clock). `by_root` tells whether root's program brings it.
    ///
    /// # Errors
    /// When too many lists are open.
    pub fn keep_list(&self, id: &str, sealed: Vec<u8>, by_root: bool, until: Duration) -> Result<(), String> {
        if self.lists.borrow_mut().keep(id, sealed, by_root, until, clock::boot()) {
            return Ok(());
        }
        Err(format!("{MOST} requests with lists are open, which is the most that there may be"))
    }

    /// Whether a request has a list that the server has to get before the request.
    pub(super) fn has_unsaid_list(&self, id: &str) -> bool {
        self.lists.borrow().unsaid(id, clock::boot()).is_some()
    }

    /// Brings a request's list to the server, if it has one that is not there; within [`LIST_TIME`], once. Whether the
    /// server is there at all a small call finds out first, as a post would: see [`Self::is_gone`] afterwards.
    ///
    /// # Errors
    /// Why the server does not hold it.
    pub async fn bring_list(&self, id: &str) -> Result<(), Trouble> {
        let Some(Unsaid { by_root, .. }) = self.lists.borrow().unsaid(id, clock::boot()) else {
            return Ok(());
        };
        let bringing = async {
            let Turns { of_root, of_others } = &self.list_turns;
            // They are never closed.
            let _turn = if by_root { of_root } else { of_others }.acquire().await;
            // Another one may have brought it meanwhile; or its request is over.
            let unsaid = self.lists.borrow().unsaid(id, clock::boot());
            let Some(Unsaid { sealed, ttl, doubts, .. }) = unsaid else { return Ok(()) };
            let line = self.line().ok_or_else(|| Trouble::of("no server is configured"))?;
            self.greet(&line).await?;
            line.put_list(id, &sealed, ttl).await.map_err(|error| Trouble::from(&error))?;
            self.lists.borrow_mut().held(id, doubts);
            Ok(())
        };
        let too_slow = || Trouble::of(format!("it did not arrive there within {} s", LIST_TIME.as_secs()));
        timeout(LIST_TIME, bringing).await.unwrap_or_else(|_| Err(too_slow()))
    }

    /// Whether the server is there, as a post would find it.
    async fn greet(&self, line: &Line) -> Result<(), Trouble> {
        if let Some(why) = self.outage() {
            return Err(why);
        }
        let why = match timeout(POST_TIME, line.greet()).await {
            Ok(Err(error)) if error.is_outage() => Trouble::from(&error),
            Ok(_) => return Ok(()),
            Err(_) => {
                line.forget_connection();
                Trouble::of(format!("no answer within {} s", POST_TIME.as_secs()))
            }
        };
        self.lost(&why);
        Err(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(lists: &mut Lists, id: &str, end: Duration, now: Duration) -> bool {
        lists.keep(id, vec![1], true, end, now)
    }

    #[test]
    fn a_list_is_said_until_it_is_held_and_again_after_a_reconnect() {
        let mut lists = Lists::default();
        let (now, end) = (Duration::ZERO, Duration::from_secs(60));
        assert!(lists.unsaid("a", now).is_none());
        assert!(keep(&mut lists, "a", end, now));
        let unsaid = lists.unsaid("a", now).unwrap();
        assert_eq!((&*unsaid.sealed, unsaid.ttl), ([1].as_slice(), 60));
        assert!(lists.unsaid("a", end).is_none(), "nobody waits for it any more");
        lists.held("a", unsaid.doubts);
        assert!(lists.unsaid("a", now).is_none());
        lists.doubt();
        lists.held("a", unsaid.doubts);
        assert!(lists.unsaid("a", now).is_some());
        lists.drop("a");
        assert!(lists.unsaid("a", now).is_none());
    }

    #[test]
    fn one_is_brought_once_at_a_time() {
        let mut lists = Lists::default();
        assert!(!lists.is_under_way("a", true), "there is none");
        assert!(keep(&mut lists, "a", Duration::from_secs(60), Duration::ZERO));
        for (is_now, changes) in [(true, true), (true, false), (false, true), (false, false), (true, true)] {
            assert_eq!(lists.is_under_way("a", is_now), changes);
        }
    }

    #[test]
    fn there_is_a_limit_and_what_is_over_takes_no_room() {
        let mut lists = Lists::default();
        let (now, end) = (Duration::ZERO, Duration::from_secs(60));
        for number in 0..MOST {
            assert!(keep(&mut lists, &number.to_string(), end, now));
        }
        assert!(!keep(&mut lists, "one more", end, now));
        assert!(keep(&mut lists, "0", end, now), "in its own place");
        assert!(keep(&mut lists, "one more", end, end));
    }
}
