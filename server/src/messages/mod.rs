//! The messages that the server holds, in memory only.
//!
//! A register is keyed (host, device, kind, id). That of a request holds the host's message to the
//! device, of which the higher version wins (request, then closed), and the device's decisions, which
//! are kept for the host until `closed` comes. That of a notice holds the newest one, and the device's
//! removals; it never counts as waiting. Both lie in their recipient's inbox, numbered in the order of
//! their coming; streams and polls read an inbox from a number on, so a slow reader costs nothing.

mod inbox;
mod room;
#[cfg(test)]
mod tests;

use crate::config;
use crate::directory::Peer;
use crate::envelope::{Frame, RequestId};
use inbox::Inbox;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Most decisions kept of one device for one request; a further one replaces the oldest.
const MAX_DECISIONS: usize = 3;
/// Most requests of one host that a device may decide without the server holding them: it has
/// forgotten them, or they never were.
const MAX_ORPHANS: u32 = 64;
/// How long decisions are kept of which the server does not hold the request.
const ORPHAN_LIFE: Duration = Duration::from_secs(countersign_protocol::api::MAX_TTL as u64);
/// What a message takes beside its bytes, roughly.
const OVERHEAD: usize = 320;
/// Most long polls of one recipient at a time.
const MAX_POLLS: u32 = 4;

/// Names a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) host: Peer,
    pub(crate) device: Peer,
    pub(crate) kind: Kind,
    pub(crate) id: RequestId,
}

/// Kinds of registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A request, then its end.
    Request,
    /// About a person's devices.
    Notice,
}

/// The version of a host's message. A notice has only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    Request,
    Closed,
    Notice,
}

impl Version {
    /// Which registers it belongs into.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Request | Self::Closed => Kind::Request,
            Self::Notice => Kind::Notice,
        }
    }
}

#[derive(Debug)]
struct Register {
    /// The host's message and its number in the device's inbox.
    message: Option<(Version, u64)>,
    /// Numbers in the host's inbox.
    decisions: Vec<u64>,
    expires: Instant,
    /// Its place among those that may be given up.
    closing: Option<u64>,
}

/// There is no room for a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Host,
    Device,
    Server,
}

/// How much may be held.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) per_host: usize,
    pub(crate) per_device: usize,
}

impl Bounds {
    pub(crate) fn new(limits: &config::Limits) -> Self {
        Self {
            bytes: (limits.memory_mib as usize).saturating_mul(1 << 20),
            per_host: limits.messages_per_host as usize,
            per_device: limits.messages_per_device as usize,
        }
    }
}

/// What a stream is told when it asks for more.
#[derive(Debug)]
pub(crate) enum Next {
    /// Another stream has taken this one's place.
    Replaced,
    Frame(u64, Frame),
    /// Nothing now; `busy` while the recipient is a host with requests open.
    Nothing {
        busy: bool,
    },
}

/// All held messages and their readers.
#[derive(Debug)]
pub(crate) struct Messages {
    bounds: Bounds,
    registers: HashMap<Key, Register>,
    inboxes: HashMap<Peer, Inbox>,
    expiry: BTreeSet<(Instant, Key)>,
    /// Closed registers and notices, oldest first: what is given up when memory gets short. A device
    /// that has not heard of a closed one then sees its prompt expire.
    closed: BTreeMap<u64, Key>,
    closings: u64,
    bytes: usize,
    held: usize,
    streams: usize,
}

impl Messages {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            registers: HashMap::new(),
            inboxes: HashMap::new(),
            expiry: BTreeSet::new(),
            closed: BTreeMap::new(),
            closings: 0,
            bytes: 0,
            held: 0,
            streams: 0,
        }
    }

    /// Takes a host's message. One of a lower version than is held changes nothing, which is told by
    /// `false`.
    pub(crate) fn put(
        &mut self,
        key: Key,
        version: Version,
        frame: &Frame,
        expires: Instant,
    ) -> Result<bool, Full> {
        let held = self.registers.get(&key).and_then(|register| register.message);
        let same = |(old, seq): (Version, u64)| {
            old == version && self.inboxes.get(&key.device).and_then(|inbox| inbox.get(seq)) == Some(frame)
        };
        match held {
            Some((old, _)) if old > version => return Ok(false),
            Some(message) if same(message) => {
                self.expire_at(key, |old| old.max(expires));
                return Ok(true);
            }
            Some((_, seq)) => self.drop_item(key.device, seq),
            None => self.make_room(key, frame.len())?,
        }
        self.open_register(key, expires);
        self.expire_at(key, |_| expires);
        let seq = self.add_item(key.device, key, frame);
        let Some(register) = self.registers.get_mut(&key) else { return Ok(true) };
        register.message = Some((version, seq));
        let before = held.map(|(old, _)| old);
        if before.is_none() {
            let device = self.inbox(key.device);
            device.orphans = device.orphans.saturating_sub(1);
        }
        if before != Some(version) {
            match version {
                Version::Request => self.count_open(key.host, 1),
                Version::Closed => self.close(key, before),
                Version::Notice => self.may_go(key),
            }
        }
        Ok(true)
    }

    /// Takes a device's decision or removal.
    pub(crate) fn put_decision(&mut self, key: Key, frame: &Frame, now: Instant) -> Result<(), Full> {
        let held = self.registers.get(&key);
        let known = |register: &Register| {
            let inbox = self.inboxes.get(&key.host);
            register.decisions.iter().any(|seq| inbox.and_then(|inbox| inbox.get(*seq)) == Some(frame))
        };
        if held.is_some_and(known) {
            return Ok(());
        }
        if held.is_none() && self.inbox(key.device).orphans >= MAX_ORPHANS {
            return Err(Full::Device);
        }
        self.make_bytes(frame.len())?;
        self.open_register(key, now + ORPHAN_LIFE);
        if key.kind == Kind::Notice {
            // A removal is not over with the notice that it was made from.
            self.expire_at(key, |old| old.max(now + ORPHAN_LIFE));
        }
        let seq = self.add_item(key.host, key, frame);
        let oldest = self.registers.get_mut(&key).and_then(|register| {
            register.decisions.push(seq);
            (register.decisions.len() > MAX_DECISIONS).then(|| register.decisions.remove(0))
        });
        if let Some(seq) = oldest {
            self.drop_item(key.host, seq);
        }
        Ok(())
    }

    /// Drops what has expired.
    pub(crate) fn sweep(&mut self, now: Instant) {
        while let Some((expires, key)) = self.expiry.first().copied()
            && expires <= now
        {
            self.remove(key);
        }
    }

    /// Drops all between a host and a device that are no longer linked.
    pub(crate) fn unlink(&mut self, host: Peer, device: Peer) {
        let keys =
            [host, device].into_iter().filter_map(|peer| self.inboxes.get(&peer)).flat_map(Inbox::keys);
        let between = |key: &Key| key.host == host && key.device == device;
        let gone: BTreeSet<Key> = keys.filter(between).collect();
        gone.into_iter().for_each(|key| self.remove(key));
    }

    /// Opens the one stream of a recipient; one that is open ends. Gives the new one's number.
    pub(crate) fn open_stream(&mut self, peer: Peer) -> (u64, Arc<Notify>) {
        let inbox = self.inbox(peer);
        let fresh = !inbox.streaming;
        inbox.streaming = true;
        inbox.stream += 1;
        inbox.wake.notify_waiters();
        let opened = (inbox.stream, Arc::clone(&inbox.wake));
        self.streams += usize::from(fresh);
        opened
    }

    /// Ends a stream, unless another has taken its place.
    pub(crate) fn close_stream(&mut self, peer: Peer, stream: u64) {
        let inbox = self.inbox(peer);
        if inbox.stream == stream && inbox.streaming {
            inbox.streaming = false;
            self.streams -= 1;
        }
    }

    /// What a stream sends after number `after`.
    pub(crate) fn next(&self, peer: Peer, stream: u64, after: u64) -> Next {
        match self.inboxes.get(&peer) {
            Some(inbox) if inbox.stream == stream => match inbox.after(after).next() {
                Some((seq, frame)) => Next::Frame(seq, frame.clone()),
                None => Next::Nothing { busy: inbox.open > 0 },
            },
            _ => Next::Replaced,
        }
    }

    /// Begins a long poll; `None` when there are too many.
    pub(crate) fn begin_poll(&mut self, peer: Peer) -> Option<Arc<Notify>> {
        let inbox = self.inbox(peer);
        if inbox.polls >= MAX_POLLS {
            return None;
        }
        inbox.polls += 1;
        Some(Arc::clone(&inbox.wake))
    }

    pub(crate) fn end_poll(&mut self, peer: Peer) {
        let inbox = self.inbox(peer);
        inbox.polls = inbox.polls.saturating_sub(1);
    }

    /// Up to `most` messages after number `after`, and the number to go on from. A number that was
    /// never given means the beginning.
    pub(crate) fn poll(&self, peer: Peer, after: u64, most: usize) -> (Vec<Frame>, u64) {
        let Some(inbox) = self.inboxes.get(&peer) else { return (Vec::new(), 0) };
        let mut cursor = if after > inbox.last { 0 } else { after };
        let frames = inbox.after(cursor).take(most).map(|(seq, frame)| {
            cursor = seq;
            frame.clone()
        });
        (frames.collect(), cursor)
    }

    /// Whether a recipient has a stream open.
    pub(crate) fn listens(&self, peer: Peer) -> bool {
        self.inboxes.get(&peer).is_some_and(|inbox| inbox.streaming)
    }

    /// Streams open, messages held, bytes held.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (self.streams, self.held, self.bytes)
    }
}
