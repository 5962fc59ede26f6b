//! The module's end of a login: what it was told, and when.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::frame::{self, Reply};
use countersign_protocol::login::{Begin, Call, Continue, FIRST_REPLY_MS, Step, Verdict};
use countersign_protocol::manage;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::app::App;
use crate::caller::Caller;
use crate::connection::Connection;
use crate::{clock, login, manage as calls};

/// Time that passes in a moment in which nothing is waited for but for what is evened out: the first prompt, and the
/// answer to something wrong.
pub(super) const MOMENT: Duration = Duration::from_millis(12);

/// Bytes of a list that go into one frame.
const PART: usize = 7_000;

/// What a login is doing, as its module sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum At {
    /// The daemon has to reply.
    Out,
    /// A person is asked.
    Prompt,
    /// It has ended.
    Over(Verdict),
    /// The daemon closed without a verdict, or complained: refused.
    Refused,
    /// This side has hung up.
    Gone,
}

/// A login.
pub(super) struct Peer {
    /// What it hears is taken in as it comes, whatever the story waits for.
    ear: Rc<Ear>,
    /// Whether it has sent what it may not, so that nothing has to work for it any more.
    pub(super) is_spoiled: bool,
    /// Whether its end was looked at.
    pub(super) is_noted: bool,
    reader: JoinHandle<()>,
    pub(super) serving: JoinHandle<()>,
}

/// A QR code on the terminal.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    pub(super) rows: Vec<String>,
    /// Boot clock.
    pub(super) at: Duration,
}

struct Ear {
    at: RefCell<At>,
    write: RefCell<Option<OwnedWriteHalf>>,
    /// When the daemon was called last, and how long it may take to reply.
    called: Cell<(Instant, Duration)>,
    /// Boot clock.
    ended: Cell<Duration>,
    /// The last QR code that was drawn.
    drawn: RefCell<Option<Drawn>>,
    /// A reply that came too late.
    late: Cell<Option<Duration>>,
    /// What is left to send of the list of an action.
    parts: RefCell<VecDeque<String>>,
    /// What is said once the daemon knows for whom this connection speaks.
    unsaid: RefCell<Option<Begin>>,
}

impl Peer {
    /// Begins a login as a program of root's does.
    pub(super) fn begin(app: &Rc<App>, begin: Begin) -> Self {
        let (here, there) = UnixStream::pair().unwrap();
        let serving = spawn_local(login::serve(Rc::clone(app), root(), Connection::new(there), begin));
        Self::at_end(here, serving, None, None)
    }

    /// The same with the list of an action, and by a program of root's that answers for somebody else.
    pub(super) fn ask(app: &Rc<App>, begin: Begin, list: Option<&str>, acts_for: Option<u32>) -> Self {
        let (here, there) = UnixStream::pair().unwrap();
        let (app, connection) = (Rc::clone(app), Connection::new(there));
        let Some(uid) = acts_for else {
            let serving = spawn_local(login::serve(app, root(), connection, begin));
            return Self::at_end(here, serving, list, None);
        };
        let serving = spawn_local(async move {
            let first = frame::encode(&manage::Call::ActFor { uid, as_administrator: false }).unwrap();
            // A connection that breaks is what the story wants.
            let _ = calls::serve(&app, root(), connection, &first[..first.len() - 1]).await;
        });
        Self::at_end(here, serving, list, Some(begin))
    }

    fn at_end(here: UnixStream, serving: JoinHandle<()>, list: Option<&str>, unsaid: Option<Begin>) -> Self {
        let (read, write) = here.into_split();
        // Lists of stories are ASCII.
        let parts = list.unwrap_or_default().as_bytes().chunks(PART);
        let parts = parts.map(|part| String::from_utf8(part.to_vec()).unwrap()).collect();
        let ear = Rc::new(Ear {
            at: RefCell::new(At::Out),
            write: RefCell::new(Some(write)),
            called: Cell::new((Instant::now(), Duration::from_millis(FIRST_REPLY_MS))),
            ended: Cell::default(),
            drawn: RefCell::default(),
            late: Cell::default(),
            parts: RefCell::new(parts),
            unsaid: RefCell::new(unsaid),
        });
        let reader = spawn_local(listen(read, Rc::clone(&ear)));
        Self { ear, is_spoiled: false, is_noted: false, reader, serving }
    }

    pub(super) fn at(&self) -> At {
        self.ear.at.borrow().clone()
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.at(), At::Over(_) | At::Refused | At::Gone)
    }

    /// When it was over, by the boot clock. Every reply has to have come in the time that the step before
    /// allowed.
    pub(super) fn ended(&self) -> Duration {
        assert_eq!(self.ear.late.get(), None, "a reply came too late");
        self.ear.ended.get()
    }

    /// The QR code that stands on the terminal.
    pub(super) fn drawn(&self) -> Option<Drawn> {
        self.ear.drawn.borrow().clone().filter(|drawn| !drawn.rows.is_empty())
    }

    /// When it was drawn.
    pub(super) fn drawn_at(&self) -> Option<Duration> {
        self.ear.drawn.borrow().as_ref().filter(|drawn| !drawn.rows.is_empty()).map(|drawn| drawn.at)
    }

    pub(super) fn answer(&self, text: &str) {
        self.go_on(Continue { answer: Some(Zeroizing::new(text.to_owned())), cannot_ask: false });
    }

    pub(super) fn go_on(&self, next: Continue) {
        self.ear.go_on(next);
    }

    /// Sends what it may not; whole, it is a call like any other.
    pub(super) fn babble(&mut self, bytes: &[u8], is_whole: bool) {
        self.is_spoiled = true;
        if is_whole && self.at() == At::Prompt {
            self.ear.is_out();
        }
        self.ear.send(bytes);
    }

    pub(super) fn hang_up(&self) {
        self.is_gone(At::Gone);
    }

    /// The daemon was killed.
    pub(super) fn is_cut(&self) {
        self.serving.abort();
        self.is_gone(At::Refused);
    }

    fn is_gone(&self, at: At) {
        if !self.is_over() {
            self.ear.ends(at);
        }
        *self.ear.write.borrow_mut() = None;
        self.reader.abort();
    }
}

impl Ear {
    fn ends(&self, at: At) {
        *self.at.borrow_mut() = at;
        self.ended.set(clock::boot());
    }

    fn is_out(&self) {
        *self.at.borrow_mut() = At::Out;
        self.called.set((Instant::now(), self.called.get().1));
    }

    fn go_on(&self, next: Continue) {
        self.is_out();
        self.send(&frame::encode(&Call::Continue(next)).unwrap());
    }

    fn send(&self, bytes: &[u8]) {
        if let Some(write) = self.write.borrow().as_ref() {
            // Whoever is refused may be gone by now.
            let _ = write.try_write(bytes);
        }
    }

    /// Rows of a QR code follow a line of text.
    fn sees(&self, text: String) {
        let is_row = text.chars().all(|cell| matches!(cell, '█' | '▀' | '▄' | ' '));
        let mut drawn = self.drawn.borrow_mut();
        match drawn.as_mut() {
            Some(drawn) if is_row => drawn.rows.push(text),
            _ => *drawn = Some(Drawn { rows: Vec::new(), at: clock::boot() }),
        }
    }

    fn hears(&self, reply: Reply<Step>) {
        let (called, allowed) = self.called.get();
        let took = called.elapsed();
        if *self.at.borrow() == At::Out && took > allowed + MOMENT {
            self.late.set(Some(took));
        }
        let allow = |deadline_ms| self.called.set((called, Duration::from_millis(deadline_ms)));
        match reply {
            Reply::Parameters { parameters: Step::Ask { deadline_ms, .. } } => {
                allow(deadline_ms);
                *self.at.borrow_mut() = At::Prompt;
            }
            Reply::Parameters { parameters: Step::Say { text, deadline_ms, .. } } => {
                allow(deadline_ms);
                self.sees(text);
                self.go_on(Continue::default());
            }
            Reply::Parameters { parameters: Step::Wait { deadline_ms } } => {
                allow(deadline_ms);
                let answer = self.parts.borrow_mut().pop_front().map(Zeroizing::new);
                self.go_on(Continue { answer, cannot_ask: false });
            }
            Reply::Parameters { parameters: Step::Verdict(verdict) } => self.ends(At::Over(verdict)),
            Reply::Error { .. } => self.ends(At::Refused),
        }
    }
}

/// A program of root's.
fn root() -> Caller {
    Caller { uid: 0, gid: 0, pid: None, root_socket: true }
}

async fn listen(mut from: OwnedReadHalf, ear: Rc<Ear>) {
    let (mut pending, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        pending.extend_from_slice(&chunk[..length]);
        while let Some(end) = pending.iter().position(|byte| *byte == frame::END) {
            let frame: Vec<u8> = pending.drain(..=end).collect();
            let reply = &frame[..end];
            let Some(begin) = ear.unsaid.take() else {
                ear.hears(frame::decode(reply).unwrap());
                continue;
            };
            let acting: Reply<manage::Acting> = frame::decode(reply).unwrap();
            assert!(matches!(acting, Reply::Parameters { .. }), "{acting:?}");
            ear.send(&frame::encode(&Call::Begin(Box::new(begin))).unwrap());
        }
    }
    if !matches!(*ear.at.borrow(), At::Over(_)) {
        ear.ends(At::Refused);
    }
}
