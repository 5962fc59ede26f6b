//! Pairing mailboxes: what a host and a new device say to each other before the device is known.
//! In memory, five minutes each. Whoever knows the id may read and append to `m1`; the id is a
//! secret of the pairing.

use crate::directory::{KeyId, Peer};
use countersign_protocol::api::{MAILBOX_LIFE, MAX_FIRST};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Most mailboxes of all hosts.
const MAX_MAILBOXES: usize = 4096;
/// Most who wait at one mailbox at a time.
const MAX_WAITING: usize = 8;
/// Most devices that become known by one mailbox.
const MAX_DEVICES: usize = MAX_FIRST;

/// A mailbox's id.
pub(crate) type MailboxId = [u8; 16];

/// Parts of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    M1,
    M2,
    M3,
}

/// Why something is not done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not open (any more).
    NotOpen,
    /// It is another host's.
    OtherHost,
    /// The pairing has gone on, or this slot holds something else.
    Taken,
    /// Too many mailboxes, messages, waiting or devices.
    Full,
}

struct Mailbox {
    host: Peer,
    closes: Instant,
    first: Vec<String>,
    second: Option<String>,
    third: Option<String>,
    devices: Vec<KeyId>,
    wake: Arc<Notify>,
}

/// All open mailboxes.
pub(crate) struct Mailboxes {
    per_host: usize,
    open: Mutex<HashMap<MailboxId, Mailbox>>,
}

impl Mailboxes {
    pub(crate) fn new(per_host: u32) -> Self {
        Self { per_host: per_host as usize, open: Mutex::default() }
    }

    fn with<T>(&self, f: impl FnOnce(&mut HashMap<MailboxId, Mailbox>) -> T) -> T {
        f(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn at<T>(
        &self,
        id: &MailboxId,
        now: Instant,
        f: impl FnOnce(&mut Mailbox) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.with(|open| match open.get_mut(id) {
            Some(mailbox) if mailbox.closes > now => f(mailbox),
            _ => Err(Refusal::NotOpen),
        })
    }

    /// Opens a mailbox; true when it was not open before.
    pub(crate) fn open(&self, id: MailboxId, host: Peer, now: Instant) -> Result<bool, Refusal> {
        self.with(|open| {
            open.retain(|_, mailbox| mailbox.closes > now);
            match open.get(&id) {
                Some(mailbox) if mailbox.host == host => return Ok(false),
                Some(_) => return Err(Refusal::OtherHost),
                None => {}
            }
            let own = open.values().filter(|mailbox| mailbox.host == host).count();
            if own >= self.per_host || open.len() >= MAX_MAILBOXES {
                return Err(Refusal::Full);
            }
            let mailbox = Mailbox {
                host,
                closes: now + Duration::from_secs(u64::from(MAILBOX_LIFE)),
                first: Vec::new(),
                second: None,
                third: None,
                devices: Vec::new(),
                wake: Arc::default(),
            };
            open.insert(id, mailbox);
            Ok(true)
        })
    }

    /// Closes a host's mailbox. Who waits there is woken and finds it closed.
    pub(crate) fn close(&self, id: &MailboxId, host: Peer, now: Instant) -> Result<(), Refusal> {
        self.with(|open| match open.get(id) {
            Some(mailbox) if mailbox.closes <= now => Err(Refusal::NotOpen),
            Some(mailbox) if mailbox.host != host => Err(Refusal::OtherHost),
            Some(mailbox) => {
                mailbox.wake.notify_waiters();
                open.remove(id);
                Ok(())
            }
            None => Err(Refusal::NotOpen),
        })
    }

    /// Whose mailbox it is.
    pub(crate) fn host(&self, id: &MailboxId, now: Instant) -> Result<Peer, Refusal> {
        self.at(id, now, |mailbox| Ok(mailbox.host))
    }

    /// Appends to `m1`; true when it was not there before.
    pub(crate) fn append(&self, id: &MailboxId, data: String, now: Instant) -> Result<bool, Refusal> {
        self.at(id, now, |mailbox| {
            if mailbox.first.contains(&data) {
                return Ok(false);
            }
            if mailbox.second.is_some() {
                return Err(Refusal::Taken);
            }
            if mailbox.first.len() >= MAX_FIRST {
                return Err(Refusal::Full);
            }
            mailbox.first.push(data);
            mailbox.wake.notify_waiters();
            Ok(true)
        })
    }

    /// Puts `m2` or `m3`, once; true when it was not there before.
    pub(crate) fn put(
        &self,
        id: &MailboxId,
        slot: Slot,
        host: Peer,
        data: String,
        now: Instant,
    ) -> Result<bool, Refusal> {
        self.at(id, now, |mailbox| {
            if mailbox.host != host {
                return Err(Refusal::OtherHost);
            }
            let held = match slot {
                Slot::M1 => return Err(Refusal::Taken),
                Slot::M2 => &mut mailbox.second,
                Slot::M3 => &mut mailbox.third,
            };
            match held {
                Some(held) if *held == data => Ok(false),
                Some(_) => Err(Refusal::Taken),
                None => {
                    *held = Some(data);
                    mailbox.wake.notify_waiters();
                    Ok(true)
                }
            }
        })
    }

    /// What wakes a reader when something has changed.
    pub(crate) fn watch(&self, id: &MailboxId, now: Instant) -> Result<Arc<Notify>, Refusal> {
        self.at(id, now, |mailbox| {
            // Each reader holds one; one is the mailbox's own.
            if Arc::strong_count(&mailbox.wake) > MAX_WAITING {
                return Err(Refusal::Full);
            }
            Ok(Arc::clone(&mailbox.wake))
        })
    }

    /// What is in a slot from number `after` on.
    pub(crate) fn read(
        &self,
        id: &MailboxId,
        slot: Slot,
        after: usize,
        now: Instant,
    ) -> Result<Vec<String>, Refusal> {
        self.at(id, now, |mailbox| {
            let mails: &[String] = match slot {
                Slot::M1 => &mailbox.first,
                Slot::M2 => mailbox.second.as_slice(),
                Slot::M3 => mailbox.third.as_slice(),
            };
            Ok(mails.get(after..).unwrap_or_default().to_vec())
        })
    }

    /// Lets a device become known by a mailbox: gives the host that has opened it.
    pub(crate) fn admit(&self, id: &MailboxId, device: KeyId, now: Instant) -> Result<Peer, Refusal> {
        self.at(id, now, |mailbox| {
            if !mailbox.devices.contains(&device) {
                if mailbox.devices.len() >= MAX_DEVICES {
                    return Err(Refusal::Full);
                }
                mailbox.devices.push(device);
            }
            Ok(mailbox.host)
        })
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.with(|open| open.len())
    }

    /// Forgets mailboxes whose time is over.
    pub(crate) fn sweep(&self, now: Instant) {
        self.with(|open| {
            open.retain(|_, mailbox| {
                let keep = mailbox.closes > now;
                if !keep {
                    mailbox.wake.notify_waiters();
                }
                keep
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MailboxId = [1; 16];
    const LIFE: Duration = Duration::from_secs(MAILBOX_LIFE as u64);

    fn host(number: u32) -> Peer {
        Peer::for_test(number)
    }

    #[test]
    fn only_a_host_opens_writes_and_closes_its_own() {
        let (boxes, now) = (Mailboxes::new(2), Instant::now());
        assert_eq!(boxes.append(&ID, "a".into(), now), Err(Refusal::NotOpen));
        assert_eq!(boxes.open(ID, host(1), now), Ok(true));
        assert_eq!(boxes.open(ID, host(1), now), Ok(false));
        assert_eq!(boxes.open(ID, host(2), now), Err(Refusal::OtherHost));
        assert_eq!(boxes.put(&ID, Slot::M2, host(2), "x".into(), now), Err(Refusal::OtherHost));
        assert_eq!(boxes.close(&ID, host(2), now), Err(Refusal::OtherHost));
        assert_eq!(boxes.close(&ID, host(1), now), Ok(()));
        assert_eq!(boxes.close(&ID, host(1), now), Err(Refusal::NotOpen));
    }

    #[test]
    fn after_the_answer_only_the_same_first_message_passes() {
        let (boxes, now) = (Mailboxes::new(2), Instant::now());
        boxes.open(ID, host(1), now).unwrap();
        assert_eq!(boxes.append(&ID, "one".into(), now), Ok(true));
        assert_eq!(boxes.append(&ID, "two".into(), now), Ok(true));
        let read = |slot, after| boxes.read(&ID, slot, after, now).unwrap();
        assert_eq!(read(Slot::M1, 0), ["one", "two"]);
        assert_eq!(read(Slot::M1, 1), ["two"]);
        assert!(read(Slot::M1, 2).is_empty() && read(Slot::M1, usize::MAX).is_empty());
        assert_eq!(boxes.put(&ID, Slot::M2, host(1), "answer".into(), now), Ok(true));
        assert_eq!(boxes.put(&ID, Slot::M2, host(1), "answer".into(), now), Ok(false));
        assert_eq!(boxes.put(&ID, Slot::M2, host(1), "other".into(), now), Err(Refusal::Taken));
        assert_eq!(boxes.append(&ID, "one".into(), now), Ok(false));
        assert_eq!(boxes.append(&ID, "three".into(), now), Err(Refusal::Taken));
        assert_eq!(read(Slot::M2, 0), ["answer"]);
    }

    #[test]
    fn everything_has_its_bound() {
        let (boxes, now) = (Mailboxes::new(2), Instant::now());
        boxes.open(ID, host(1), now).unwrap();
        boxes.open([2; 16], host(1), now).unwrap();
        assert_eq!(boxes.open([3; 16], host(1), now), Err(Refusal::Full));
        assert_eq!(boxes.open([3; 16], host(2), now), Ok(true));
        for n in 0..MAX_FIRST {
            boxes.append(&ID, n.to_string(), now).unwrap();
            boxes.admit(&ID, KeyId([n as u8; 32]), now).unwrap();
        }
        assert_eq!(boxes.append(&ID, "more".into(), now), Err(Refusal::Full));
        assert_eq!(boxes.append(&ID, "0".into(), now), Ok(false));
        assert_eq!(boxes.admit(&ID, KeyId([99; 32]), now), Err(Refusal::Full));
        assert_eq!(boxes.admit(&ID, KeyId([0; 32]), now), Ok(host(1)));
        let waiting: Vec<_> = (0..MAX_WAITING).map(|_| boxes.watch(&ID, now).unwrap()).collect();
        assert_eq!(boxes.watch(&ID, now).unwrap_err(), Refusal::Full);
        drop(waiting);
        assert!(boxes.watch(&ID, now).is_ok());
    }

    #[test]
    fn its_time_ends() {
        let (boxes, now) = (Mailboxes::new(1), Instant::now());
        boxes.open(ID, host(1), now).unwrap();
        let late = now + LIFE;
        assert!(boxes.read(&ID, Slot::M1, 0, late - Duration::from_secs(1)).is_ok());
        assert_eq!(boxes.read(&ID, Slot::M1, 0, late).unwrap_err(), Refusal::NotOpen);
        assert_eq!(boxes.admit(&ID, KeyId([1; 32]), late), Err(Refusal::NotOpen));
        boxes.sweep(late);
        assert_eq!(boxes.count(), 0);
        assert_eq!(boxes.open(ID, host(2), late), Ok(true));
    }
}
