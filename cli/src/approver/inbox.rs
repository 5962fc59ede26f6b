//! What is open, what was answered and what ended: a state machine without I/O or clock.
//!
//! The loop feeds it verified messages, keys and time; it says what to sign, what to send (again)
//! and what happened. A request is removed by its host's signed `closed` or by its end, never by
//! a word of the relay.

pub use super::item::{
    Decided, DeviceNews, Ended, Event, Extent, Item, Key, Listed, Now, Order, Phase, Verified,
};

use super::conflicts::conflicts;
use super::devices::Devices;
use super::notices::Notices;
use countersign_protocol::message::{Answer, ClosedOutcome, Notice, Request, Sealed};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Most requests of one host that are open here; the host itself allows fewer.
const MAX_OPEN_PER_HOST: usize = 16;
/// Most ids of closed requests that are remembered.
const MAX_CLOSED: usize = 1000;
/// Seconds that a closed id is remembered after its request's end.
const REMEMBER: u64 = 300;
/// Longest that a request can live, for a `closed` whose request never came.
const LONGEST: u64 = countersign_protocol::message::MAX_EXPIRES_IN as u64;
/// Ended requests that are kept to be shown.
const MAX_RECENT: usize = 5;
/// A selection that changed by itself takes no answer for this long: the person has not read it.
const LOOK_FIRST_MS: u64 = 700;
/// After a request's end its `closed` may still be on the way; so long nothing is said about it.
const LAST_WORD_MS: u64 = 3_000;
/// Waits before a decision is sent again, in milliseconds; the last one repeats.
const SEND_AGAIN_MS: [u64; 5] = [1_000, 2_000, 4_000, 8_000, 15_000];

/// The state.
#[derive(Debug, Default)]
pub struct Inbox {
    items: Vec<Item>,
    /// Whose time ran out; the host has not said how they ended.
    over: Vec<Item>,
    selected: Option<Key>,
    /// Until when the selection takes no answer.
    look_until: u64,
    closed: BTreeMap<Key, u64>,
    links: BTreeMap<String, Option<String>>,
    recent: VecDeque<Ended>,
    notices: Notices,
    devices: Devices,
    /// Whether something came that a later version sends.
    saw_unknown: bool,
    events: VecDeque<Event>,
    orders: VecDeque<Order>,
}

impl Inbox {
    /// With the closed ids of an earlier run, and what it knew of devices.
    #[must_use]
    pub fn new(closed: BTreeMap<Key, u64>, devices: Devices) -> Self {
        Self { closed, devices, ..Self::default() }
    }

    /// Open requests in the order of their coming.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The one that keys speak to.
    #[must_use]
    pub fn selected(&self) -> Option<&Item> {
        self.selected.as_ref().and_then(|key| self.get(key))
    }

    /// An open request.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Item> {
        self.items.iter().find(|i| i.verified.key() == *key)
    }

    /// The last that ended, newest first.
    pub fn recent(&self) -> impl Iterator<Item = &Ended> {
        self.recent.iter()
    }

    /// Alarms and how often each came, newest first.
    pub fn alarms(&self) -> impl Iterator<Item = (&str, u32)> {
        self.notices.alarms()
    }

    /// News of devices, newest first.
    pub fn news(&self) -> impl Iterator<Item = &str> {
        self.notices.news()
    }

    /// The last notice.
    #[must_use]
    pub fn last_notice(&self) -> Option<&str> {
        self.notices.last()
    }

    /// Servers, and why the stream is not open.
    pub fn links(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.links.iter().map(|(origin, trouble)| (origin.as_str(), trouble.as_deref()))
    }

    /// Closed ids and until when they are kept, to be stored.
    #[must_use]
    pub fn closed(&self) -> &BTreeMap<Key, u64> {
        &self.closed
    }

    /// What machines have said of devices, to be stored.
    #[must_use]
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> VecDeque<Event> {
        std::mem::take(&mut self.events)
    }

    /// What is to be done since the last call.
    pub fn take_orders(&mut self) -> VecDeque<Order> {
        std::mem::take(&mut self.orders)
    }

    /// A verified request came, for the first time or again.
    pub fn arrive(&mut self, verified: Verified, now: Now) {
        let key = verified.key();
        if self.closed.contains_key(&key) {
            return;
        }
        if let Some(known) = self.items.iter().chain(&self.over).find(|i| i.verified.key() == key) {
            if known.verified.digest != verified.digest {
                self.alarm(format!("{} signed two different requests with one id", verified.host_name));
            }
            return;
        }
        let item = Item::new(verified, now);
        if item.left(now) == 0 {
            let Request { issued_at, expires_in, .. } = item.verified.request;
            self.notice(format!(
                "a request from {} came {} s after its end; if this happens often, compare the clocks",
                item.verified.host_name,
                now.unix.saturating_sub(issued_at).saturating_sub(expires_in.into())
            ));
            return;
        }
        if self.items.iter().filter(|i| i.verified.host == key.host).count() >= MAX_OPEN_PER_HOST {
            self.alarm(format!("{} asks too much at once; more is not shown", item.verified.host_name));
            return;
        }
        if !item.is_listed() {
            self.orders.push_back(Order::Fetch(key.clone()));
        }
        self.items.push(item);
        if self.selected.is_none() {
            self.select(Some(key.clone()), now);
        }
        self.events.push_back(Event::Request(key));
    }

    /// The list of a request has come, or why it has not.
    pub fn listed(&mut self, key: &Key, list: Result<String, String>, now: Now) {
        let Some(item) = self.items.iter_mut().find(|i| i.verified.key() == *key) else { return };
        let Listed::Coming(tried) = item.listed else { return };
        match list {
            Ok(text) => {
                item.listed = Listed::There(text.into());
                self.events.push_back(Event::Listed(key.clone(), Extent::Beginning));
            }
            Err(why) => {
                let wait = wait(tried);
                item.listed = Listed::Missing { why: why.clone(), tried: tried + 1, again_at: now.ms + wait };
                if tried == 0 {
                    self.notice(format!("its list is not here, and is tried again: {why}"));
                }
            }
        }
    }

    /// The person wants to see the whole list of a request.
    pub fn show_list(&mut self, key: &Key) {
        match self.get(key).map(|item| &item.listed) {
            Some(Listed::There(_)) => self.events.push_back(Event::Listed(key.clone(), Extent::Whole)),
            Some(Listed::None) => self.hint("that one has no list"),
            Some(_) => self.hint("its list is not here yet"),
            None => self.hint("that one is not open"),
        }
    }

    /// A decision of an earlier run, which its host may not have heard.
    pub fn restore(&mut self, decided: Decided, now: Now) {
        let Decided { verified, answer, code, sealed } = decided;
        let mut item = Item::new(verified, now);
        let key = item.verified.key();
        if item.left(now) == 0 || self.closed.contains_key(&key) {
            return;
        }
        item.phase = Phase::Decided { answer, code, sealed, delivered: false, sent: 0, again_at: now.ms };
        self.items.push(item);
        if self.selected.is_none() {
            self.select(Some(key.clone()), now);
        }
        self.events.push_back(Event::Decided(key));
    }

    /// The decisions that their hosts have not closed, to be stored.
    pub fn decided(&self) -> impl Iterator<Item = Decided> {
        self.items.iter().filter_map(|item| match item.standing.as_ref().unwrap_or(&item.phase) {
            Phase::Decided { answer, code, sealed, .. } => Some(Decided {
                verified: item.verified.clone(),
                answer: *answer,
                code: code.clone(),
                sealed: sealed.clone(),
            }),
            Phase::Asking | Phase::Signing(_) => None,
        })
    }

    /// A host's signed `closed` came.
    pub fn close(&mut self, key: &Key, digest: &str, outcome: ClosedOutcome, host_name: &str, now: Now) {
        let known = self.items.iter().chain(&self.over).find(|i| i.verified.key() == *key);
        if known.is_some_and(|item| item.verified.digest != digest) {
            self.alarm(format!("{host_name} closed a request that is not the one that it had sent"));
            return;
        }
        let end = known.map_or(LONGEST, |item| item.left(now));
        if self.closed.len() < MAX_CLOSED {
            self.closed.insert(key.clone(), now.unix + end + REMEMBER);
        }
        self.end(key, outcome, now);
    }

    /// A host says what has become of a user's devices. False when it has said so before, or something
    /// newer.
    pub fn hear(&mut self, key: &Key, notice: &Arc<Notice>, digest: &str, host: &str, now: Now) -> bool {
        let Some(news) = self.devices.hear(key, notice, digest, now.unix) else { return false };
        self.notices.tell(host, &notice.user, &news, now.ms);
        for change in news {
            let (host, notice) = (host.to_owned(), notice.clone());
            self.events.push_back(Event::Device(Box::new(DeviceNews { host, notice, change })));
        }
        true
    }

    /// Something came that only a later version understands.
    pub fn unknown(&mut self) {
        if !std::mem::replace(&mut self.saw_unknown, true) {
            self.notice("a message came that only a later version understands: update countersign".into());
        }
    }

    /// The person answers the selected request.
    pub fn answer_selected(&mut self, answer: Answer, now: Now) {
        let Some(key) = self.selected.clone() else {
            return self.hint("nothing is open");
        };
        if now.ms < self.look_until {
            return self.hint("this one has just come: look at it, then press again");
        }
        self.answer(&key, answer);
    }

    /// The person answers a request by name.
    pub fn answer(&mut self, key: &Key, answer: Answer) {
        match self.items.iter_mut().find(|i| i.verified.key() == *key) {
            Some(item) if item.takes(answer) => {
                let before = std::mem::replace(&mut item.phase, Phase::Signing(answer));
                item.standing = (before != Phase::Asking).then_some(before);
                self.notices.clear();
                self.orders.push_back(Order::Sign(key.clone(), answer));
            }
            Some(item) if item.phase == Phase::Asking => {
                self.hint("its list is not here, and nothing is approved without it");
            }
            Some(_) => self.hint("that one is answered already"),
            None => self.hint("that one is not open"),
        }
    }

    /// The person wants an approval of this request to hold for so many seconds.
    pub fn lease(&mut self, key: &Key, seconds: u32) {
        let item = self.items.iter_mut().find(|i| i.verified.key() == *key && i.phase == Phase::Asking);
        if item.is_some_and(|item| !item.choose_lease(seconds)) {
            self.hint("its policy lets no lease be granted");
        }
    }

    /// The person looks for another lease for the selected request.
    pub fn next_lease(&mut self) {
        let Some(item) = self.selected().filter(|item| item.phase == Phase::Asking) else { return };
        let (key, next) = (item.verified.key(), item.next_lease());
        self.lease(&key, next);
    }

    /// The decision is signed and sealed.
    pub fn signed(&mut self, key: &Key, sealed: Sealed, code: Option<Zeroizing<String>>, now: Now) {
        let Some(item) = self.items.iter_mut().find(|i| i.verified.key() == *key) else { return };
        let Phase::Signing(answer) = item.phase else { return };
        let sealed = Box::new(sealed);
        let send = Order::Send(key.clone(), item.verified.server.clone(), sealed.clone());
        let again_at = now.ms + SEND_AGAIN_MS[0];
        item.phase = Phase::Decided { answer, code, sealed, delivered: false, sent: 1, again_at };
        item.standing = None;
        self.orders.push_back(send);
        self.events.push_back(Event::Decided(key.clone()));
    }

    /// The decision could not be signed; the person may answer again, and an approval stands.
    pub fn not_signed(&mut self, key: &Key, why: &str) {
        if let Some(item) = self.items.iter_mut().find(|i| i.verified.key() == *key) {
            item.phase = item.standing.take().unwrap_or(Phase::Asking);
            self.notice(format!("not signed: {why}"));
        }
    }

    /// The server has the decision, or says why not.
    pub fn sent(&mut self, key: &Key, result: Result<(), String>) {
        let Some(item) = self.items.iter_mut().find(|i| i.verified.key() == *key) else { return };
        if let Phase::Decided { delivered, .. } = &mut item.phase {
            match result {
                Ok(()) => {
                    *delivered = true;
                    self.notices.clear();
                }
                Err(why) => self.notice(format!("the answer is not sent yet: {why}")),
            }
        }
    }

    /// A server's stream opened: it may have forgotten everything, so every decision goes again.
    pub fn connected(&mut self, server: &str, now: Now) {
        if self.links.insert(server.to_owned(), None) != Some(None) {
            self.events.push_back(Event::Connected(server.to_owned()));
        }
        for item in self.items.iter_mut().filter(|i| i.verified.server == server) {
            if let Phase::Decided { again_at, .. } = &mut item.phase {
                *again_at = now.ms;
            }
        }
        self.tick(now);
    }

    /// A server's stream is not open.
    pub fn disconnected(&mut self, server: &str, why: &str) {
        let before = self.links.insert(server.to_owned(), Some(why.to_owned()));
        if before != Some(Some(why.to_owned())) {
            self.events.push_back(Event::Disconnected(server.to_owned(), why.to_owned()));
        }
    }

    /// Something that must not happen.
    pub fn alarm(&mut self, text: String) {
        self.events.push_back(Event::Alarm(text.clone()));
        self.notices.alarm(text);
    }

    /// Something worth knowing.
    pub fn notice(&mut self, text: String) {
        self.events.push_back(Event::Notice(text.clone()));
        self.notices.say(text);
    }

    /// What a key had no effect for.
    fn hint(&mut self, text: &str) {
        self.notice(text.to_owned());
    }

    /// Selects the next request, or the one before.
    pub fn step(&mut self, forward: bool) {
        let at = self.items.iter().position(|i| Some(i.verified.key()) == self.selected).unwrap_or(0);
        let n = self.items.len().max(1);
        let to = if forward { (at + 1) % n } else { (at + n - 1) % n };
        self.selected = self.items.get(to).map(|i| i.verified.key());
        // The person chose: it needs no second look.
        self.look_until = 0;
    }

    /// Time passes: ends what has ended, sends again what is due.
    pub fn tick(&mut self, now: Now) {
        while let Some(at) = self.items.iter().position(|i| i.ends_at <= now.ms) {
            let item = self.remove(at, now);
            self.over.push(item);
        }
        while let Some(at) = self.over.iter().position(|i| i.ends_at + LAST_WORD_MS <= now.ms) {
            let item = self.over.remove(at);
            self.record(item, None, now);
        }
        self.closed.retain(|_, until| *until > now.unix);
        self.notices.tick(now.ms);
        for item in &mut self.items {
            let key = item.verified.key();
            if let (Listed::Missing { tried, again_at, .. }, Phase::Asking) = (&item.listed, &item.phase)
                && *again_at <= now.ms
            {
                item.listed = Listed::Coming(*tried);
                self.orders.push_back(Order::Fetch(key.clone()));
            }
            if let Phase::Decided { sealed, sent, again_at, delivered, .. } = &mut item.phase
                && *again_at <= now.ms
            {
                let wait = wait(*sent);
                (*sent, *again_at, *delivered) = (*sent + 1, now.ms + wait, false);
                self.orders.push_back(Order::Send(key, item.verified.server.clone(), sealed.clone()));
            }
        }
    }

    /// Other open requests of the same user, and in what they differ from this one.
    #[must_use]
    pub fn conflicts(&self, item: &Item) -> Vec<&'static str> {
        conflicts(&self.items, item)
    }

    fn end(&mut self, key: &Key, outcome: ClosedOutcome, now: Now) {
        let at = |items: &[Item]| items.iter().position(|i| i.verified.key() == *key);
        let item = if let Some(at) = at(&self.items) {
            self.remove(at, now)
        } else if let Some(at) = at(&self.over) {
            self.over.remove(at)
        } else {
            return;
        };
        self.record(item, Some(outcome), now);
    }

    /// Takes a request off the list, and selects the next if it was the selected one.
    fn remove(&mut self, at: usize, now: Now) -> Item {
        let item = self.items.remove(at);
        if self.selected == Some(item.verified.key()) {
            let next = self.items.get(at).or(self.items.last()).map(|i| i.verified.key());
            self.select(next, now);
        }
        item
    }

    fn record(&mut self, item: Item, outcome: Option<ClosedOutcome>, now: Now) {
        let answer = match item.phase {
            Phase::Asking => None,
            Phase::Signing(answer) | Phase::Decided { answer, .. } => Some(answer),
        };
        let ended = Ended { verified: item.verified, answer, outcome, at: now.unix };
        self.recent.push_front(ended.clone());
        self.recent.truncate(MAX_RECENT);
        self.events.push_back(Event::Closed(Box::new(ended)));
    }

    /// Changes the selection without the person's doing.
    fn select(&mut self, key: Option<Key>, now: Now) {
        self.selected = key;
        self.look_until = now.ms + LOOK_FIRST_MS;
    }
}

/// Milliseconds until what was tried so often is tried again.
fn wait(tried: usize) -> u64 {
    SEND_AGAIN_MS.get(tried).or(SEND_AGAIN_MS.last()).copied().unwrap_or_default()
}

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;
