//! The one connection to the server: an event stream down, short posts up.
//!
//! The server may forget at any time, so everything that still has to be said is kept in the
//! [`outbox`] and said again after each reconnect. While the server is known to be down nobody waits
//! for it: a login hears so at once, and its coming makes the next try to connect come sooner.
//!
//! [`stream`] keeps the event stream open, [`mod@tell`] says what has to be said without anybody waiting
//! for it, one message after the other and as slowly as the server asks for.

mod line;
mod lists;
mod outbox;
mod rival;
mod stream;
mod tell;
mod trouble;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use countersign_protocol::api::Post;
use countersign_protocol::manage::NOT_CONNECTED_YET;
use countersign_protocol::message::Sealed;
use countersign_relay_client::{RelayClient, RelayError};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout};

use crate::clock;
use line::Line;
use lists::{Lists, Turns};
use outbox::{Entry, Outbox, What};

pub use lists::LIST_TIME;
pub use stream::run;
pub use tell::tell;
pub use trouble::Trouble;

/// How long a post may take before the server counts as unreachable.
const POST_TIME: Duration = Duration::from_secs(2);
/// How long of [`POST_TIME`] may go by with waiting for a turn.
const TURN_TIME: Duration = Duration::from_millis(900);
/// Posts under way at a time. What waits for its turn waits small: a post under way holds its messages three times.
const AT_ONCE: usize = 64;
/// Pause when the server asks to slow down and does not say how long.
const SLOW_DOWN: Duration = Duration::from_secs(1);
/// How long a notice is kept for a server that cannot be reached.
const NOTICE_KEPT: Duration = Duration::from_secs(3 * 24 * 3600);

/// What is known of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Link {
    /// Not tried yet.
    Starting,
    /// The stream is open.
    Up,
    /// A stream that had stood broke, for this reason, and another one is being tried. One connection that breaks
    /// says nothing about the server yet: posts are tried meanwhile, and who waits is told nothing.
    Doubtful(Trouble),
    /// It failed, for this reason.
    Down(Trouble),
}

/// The connection to the server.
pub struct Relay {
    client: RefCell<Option<Arc<RelayClient>>>,
    #[cfg(test)]
    simulated: RefCell<Option<std::rc::Rc<crate::testing::simulated::Simulated>>>,
    link: RefCell<Link>,
    /// The link is another one.
    linked: Notify,
    outbox: RefCell<Outbox>,
    lists: RefCell<Lists>,
    list_turns: Turns,
    /// Somebody wants the server now.
    wanted: Notify,
    /// The stream has to be opened anew.
    broken: Notify,
    /// The stream has brought something.
    heard: Notify,
    /// The number of the connection that the stream is on.
    stream_on: Cell<u64>,
    /// When a message was acknowledged on it last.
    answered: Cell<Option<Instant>>,
    /// Turns to post.
    turns: Semaphore,
    /// Ids of what [`mod@tell`] has to post, first in line first.
    due: RefCell<VecDeque<String>>,
    /// There is something due.
    due_now: Notify,
    /// Whether [`mod@tell`] is at it, and when it has come to an end.
    telling: Cell<bool>,
    told: Notify,
    /// Why the server that is there did not take the last message that it did not take.
    refusal: RefCell<Trouble>,
    /// Notices so far.
    notices: Cell<u64>,
}

/// Why the server does not hold a message.
struct Unposted {
    why: Trouble,
    /// It asks to wait that long; then it may take it.
    pause: Option<Duration>,
}

impl Relay {
    /// A connection that is not open yet; without a client until the configuration names a server.
    #[must_use]
    pub fn new(client: Option<Arc<RelayClient>>) -> Self {
        Self {
            client: RefCell::new(client),
            #[cfg(test)]
            simulated: RefCell::default(),
            link: RefCell::new(Link::Starting),
            linked: Notify::new(),
            outbox: RefCell::default(),
            lists: RefCell::default(),
            list_turns: Turns::default(),
            wanted: Notify::new(),
            broken: Notify::new(),
            heard: Notify::new(),
            stream_on: Cell::default(),
            answered: Cell::default(),
            turns: Semaphore::new(AT_ONCE),
            due: RefCell::default(),
            due_now: Notify::new(),
            telling: Cell::default(),
            told: Notify::new(),
            refusal: RefCell::new(Trouble::of("no answer in time")),
            notices: Cell::default(),
        }
    }

    /// The client of the server's interface.
    #[must_use]
    pub fn client(&self) -> Option<Arc<RelayClient>> {
        self.client.borrow().clone()
    }

    /// The way to the server, if there is one.
    fn line(&self) -> Option<Line> {
        #[cfg(test)]
        if let Some(server) = self.simulated.borrow().clone() {
            return Some(Line::Simulated(server));
        }
        self.client().map(Line::Server)
    }

    /// Talks to a server that is not there.
    #[cfg(test)]
    pub(crate) fn simulate(&self, server: std::rc::Rc<crate::testing::simulated::Simulated>) {
        *self.simulated.borrow_mut() = Some(server);
        self.wanted.notify_one();
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

    /// Why the server cannot be reached.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match &*self.link.borrow() {
            Link::Down(why) | Link::Doubtful(why) => why.clone(),
            Link::Starting => Trouble::of(NOT_CONNECTED_YET),
            Link::Up => self.refusal.borrow().clone(),
        }
    }

    /// Posts a request's messages and waits until the server holds them, at most two seconds; at
    /// once when it is known to be down. Its list, if it has one, is there before ([`Self::bring_list`]). They are posted again after a reconnect, until `until`. With
    /// `ring` devices are rung for it, once.
    ///
    /// # Errors
    /// Why the server does not hold them.
    pub async fn post(
        &self,
        id: &str,
        messages: Vec<Sealed>,
        until: Duration,
        ring: bool,
    ) -> Result<(), String> {
        let mut entry = Entry::new(messages, until, What::Request { ring });
        if let Some(known) = self.outbox.borrow().get(id) {
            (entry.acknowledged, entry.sent, entry.heard) = (known.acknowledged, known.sent, known.heard);
        }
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
                Err(unposted.why.full)
            }
        }
    }

    /// Posts nothing. While it is not known whether the server is there, a post would find out; this waits for who does.
    ///
    /// # Errors
    /// Why the server does not hold what would have been posted.
    pub async fn post_nothing(&self) -> Result<(), String> {
        if self.is_up() {
            return Ok(());
        }
        self.reachable()?;
        let known = async {
            loop {
                let linked = self.linked.notified();
                if matches!(*self.link.borrow(), Link::Up | Link::Down(_)) {
                    return self.reachable();
                }
                linked.await;
            }
        };
        match self.line() {
            Some(_) => timeout(POST_TIME, known).await.unwrap_or_else(|_| Err(self.trouble().full)),
            None => Err(self.trouble().full),
        }
    }

    fn set_link(&self, link: Link) {
        *self.link.borrow_mut() = link;
        self.linked.notify_waiters();
    }

    /// Waits until something comes from the server. One waits.
    pub async fn heard(&self) {
        self.heard.notified().await;
    }

    /// Whether posting is worth trying.
    fn reachable(&self) -> Result<(), String> {
        self.outage().map_or(Ok(()), |why| Err(why.full))
    }

    /// Whether the server is known to be out of reach.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(&*self.link.borrow(), Link::Down(_))
    }

    /// Why, if it is; then it is looked for.
    fn outage(&self) -> Option<Trouble> {
        let Link::Down(why) = &*self.link.borrow() else { return None };
        self.wanted.notify_one();
        Some(why.clone())
    }

    /// Whether a request has reached the app on every device that it was for, and not only a push
    /// service: then it is seen without ringing.
    #[must_use]
    pub fn is_heard(&self, id: &str) -> bool {
        self.outbox.borrow().get(id).is_some_and(|entry| entry.heard)
    }

    /// Whether a request was ever sent to the server, whatever came of that.
    #[must_use]
    pub fn may_have_rung(&self, id: &str) -> bool {
        self.outbox.borrow().get(id).is_some_and(|entry| entry.sent)
    }

    /// Posts the end of a request in the background, until the server holds it. False when there is
    /// nothing to post, because nobody can have heard of the request.
    pub fn close(&self, id: &str, messages: Vec<Sealed>, until: Duration) -> bool {
        self.lists.borrow_mut().drop(id);
        let due = self.outbox.borrow_mut().put_end(id, Entry::new(messages, until, What::End), clock::boot());
        if due {
            self.say(id);
        }
        due
    }

    /// Posts a notice in the background, until the server holds it.
    pub fn notice(&self, messages: Vec<Sealed>, ring: bool) -> bool {
        let number = self.notices.get().wrapping_add(1);
        self.notices.set(number);
        let id = format!("notice {number}");
        let until = clock::boot() + NOTICE_KEPT;
        let kept = self.outbox.borrow_mut().put(
            &id,
            Entry::new(messages, until, What::Notice { ring }),
            clock::boot(),
        );
        if kept {
            self.say(&id);
        }
        kept
    }

    /// Posts the end of a request once more, for a phone that has not heard of it.
    pub fn close_again(&self, id: &str) {
        let is_due = self.due.borrow().iter().any(|due| due == id);
        if !is_due && self.outbox.borrow().get(id).is_some_and(|entry| entry.is_end() && entry.acknowledged) {
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

    /// Posts the newest version of a request, or a notice; false for a request that is open.
    async fn send(&self, id: &str) -> Result<bool, Unposted> {
        let unposted = |why: &str| Unposted { why: Trouble::of(why), pause: None };
        let line = self.line().ok_or_else(|| unposted("no server is configured"))?;
        // Whoever only waits in line has learned nothing about the server.
        let congested = || Unposted { why: Trouble::of("too much is being posted"), pause: Some(SLOW_DOWN) };
        let began = Instant::now();
        let Ok(_turn) = timeout(TURN_TIME, self.turns.acquire()).await else {
            let unposted = congested();
            self.refusal.borrow_mut().clone_from(&unposted.why);
            return Err(unposted);
        };
        let waited = began.elapsed();
        let Some((post, what)) = self.message(id) else { return Ok(true) };
        let known = post.messages.len();
        let error = match timeout(POST_TIME.saturating_sub(waited), line.post(&post)).await {
            Ok(Ok(posted)) => {
                if line.connection() == self.stream_on.get() {
                    self.answered.set(Some(Instant::now()));
                }
                let is_open = matches!(what, What::Request { .. });
                if !is_open || posted.unknown.len() < known {
                    self.outbox.borrow_mut().acknowledge(id, what, posted.listening);
                    return Ok(!is_open);
                }
                unposted("it knows none of the person's devices")
            }
            Ok(Err(error)) => {
                let pause = match &error {
                    RelayError::Limited { retry_after } => Some(retry_after.unwrap_or(SLOW_DOWN)),
                    _ => None,
                };
                let why = Trouble::from(&error);
                if error.is_outage() {
                    self.lost(&why);
                }
                Unposted { why, pause }
            }
            // It had less time than a server may take.
            Err(_) if waited > POST_TIME / 4 => congested(),
            Err(_) => {
                line.forget_connection();
                let silent = unposted(&format!("no answer within {} s", POST_TIME.as_secs()));
                self.lost(&silent.why);
                silent
            }
        };
        self.refusal.borrow_mut().clone_from(&error.why);
        Err(error)
    }

    fn message(&self, id: &str) -> Option<(Post, What)> {
        let mut outbox = self.outbox.borrow_mut();
        let entry = outbox.sending(id)?;
        let left = entry.until.saturating_sub(clock::boot()).as_secs();
        let ttl = u32::try_from(left).unwrap_or(u32::MAX).clamp(1, countersign_protocol::api::MAX_TTL);
        Some((Post { messages: entry.messages.clone(), ttl, ring: entry.rings() }, entry.what))
    }

    fn lost(&self, why: &Trouble) {
        self.set_link(Link::Down(why.clone()));
        self.broken.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::request::OpenRequest;
    use crate::testing::simulated::Simulated;
    use crate::testing::{Lab, TestDevice};
    use countersign_protocol::message::Confirm;
    use std::rc::Rc;
    use tokio::task::LocalSet;
    use tokio::time::sleep;

    /// How a post to nobody ends, and after how long.
    async fn nothing(relay: &Relay) -> (bool, Duration) {
        let began = Instant::now();
        (relay.post_nothing().await.is_ok(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_device_waits_too_until_it_is_known_whether_the_server_is_there() {
        let why = || Trouble::of("gone");
        for before in [Link::Starting, Link::Doubtful(why())] {
            for (after, ok) in [(Link::Up, true), (Link::Down(why()), false)] {
                let relay = Relay::new(None);
                relay.simulate(Rc::new(Simulated::default()));
                relay.set_link(before.clone());
                let moves = async {
                    sleep(Duration::from_millis(300)).await;
                    relay.set_link(after);
                };
                let ((held, took), ()) = tokio::join!(nothing(&relay), moves);
                assert_eq!((held, took), (ok, Duration::from_millis(300)), "{before:?}");
                relay.set_link(before.clone());
                assert_eq!(
                    nothing(&relay).await,
                    (false, POST_TIME),
                    "{before:?}: a post would give up, too"
                );
            }
        }
        let relay = Relay::new(None);
        assert_eq!(
            nothing(&relay).await,
            (false, Duration::ZERO),
            "without a server there is nothing to wait for"
        );
    }

    const OVER: Duration = Duration::from_secs(60);

    /// A host at a server, a request of it, and the request's messages.
    async fn asking() -> (Lab, Rc<Simulated>, Rc<OpenRequest>, Vec<Sealed>) {
        let lab = Lab::new();
        lab.pair("alice", &TestDevice::new()).await;
        let server = Rc::new(Simulated::default());
        server.turn(true);
        lab.app.relay.simulate(Rc::clone(&server));
        lab.app.relay.set_link(Link::Up);
        let request = lab.request("alice", Confirm::Tap, OVER);
        let messages = request.sealed(&lab.app.host).unwrap();
        (lab, server, request, messages)
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_brought_once_and_again_after_a_reconnect_before_its_request() {
        let told = async {
            let (lab, server, request, messages) = asking().await;
            let (app, id, until) = (Rc::clone(&lab.app), &request.id, request.deadline);
            let relay = &app.relay;
            relay.keep_list(id, vec![7; 9], true, until).unwrap();
            // Two who want it at once, and one later.
            let (one, two) = tokio::join!(relay.bring_list(id), relay.bring_list(id));
            assert!(one.is_ok() && two.is_ok() && relay.bring_list(id).await.is_ok());
            relay.post(id, messages.clone(), until, true).await.unwrap();
            assert_eq!(*server.lists.borrow(), [(0, id.clone(), vec![7; 9])], "before the first post");

            // A list on its way holds nothing else up.
            server.slow_lists.set(Duration::from_secs(5));
            let telling = tokio::task::spawn_local(tell(Rc::clone(&app)));
            relay.say_again();
            assert!(relay.notice(messages.clone(), false));
            sleep(Duration::from_secs(1)).await;
            assert_eq!(server.arrived.borrow().len(), 2, "the notice");
            sleep(Duration::from_secs(5)).await;
            assert_eq!(server.lists.borrow().len(), 2);
            assert_eq!(server.arrived.borrow().len(), 3, "the request, with its list in front of it");
            assert!(relay.close(id, messages, until));
            relay.say_again();
            sleep(Duration::from_secs(10)).await;
            assert_eq!(server.lists.borrow().len(), 2, "the request is over");
            telling.abort();
        };
        LocalSet::new().run_until(told).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_is_not_taken_says_nothing_about_the_server() {
        let (lab, server, request, messages) = asking().await;
        let (relay, id, until) = (&lab.app.relay, &request.id, request.deadline);
        relay.keep_list(id, vec![7; 9], false, until).unwrap();
        let origin = || "https://push.example.com".to_owned();
        let refusals = [
            RelayError::Limited { retry_after: None },
            RelayError::Status { status: 502, problem: None },
            RelayError::Connection { origin: origin(), detail: "broken pipe".into() },
            RelayError::Timeout { origin: origin() },
        ];
        let most = refusals.len();
        server.refused_lists.borrow_mut().extend(refusals);
        for _ in 0..most {
            assert!(relay.bring_list(id).await.is_err());
            assert!(relay.is_up() && !relay.is_gone());
        }
        server.slow_lists.set(Duration::from_secs(3600));
        let began = Instant::now();
        let why = relay.bring_list(id).await.unwrap_err();
        assert_eq!((began.elapsed(), why.brief.contains("15 s"), relay.is_up()), (LIST_TIME, true, true));
        assert!(server.lists.borrow().is_empty());
        server.lists_coming.take();
        assert!(relay.post(id, messages, until, true).await.is_ok(), "nor was the connection given up");

        // Where the server itself is gone a list is no exception.
        server.turn(false);
        assert!(relay.bring_list(id).await.is_err() && relay.is_gone());
    }

    #[tokio::test(start_paused = true)]
    async fn one_list_of_root_and_one_of_others_are_on_their_way_at_a_time() {
        let (lab, server, _, _) = asking().await;
        let (relay, until) = (&lab.app.relay, clock::boot() + OVER);
        for (id, by_root) in [("a", false), ("b", false), ("c", true)] {
            relay.keep_list(id, vec![7; 9], by_root, until).unwrap();
        }
        server.slow_lists.set(Duration::from_secs(4));
        let took = async |id| {
            let began = Instant::now();
            relay.bring_list(id).await.unwrap();
            began.elapsed().as_secs()
        };
        assert_eq!(
            tokio::join!(took("a"), took("b"), took("c")),
            (4, 8, 4),
            "root's waits for nobody else's"
        );
        assert_eq!(server.lists_coming.get(), (0, 2));
    }
}
