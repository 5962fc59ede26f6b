//! One story: the daemon as it is, a server that does what it likes, people at prompts, and the oracle that
//! watches all of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::audit::Record;
use countersign_protocol::keys::Signer;
use countersign_protocol::login::{Begin, Outcome, Stage, VERSION};
use countersign_protocol::message::MessageType;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use super::cast::{ALICE, BOTH, CAST, HOLDERS, HOST, Holder, ROOT, number};
use super::oracle::Oracle;
use super::peer::{At, MOMENT, Peer};
use super::seen::Seen;
use crate::testing::simulated::{Arrived, Fate, Simulated};
use crate::testing::{Heard, Lab, Said};
use crate::{clock, files, person, relay};
use countersign_policy::{Config, Loaded, Then};

/// What a daemon that is told to stop gives its logins.
const STOPPED: Duration = Duration::from_secs(1);

/// What programs log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Sshd,
    SshdSession,
    Sudo,
    /// Alice becomes root.
    SuOfAlice,
    Locker,
    SilentLocker,
}

pub(super) struct World {
    pub(super) lab: Lab,
    pub(super) relay: Rc<Simulated>,
    pub(super) oracle: Oracle,
    pub(super) logins: Vec<Peer>,
    pub(super) tokens: Vec<String>,
    pub(super) seen: Seen,
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
}

impl World {
    /// `said` becomes what the daemon writes to its log.
    pub(super) async fn new(config: Config, said: &RefCell<Said>) -> Self {
        clock::wound::follow();
        person::groups_for_tests(&[(BOTH, &[ROOT])]);
        let (lab, heard) = Lab::quiet(HOST.clone(), |paths| CAST.prepare(paths, &HOLDERS));
        *said.borrow_mut() = heard;
        let oracle = Oracle::new(config.default.clone());
        *lab.app.config.borrow_mut() = Loaded { good: Some(Rc::new(config)), faults: Vec::new() };
        let mut world = Self {
            lab,
            relay: Rc::default(),
            oracle,
            logins: Vec::new(),
            tokens: Vec::new(),
            seen: Seen::default(),
            background: Vec::new(),
            looked: (0, 0),
            due: Vec::new(),
            read: 0,
            records: HashMap::new(),
            unwritten: HashMap::new(),
        };
        world.relay.turn(true);
        world.run_daemon();
        world.settle().await;
        world
    }

    fn run_daemon(&mut self) {
        let app = &self.lab.app;
        app.relay.simulate(Rc::clone(&self.relay));
        self.background =
            vec![spawn_local(relay::run(Rc::clone(app))), spawn_local(relay::tell(Rc::clone(app)))];
    }

    /// Lets all that can happen at once happen, and looks at it.
    pub(super) async fn settle(&mut self) {
        sleep(MOMENT).await;
        self.look();
        for number in 0..self.logins.len() {
            if self.logins[number].is_over() && !self.logins[number].is_noted {
                self.ended(number);
            }
        }
        for login in std::mem::take(&mut self.due) {
            assert!(self.opens(login), "login {login}: a tap that counts did not open");
        }
    }

    pub(super) async fn wait(&mut self, time: Duration) {
        sleep(time).await;
        self.settle().await;
    }

    /// Tells the oracle what went through the server.
    fn look(&mut self) {
        let arrived = self.relay.arrived.borrow();
        for post in &arrived[self.looked.0..] {
            let first = &post.about[0];
            let is_new = !self.oracle.requests.iter().any(|known| known.asked.request.id == first.id);
            if first.message_type == MessageType::Request && is_new {
                let to: Vec<usize> = post.about.iter().filter_map(|about| number_of(&about.to)).collect();
                let heard = CAST.devices[to[0]].hear(&self.lab, &post.post.messages[0]);
                let Heard::Request(asked) = heard else { panic!("its envelope lies") };
                let terminal = asked.request.terminal.as_deref().unwrap_or_default();
                let login = terminal.trim_start_matches('t').parse().unwrap();
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

    pub(super) async fn begin(&mut self, program: Program, token: Option<String>) {
        let (service, stage, requester) = match program {
            Program::Sshd => ("sshd", Stage::Auth, None),
            Program::SshdSession => ("sshd", Stage::Session, None),
            Program::Sudo => ("sudo", Stage::Auth, None),
            Program::SuOfAlice => ("su", Stage::Auth, Some(ALICE.to_owned())),
            Program::Locker | Program::SilentLocker => ("swaylock", Stage::Auth, None),
        };
        let (number, now) = (self.logins.len(), clock::boot());
        let person = if program == Program::SuOfAlice { ALICE } else { ROOT };
        // A token means something in the session stage only, and is spent there.
        let session = token.as_ref().filter(|_| stage == Stage::Session);
        let must = session.is_some_and(|token| self.oracle.spends(token, service, now));
        self.oracle.begins(person, service, must, now);
        let begin = Begin {
            version: VERSION,
            stage,
            service: service.to_owned(),
            user: ROOT.to_owned(),
            // Both come back, in the request and in the audit: whose they are.
            remote_host: Some(format!("h{number}")),
            terminal: Some(format!("t{number}")),
            remote_user: requester,
            ssh_auth_info: None,
            command_line: None,
            peer: None,
            session: None,
            silent: program == Program::SilentLocker,
            token: token.map(Into::into),
        };
        let mut peer = Peer::begin(&self.lab.app, begin);
        // It may be at a prompt that only says why it is refused.
        peer.is_spoiled = program == Program::SilentLocker;
        self.logins.push(peer);
        self.settle().await;
        assert!(!must || self.opens(number), "a token that was good did not open");
    }

    pub(super) async fn types(&mut self, login: usize, text: &str) {
        if self.logins[login].at() != At::Prompt {
            return;
        }
        let must = self.oracle.is_typed(login, text, clock::boot()) && !self.logins[login].is_spoiled;
        self.logins[login].answer(text);
        self.settle().await;
        assert!(!must || self.opens(login), "login {login}: the right code did not open");
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
        let expected =
            if self.oracle.rule.then == Then::Observe { Outcome::Ignored } else { Outcome::Granted };
        matches!(self.logins[login].at(), At::Over(verdict) if verdict.outcome == expected)
    }

    /// A login is over as its module sees it: the record and the oracle have to agree with that.
    fn ended(&mut self, login: usize) {
        self.read_records();
        let (at, now) = (self.logins[login].at(), self.logins[login].ended());
        assert_ne!(at, At::Refused, "login {login} got no verdict");
        if let At::Over(verdict) = at {
            let record = self.records.get(&login);
            assert!(
                record.is_some() || self.unwritten.contains_key(&login),
                "a verdict has its record before it"
            );
            // What cannot be written down does not happen.
            assert!(record.is_some() || matches!(verdict.outcome, Outcome::Fault | Outcome::Ignored));
            let granted = record.is_some_and(is_granted);
            if let Some(record) = record.filter(|_| granted)
                && let Err(why) = self.oracle.judge(login, record, &self.lab, now)
            {
                panic!("login {login} was let in {why}");
            }
            let observes = self.oracle.rule.then == Then::Observe;
            assert_eq!(verdict.outcome == Outcome::Ignored, observes);
            assert_eq!(verdict.outcome == Outcome::Granted, granted && !observes);
            if let Some(token) = verdict.token.as_deref() {
                self.oracle.issues(token.clone(), login, now);
                self.tokens.push(token.clone());
            }
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
    }

    /// The daemon is killed, or ends as it does when it is told to, and starts again: nothing is open then.
    pub(super) async fn restart(&mut self, gently: bool) {
        if gently {
            self.lab.app.logins.shut_down();
            self.wait(STOPPED).await;
            // What is cut then has only just asked the server.
            let mut logins = self.logins.iter();
            assert!(logins.all(|login| login.is_over() || login.at() == At::Out), "a prompt outlives a stop");
        }
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
        self.oracle.had_trouble = true;
        self.lab = self.lab.restarted();
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

/// Whose end a record is about.
fn login_of(record: &Record) -> Option<usize> {
    let is_end = matches!(record.event.as_str(), "login" | "observed");
    is_end.then(|| record.remote.as_deref().unwrap().trim_start_matches('h').parse().unwrap())
}
