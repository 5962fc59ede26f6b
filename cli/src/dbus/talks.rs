//! Conversations with the daemon that go on over several calls: a pairing, a test login. They end with the program's place
//! on the bus.

use super::fault::{BUSY, Fault, NOT_FOUND, STOPPED};
use super::link::Link;
use countersign_protocol::login::Step;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};

/// One.
#[derive(Debug)]
pub(super) struct Talk {
    link: Rc<Mutex<Link>>,
    stopped: watch::Receiver<()>,
    /// Whoever waits hears when this is dropped.
    _stop: watch::Sender<()>,
    /// How long the next answer may take.
    patience: Cell<Duration>,
}

impl Talk {
    pub(super) fn new(link: Link) -> Self {
        let (stop, stopped) = watch::channel(());
        Self { link: Rc::new(Mutex::new(link)), stopped, _stop: stop, patience: Cell::default() }
    }

    /// How long the answer to the next step of a login may take.
    pub(super) fn patience(&self) -> Duration {
        self.patience.get()
    }

    /// Notes what the daemon says of it.
    pub(super) fn set_patience(&self, step: &Step) {
        let (Step::Say { deadline_ms, .. } | Step::Ask { deadline_ms, .. } | Step::Wait { deadline_ms }) =
            step
        else {
            return;
        };
        self.patience.set(Duration::from_millis(*deadline_ms));
    }
}

/// Goes on with one, unless it is stopped meanwhile. `what` is its name for a person.
///
/// # Errors
/// When there is none, or another call waits for its answer.
pub(super) async fn go_on<T>(
    slot: &RefCell<Option<Talk>>,
    what: &str,
    step: impl AsyncFnOnce(&mut Link) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let (link, mut stopped) = match &*slot.borrow() {
        Some(talk) => (Rc::clone(&talk.link), talk.stopped.clone()),
        None => return Err(Fault::new(NOT_FOUND, format!("you have no {what} open: start one first"))),
    };
    let Ok(mut link) = link.try_lock() else {
        return Err(Fault::new(BUSY, format!("another call of your {what} waits for its answer")));
    };
    let done = tokio::select! {
        done = step(&mut link) => done,
        _ = stopped.changed() => Err(Fault::new(STOPPED, format!("your {what} was ended"))),
    };
    drop(link);
    if done.as_ref().is_err_and(Fault::is_down) {
        slot.replace(None);
    }
    done
}
