//! The one connection to the server: an event stream down, short posts up.
//!
//! The server may forget at any time, so everything that still has to be said is kept in the
//! [`outbox`] and said again after each reconnect. While the server is known to be down nobody waits
//! for it: a login hears so at once, and its coming makes the next try to connect come sooner.
//!
//! [`stream`] keeps the event stream open, [`tell`] says what has to be said without anybody waiting
//! for it, one message after the other and as slowly as the server asks for.

mod outbox;
mod stream;
mod tell;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use countersign_protocol::api::Post;
use countersign_protocol::message::Sealed;
use countersign_relay_client::{RelayClient, RelayError};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::clock;
use outbox::{Entry, Outbox};

pub use stream::run;
pub use tell::tell;

/// How long a post may take before the server counts as unreachable.
const POST_TIME: Duration = Duration::from_secs(2);
/// Pause when the server asks to slow down and does not say how long.
const SLOW_DOWN: Duration = Duration::from_secs(1);

/// What is known of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Link {
    /// Not tried yet.
    Starting,
    /// The stream is open.
    Up,
    /// It failed, for this reason.
    Down(String),
}

/// The connection to the server.
pub struct Relay {
    client: RefCell<Option<Arc<RelayClient>>>,
    link: RefCell<Link>,
    outbox: RefCell<Outbox>,
    /// Somebody wants the server now.
    wanted: Notify,
    /// The stream has to be opened anew.
    broken: Notify,
    /// Ids of what [`tell`] has to post, first in line first.
    due: RefCell<VecDeque<String>>,
    /// There is something due.
    due_now: Notify,
    /// Whether [`tell`] is at it, and when it has come to an end.
    telling: Cell<bool>,
    told: Notify,
    /// Why the server that is there did not take the last message that it did not take.
    refusal: RefCell<String>,
    /// How long the last message took until the server held it.
    took: Cell<Duration>,
}

/// Why the server does not hold a message.
struct Unposted {
    why: String,
    /// It asks to wait that long; then it may take it.
    pause: Option<Duration>,
}

impl Relay {
    /// A connection that is not open yet; without a client until the configuration names a server.
    #[must_use]
    pub fn new(client: Option<Arc<RelayClient>>) -> Self {
        Self {
            client: RefCell::new(client),
            link: RefCell::new(Link::Starting),
            outbox: RefCell::default(),
            wanted: Notify::new(),
            broken: Notify::new(),
            due: RefCell::default(),
            due_now: Notify::new(),
            telling: Cell::default(),
            told: Notify::new(),
            refusal: RefCell::new("no answer in time".to_owned()),
            took: Cell::default(),
        }
    }

    /// The client of the server's interface.
    #[must_use]
    pub fn client(&self) -> Option<Arc<RelayClient>> {
        self.client.borrow().clone()
    }

    /// Talks to another server from now on.
    pub fn set_client(&self, client: Option<Arc<RelayClient>>) {
        *self.client.borrow_mut() = client;
        self.broken.notify_one();
        self.wanted.notify_one();
    }

    /// Tries to connect now: the host has just joined.
    pub fn reconnect(&self) {
        self.wanted.notify_one();
    }

    /// Whether the stream is open.
    #[must_use]
    pub fn is_up(&self) -> bool {
        *self.link.borrow() == Link::Up
    }

    /// Why the server cannot be reached, in a few words.
    #[must_use]
    pub fn trouble(&self) -> String {
        match &*self.link.borrow() {
            Link::Down(why) => why.clone(),
            Link::Starting => "not connected yet".to_owned(),
            Link::Up => self.refusal.borrow().clone(),
        }
    }

    /// Posts a request's messages and waits until the server holds them, at most two seconds; at
    /// once when it is known to be down. They are posted again after a reconnect, until `until`.
    ///
    /// # Errors
    /// Why the server does not hold them.
    pub async fn post(&self, id: &str, messages: Vec<Sealed>, until: Duration) -> Result<(), String> {
        let (acknowledged, sent) =
            self.outbox.borrow().get(id).map_or((false, false), |known| (known.acknowledged, known.sent));
        let entry = Entry { messages, until, closed: false, acknowledged, sent };
        if !self.outbox.borrow_mut().put(id, entry, clock::boot()) {
            return Err("too many requests are open".to_owned());
        }
        self.reachable()?;
        match self.send(id).await {
            Ok(_) => Ok(()),
            Err(unposted) => {
                if unposted.pause.is_some() {
                    self.say(id);
                }
                Err(unposted.why)
            }
        }
    }

    /// Posts nothing, and takes as long for it as the last post did: whoever logs in under a name that
    /// has no device must not learn that from a clock.
    ///
    /// # Errors
    /// Why the server is known to be down.
    pub async fn post_nothing(&self) -> Result<(), String> {
        self.reachable()?;
        sleep(self.took.get()).await;
        Ok(())
    }

    /// Takes note of how long it took to post, signing and sealing included.
    pub fn note_time(&self, took: Duration) {
        self.took.set(took.min(POST_TIME));
    }

    /// Whether posting is worth trying.
    fn reachable(&self) -> Result<(), String> {
        if let Link::Down(why) = &*self.link.borrow() {
            self.wanted.notify_one();
            return Err(why.clone());
        }
        Ok(())
    }

    /// Posts the end of a request in the background, until the server holds it.
    pub fn close(&self, id: &str, messages: Vec<Sealed>, until: Duration) {
        let entry = Entry { messages, until, closed: true, acknowledged: false, sent: false };
        if self.outbox.borrow_mut().put_end(id, entry, clock::boot()) {
            self.say(id);
        }
    }

    /// Posts the end of a request once more, for a phone that has not heard of it.
    pub fn close_again(&self, id: &str) {
        if self.outbox.borrow().get(id).is_some_and(|entry| entry.closed && entry.acknowledged) {
            self.say(id);
        }
    }

    /// Waits until all has been said that can be said now.
    pub async fn all_told(&self) {
        loop {
            let told = self.told.notified();
            if !self.is_up() || (self.due.borrow().is_empty() && !self.telling.get()) {
                return;
            }
            told.await;
        }
    }

    /// Has a message posted in the background.
    fn say(&self, id: &str) {
        let mut due = self.due.borrow_mut();
        if due.len() < outbox::MOST {
            due.push_back(id.to_owned());
        }
        self.due_now.notify_one();
    }

    /// Posts the newest version of a request; whether that is its end.
    async fn send(&self, id: &str) -> Result<bool, Unposted> {
        let unposted = |why: String| Unposted { why, pause: None };
        let client = self.client().ok_or_else(|| unposted("no server is configured".to_owned()))?;
        let Some((post, closed)) = self.message(id) else { return Ok(true) };
        let known = post.messages.len();
        let error = match timeout(POST_TIME, client.post(&post)).await {
            Ok(Ok(posted)) if posted.unknown.len() < known || closed => {
                self.outbox.borrow_mut().acknowledge(id, closed);
                return Ok(closed);
            }
            Ok(Ok(_)) => unposted("it knows none of the person's devices".to_owned()),
            Ok(Err(error)) => {
                let pause = match &error {
                    RelayError::Limited { retry_after } => Some(retry_after.unwrap_or(SLOW_DOWN)),
                    _ => None,
                };
                let why = error.to_string();
                if error.is_outage() {
                    self.lost(&why);
                }
                Unposted { why, pause }
            }
            Err(_) => {
                let why = format!("no answer within {} s", POST_TIME.as_secs());
                self.lost(&why);
                unposted(why)
            }
        };
        self.refusal.borrow_mut().clone_from(&error.why);
        Err(error)
    }

    fn message(&self, id: &str) -> Option<(Post, bool)> {
        let mut outbox = self.outbox.borrow_mut();
        let entry = outbox.sending(id)?;
        let left = entry.until.saturating_sub(clock::boot()).as_secs();
        let ttl = u32::try_from(left).unwrap_or(u32::MAX).clamp(1, countersign_protocol::api::MAX_TTL);
        let ring = !entry.closed && !entry.acknowledged;
        Some((Post { messages: entry.messages.clone(), ttl, ring }, entry.closed))
    }

    fn lost(&self, why: &str) {
        *self.link.borrow_mut() = Link::Down(why.to_owned());
        self.broken.notify_one();
    }
}
