//! Which pushes wait, and which goes next. No I/O happens here: [`super::work`] does what this says.
//!
//! There is at most one push of a register at a time. The end of a request takes the place of the
//! request while that waits, and is pushed only where the request was, or may have been. Services take
//! turns, and one that does not answer holds up nobody but its own devices.

mod service;
#[cfg(test)]
mod tests;

use super::results::{Dropped, Results};
use crate::directory::Peer;
use crate::envelope::Frame;
use crate::messages::{Key, Version};
use countersign_protocol::{api, random};
use service::Services;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most pushes that wait or are under way; each holds a message of about 5 KiB.
const MAX_JOBS: usize = 4096;
/// The same of one host, and for one device.
const MAX_PER_HOST: usize = 1024;
const MAX_PER_DEVICE: usize = 64;
/// Most registers of which it is remembered that a device was rung.
const MAX_RUNG: usize = 65_536;
/// How long that is remembered after the request's life: its end may come late.
const REMEMBER: Duration = Duration::from_secs(api::MAX_TTL as u64);
/// The first pause before trying again; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that nobody has asked for.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The longest that a service may ask for: a longer wish counts as this.
pub(super) const MAX_QUIET: Duration = Duration::from_secs(3600);
/// Most devices of which a pause is remembered.
const MAX_QUIET_DEVICES: usize = 10_000;

/// What is to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) version: Version,
    pub(super) frame: Frame,
    /// Later it is no longer tried.
    pub(super) until: Instant,
}

/// What is to be tried now.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) key: Key,
    pub(super) message: Message,
    pub(super) service: Arc<str>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The push service has it.
    Delivered,
    /// The push service does not have it, and trying again would not help.
    Failed,
    /// It may be tried again.
    Again {
        /// The push service wants to be left alone for so long.
        after: Option<Duration>,
        /// The push service may have it all the same: the connection ended before the answer.
        maybe: bool,
        /// Nothing, or nothing sensible, is to be had from that service.
        down: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready(u64),
    Later(Instant),
    Active,
}

#[derive(Debug)]
struct Job {
    message: Message,
    /// What came while the message was under way.
    next: Option<Message>,
    service: Arc<str>,
    state: State,
    attempts: u32,
    /// The device may have been rung.
    maybe: bool,
    /// Nobody wants it any more; it only ends.
    cancelled: bool,
}

/// All pushes that wait or are under way.
#[derive(Debug)]
pub(super) struct Queue {
    jobs: HashMap<Key, Job>,
    services: Services,
    later: BTreeSet<(Instant, Key)>,
    /// Jobs by host and by device.
    counts: HashMap<Peer, usize>,
    /// Devices whose push service wants a pause.
    quiet: HashMap<Peer, Instant>,
    /// Requests that a device was rung for, and when that is forgotten.
    rung: HashMap<Key, Instant>,
    forgotten: BTreeSet<(Instant, Key)>,
    results: Results,
}

impl Queue {
    pub(super) fn new(results: Results) -> Self {
        Self {
            jobs: HashMap::new(),
            services: Services::default(),
            later: BTreeSet::new(),
            counts: HashMap::new(),
            quiet: HashMap::new(),
            rung: HashMap::new(),
            forgotten: BTreeSet::new(),
            results,
        }
    }

    /// Takes a message that a device is to be rung with.
    pub(super) fn offer(&mut self, key: Key, message: Message, service: &Arc<str>) {
        let Some(job) = self.jobs.get_mut(&key) else {
            if message.version != Version::Closed || self.forget_rung(&key) {
                self.insert(key, message, service);
            }
            return;
        };
        if job.cancelled {
            return;
        }
        let (closes, rung) = (message.version == Version::Closed, job.maybe || self.rung.contains_key(&key));
        let closed = |message: &Message| message.version == Version::Closed;
        match job.state {
            State::Active if job.message.frame == message.frame => job.next = None,
            // One end is enough: a host that posts others for the same request does not ring with them.
            State::Active if closes && closed(&job.message) => job.next = None,
            State::Active if closes && job.next.as_ref().is_some_and(closed) => {}
            State::Active => job.next = Some(message),
            _ if closes && closed(&job.message) => {}
            _ if closes && job.message.version == Version::Request && !rung => {
                self.results.drop(Dropped::Superseded);
                self.remove(&key);
            }
            _ => {
                if job.message.version != message.version {
                    job.attempts = 0;
                }
                job.message = message;
                if closes {
                    self.forget_rung(&key);
                }
            }
        }
    }

    /// What is to be tried now, if anything.
    pub(super) fn take(&mut self, now: Instant) -> Option<Attempt> {
        self.wake(now);
        while let Some((service, key)) = self.services.next() {
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            if job.message.until <= now {
                self.expire(&key);
                continue;
            }
            if let Some(until) = self.quiet.get(&key.device).copied().filter(|until| *until > now) {
                self.put_off(key, until);
                continue;
            }
            job.state = State::Active;
            job.attempts += 1;
            self.services.begin(&service);
            return Some(Attempt { key, message: job.message.clone(), service });
        }
        None
    }

    /// When to ask again although nothing has happened.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Takes note of how an attempt ended. True when it will be tried again.
    pub(super) fn done(&mut self, key: Key, ended: Ended, now: Instant) -> bool {
        let Some(job) = self.jobs.get_mut(&key).filter(|job| job.state == State::Active) else {
            return false;
        };
        self.services.end(&job.service, matches!(ended, Ended::Again { down: true, .. }));
        if job.cancelled {
            self.remove(&key);
            return false;
        }
        let (version, until) = (job.message.version, job.message.until);
        job.maybe |= ended == Ended::Delivered || matches!(ended, Ended::Again { maybe: true, .. });
        let maybe = job.maybe;
        match (job.next.take(), ended) {
            (Some(next), _) if next.version == Version::Closed && !maybe && !self.rung.contains_key(&key) => {
                self.results.drop(Dropped::Superseded);
                self.remove(&key);
                false
            }
            (Some(next), _) => {
                if version == Version::Request && next.version == Version::Closed {
                    job.maybe = false;
                    job.attempts = 0;
                    self.forget_rung(&key);
                }
                self.again(key, next, ended, now)
            }
            (None, Ended::Again { .. }) => {
                let message = job.message.clone();
                self.again(key, message, ended, now)
            }
            (None, Ended::Delivered | Ended::Failed) => {
                self.remove(&key);
                if maybe && version == Version::Request {
                    self.remember_rung(key, until + REMEMBER);
                }
                false
            }
        }
    }

    /// Gives a push that was about to be tried to another service: the device has changed to it.
    pub(super) fn reroute(&mut self, key: &Key, service: &Arc<str>) {
        let Some(job) = self.jobs.get_mut(key).filter(|job| job.state == State::Active) else { return };
        self.services.end(&job.service, false);
        self.services.leave(&job.service);
        job.service = Arc::clone(service);
        job.attempts = 0;
        self.services.join(service);
        job.state = State::Ready(self.services.queue(service, *key));
    }

    /// Drops what a device is to be rung with; where a host is given, only what comes from it.
    pub(super) fn cancel(&mut self, device: Peer, host: Option<Peer>) {
        let meant = |key: &Key| key.device == device && host.is_none_or(|host| key.host == host);
        let keys: Vec<Key> = self.jobs.keys().filter(|key| meant(key)).copied().collect();
        for key in keys {
            match self.jobs.get_mut(&key) {
                Some(job) if job.state == State::Active => (job.cancelled, job.next) = (true, None),
                _ => self.remove(&key),
            }
        }
    }

    /// How many wait or are under way.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether nothing is under way nor could be.
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.values().all(|job| matches!(job.state, State::Later(_)))
    }

    fn insert(&mut self, key: Key, message: Message, service: &Arc<str>) {
        let full = |peer: Peer, most: usize| self.counts.get(&peer).is_some_and(|count| *count >= most);
        if self.jobs.len() >= MAX_JOBS
            || full(key.host, MAX_PER_HOST)
            || full(key.device, MAX_PER_DEVICE)
            || self.services.is_full(service)
        {
            self.results.drop(Dropped::Full);
            return;
        }
        for peer in [key.host, key.device] {
            *self.counts.entry(peer).or_default() += 1;
        }
        self.services.join(service);
        let state = State::Ready(self.services.queue(service, key));
        let service = Arc::clone(service);
        let job = Job { message, next: None, service, state, attempts: 0, maybe: false, cancelled: false };
        self.jobs.insert(key, job);
    }

    fn remove(&mut self, key: &Key) {
        let Some(job) = self.jobs.remove(key) else { return };
        match job.state {
            State::Ready(number) => self.services.unqueue(&job.service, number),
            State::Later(at) => drop(self.later.remove(&(at, *key))),
            State::Active => {}
        }
        self.services.leave(&job.service);
        for peer in [key.host, key.device] {
            if let Some(count) = self.counts.get_mut(&peer) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&peer);
                }
            }
        }
    }

    /// Lets a job whose attempt has ended go on with a message: at once, or after a pause where the
    /// attempt asks for one. False when there is no time left for it.
    fn again(&mut self, key: Key, message: Message, ended: Ended, now: Instant) -> bool {
        let Some(job) = self.jobs.get_mut(&key) else { return false };
        job.message = message;
        let Ended::Again { after, .. } = ended else {
            job.state = State::Ready(self.services.queue(&job.service, key));
            return true;
        };
        // A time that the clock cannot tell is past any message's life.
        let at = now.checked_add(pause(job.attempts).max(after.unwrap_or_default()));
        if let Some(until) = after.and_then(|after| now.checked_add(after.min(MAX_QUIET))) {
            self.quiet.retain(|_, until| *until > now);
            if self.quiet.len() < MAX_QUIET_DEVICES {
                self.quiet.insert(key.device, until);
            }
        }
        let Some(at) = at.filter(|at| *at < job.message.until) else {
            self.expire(&key);
            return false;
        };
        self.put_off(key, at);
        true
    }

    fn put_off(&mut self, key: Key, at: Instant) {
        if let Some(job) = self.jobs.get_mut(&key) {
            job.state = State::Later(at);
            self.later.insert((at, key));
        }
    }

    fn expire(&mut self, key: &Key) {
        if let Some(job) = self.jobs.get(key)
            && job.maybe
            && job.message.version == Version::Request
        {
            self.remember_rung(*key, job.message.until + REMEMBER);
        }
        if let Some(job) = self.jobs.get_mut(key)
            && matches!(job.state, State::Ready(_))
        {
            // `take` has it out of the service's queue already.
            job.state = State::Active;
        }
        self.results.drop(Dropped::Expired);
        self.remove(key);
    }

    /// Makes ready what has waited long enough, and forgets what is remembered no longer.
    fn wake(&mut self, now: Instant) {
        while let Some((at, key)) = self.later.first().copied()
            && at <= now
        {
            self.later.pop_first();
            if let Some(job) = self.jobs.get_mut(&key) {
                job.state = State::Ready(self.services.queue(&job.service, key));
            }
        }
        while let Some((at, key)) = self.forgotten.first().copied()
            && (at <= now || self.rung.len() > MAX_RUNG)
        {
            self.forgotten.pop_first();
            self.rung.remove(&key);
        }
    }

    fn remember_rung(&mut self, key: Key, until: Instant) {
        self.forget_rung(&key);
        self.rung.insert(key, until);
        self.forgotten.insert((until, key));
    }

    /// True when the device was rung for it.
    fn forget_rung(&mut self, key: &Key) -> bool {
        match self.rung.remove(key) {
            Some(until) => self.forgotten.remove(&(until, *key)),
            None => false,
        }
    }
}

/// How long to wait after so many attempts: longer each time, and not the same for all.
fn pause(attempts: u32) -> Duration {
    let doubled = PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    let [spread] = random::bytes::<1>();
    doubled.min(MAX_PAUSE).mul_f64(0.8 + 0.4 * f64::from(spread) / 255.0)
}
