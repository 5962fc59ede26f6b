//! One story: the daemon as it is, a server that does what it likes, people at prompts, and the oracle that
//! watches all of them.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::audit::Record;
use countersign_protocol::keys::Signer;
use countersign_protocol::login::Outcome;
use countersign_protocol::message::MessageType;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use super::cast::{BOTH, CAST, HOLDERS, HOST, Holder, ROOT, number};
use super::oracle::{Oracle, QR};
use super::peer::{At, MOMENT, Peer};
use super::policy::Policy;
use super::seen::{self, Seen};
use super::shown::shows;
use super::visit::Visit;
use crate::testing::simulated::{Arrived, Fate, Simulated};
use crate::testing::{BOOT, Heard, Lab, Said};
use crate::{clock, files, person, relay};
use countersign_policy::{Loaded, Then};

/// Moments until a broken connection has been opened anew, and what it carried came again: five seconds.
const MOMENTS_OF_TROUBLE: u32 = 420;

/// What a daemon that is told to stop gives its logins.
const STOPPED: Duration = Duration::from_secs(1);

/// When all stories begin, in seconds since 1970.
const BEGIN: u64 = 1_800_000_000;

pub(super) struct World {
    pub(super) lab: Lab,
    pub(super) relay: Rc<Simulated>,
    pub(super) oracle: Oracle,
    pub(super) logins: Vec<Peer>,
    pub(super) tokens: Vec<String>,
    pub(super) seen: Seen,
    /// Whether the calendar's clock ever was set.
    is_set: bool,
    background: Vec<JoinHandle<()>>,
    /// Posts and deliveries that were looked at.
    looked: (usize, usize),
    /// Logins that a tap has to have let in when all is quiet.
    due: Vec<usize>,
    /// Bytes of the audit that were read, and the logins' records of their ends.
    read: usize,
    pub(super) records: HashMap<usize, Record>,
    /// Records of logins' ends that could not be written.
    pub(super) unwritten: HashMap<usize, Record>,
    /// Logins that were refused before they began, since there were too many: nothing is written down of them.
    pub(super) unasked: HashSet<usize>,
    /// Lists that the server has not refused yet, and will.
    pub(super) refusals: usize,
}

impl World {
    /// `said` becomes what the daemon writes to its log.
    pub(super) async fn new(policy: Policy, said: &RefCell<Said>) -> Self {
        clock::wound::follow_from(BEGIN);
        person::groups_for_tests(&[(BOTH, &[ROOT])]);
        let config = policy.config(BEGIN);
        let oracle = Oracle::new(policy);
        let paired: Vec<Holder> =
            HOLDERS.into_iter().filter(|holder| !oracle.unpaired.contains(holder)).collect();
        let (lab, heard) = Lab::quiet(HOST.clone(), |paths| CAST.prepare(paths, &paired));
        *said.borrow_mut() = heard;
        *lab.app.config.borrow_mut() = Loaded { good: Some(Rc::new(config)), faults: Vec::new() };
        let mut world = Self {
            lab,
            relay: Rc::default(),
            oracle,
            logins: Vec::new(),
            tokens: Vec::new(),
            seen: Seen::default(),
            is_set: false,
            background: Vec::new(),
            looked: (0, 0),
            due: Vec::new(),
            read: 0,
            records: HashMap::new(),
            unwritten: HashMap::new(),
            unasked: HashSet::new(),
            refusals: 0,
        };
        world.relay.turn(true);
        world.run_daemon();
        world.settle().await;
        world
    }

    fn run_daemon(&mut self) {
        let app = &self.lab.app;
        app.relay.simulate(Rc::clone(&self.relay));
        let keeper = Rc::clone(app);
        self.background = vec![
            spawn_local(relay::run(Rc::clone(app))),
            spawn_local(relay::tell(Rc::clone(app))),
            spawn_local(async move { keeper.fatigue.keep(&keeper.log).await }),
        ];
    }

    /// Lets all that can happen at once happen, and looks at it.
    pub(super) async fn settle(&mut self) {
        self.moment().await;
        for login in std::mem::take(&mut self.due) {
            self.must_open(login, "a tap that counts").await;
        }
    }

    /// What a connection carried that broke in this very moment comes again with the next one.
    async fn must_open(&mut self, login: usize, what: &str) {
        let mut left = if self.oracle.had_trouble { MOMENTS_OF_TROUBLE } else { 0 };
        while left > 0 && !self.opens(login) {
            self.moment().await;
            left -= 1;
        }
        let is_late = self.oracle.had_trouble && self.logins[login].is_over();
        assert!(self.opens(login) || is_late, "login {login}: {what} did not open");
    }

    async fn moment(&mut self) {
        sleep(MOMENT).await;
        // What could not be written down was decided now, however long its login takes to end.
        self.read_records();
        self.look();
        self.oracle.away = self.relay.silent.get();
        for (number, login) in self.logins.iter().enumerate() {
            if let Some(at) = login.drawn_at() {
                self.oracle.is_drawn(number, at);
            }
        }
        for number in 0..self.logins.len() {
            if self.logins[number].is_over() && !self.logins[number].is_noted {
                self.ended(number);
            }
        }
        for note in std::mem::take(&mut self.oracle.notes) {
            self.seen.note(&note);
        }
        let refusals = self.relay.refused_lists.borrow().len();
        if std::mem::replace(&mut self.refusals, refusals) > refusals {
            self.seen.note("list refused");
        }
    }

    pub(super) async fn wait(&mut self, time: Duration) {
        sleep(time).await;
        self.settle().await;
    }

    /// Tells the oracle what went through the server.
    fn look(&mut self) {
        let arrived = self.relay.arrived.borrow();
        for (at, post) in arrived.iter().enumerate().skip(self.looked.0) {
            let first = &post.about[0];
            let is_new = !self.oracle.requests.iter().any(|known| known.asked.request.id == first.id);
            if first.message_type == MessageType::Request && is_new {
                let to: Vec<usize> = post.about.iter().filter_map(|about| number_of(&about.to)).collect();
                let heard = CAST.devices[to[0]].hear(&self.lab, &post.post.messages[0]);
                let Heard::Request(asked) = heard else { panic!("its envelope lies") };
                let login = number_in(asked.request.command.as_deref()).unwrap();
                let visit = self.oracle.logins[login].visit;
                shows(&asked, visit, login);
                if let Some(text) = visit.list(login) {
                    self.lists_before(at, &asked, &text);
                    self.seen.note("asked with a list");
                }
                self.oracle.is_asked(asked, login, to, post.at);
            }
        }
        self.looked.0 = arrived.len();
        let delivered = self.relay.delivered.borrow();
        for (at, number) in &delivered[self.looked.1..] {
            self.seen.note("decision delivered");
            if self.oracle.is_delivered(*number, *at) {
                self.seen.note("decision counted");
            }
            let request = self.oracle.said[*number].request;
            let (known, peers) = (&self.oracle.requests[request], &self.logins);
            let is_waited_for = peers[known.login].at() == At::Out && !peers[known.login].is_spoiled;
            let id = &known.asked.request.id;
            let first = arrived.iter().find(|post| post.about.iter().any(|about| about.id == *id));
            // Before, the login still waits for the server to hold its request.
            let is_held = |post: &Arrived| post.acknowledged.is_some();
            if is_waited_for && first.is_some_and(is_held) && self.oracle.tap_must_open(request, *at) {
                self.due.push(known.login);
            }
        }
        self.looked.1 = delivered.len();
        if !self.lab.app.relay.is_up() {
            self.oracle.had_trouble = true;
        }
    }

    pub(super) async fn begin(&mut self, visit: Visit, token: Option<String>) {
        let number = self.logins.len();
        let must = self.oracle.begins(visit, token.as_deref(), clock::boot());
        let (begin, list) = (visit.begin(number, token), visit.list(number));
        let mut peer = match visit.is_ask() {
            true => Peer::ask(&self.lab.app, begin, list.as_deref(), visit.acts_for()),
            false => Peer::begin(&self.lab.app, begin),
        };
        // It may be at a prompt that only says why it is refused.
        peer.is_spoiled = visit.begin(number, None).silent;
        self.logins.push(peer);
        // Its own use of one does not count against it.
        let (missed, has_lease) = (self.oracle.leases_missed(number), self.oracle.has_lease(number));
        self.settle().await;
        assert!(!must || self.opens(number), "a token that was good did not open");
        if !self.opens(number) {
            missed.iter().for_each(|why| self.seen.note(&format!("no lease: {why}")));
            // A clock that was set may end one early; what is away is away a little later for the daemon.
            let of = &self.oracle.logins[number];
            let is_doubtful = self.is_set
                || self.oracle.had_trouble
                || of.away.is_some()
                || self.oracle.barred(number).is_some();
            let is_asked = matches!(of.rule.then, Then::Approve | Then::Observe);
            assert!(
                !has_lease || is_doubtful || !is_asked,
                "login {number}: a lease that is good did not open"
            );
        }
    }

    pub(super) async fn types(&mut self, login: usize, text: &str) {
        self.type_at(&[login], text).await;
    }

    /// Types the same at each of these that is at a prompt, before the daemon has seen any of it.
    pub(super) async fn type_at(&mut self, logins: &[usize], text: &str) {
        let at_prompt = logins.iter().copied().filter(|login| self.logins[*login].at() == At::Prompt);
        let at_prompt: Vec<usize> = at_prompt.collect();
        let (mut due, mut missed) = (Vec::new(), Vec::new());
        for login in at_prompt.iter().copied() {
            missed.extend(self.oracle.code_missed(login, text).map(|why| (login, why)));
            if self.oracle.is_typed(login, text, clock::boot()) && !self.logins[login].is_spoiled {
                due.push(login);
            }
            self.logins[login].answer(text);
        }
        self.settle().await;
        for login in due {
            self.must_open(login, "the right code").await;
        }
        for (login, why) in missed {
            if !self.opens(login) {
                self.seen.note(&format!("no code: {why}"));
            }
        }
        if text == QR && at_prompt.iter().any(|login| self.logins[*login].drawn().is_some()) {
            self.seen.note("QR code asked for");
        }
        if at_prompt.len() > 1 && at_prompt.iter().filter(|login| self.opens(**login)).count() == 1 {
            self.seen.note("one of many at once");
        }
    }

    pub(super) async fn hangs_up(&mut self, login: usize) {
        if !self.logins[login].is_over() {
            self.logins[login].hang_up();
            self.settle().await;
            assert!(
                self.logins[login].serving.is_finished(),
                "the daemon did not notice that a peer is gone"
            );
        }
    }

    /// Whether it was let in, or was not only because that could not be written down.
    fn opens(&self, login: usize) -> bool {
        self.is_granted(login) || self.unwritten.get(&login).is_some_and(is_granted)
    }

    fn is_granted(&self, login: usize) -> bool {
        let is_observed = self.oracle.logins[login].rule.then == Then::Observe;
        let expected = if is_observed { Outcome::Ignored } else { Outcome::Granted };
        matches!(self.logins[login].at(), At::Over(verdict) if verdict.outcome == expected)
    }

    /// A login is over as its module sees it: the record and the oracle have to agree with that.
    fn ended(&mut self, login: usize) {
        self.read_records();
        let (at, now) = (self.logins[login].at(), self.logins[login].ended());
        assert_ne!(at, At::Refused, "login {login} got no verdict");
        if let At::Over(verdict) = at {
            let record = self.records.get(&login);
            let visit = self.oracle.logins[login].visit;
            let is_unwritten = self.unwritten.contains_key(&login);
            if record.is_none() && !is_unwritten && visit.is_ask() && verdict.outcome == Outcome::Busy {
                self.unasked.insert(login);
            }
            assert!(
                record.is_some() || is_unwritten || self.unasked.contains(&login),
                "a verdict has its record before it"
            );
            // What cannot be written down does not happen.
            assert!(
                record.is_some()
                    || self.unasked.contains(&login)
                    || matches!(verdict.outcome, Outcome::Fault | Outcome::Ignored)
            );
            let granted = record.is_some_and(is_granted);
            let drawn = self.logins[login].drawn();
            if let Some(record) = record.filter(|_| granted)
                && let Err(why) = self.oracle.judge(login, record, &self.lab, drawn.as_ref(), now)
            {
                panic!("login {login} was let in {why}: {visit:?}");
            }
            if granted && visit.is_ask() {
                self.seen.note(&format!("granted by {:?}", visit.program));
                self.seen.note(&format!("granted {}", visit.action().unwrap_or_default()));
            }
            let then = self.oracle.logins[login].rule.then;
            let ignored = verdict.outcome == Outcome::Ignored;
            let is_right = match then {
                // Whatever the rule says: none was looked at.
                _ if self.unasked.contains(&login) => !ignored,
                Then::Observe => ignored,
                Then::Skip => ignored != record.is_none(),
                Then::Deny => !ignored && !granted,
                Then::Approve => !ignored || self.oracle.may_pass(login),
            };
            assert!(is_right, "login {login} under a rule that says {then:?}: {verdict:?}");
            assert_eq!(verdict.outcome == Outcome::Granted, granted && then == Then::Approve);
            let is_held = record.is_some_and(|record| record.reason.as_deref().is_some_and(is_from_there));
            if let Some(why) = self.oracle.barred(login).filter(|_| is_held) {
                self.seen.note(&format!("refused after {why}"));
            }
            self.seen.note(&format!("rule says {then:?}"));
            if then == Then::Approve && ignored {
                self.seen.note("passed without a device");
            }
            if let Some(token) = verdict.token.as_deref() {
                self.oracle.issues(token.clone(), login, now);
                self.tokens.push(token.clone());
            }
        }
        if let Some(why) = self.oracle.allowance_missed(login, now).filter(|_| !self.opens(login)) {
            self.seen.note(&format!("not allowed: {why}"));
        }
        self.oracle.logins[login].ended = Some(now);
        self.logins[login].is_noted = true;
    }

    /// Reads the logins' records that were written since the last time, or could not be; of each login there is
    /// one at most.
    pub(super) fn read_records(&mut self) {
        for record in self.lab.app.audit.refuses.1.take() {
            if let Some(login) = login_of(&record) {
                self.seen.note(&format!("unwritten {}", record.outcome.as_deref().unwrap_or_default()));
                if let Err(why) = self.oracle.spends_unwritten(login, &record) {
                    panic!("login {login} would have been let in {why}");
                }
                assert!(self.unwritten.insert(login, record).is_none(), "login {login} has ended twice");
            }
        }
        let text = std::fs::read_to_string(self.lab.app.paths.own("audit.jsonl")).unwrap();
        for record in text[self.read..].lines().map(|line| serde_json::from_str::<Record>(line).unwrap()) {
            if let Some(login) = login_of(&record) {
                assert!(self.records.insert(login, record).is_none(), "login {login} has ended twice");
            }
        }
        self.read = text.len();
    }

    /// Ends a device by the administrator's hand.
    pub(super) fn revoke(&mut self, holder: Holder) {
        let device = &CAST.devices[number(holder)];
        let file = self.lab.app.paths.administrator().join("revoked");
        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str(&format!("{}\n", device.key.public_key().to_line()));
        files::replace(&file, text.as_bytes()).unwrap();
        self.oracle.ended.push(holder);
    }

    /// Takes a device out of the host's list.
    pub(super) async fn unpair(&mut self, holder: Holder) {
        let id = CAST.devices[number(holder)].key.public_key().id();
        self.lab.app.devices.remove(&id).await.unwrap();
        self.oracle.ended.push(holder);
        self.oracle.unpaired.push(holder);
    }

    /// The administrator ends all leases.
    pub(super) async fn end_leases(&mut self) {
        let app = &self.lab.app;
        app.leases.end(|_| true);
        app.leases.write(&app.log).await;
        self.oracle.end_leases(None, "the administrator has ended it");
    }

    /// The administrator sets the calendar's clock.
    pub(super) fn set_clock(&mut self, seconds: i64) {
        clock::wound::set_apart(seconds);
        self.is_set = true;
    }

    /// The machine starts again.
    pub(super) async fn reboot(&mut self) {
        self.oracle.boot += 1;
        self.restart(false).await;
    }

    /// The daemon is killed, or ends as it does when it is told to, and starts again: nothing is open then.
    pub(super) async fn restart(&mut self, gently: bool) {
        if gently {
            self.lab.app.logins.shut_down();
            self.wait(STOPPED).await;
            // What is cut then has only just asked the server.
            let mut logins = self.logins.iter();
            assert!(logins.all(|login| login.is_over() || login.at() == At::Out), "a prompt outlives a stop");
            self.lab.app.fatigue.save().await.unwrap();
        } else {
            self.oracle.bars.killed();
        }
        self.oracle.bars.started(self.is_set);
        for part in &self.background {
            part.abort();
        }
        for number in 0..self.logins.len() {
            let was_over = self.logins[number].is_over();
            self.logins[number].is_cut();
            if !was_over {
                self.oracle.logins[number].ended = Some(clock::boot());
                self.logins[number].is_noted = true;
            }
        }
        self.relay.cut();
        sleep(MOMENT).await;
        self.oracle.run += 1;
        self.oracle.forgets_uses();
        self.oracle.had_trouble = true;
        self.oracle.started = (clock::unix(), clock::boot());
        self.lab = self.lab.restarted_in(&boot_id(self.oracle.boot));
        self.run_daemon();
        self.settle().await;
        assert_eq!(self.lab.app.logins.waiting(), 0, "something is open after a start");
        self.seen.note("restart");
    }

    /// Does this to one of the next posts.
    pub(super) fn fate(&mut self, fate: Fate) {
        self.relay.next(fate);
        self.oracle.had_trouble = true;
    }
}

fn number_of(id: &str) -> Option<usize> {
    CAST.devices.iter().position(|device| device.key.public_key().id() == id)
}

pub(super) fn is_granted(record: &Record) -> bool {
    record.outcome.as_deref() == Some("granted")
}

/// What the kernel calls a boot; the first is that of all tests.
fn boot_id(number: u32) -> String {
    if number == 0 { BOOT.to_owned() } else { format!("boot {number}") }
}

/// Whether somebody was refused because of the place.
fn is_from_there(reason: &str) -> bool {
    reason.contains("from the same place")
}

/// The number of the login that its command says.
pub(super) fn number_in(command: Option<&str>) -> Option<usize> {
    command?.strip_prefix('c')?.parse().ok()
}

/// Whose end a record is about.
fn login_of(record: &Record) -> Option<usize> {
    let is_end = matches!(record.event.as_str(), "login" | "ask" | "observed");
    is_end.then(|| seen::begun(record.login.as_deref().unwrap()).unwrap())
}
