//! The books behind the registers: every item, count and byte is added and taken away here.

use super::{Full, Key, Messages, OVERHEAD, Register, Version, inbox::Inbox};
use crate::directory::Peer;
use crate::envelope::Frame;
use std::time::Instant;

impl Messages {
    pub(super) fn inbox(&mut self, peer: Peer) -> &mut Inbox {
        self.inboxes.entry(peer).or_default()
    }

    /// Makes sure that a register exists. A new one is an orphan until it gets a message.
    pub(super) fn open_register(&mut self, key: Key, expires: Instant) {
        if self.registers.contains_key(&key) {
            return;
        }
        self.registers.insert(key, Register { message: None, decisions: Vec::new(), expires, closing: None });
        self.expiry.insert((expires, key));
        self.inbox(key.host).registers += 1;
        self.inbox(key.device).orphans += 1;
    }

    pub(super) fn expire_at(&mut self, key: Key, when: impl FnOnce(Instant) -> Instant) {
        if let Some(register) = self.registers.get_mut(&key) {
            self.expiry.remove(&(register.expires, key));
            register.expires = when(register.expires);
            self.expiry.insert((register.expires, key));
        }
    }

    pub(super) fn add_item(&mut self, owner: Peer, key: Key, frame: &Frame) -> u64 {
        self.bytes += frame.len() + OVERHEAD;
        self.held += 1;
        self.inbox(owner).push(key, frame.clone())
    }

    pub(super) fn drop_item(&mut self, owner: Peer, seq: u64) {
        if let Some(frame) = self.inbox(owner).remove(seq) {
            self.bytes = self.bytes.saturating_sub(frame.len() + OVERHEAD);
            self.held = self.held.saturating_sub(1);
        }
    }

    pub(super) fn count_open(&mut self, host: Peer, change: i32) {
        let inbox = self.inbox(host);
        let before = inbox.open;
        inbox.open = before.saturating_add_signed(change);
        if before == 0 {
            // Its stream now shows every second that it is alive.
            inbox.wake.notify_waiters();
        }
    }

    /// What a register's first `closed` brings with it: its decisions are no longer needed.
    pub(super) fn close(&mut self, key: Key, before: Option<Version>) {
        if before == Some(Version::Request) {
            self.count_open(key.host, -1);
        }
        self.may_go(key);
        let Some(register) = self.registers.get_mut(&key) else { return };
        for seq in std::mem::take(&mut register.decisions) {
            self.drop_item(key.host, seq);
        }
    }

    /// From now on a register may be given up when memory gets short.
    pub(super) fn may_go(&mut self, key: Key) {
        let order = self.closings;
        self.closings += 1;
        self.closed.insert(order, key);
        self.inbox(key.host).closed.insert(order, key);
        self.inbox(key.device).closed.insert(order, key);
        if let Some(register) = self.registers.get_mut(&key) {
            register.closing = Some(order);
        }
    }

    /// Removes a register and all that belongs to it.
    pub(super) fn remove(&mut self, key: Key) {
        let Some(register) = self.registers.remove(&key) else { return };
        self.expiry.remove(&(register.expires, key));
        for seq in register.decisions {
            self.drop_item(key.host, seq);
        }
        match register.message {
            Some((version, seq)) => {
                self.drop_item(key.device, seq);
                if version == Version::Request {
                    self.count_open(key.host, -1);
                }
            }
            None => {
                let device = self.inbox(key.device);
                device.orphans = device.orphans.saturating_sub(1);
            }
        }
        if let Some(order) = register.closing {
            self.closed.remove(&order);
            self.inbox(key.host).closed.remove(&order);
            self.inbox(key.device).closed.remove(&order);
        }
        let host = self.inbox(key.host);
        host.registers = host.registers.saturating_sub(1);
    }

    /// Makes room for a register's first message: closed ones of the same host, of the same device,
    /// then of anybody go first.
    pub(super) fn make_room(&mut self, key: Key, bytes: usize) -> Result<(), Full> {
        while self.inbox(key.host).registers >= self.bounds.per_host {
            let oldest = self.inbox(key.host).closed.first_key_value().map(|(_, key)| *key);
            self.remove(oldest.ok_or(Full::Host)?);
        }
        while self.inbox(key.device).len() >= self.bounds.per_device {
            let oldest = self.inbox(key.device).closed.first_key_value().map(|(_, key)| *key);
            self.remove(oldest.ok_or(Full::Device)?);
        }
        self.make_bytes(bytes)
    }

    pub(super) fn make_bytes(&mut self, bytes: usize) -> Result<(), Full> {
        while self.bytes + bytes + OVERHEAD > self.bounds.bytes {
            let oldest = self.closed.first_key_value().map(|(_, key)| *key);
            self.remove(oldest.ok_or(Full::Server)?);
        }
        Ok(())
    }
}
