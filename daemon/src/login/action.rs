//! Questions about what is done with the daemon itself, asked by the `countersign` command: whether one
//! more device may be paired, and whether a new one rings.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::manage::RingAnswer;
use countersign_protocol::message::Confirm;
use tokio::time::timeout;

use super::facts::Facts;
use super::open::{Manner, Open, settle};
use super::panel::Panel;
use super::prompts;
use super::report;
use super::state::{Event, State};
use crate::app::App;
use crate::devices::Device;
use crate::person::Person;
use crate::verify;

/// How long a person has to approve an action.
const ACTION_WAIT: Duration = Duration::from_secs(60);
/// How long a test ring is open.
const TEST_WAIT: Duration = Duration::from_secs(60);
/// How long its answer is waited for.
const RING_WAIT: Duration = Duration::from_secs(30);

/// A question whose code is to be typed.
pub(crate) struct Asked {
    app: Rc<App>,
    open: Open,
    /// What the audit calls it.
    event: &'static str,
    /// Why its approval no longer counted.
    undone: RefCell<Option<String>>,
}

/// What came of something typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Approved, and the approval's code: by the device of this key id.
    Granted(String),
    /// The code is still to be typed.
    Again,
    /// Over; why, for the person.
    Over(String),
}

impl Asked {
    /// Asks all of a person's devices.
    ///
    /// # Errors
    /// Why nobody could be asked.
    pub(crate) async fn begin(
        app: &Rc<App>,
        person: &Person,
        event: &'static str,
        action: &str,
    ) -> Result<Self, String> {
        let facts = Facts::of_action(person, action);
        let manner = Manner { confirm: Confirm::Code, wait: ACTION_WAIT, ring: true, lease: None };
        let open = Open::begin(app, &facts, person, &person.name, manner).await;
        let open = open.map_err(|ending| ending.reason)?;
        if open.state() == State::Unreachable {
            return Err(unreachable(app));
        }
        Ok(Self { app: Rc::clone(app), open, event, undone: RefCell::default() })
    }

    /// How often a code may still be typed.
    pub(crate) fn tries(&self) -> u8 {
        self.open.tries()
    }

    /// Seconds that are left.
    pub(crate) fn left(&self) -> u32 {
        u32::try_from(self.open.left().as_secs()).unwrap_or(u32::MAX)
    }

    /// Waits for the decision, and compares what was typed with its code; nothing typed only waits.
    /// Dropping the future loses nothing.
    pub(crate) async fn typed(&self, typed: &str) -> Typed {
        let open = &self.open;
        loop {
            match open.state() {
                State::Unreachable => return Typed::Over(unreachable(&self.app)),
                State::Approved => break,
                state if state.is_end() => return Typed::Over(ended(state)),
                state => open.changed_from(state).await,
            }
        }
        let typed = typed.trim();
        if typed.is_empty() {
            return Typed::Again;
        }
        match verify::typed_code(typed) {
            None => open.waste_try(),
            Some(code) if open.try_code(&code) => match open.confirm(&[]) {
                Ok(true) => {
                    let device = open.evidence().pop().map(|decision| decision.device);
                    return device.map_or_else(|| Typed::Over(ended(open.state())), Typed::Granted);
                }
                Ok(false) => {}
                Err(why) => *self.undone.borrow_mut() = Some(why),
            },
            Some(_) => {}
        }
        if open.state().is_end() { Typed::Over(ended(open.state())) } else { Typed::Again }
    }

    /// Tells the phones once it has ended. Never comes back by itself.
    pub(crate) async fn tell_end(&self) {
        while !self.open.state().is_end() {
            self.open.changed_from(self.open.state()).await;
        }
        self.open.tell_end();
        std::future::pending().await
    }

    /// Ends it, and writes down what came of it before it has any effect.
    ///
    /// # Errors
    /// When that could not be written: then it must have none.
    pub(crate) async fn finish(self, by: &str) -> std::io::Result<()> {
        self.open.happens(Event::HangUp);
        let mut reason = format!("asked by {by}");
        if let Some(why) = self.undone.take() {
            reason.push_str(&format!("; {why}"));
        }
        let written = report::action(&self.app, self.event, &self.open, &reason).await;
        settle(&self.app, &self.open, written.is_ok());
        written
    }
}

/// Rings a device that was just paired, and waits for what its person answers. It opens nothing.
///
/// # Errors
/// Why it cannot be rung.
pub(crate) async fn ring(
    app: &Rc<App>,
    person: &Person,
    device: Device,
) -> Result<Option<RingAnswer>, String> {
    let manner = Manner { confirm: Confirm::Tap, wait: TEST_WAIT, ring: true, lease: None };
    let facts = Facts::of_test(person);
    let panel = Panel::of_one(&person.name, vec![device]);
    let open = Open::begin_with(app, &facts, (person, &person.name), panel, manner).await;
    let open = open.map_err(|ending| ending.reason)?;
    let answered = async {
        loop {
            match open.state() {
                State::Unreachable => return Err(unreachable(app)),
                State::Approved => {
                    open.happens(Event::Confirmed);
                    // It opens nothing that would have to be written down.
                    settle(app, &open, true);
                    return Ok(Some(RingAnswer::Rang));
                }
                State::Denied | State::Reported => {
                    // Somebody holds the new device who does not want it: worth a trace.
                    let what = if open.state() == State::Reported { "reported" } else { "denied" };
                    let reason = format!("the test ring of the new device was {what}");
                    if let Err(error) = report::action(app, "test-ring", &open, &reason).await {
                        app.log.error(&format!("the audit cannot be written: {error}"));
                    }
                    return Ok(Some(RingAnswer::Denied));
                }
                state if state.is_end() => return Ok(None),
                state => open.changed_from(state).await,
            }
        }
    };
    timeout(RING_WAIT, answered).await.unwrap_or(Ok(None))
}

fn unreachable(app: &App) -> String {
    format!("the server cannot be reached: {}", app.relay.trouble().brief)
}

fn ended(state: State) -> String {
    match state {
        State::Denied | State::Reported => prompts::DENIED,
        State::Failed => prompts::FAILED,
        _ => prompts::EXPIRED,
    }
    .to_owned()
}
