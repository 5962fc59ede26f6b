//! What lies ready for one recipient, and who reads it.

use super::Key;
use crate::envelope::Frame;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// An inbox. It stays when it is empty, so that numbers never repeat: recipients are few and known.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    items: BTreeMap<u64, (Key, Frame)>,
    /// The highest number given so far.
    pub(super) last: u64,
    /// Wakes the stream and the polls.
    pub(super) wake: Arc<Notify>,
    /// The number of the newest stream, and whether it is open.
    pub(super) stream: u64,
    pub(super) streaming: bool,
    pub(super) polls: u32,
    /// A host's: registers that it has, and those of them that are at version `request`.
    pub(super) registers: usize,
    pub(super) open: u32,
    /// A device's: registers that hold nothing but its decisions or removals.
    pub(super) orphans: u32,
    /// The owner's closed registers and notices, oldest first.
    pub(super) closed: BTreeMap<u64, Key>,
}

impl Inbox {
    pub(super) fn push(&mut self, key: Key, frame: Frame) -> u64 {
        self.last += 1;
        self.items.insert(self.last, (key, frame));
        self.wake.notify_waiters();
        self.last
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<Frame> {
        self.items.remove(&seq).map(|(_, frame)| frame)
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Frame> {
        self.items.get(&seq).map(|(_, frame)| frame)
    }

    /// What came after a number, in order.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = (u64, &Frame)> {
        self.items.range(seq.saturating_add(1)..).map(|(seq, (_, frame))| (*seq, frame))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.items.values().map(|(key, _)| *key)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}
