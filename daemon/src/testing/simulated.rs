//! A push server without a network: what becomes of each post is decided beforehand, and everything that
//! came is written down.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use countersign_protocol::api::{Hello, Post, Posted};
use countersign_protocol::message::{Envelope, MessageType, Sealed};
use countersign_protocol::seal;
use countersign_relay_client::{Event, RelayError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use crate::clock;

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(100_000);

/// What becomes of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The server holds it and says so.
    Taken,
    /// The same, after so many milliseconds.
    Late(u16),
    /// The server holds it, and nobody hears so.
    Unanswered,
    /// It never arrives, and nobody hears so.
    Lost,
    /// Too many: to be tried again after so many seconds.
    Limited(u16),
    /// The server answers with this status.
    Status(u16),
    /// The answer is not the server's.
    Garbage,
    /// The server says that it knows nobody whom it is for.
    ForNobody,
}

/// A post as it arrived.
pub(crate) struct Arrived {
    /// Boot clock.
    pub(crate) at: Duration,
    /// What each message says of itself.
    pub(crate) about: Vec<Envelope>,
    pub(crate) post: Post,
    /// When the host was told that the server holds it.
    pub(crate) acknowledged: Option<Duration>,
    /// Whether the server has seen it at all.
    pub(crate) reached: bool,
}

/// The server.
#[derive(Default)]
pub(crate) struct Simulated {
    is_up: Cell<bool>,
    fates: RefCell<VecDeque<Fate>>,
    pub(crate) arrived: RefCell<Vec<Arrived>>,
    stream: RefCell<Option<UnboundedSender<Event>>>,
    /// Since when there is no stream.
    pub(crate) silent: Cell<Option<Duration>>,
    /// Streams that were opened.
    pub(crate) streams: Cell<u32>,
    /// Decisions that it keeps for the host, with their numbers.
    kept: RefCell<Vec<(usize, Sealed)>>,
    /// Lists that came, with the number of posts that had come before.
    pub(crate) lists: RefCell<Vec<(usize, String, Vec<u8>)>>,
    /// What becomes of the next lists; they are taken otherwise.
    pub(crate) refused_lists: RefCell<VecDeque<RelayError>>,
    /// How long each list is on its way.
    pub(crate) slow_lists: Cell<Duration>,
    /// Lists that are on their way now, and most of them that ever were.
    pub(crate) lists_coming: Cell<(u32, u32)>,
    /// Numbers of the decisions that went down the stream, and when.
    pub(crate) delivered: RefCell<Vec<(Duration, usize)>>,
}

/// The host's end of a stream.
pub(crate) struct SimulatedEvents(UnboundedReceiver<Event>);

impl Simulated {
    /// Comes up, or goes down with all its connections.
    pub(crate) fn turn(&self, up: bool) {
        self.is_up.set(up);
        if !up {
            self.cut();
        }
    }

    /// Ends the stream.
    pub(crate) fn cut(&self) {
        *self.stream.borrow_mut() = None;
        self.silent.set(self.silent.get().or_else(|| Some(clock::boot())));
    }

    /// Forgets what it keeps.
    pub(crate) fn forget(&self) {
        self.kept.borrow_mut().clear();
    }

    /// Does this to one of the next posts.
    pub(crate) fn next(&self, fate: Fate) {
        self.fates.borrow_mut().push_back(fate);
    }

    /// From now on nothing is lost.
    pub(crate) fn behave(&self) {
        self.fates.borrow_mut().clear();
        self.turn(true);
    }

    /// Takes a decision for the host, keeps it, and hands it on.
    pub(crate) fn decision(&self, number: usize, sealed: &Sealed) {
        let mut kept = self.kept.borrow_mut();
        if !kept.iter().any(|(known, _)| *known == number) {
            kept.push((number, sealed.clone()));
        }
        self.deliver(number, sealed);
    }

    /// Hands something on that it does not keep.
    pub(crate) fn rubbish(&self, sealed: Sealed) {
        if let Some(stream) = self.stream.borrow().as_ref() {
            let _ = stream.send(Event::Decision(sealed));
        }
    }

    fn deliver(&self, number: usize, sealed: &Sealed) {
        let stream = self.stream.borrow();
        if stream.as_ref().is_some_and(|stream| stream.send(Event::Decision(sealed.clone())).is_ok()) {
            self.delivered.borrow_mut().push((clock::boot(), number));
        }
    }

    pub(crate) async fn post(&self, post: &Post) -> Result<Posted, RelayError> {
        let about: Vec<Envelope> = post.messages.iter().map(|sealed| seal::peek(sealed).unwrap()).collect();
        let number = self.arrived.borrow().len();
        let arrived =
            Arrived { at: clock::boot(), about, post: post.clone(), acknowledged: None, reached: false };
        self.arrived.borrow_mut().push(arrived);
        if !self.is_up.get() {
            return Err(RelayError::Refused { origin: "simulated".into() });
        }
        let fate = self.fates.borrow_mut().pop_front().unwrap_or(Fate::Taken);
        let answer = |unknown| Ok(Posted { listening: 1, unknown });
        match fate {
            Fate::Taken => {
                self.take(number, true);
                answer(Vec::new())
            }
            Fate::Late(after) => {
                self.take(number, false);
                sleep(Duration::from_millis(after.into())).await;
                self.take(number, true);
                answer(Vec::new())
            }
            Fate::Unanswered => {
                self.take(number, false);
                sleep(FOR_EVER).await;
                Err(RelayError::Timeout { origin: "simulated".into() })
            }
            Fate::Lost => {
                sleep(FOR_EVER).await;
                Err(RelayError::Timeout { origin: "simulated".into() })
            }
            Fate::Limited(seconds) => {
                Err(RelayError::Limited { retry_after: Some(Duration::from_secs(seconds.into())) })
            }
            Fate::Status(status) => Err(RelayError::Status { status, problem: None }),
            Fate::Garbage => Err(RelayError::Garbage { origin: "simulated".into(), detail: "nonsense" }),
            Fate::ForNobody => {
                // The host then takes its request for lost, and its end for told.
                let is_request = post.messages.iter().any(is_request);
                self.take(number, !is_request);
                answer(post.messages.iter().map(|_| "somebody".to_owned()).collect())
            }
        }
    }

    pub(crate) fn greet(&self) -> Result<(), RelayError> {
        match self.is_up.get() {
            true => Ok(()),
            false => Err(RelayError::Refused { origin: "simulated".into() }),
        }
    }

    pub(crate) async fn put_list(&self, id: &str, sealed: &[u8]) -> Result<(), RelayError> {
        self.greet()?;
        let (coming, most) = self.lists_coming.get();
        self.lists_coming.set((coming + 1, most.max(coming + 1)));
        sleep(self.slow_lists.get()).await;
        let (coming, most) = self.lists_coming.get();
        self.lists_coming.set((coming - 1, most));
        if let Some(error) = self.refused_lists.borrow_mut().pop_front() {
            return Err(error);
        }
        let posts = self.arrived.borrow().len();
        self.lists.borrow_mut().push((posts, id.to_owned(), sealed.to_vec()));
        Ok(())
    }

    fn take(&self, number: usize, acknowledged: bool) {
        let mut arrived = self.arrived.borrow_mut();
        let arrived = &mut arrived[number];
        arrived.reached = true;
        arrived.acknowledged = acknowledged.then(clock::boot);
        // What has ended needs no decision.
        let ended = |id: &str| {
            arrived.about.iter().any(|about| about.message_type == MessageType::Closed && about.id == id)
        };
        let id = |sealed: &Sealed| seal::peek(sealed).map(|about| about.id).unwrap_or_default();
        self.kept.borrow_mut().retain(|(_, sealed)| !ended(&id(sealed)));
    }

    pub(crate) async fn events(&self) -> Result<SimulatedEvents, RelayError> {
        if !self.is_up.get() {
            return Err(RelayError::Refused { origin: "simulated".into() });
        }
        let (down, events) = unbounded_channel();
        let _ = down.send(Event::Hello(Hello { server: "simulated".into(), epoch: String::new() }));
        *self.stream.borrow_mut() = Some(down);
        self.silent.set(None);
        self.streams.set(self.streams.get() + 1);
        for (number, sealed) in self.kept.borrow().iter() {
            self.deliver(*number, sealed);
        }
        Ok(SimulatedEvents(events))
    }
}

fn is_request(sealed: &Sealed) -> bool {
    seal::peek(sealed).is_ok_and(|about| about.message_type == MessageType::Request)
}

impl SimulatedEvents {
    pub(crate) async fn next(&mut self) -> Result<Event, RelayError> {
        self.0.recv().await.ok_or_else(|| RelayError::Connection {
            origin: "simulated".into(),
            detail: "the server closed the stream".into(),
        })
    }
}
