//! The lists of actions, encrypted, in memory only: what is too long for a message, beside it. A list goes when its host
//! closes the request, or with its time.
//!
//! A body is counted at its longest before it is read, so that hosts which send many at once take no more than
//! what may be held anyway.

use crate::directory::Peer;
use crate::envelope::RequestId;
use bytes::Bytes;
use countersign_protocol::list::MAX_BODY;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Most lists of one host that are held, and most that are being received from it.
pub(crate) const MAX_PER_HOST: usize = 32;
/// Most memory for the lists of all hosts, in bytes.
pub(crate) const MAX_BYTES: usize = 64 << 20;
/// Most of it for one host, so that no few of them take all.
pub(crate) const MAX_BYTES_OF_HOST: usize = MAX_BYTES / 8;

/// There is no room for a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Host,
    Server,
}

/// All held lists.
#[derive(Default)]
pub(crate) struct Lists(Mutex<Books>);

#[derive(Default)]
struct Books {
    hosts: HashMap<Peer, OfHost>,
    /// Of those that are held and those that are being received.
    bytes: usize,
}

#[derive(Default)]
struct OfHost {
    held: HashMap<RequestId, (Bytes, Instant)>,
    arriving: usize,
    /// Of both.
    bytes: usize,
}

impl Lists {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for a list that is about to be read.
    pub(crate) fn room(&self, host: Peer) -> Result<Room<'_>, Full> {
        let mut books = self.books();
        if books.bytes + MAX_BODY > MAX_BYTES {
            return Err(Full::Server);
        }
        let of_host = books.hosts.entry(host).or_default();
        if of_host.arriving >= MAX_PER_HOST || of_host.bytes + MAX_BODY > MAX_BYTES_OF_HOST {
            return Err(Full::Host);
        }
        of_host.arriving += 1;
        of_host.bytes += MAX_BODY;
        books.bytes += MAX_BODY;
        Ok(Room { lists: self, host })
    }

    /// What a host has put there for that request.
    pub(crate) fn get(&self, host: Peer, id: &RequestId, now: Instant) -> Option<Bytes> {
        let books = self.books();
        let (list, expires) = books.hosts.get(&host)?.held.get(id)?;
        (*expires > now).then(|| list.clone())
    }

    /// The request is over.
    pub(crate) fn remove(&self, host: Peer, id: &RequestId) {
        self.books().change(host, |of_host| of_host.held.remove(id).map_or(0, |(list, _)| list.len()));
    }

    /// Drops what has expired.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut books = self.books();
        let hosts: Vec<Peer> = books.hosts.keys().copied().collect();
        for host in hosts {
            books.change(host, |of_host| {
                let old = of_host.held.extract_if(|_, (_, expires)| *expires <= now);
                old.map(|(_, (list, _))| list.len()).sum()
            });
        }
    }

    /// Lists held, and bytes taken.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let books = self.books();
        (books.hosts.values().map(|of_host| of_host.held.len()).sum(), books.bytes)
    }
}

impl Books {
    /// Does something that frees so many bytes, and forgets the host when nothing of it is left.
    fn change(&mut self, host: Peer, freed: impl FnOnce(&mut OfHost) -> usize) {
        let Some(of_host) = self.hosts.get_mut(&host) else { return };
        let freed = freed(of_host);
        of_host.bytes = of_host.bytes.saturating_sub(freed);
        self.bytes = self.bytes.saturating_sub(freed);
        if of_host.held.is_empty() && of_host.arriving == 0 {
            self.hosts.remove(&host);
        }
    }
}

/// Room for one list of a host; given back when it is dropped.
pub(crate) struct Room<'a> {
    lists: &'a Lists,
    host: Peer,
}

impl Room<'_> {
    /// Holds what has come, in place of what was held for that request.
    pub(crate) fn hold(self, id: RequestId, list: &[u8], expires: Instant) -> Result<(), Full> {
        let mut books = self.lists.books();
        let Books { hosts, bytes } = &mut *books;
        let of_host = hosts.entry(self.host).or_default();
        if of_host.held.len() >= MAX_PER_HOST && !of_host.held.contains_key(&id) {
            return Err(Full::Host);
        }
        // Without what was read beside it, which its buffer would hold. No longer than the room, which is free again
        // in a moment.
        let list = Bytes::copy_from_slice(list);
        let new = list.len();
        let old = of_host.held.insert(id, (list, expires)).map_or(0, |(old, _)| old.len());
        of_host.bytes = (of_host.bytes + new).saturating_sub(old);
        *bytes = (*bytes + new).saturating_sub(old);
        Ok(())
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.lists.books().change(self.host, |of_host| {
            of_host.arriving = of_host.arriving.saturating_sub(1);
            MAX_BODY
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIFE: Duration = Duration::from_secs(60);

    fn peer(number: u32) -> Peer {
        Peer::for_test(number)
    }

    fn put(lists: &Lists, host: u32, id: u8, bytes: usize, now: Instant) -> Result<(), Full> {
        lists.room(peer(host))?.hold([id; 16], &vec![id; bytes], now + LIFE)
    }

    #[test]
    fn a_list_is_held_until_its_request_or_its_time_is_over() {
        let (lists, now) = (Lists::default(), Instant::now());
        let get = |id: u8, at| lists.get(peer(1), &[id; 16], at).map(|list| list.len());
        put(&lists, 1, 1, 10, now).unwrap();
        put(&lists, 1, 2, 20, now).unwrap();
        put(&lists, 1, 2, 30, now).unwrap();
        assert_eq!((get(1, now), get(2, now), get(3, now)), (Some(10), Some(30), None));
        assert_eq!(lists.get(peer(2), &[1; 16], now), None, "another host's");
        assert_eq!(lists.counts(), (2, 40));
        assert_eq!(get(1, now + LIFE), None);
        lists.remove(peer(1), &[1; 16]);
        lists.remove(peer(1), &[1; 16]);
        assert_eq!((get(1, now), lists.counts()), (None, (1, 30)));
        lists.sweep(now);
        assert_eq!(lists.counts(), (1, 30));
        lists.sweep(now + LIFE);
        assert_eq!(lists.counts(), (0, 0));
        assert!(lists.books().hosts.is_empty());
    }

    #[test]
    fn one_host_has_so_many_and_takes_nobody_elses() {
        let (lists, now) = (Lists::default(), Instant::now());
        for id in 0..32 {
            put(&lists, 1, id, 10, now).unwrap();
        }
        assert_eq!(put(&lists, 1, 32, 10, now), Err(Full::Host));
        assert_eq!(put(&lists, 1, 31, 11, now), Ok(()), "in its own place");
        assert_eq!(put(&lists, 2, 32, 10, now), Ok(()));
        assert_eq!(lists.counts(), (33, 331));
    }

    #[test]
    fn a_few_hosts_do_not_take_the_room_of_all_others() {
        let (lists, now) = (Lists::default(), Instant::now());
        let most = MAX_BYTES_OF_HOST / MAX_BODY;
        let rooms: Vec<_> = std::iter::from_fn(|| lists.room(peer(1)).ok()).collect();
        assert_eq!(rooms.len(), most, "what arrives");
        assert_eq!(lists.room(peer(1)).err(), Some(Full::Host));
        assert!(lists.room(peer(2)).is_ok());
        drop(rooms);
        // What is held and what arrives count together.
        for id in 0..20 {
            put(&lists, 1, id, MAX_BODY, now).unwrap();
        }
        put(&lists, 1, 0, MAX_BODY, now).unwrap();
        let rooms: Vec<_> = std::iter::from_fn(|| lists.room(peer(1)).ok()).collect();
        assert_eq!(rooms.len(), most - 20);
        drop(rooms);
        for id in 0..20 {
            lists.remove(peer(1), &[id; 16]);
        }
        assert!(lists.books().hosts.is_empty());
        assert_eq!(lists.counts(), (0, 0));
    }

    #[test]
    fn what_arrives_counts_before_it_is_there() {
        let (lists, now) = (Lists::default(), Instant::now());
        let most = MAX_BYTES / MAX_BODY;
        let rooms: Vec<_> =
            (0..most).map(|n| lists.room(peer(u32::try_from(n / 8).unwrap())).ok().unwrap()).collect();
        assert_eq!(lists.room(peer(99)).err(), Some(Full::Server));
        drop(rooms);
        assert_eq!(lists.counts(), (0, 0));
        assert!(put(&lists, 99, 1, 10, now).is_ok());
    }
}
