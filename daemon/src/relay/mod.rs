//! The one connection to the server: an event stream down, short posts up.
//!
//! The server may forget at any time, so everything that still has to be said is kept in the
//! [`outbox`] and said again after each reconnect. While the server is known to be down nobody waits
//! for it: a login hears so at once, and its coming makes the next try to connect come sooner.

mod outbox;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use countersign_protocol::api::Post;
use countersign_protocol::message::Sealed;
use countersign_protocol::random;
use countersign_relay_client::{Event, RelayClient, RelayError};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::app::App;
use crate::clock;
use outbox::{Entry, Outbox};

/// How long a post may take before the server counts as unreachable.
const POST_TIME: Duration = Duration::from_secs(2);
/// First pause after a failed connection.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause while nobody waits.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause while somebody waits.
const LONGEST_PAUSE_WAITING: Duration = Duration::from_secs(1);

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
    /// Closed messages are waiting to be posted.
    ends: Notify,
    ends_due: RefCell<Vec<String>>,
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
            ends: Notify::new(),
            ends_due: RefCell::default(),
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
            Link::Up => "no answer in time".to_owned(),
        }
    }

    /// Posts a request's messages and waits until the server holds them, at most two seconds; at
    /// once when it is known to be down. They are posted again after a reconnect, until `until`.
    ///
    /// # Errors
    /// Why the server does not hold them.
    pub async fn post(&self, id: &str, messages: Vec<Sealed>, until: Duration) -> Result<(), String> {
        let known = self.outbox.borrow().get(id).is_some_and(|entry| entry.acknowledged);
        let entry = Entry { messages, until, closed: false, acknowledged: known };
        if !self.outbox.borrow_mut().put(id, entry, clock::boot()) {
            return Err("too many requests are open".to_owned());
        }
        self.reachable().await?;
        self.send(id).await
    }

    /// Whether posting is worth trying.
    ///
    /// # Errors
    /// Why the server is known to be down.
    pub async fn reachable(&self) -> Result<(), String> {
        if let Link::Down(why) = &*self.link.borrow() {
            self.wanted.notify_one();
            return Err(why.clone());
        }
        Ok(())
    }

    /// Posts the end of a request in the background, until the server holds it.
    pub fn close(&self, id: &str, messages: Vec<Sealed>, until: Duration) {
        let entry = Entry { messages, until, closed: true, acknowledged: false };
        if self.outbox.borrow_mut().put(id, entry, clock::boot()) {
            self.ends_due.borrow_mut().push(id.to_owned());
            self.ends.notify_one();
        }
    }

    /// Posts the end of a request once more, for a phone that has not heard of it.
    pub fn close_again(&self, id: &str) {
        let entry = self.outbox.borrow().get(id).filter(|entry| entry.closed).cloned();
        if let Some(entry) = entry {
            self.close(id, entry.messages, entry.until);
        }
    }

    /// Posts the newest version of a request.
    async fn send(&self, id: &str) -> Result<(), String> {
        let Some(client) = self.client() else { return Err("no server is configured".to_owned()) };
        let Some((post, closed)) = self.message(id) else { return Ok(()) };
        let known = post.messages.len();
        let why = match timeout(POST_TIME, client.post(&post)).await {
            Ok(Ok(posted)) if posted.unknown.len() < known || closed => {
                self.outbox.borrow_mut().acknowledge(id, closed);
                return Ok(());
            }
            Ok(Ok(_)) => "it knows none of the person's devices".to_owned(),
            Ok(Err(error)) => {
                let why = error.to_string();
                if error.is_outage() {
                    self.lost(&why);
                }
                why
            }
            Err(_) => {
                let why = format!("no answer within {} s", POST_TIME.as_secs());
                self.lost(&why);
                why
            }
        };
        Err(why)
    }

    fn message(&self, id: &str) -> Option<(Post, bool)> {
        let outbox = self.outbox.borrow();
        let entry = outbox.get(id)?;
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

/// Keeps the stream open for as long as the daemon runs.
pub async fn run(app: Rc<App>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(client) = app.relay.client() else {
            app.relay.wanted.notified().await;
            continue;
        };
        let (was_up, why) = listen(&app, &client).await;
        *app.relay.link.borrow_mut() = Link::Down(why.clone());
        app.logins.link_lost();
        if was_up {
            pause = FIRST_PAUSE;
            app.log.warning(&format!("the server is gone: {why}"));
        } else if pause == FIRST_PAUSE {
            app.log.warning(&format!("the server cannot be reached: {why}"));
        }
        let waiting = app.logins.waiting() > 0;
        pause = pause.min(if waiting { LONGEST_PAUSE_WAITING } else { LONGEST_PAUSE });
        // At least the first pause, so that many logins cannot hammer a server that is down.
        sleep(jittered(FIRST_PAUSE)).await;
        tokio::select! {
            () = sleep(jittered(pause).saturating_sub(FIRST_PAUSE)) => {}
            () = app.relay.wanted.notified() => {}
        }
        pause = pause.saturating_mul(2);
    }
}

/// Posts ends in the background, one after the other; what fails is said again after a reconnect.
pub async fn tell_ends(app: Rc<App>) {
    loop {
        app.relay.ends.notified().await;
        loop {
            let next = app.relay.ends_due.borrow_mut().pop();
            let Some(id) = next else { break };
            if app.relay.is_up()
                && let Err(why) = app.relay.send(&id).await
            {
                app.log.warning(&format!("the end of request {id} cannot be posted yet: {why}"));
            }
        }
    }
}

/// Opens the stream and reads it to its end: whether it was open, and why it ended.
async fn listen(app: &Rc<App>, client: &Arc<RelayClient>) -> (bool, String) {
    let mut events = match client.events().await {
        Ok(events) => events,
        Err(error) => return (false, error.to_string()),
    };
    let mut was_up = false;
    loop {
        let event: Result<Event, RelayError> = tokio::select! {
            event = events.next() => event,
            () = app.relay.broken.notified() => return (was_up, app.relay.trouble()),
        };
        match event {
            Ok(Event::Hello(hello)) => {
                if !was_up {
                    app.log.notice(&format!("connected to server version {}", hello.server));
                }
                was_up = true;
                *app.relay.link.borrow_mut() = Link::Up;
                let app = app.clone();
                tokio::task::spawn_local(async move { say_again(&app).await });
            }
            Ok(Event::Decision(sealed)) => app.logins.decision(app, &sealed).await,
            Ok(Event::Message(_) | Event::KeepAlive) => {}
            Err(error) => return (was_up, error.to_string()),
        }
    }
}

/// Posts all that the server may have forgotten.
async fn say_again(app: &Rc<App>) {
    let due = app.relay.outbox.borrow_mut().due(clock::boot());
    for id in due {
        let closed = app.relay.outbox.borrow().get(&id).is_some_and(|entry| entry.closed);
        match app.relay.send(&id).await {
            Ok(()) if !closed => app.logins.acknowledged(&id),
            Ok(()) => {}
            Err(why) => app.log.warning(&format!("request {id} cannot be posted: {why}")),
        }
        if !app.relay.is_up() {
            return;
        }
    }
}

/// Between half of it and all of it, so that a fleet does not come back in one moment.
fn jittered(pause: Duration) -> Duration {
    let part = u32::from(random::bytes::<1>()[0]);
    pause / 2 + pause / 512 * part
}
