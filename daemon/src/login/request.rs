//! A request that is open: its bytes, whom it was sent to, and what has become of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use countersign_policy::Approvals;
use countersign_protocol::keys::SealKey;
use countersign_protocol::message::{self, Answer, ClosedOutcome, Confirm, Host, Request, VERSION};
use countersign_protocol::signed::{self, SignedMessage};
use countersign_protocol::{digest, random};
use tokio::sync::Notify;

use super::context;
use super::facts::Facts;
use super::list::Enclosed;
use super::panel::Panel;
use super::place;
use super::state::{Event, State, next};
use super::taken::Taken;
use crate::app::HostIdentity;
use crate::clock;
use crate::devices::Device;
use crate::fatigue::Asking;
use crate::leases::Offer;
use crate::person::Person;
use crate::verify::Verified;

/// How often a code may be typed for one request.
pub const TRIES: u8 = 3;

/// A request and its state. Lives as long as its login, and then until its deadline so that a late
/// denial is still understood.
pub struct OpenRequest {
    /// 16 random bytes in hex.
    pub id: String,
    /// The exact bytes that were signed, and the host's signature.
    pub signed: SignedMessage,
    /// SHA-256 of the bytes in hex: what a decision names.
    pub digest: String,
    /// The private half of its reply key.
    pub reply: SealKey,
    /// The account that is entered.
    pub user: String,
    /// Who asks, where that is somebody else.
    pub requester: Option<String>,
    /// Who wants in, and whose own factors may be typed.
    pub person: String,
    /// How many different people have to approve.
    pub needed: u8,
    /// What the rule says of several people.
    pub(crate) rule: Option<Approvals>,
    /// Those who are asked for the sake of their certificates alone.
    pub(crate) certified: Vec<String>,
    /// The same person, whose devices are asked, and from where.
    pub asking: Asking,
    /// What an action is in words, as the devices are told.
    pub(super) detail: Option<String>,
    /// The list that belongs to it, until it is encrypted: requests are remembered for longer than so much memory should be.
    pub(super) list: RefCell<Option<Enclosed>>,
    /// The devices that it was sealed to, each for its own person.
    pub devices: Vec<Device>,
    /// What has to be done beside approving.
    pub confirm: Confirm,
    /// Whether sshd asks, which may lose patience by itself.
    pub by_sshd: bool,
    /// The lease that may be granted with it.
    pub lease: Option<Offer>,
    /// How long it is open.
    pub wait: Duration,
    /// Boot clock.
    pub deadline: Duration,
    state: Cell<State>,
    /// Whether the server was away when last heard of.
    unreachable: Cell<bool>,
    /// Whether the server ever held it.
    posted: Cell<bool>,
    told: Cell<bool>,
    /// Who has taken it back, where that was not its login.
    pub(crate) cancelled_by: RefCell<Option<String>>,
    /// Whether it must not let anybody in after all.
    undone: Cell<bool>,
    tries: Cell<u8>,
    changed: Notify,
    taken: RefCell<Taken>,
    /// What each device has answered: devices repeat it until they hear of the end.
    seen: RefCell<Vec<(String, Answer)>>,
}

impl OpenRequest {
    /// Makes and signs a request. With no devices it is a request to nobody, that only looks like one.
    ///
    /// # Errors
    /// When it cannot be signed or is over the size limit.
    pub fn new(
        host: &HostIdentity,
        facts: &Facts,
        (account, person): (&Person, &str),
        panel: Panel,
        confirm: Confirm,
        wait: Duration,
        lease: Option<Offer>,
    ) -> Result<Rc<Self>, String> {
        let id = digest::hex(&random::bytes::<16>());
        let reply = SealKey::generate();
        let list = facts.list.as_ref().map(Enclosed::new).transpose();
        let list = list.map_err(|error| format!("the action cannot be asked for: {error}"))?;
        let mut request = Request {
            version: VERSION,
            id: id.clone(),
            reply_key: Base64::encode_string(&reply.public()),
            host: Host { name: host.name.clone(), key: host.public.to_line() },
            user: account.name.clone(),
            uid: account.uid,
            requester: facts.requester.clone(),
            service: facts.service.clone(),
            kind: facts.kind,
            command: facts.command.clone(),
            action: facts.action.clone(),
            detail: facts.detail.clone(),
            list: list.as_ref().map(|list| list.named.clone()),
            terminal: facts.terminal.clone(),
            remote: facts.remote.clone(),
            ssh_key: facts.ssh_key.clone(),
            context: facts.context.clone(),
            issued_at: clock::unix(),
            expires_in: u32::try_from(wait.as_secs()).unwrap_or(u32::MAX),
            confirm,
            lease_max: lease.as_ref().map(Offer::seconds),
            lease_uses: lease.as_ref().and_then(|lease| lease.ceiling.uses),
            approvals: message::Approvals { needed: panel.needed, from: panel.from },
        };
        context::fit(&mut request);
        let signed = signed::sign_message(host.key.as_ref(), &request)
            .map_err(|error| format!("the request cannot be signed: {error}"))?;
        Ok(Rc::new(Self {
            digest: signed.digest(),
            id,
            signed,
            reply,
            user: account.name.clone(),
            requester: facts.requester.clone(),
            person: person.to_owned(),
            needed: panel.needed,
            rule: panel.rule,
            certified: panel.certified,
            asking: place::asking(facts, person, &panel.devices),
            detail: request.detail,
            list: RefCell::new(list),
            devices: panel.devices,
            confirm,
            by_sshd: facts.is_sshd(),
            lease,
            wait,
            deadline: clock::boot() + wait,
            state: Cell::new(State::New),
            unreachable: Cell::new(false),
            posted: Cell::new(false),
            told: Cell::new(false),
            cancelled_by: RefCell::default(),
            undone: Cell::new(false),
            tries: Cell::new(TRIES),
            changed: Notify::new(),
            taken: RefCell::default(),
            seen: RefCell::default(),
        }))
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state.get()
    }

    /// Lets something happen; `false` where it means nothing in this state. Nothing is confirmed before all the
    /// people that are needed have approved, and their codes were typed where they are wanted. Past the deadline the
    /// deadline is what happens: the timer that would have said so stands still while the machine sleeps.
    pub fn happens(&self, event: Event) -> bool {
        if event != Event::Deadline && self.left().is_zero() {
            self.happens(Event::Deadline);
        }
        if event == Event::Confirmed && !self.is_complete() {
            return false;
        }
        match next(self.state.get(), event) {
            Some(state) => {
                #[cfg(test)]
                super::model::takes(self.state.get(), event);
                match event {
                    Event::Lost => self.unreachable.set(true),
                    Event::Acknowledged => {
                        self.unreachable.set(false);
                        self.posted.set(true);
                    }
                    _ => {}
                }
                self.state.set(state);
                self.changed.notify_waiters();
                true
            }
            None => false,
        }
    }

    /// Whether this device has answered the same before; from now on it has. Another text with the same
    /// answer says nothing new, so that each device is heard three times at most, whatever it sends.
    pub fn knows(&self, decision: &Verified) -> bool {
        let answered = (decision.device.clone(), decision.decision.decision);
        let mut seen = self.seen.borrow_mut();
        let known = seen.contains(&answered);
        if !known {
            seen.push(answered);
        }
        known
    }

    /// Takes a verified decision. `false` when it came too late to mean anything.
    pub fn decide(&self, decision: Verified) -> bool {
        let event = match decision.decision.decision {
            Answer::Approve => return self.approve(decision),
            Answer::Deny => Event::Deny,
            Answer::Report => Event::Report,
        };
        // The evidence has to stand before anybody is woken.
        if next(self.state.get(), event).is_none() {
            return false;
        }
        self.taken.borrow_mut().refuse(decision);
        self.happens(event)
    }

    /// The first approval of each person counts; with the last one that is needed the request is approved.
    fn approve(&self, decision: Verified) -> bool {
        if self.state.get().is_end() || !self.taken.borrow_mut().approve(decision) {
            return false;
        }
        let is_enough = self.approved() >= usize::from(self.needed);
        if is_enough && next(self.state.get(), Event::Approve).is_some() {
            return self.happens(Event::Approve);
        }
        self.changed.notify_waiters();
        true
    }

    /// Waits until the state is another one than `seen`, one more person has approved, or the deadline has passed.
    pub async fn changed_from(&self, seen: State) {
        let approved = self.approved();
        loop {
            let changed = self.changed.notified();
            if self.state.get() != seen || self.approved() != approved {
                return;
            }
            let left = self.left();
            if left.is_zero() {
                self.happens(Event::Deadline);
                return;
            }
            // Timers stop while the machine sleeps and the deadline does not: look again after each.
            let _ = tokio::time::timeout(left, changed).await;
        }
    }

    /// Time until the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_sub(clock::boot())
    }

    /// Whether a typed code is that of an approval whose code was not typed yet; a wrong one is one of [`TRIES`],
    /// which all approvals share.
    pub fn try_code(&self, typed: &str) -> bool {
        if self.tries.get() == 0 || self.state.get().is_end() || !self.has_untyped() {
            return false;
        }
        let right = self.taken.borrow_mut().take_code(typed);
        if !right {
            self.waste_try();
        }
        right
    }

    /// Whether this is the code of an approval that has come.
    pub(super) fn shows(&self, typed: &str) -> bool {
        self.taken.borrow().shows(typed)
    }

    /// How many people have approved.
    pub fn approved(&self) -> usize {
        self.taken.borrow().people()
    }

    /// How many of their codes were typed.
    pub fn typed(&self) -> usize {
        self.taken.borrow().typed()
    }

    /// Whether somebody has approved whose code was not typed.
    pub fn has_untyped(&self) -> bool {
        self.approved() > self.typed()
    }

    /// Whether all the people that are needed have approved, and what has to be typed was.
    pub fn is_complete(&self) -> bool {
        self.counting().len() >= usize::from(self.needed.max(1))
    }

    /// The approvals that let somebody in.
    pub(crate) fn counting(&self) -> Vec<Verified> {
        self.taken.borrow().counting(self.confirm == Confirm::Code, self.needed.into())
    }

    /// From now on this certificate is what makes somebody's approval count.
    pub(super) fn counts_by(&self, person: &str, certificate: Option<String>) {
        self.taken.borrow_mut().counts_by(person, certificate);
    }

    /// Everybody who was asked, once.
    pub(super) fn people(&self) -> Vec<&str> {
        let mut people: Vec<&str> = Vec::new();
        for device in &self.devices {
            if !people.contains(&device.user.as_str()) {
                people.push(&device.user);
            }
        }
        people
    }

    /// Counts something typed that cannot be a code.
    pub fn waste_try(&self) {
        self.tries.set(self.tries.get().saturating_sub(1));
        if self.tries.get() == 0 {
            self.happens(Event::TooManyTries);
        }
    }

    /// Whether the server was away when last heard of; also after the request has ended.
    pub fn is_unreachable(&self) -> bool {
        self.unreachable.get()
    }

    /// Whether the server ever held it.
    pub fn was_posted(&self) -> bool {
        self.posted.get()
    }

    /// Whether it ended by letting somebody in.
    pub fn lets_in(&self) -> bool {
        matches!(self.state.get(), State::Granted | State::Otherwise)
    }

    /// It lets nobody in after all, because that could not be written down: phones hear that it failed.
    pub fn undo(&self) {
        self.undone.set(true);
    }

    /// Whether its end was told before; from now on it was.
    pub fn told(&self) -> bool {
        self.told.replace(true)
    }

    /// Tries that are left.
    pub fn tries(&self) -> u8 {
        self.tries.get()
    }

    /// The decisions that were taken and bear on the end, the weightiest first. Of one person's the last; of
    /// several people's what let somebody in, or all.
    pub fn evidence(&self) -> Vec<Verified> {
        let mut all = match self.state.get() {
            State::Granted => self.counting(),
            _ => self.taken.borrow().evidence(),
        };
        if self.rule.is_none() {
            all.truncate(1);
        }
        all
    }

    /// How it ended.
    pub(crate) fn outcome(&self) -> ClosedOutcome {
        if self.undone.get() { ClosedOutcome::Failed } else { outcome(self.state.get()) }
    }
}

fn outcome(state: State) -> ClosedOutcome {
    match state {
        State::Granted => ClosedOutcome::Approved,
        State::Otherwise => ClosedOutcome::Otherwise,
        State::Denied => ClosedOutcome::Denied,
        State::Reported => ClosedOutcome::Reported,
        State::Expired => ClosedOutcome::Expired,
        State::Failed => ClosedOutcome::Failed,
        State::Replaced => ClosedOutcome::Replaced,
        // An open one is closed only because its login is gone.
        State::Withdrawn | State::New | State::Posted | State::Unreachable | State::Approved => {
            ClosedOutcome::Withdrawn
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Lab, TestDevice};
    use crate::verify;
    use countersign_protocol::message::Decision;

    #[tokio::test]
    async fn what_is_remembered_of_a_devices_answers_has_a_bound() {
        let (lab, device) = (Lab::new(), TestDevice::new());
        lab.pair("alice", &device).await;
        let request = lab.request("alice", Confirm::Code, Duration::from_secs(60));
        for counter in 1..100 {
            for answer in [Answer::Approve, Answer::Deny, Answer::Report] {
                let said = Decision { counter, ..TestDevice::decision(&request, answer) };
                let sealed = device.seal(&lab, &request, &device.sign(&said));
                let said = verify::decision(&lab.app, &request, &sealed).unwrap();
                assert_eq!(request.knows(&said), counter > 1);
            }
        }
        assert_eq!(request.seen.borrow().len(), 3);
    }
}
