//! Logins: [`serve`] takes one from its first call to its verdict, [`Logins`] knows all that wait.

mod abuse;
mod action;
mod choose;
mod context;
mod dialogue;
mod ending;
mod even;
mod factors;
pub(crate) mod facts;
mod lease;
pub mod list;
#[cfg(test)]
pub(crate) mod model;
mod open;
mod pace;
pub(crate) mod panel;
mod phone;
mod place;
mod prompts;
mod qr;
mod report;
pub mod request;
mod rules;
mod sealing;
mod several;
pub mod state;
mod story;
mod taken;
mod tokens;
mod waits;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::login::{Begin, Outcome, Stage, Step, Verdict};
use countersign_protocol::message::{Answer, Sealed};
use countersign_protocol::{random, seal};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::app::App;
use crate::caller::Caller;
use crate::connection::Connection;
use crate::fatigue::Asking;
use crate::log::Level;
use crate::{clock, verify};
use even::Even;
use facts::Facts;
use list::Lists;
use pace::Pace;
use request::OpenRequest;
use state::{Event, State};
use story::Login;
use tokens::{Grant, Tokens};
use waits::Waits;

pub(crate) use action::{Asked, Typed, ring};
pub(crate) use lease::record_end as record_lease_end;
pub use open::Open;
pub(crate) use place::{is_source, source};

/// The error that a call ends in which is none.
pub const BAD_CALL: &str = "org.countersign.Login.BadCall";

/// Most requests that are remembered, open ones and those whose time is not over.
const MOST_REQUESTS: usize = 20_000;

/// All logins of this host that wait, and what outlives them for a moment.
#[derive(Default)]
pub struct Logins {
    requests: RefCell<HashMap<String, Rc<OpenRequest>>>,
    sweep_at: Cell<usize>,
    tokens: RefCell<Tokens>,
    waits: Waits,
    lists: Lists,
    even: Even,
    pace: RefCell<Pace>,
    began: Notify,
    /// Since when the server is out of reach, by the boot clock.
    away_since: Cell<Option<Duration>>,
    stopping: Cell<bool>,
    stop: Notify,
}

impl Logins {
    /// How many wait for a decision.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        let open = self.requests.borrow().values().filter(|request| !request.state().is_end()).count();
        u32::try_from(open).unwrap_or(u32::MAX)
    }

    /// Those that wait and are wanted.
    pub(crate) fn open_requests(&self, is_wanted: impl Fn(&OpenRequest) -> bool) -> Vec<Rc<OpenRequest>> {
        let requests = self.requests.borrow();
        requests.values().filter(|known| !known.state().is_end() && is_wanted(known)).cloned().collect()
    }

    /// Remembers a request until its time is over, so that a decision finds it.
    pub(crate) fn keep(&self, request: &Rc<OpenRequest>) {
        let mut requests = self.requests.borrow_mut();
        // Old ones go when their number has doubled, so that a login costs the same at any number.
        if requests.len() >= self.sweep_at.get() {
            requests.retain(|_, known| !known.left().is_zero());
            // Beyond that, logins that wait go before late denials of logins that are over.
            if requests.len() >= MOST_REQUESTS {
                requests.retain(|_, known| !known.state().is_end());
            }
            self.sweep_at.set((requests.len() * 2).clamp(64, MOST_REQUESTS));
        }
        if requests.len() < MOST_REQUESTS {
            requests.insert(request.id.clone(), request.clone());
        }
        self.began.notify_one();
    }

    /// What else is open of the same person from the same place.
    fn from(&self, asking: &Asking) -> Vec<Rc<OpenRequest>> {
        let requests = self.requests.borrow();
        let open = requests.values().filter(|known| !known.state().is_end());
        let same =
            |known: &OpenRequest| known.asking.person == asking.person && known.asking.place == asking.place;
        open.filter(|known| same(known)).cloned().collect()
    }

    /// Whether the server holds one that is open.
    pub(crate) fn any_posted(&self) -> bool {
        let open = |request: &OpenRequest| matches!(request.state(), State::Posted | State::Approved);
        self.requests.borrow().values().any(|request| !request.devices.is_empty() && open(request))
    }

    /// Waits until a request begins, or has begun since the last call.
    pub(crate) async fn began(&self) {
        self.began.notified().await;
    }

    /// A sealed decision came from the server.
    pub async fn decision(&self, app: &App, sealed: &Sealed) {
        let Ok(envelope) = seal::peek(sealed) else {
            return app.log.server(Level::Warning, "the server sent a decision that is not readable");
        };
        let Some(request) = self.requests.borrow().get(&envelope.id).cloned() else {
            return; // Over long ago, or before this start: nothing is open.
        };
        let decision = match verify::decision(app, &request, sealed) {
            Ok(decision) => decision,
            Err(why) => {
                let (id, from) = (&request.id, &envelope.from);
                let text = format!("a decision about {id} from {from} is not believed: {why}");
                return app.log.server(Level::Warning, &text);
            }
        };
        if request.state().is_end() {
            // The device has not heard of the end yet.
            app.relay.close_again(&request.id);
        }
        if request.knows(&decision) {
            return;
        }
        if !app.devices.note_use(&decision.signed.key, decision.decision.counter) {
            app.log.warning(&format!(
                "the counter of device {} went back: its key may have been copied",
                decision.fingerprint
            ));
        }
        let answer = decision.decision.decision;
        let is_taken = request.decide(decision.clone());
        if answer != Answer::Approve {
            lease::denied(app, &decision).await;
        }
        if !is_taken {
            report::late(app, &request, &decision).await;
        }
        abuse::decided(app, &request, &decision).await;
    }

    /// The server holds a request (again).
    pub fn acknowledged(&self, id: &str) {
        if let Some(request) = self.requests.borrow().get(id) {
            request.happens(Event::Acknowledged);
        }
    }

    /// The connection to the server broke.
    pub fn link_lost(&self) {
        self.away_since.set(self.away_since.get().or_else(|| Some(clock::boot())));
        for request in self.requests.borrow().values() {
            request.happens(Event::Lost);
        }
    }

    /// The connection to the server is back. What was posted is acknowledged one by one; what was posted
    /// to nobody has to look the same.
    pub fn link_back(&self) {
        self.away_since.set(None);
        for request in self.requests.borrow().values().filter(|request| request.devices.is_empty()) {
            request.happens(Event::Acknowledged);
        }
    }

    /// For how long the server has been out of reach without a break; nothing while it is there, and until the
    /// first try to reach it has failed.
    pub(crate) fn away_for(&self) -> Option<Duration> {
        self.away_since.get().map(|since| clock::boot().saturating_sub(since))
    }

    /// Whether a caller who is not root may ask once more now.
    pub(crate) fn may_ask(&self, uid: u32) -> bool {
        self.pace.borrow_mut().allows(uid, clock::boot())
    }

    /// Whether somebody who was just let in is about to open a session: after a restart they would be asked again.
    pub(crate) fn any_session_due(&self) -> bool {
        self.tokens.borrow().any_fresh(clock::boot())
    }

    /// Ends all that wait: the daemon stops.
    pub fn shut_down(&self) {
        self.stopping.set(true);
        self.stop.notify_waiters();
    }

    async fn stopped(&self) {
        let stop = self.stop.notified();
        if !self.stopping.get() {
            stop.await;
        }
    }

    fn issue(&self, login: &str, of: &Login) -> Zeroizing<String> {
        let facts = &of.facts;
        let grant = Grant {
            login: login.to_owned(),
            user: facts.user.clone(),
            service: facts.service.clone(),
            approvals: of.approvals.clone(),
        };
        self.tokens.borrow_mut().issue(grant, clock::boot())
    }

    fn redeem(&self, token: &str, facts: &Facts) -> Option<Grant> {
        self.tokens.borrow_mut().redeem(token, &facts.user, &facts.service, clock::boot())
    }
}

/// Serves a login from its first call to its verdict.
pub async fn serve(app: Rc<App>, caller: Caller, mut connection: Connection, begin: Begin) {
    let began = clock::boot();
    let list = begin.action.as_ref().and_then(|action| action.list);
    let mut facts = match Facts::new(begin, &caller) {
        Ok(facts) => facts,
        Err(why) => {
            app.log.caller_warning(&caller, &format!("a login was refused unasked: {why}"));
            // The caller may be gone already; it was refused either way.
            let _ = connection.complain(BAD_CALL, why).await;
            return;
        }
    };
    if !facts.by_root && !app.logins.may_ask(facts.uid) {
        // Without a record: it is the records that are too many.
        let busy = ending::Ending::busy();
        let verdict = Verdict { outcome: busy.outcome, text: busy.text, token: None };
        let _ = connection.reply(Step::Verdict(verdict)).await;
        return;
    }
    if let Some(bytes) = list {
        match list::receive(&app.logins, &caller, &mut connection, bytes).await {
            Ok(text) => facts.list = Some(Rc::new(text)),
            Err(why) => {
                return app.log.caller_warning(&caller, &format!("an action was refused unasked: {why}"));
            }
        }
    }
    let id = countersign_protocol::digest::hex(&random::bytes::<8>());
    let mut login = Login::new(app.clone(), facts, connection);
    #[cfg(test)]
    model::begins(&id, &login.facts);
    let ending = login.story().await;

    let written = report::write(&app, &id, &login, &ending, clock::boot().saturating_sub(began)).await;
    let request = login.request.clone();
    let settle = |written| request.iter().for_each(|request| open::settle(&app, request, written));
    let is_written = written.is_ok();
    // Before whoever was let in can come again.
    let has_lease = is_written && lease::keep(&login, &ending);
    // What cannot be written down does not happen.
    let ending = match written {
        Ok(()) => ending,
        Err(error) => {
            settle(false);
            ending::Ending::fault(format!("the audit cannot be written: {error}"))
        }
    };
    if ending.outcome == Outcome::Fault {
        app.log.error(&format!("login {id}: {}", ending.reason));
    }
    // Who is let on anyhow must not read of a refusal.
    let (outcome, text) =
        if login.observed { (Outcome::Ignored, None) } else { (ending.outcome, ending.text) };
    if let (true, Some(reason)) = (login.facts.silent && outcome != Outcome::Granted, &text) {
        login.acknowledge(reason).await;
    }
    if outcome == Outcome::Granted && login.facts.is_polkit() {
        let shown = (login.facts.action.as_deref(), login.facts.detail.as_deref());
        app.polkit.answered(login.facts.subject(), shown, clock::boot());
    }
    let token = (outcome == Outcome::Granted && login.facts.stage == Stage::Auth && login.facts.is_sshd())
        .then(|| app.logins.issue(&id, &login));
    let verdict = Step::Verdict(Verdict { outcome, text, token });
    // A caller that is gone needs no verdict.
    let _ = login.connection.reply(verdict).await;
    // Afterwards, since nobody waits for it; whoever else waits goes first.
    tokio::task::yield_now().await;
    if has_lease {
        app.leases.write(&app.log).await;
    }
    if is_written {
        settle(true);
        if let (Some(request), true) = (request.as_deref(), outcome == Outcome::Granted)
            && let Err(error) = app.sources.note(&request.user, &login.facts.source()).await
        {
            app.log.warning(&format!("a place is still new to {}: {error}", request.user));
        }
    }
}
