//! Desktop notifications: each open request as a popup with buttons, so that a laptop answers for a server.
//!
//! [`popup`] says what has to be on the desktop, [`bus`] keeps the desktop that way over D-Bus (`crate::bus`,
//! [`words`]) and hears the buttons, [`lock`] asks whether the screen is locked. The inbox knows nothing of them: a popup is a
//! view of it, and an answer counts only while the popup says what would be said now.

mod bus;
mod lock;
mod popup;
#[cfg(test)]
mod testing;
mod words;

use super::inbox::{Inbox, Key, Now};
use super::run::Input;
use crate::output::time;
use bus::Buses;
use countersign_protocol::message::Answer;
use popup::Popup;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How long the popups may take to go away at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// All popups of an inbox, as a desktop that reads markup and has buttons gets them.
#[cfg(feature = "fuzzing")]
pub(crate) fn drawn(inbox: &Inbox, now: Now) -> Vec<crate::fuzzing::Popup> {
    let body = |popup: &Popup, markup| words::body(popup, words::Skills { markup, buttons: true });
    let wanted = popup::wanted(inbox, &BTreeMap::new(), now, time);
    let draw = |popup: &Popup| crate::fuzzing::Popup {
        summary: words::unlinked(&popup.summary),
        markup: body(popup, true),
        text: body(popup, false),
    };
    wanted.iter().map(draw).collect()
}

/// What the desktop tells the loop.
#[derive(Debug)]
pub enum Said {
    /// The person pressed a button of this popup.
    Answer(Answer, Box<Popup>),
    /// A button was pressed that takes no answer now, and why.
    Refused(Key, &'static str),
    /// The desktop cannot be reached, or can be again.
    Notice(String),
}

/// Why a popup says what it says beside its request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Note {
    text: String,
    /// Pressing closes a popup, so a note comes in a new one, even with the same words.
    round: u32,
}

/// The popups, as the loop sees them.
#[derive(Debug)]
pub struct Desktop {
    wanted: watch::Sender<Vec<Popup>>,
    notes: BTreeMap<Key, Note>,
    task: JoinHandle<()>,
}

impl Desktop {
    /// Begins. `start` is the beginning of the loop's monotonic clock.
    #[must_use]
    pub fn start(inputs: mpsc::Sender<Input>, start: Instant) -> Self {
        let (wanted, seen) = watch::channel(Vec::new());
        let task = tokio::spawn(bus::run(seen, inputs, Buses::default(), start));
        Self { wanted, notes: BTreeMap::new(), task }
    }

    /// Makes the desktop show what the inbox has become.
    pub fn show(&mut self, inbox: &Inbox, now: Now) {
        self.notes.retain(|key, _| inbox.get(key).is_some());
        let popups = popup::wanted(inbox, &self.notes, now, time);
        self.wanted.send_if_modified(|before| {
            let differs = *before != popups;
            *before = popups;
            differs
        });
    }

    /// Takes what the desktop says.
    pub fn hear(&mut self, said: Said, inbox: &mut Inbox) {
        match said {
            // What the person read must be what stands there now.
            Said::Answer(answer, popup) => match popup.request() {
                Some(key) if self.wanted.borrow().contains(&popup) => inbox.answer(key, answer),
                Some(key) => {
                    let key = key.clone();
                    self.refuse(&key, "it changed while you answered: look again", inbox);
                }
                None => (),
            },
            Said::Refused(key, why) => self.refuse(&key, why, inbox),
            Said::Notice(text) => inbox.notice(text),
        }
    }

    /// Says in a request's popup why its answer was not taken.
    pub fn note(&mut self, key: &Key, text: &str) {
        let note = self.notes.entry(key.clone()).or_default();
        *note = Note { text: text.to_owned(), round: note.round.wrapping_add(1) };
    }

    /// Takes every popup away.
    pub async fn end(self) {
        let Self { wanted, mut task, .. } = self;
        drop(wanted);
        if tokio::time::timeout(FAREWELL, &mut task).await.is_err() {
            task.abort();
        }
    }

    fn refuse(&mut self, key: &Key, why: &str, inbox: &mut Inbox) {
        if inbox.get(key).is_some() {
            self.note(key, &format!("Not answered: {why}."));
        }
        inbox.notice(format!("not answered: {why}"));
    }
}
