//! One story: the daemon as it is, a server that does what it likes, people at prompts, and the oracle that
//! watches all of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::audit::{self, Chain, Record};
use countersign_protocol::digest;
use countersign_protocol::keys::Signer;
use countersign_protocol::login::{Begin, Outcome, Stage, VERSION};
use countersign_protocol::message::{ClosedOutcome, MessageType};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use super::cast::{ALICE, CAST, HOLDERS, HOST, Holder, ROOT, number};
use super::oracle::{Known, Oracle};
use super::peer::{At, MOMENT, Peer};
use super::seen::Seen;
use crate::testing::simulated::{Arrived, Fate, Simulated};
use crate::testing::{Heard, Lab, Said};
use crate::{clock, files, relay};
use countersign_policy::{Config, Factor, Loaded, Then};

/// Longest wait for the next try to connect while nobody waits, and a little.
const RECONNECTED: Duration = Duration::from_secs(65);
/// Longest pause of what is said in the background, for each thing that a story can have left to say.
const ALL_SAID: Duration = Duration::from_secs(600);
/// What a daemon that is told to stop gives its logins.
const STOPPED: Duration = Duration::from_secs(1);
/// How long after its time phones wait to hear of a request for which a recovery code may still be looked for, at least.
const SEARCHED: Duration = Duration::from_secs(110);
/// Prompts that a patient person answers with Enter before they wonder.
const PATIENCE: u32 = 20;

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
    records: HashMap<usize, Record>,
}

impl World {
    /// `said` becomes what the daemon writes to its log.
    pub(super) async fn new(config: Config, said: &RefCell<Said>) -> Self {
        clock::wound::follow();
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
            assert!(self.is_granted(login), "login {login}: a tap that counts did not open");
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
            silent: program == Program::SilentLocker,
            token: token.map(Into::into),
        };
        let mut peer = Peer::begin(&self.lab.app, begin);
        // It may be at a prompt that only says why it is refused.
        peer.is_spoiled = program == Program::SilentLocker;
        self.logins.push(peer);
        self.settle().await;
        assert!(!must || self.is_granted(number), "a token that was good did not open");
    }

    pub(super) async fn types(&mut self, login: usize, text: &str) {
        if self.logins[login].at() != At::Prompt {
            return;
        }
        let must = self.oracle.is_typed(login, text, clock::boot()) && !self.logins[login].is_spoiled;
        self.logins[login].answer(text);
        self.settle().await;
        assert!(!must || self.is_granted(login), "login {login}: the right code did not open");
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
            let record = self.records.get(&login).expect("a verdict has its record before it");
            let granted = record.outcome.as_deref() == Some("granted");
            if granted && let Err(why) = self.oracle.judge(login, record, now) {
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

    /// Reads the logins' records that were written since the last time; of each login there is one at most.
    fn read_records(&mut self) {
        let text = std::fs::read_to_string(self.lab.app.paths.own("audit.jsonl")).unwrap();
        for record in text[self.read..].lines().map(|line| serde_json::from_str::<Record>(line).unwrap()) {
            if matches!(record.event.as_str(), "login" | "observed") {
                let login = record.remote.as_deref().unwrap().trim_start_matches('h').parse().unwrap();
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

    /// The end of the story: the server behaves, and everybody waits.
    pub(super) async fn finish(&mut self) {
        let now = clock::boot();
        self.relay.behave();
        // What a server has refused, and did not ask to have later, is said again after a reconnect.
        self.relay.cut();
        let last = self.oracle.requests.iter().map(|known| known.deadline.1).max().unwrap_or_default();
        self.wait(last.saturating_sub(now).max(RECONNECTED)).await;
        let open = self.lab.app.logins.waiting();
        assert_eq!(open, 0, "{open} requests are open after their deadlines");
        for login in 0..self.logins.len() {
            for _ in 0..PATIENCE {
                if self.logins[login].is_over() {
                    break;
                }
                self.types(login, "").await;
                self.wait(self.oracle.rule.wait).await;
            }
            assert!(
                self.logins[login].is_over(),
                "login {login} does not end: {:?}",
                self.logins[login].at()
            );
        }
        self.wait(ALL_SAID).await;
        for login in &self.logins {
            assert!(login.serving.is_finished(), "a login is served that is over");
        }
        self.check_records();
        self.check_ends(now);
        self.check_rings();
    }

    fn check_records(&mut self) {
        self.read_records();
        for (login, peer) in self.logins.iter().enumerate() {
            let record = self.records.get(&login);
            let killed = self.oracle.logins[login].run != self.oracle.run;
            assert!(killed || record.is_some(), "login {login} has no record: {:?}", peer.at());
            let granted = record.is_some_and(|record| record.outcome.as_deref() == Some("granted"));
            assert!(!granted || matches!(peer.at(), At::Over(_)), "login {login} was let in afterwards");
        }
        for record in self.records.values() {
            self.seen.count(record);
        }
        let text = std::fs::read_to_string(self.lab.app.paths.own("audit.jsonl")).unwrap();
        audit::verify(Chain::new(), text.lines()).unwrap();
        for record in text.lines().map(|line| serde_json::from_str::<Record>(line).unwrap()) {
            if let Err(why) = record.evidence(HOST.public_key()) {
                panic!("a record does not hold: {why}: {record:?}");
            }
        }
    }

    /// Whatever was asked is closed on every device, with the end that it had.
    fn check_ends(&mut self, behaved: Duration) {
        let arrived = self.relay.arrived.borrow();
        for known in self.oracle.requests.iter().filter(|known| known.run == self.oracle.run) {
            let id = &known.asked.request.id;
            let of = |kind| {
                arrived.iter().filter(move |post| {
                    post.about.iter().any(|about| about.message_type == kind && about.id == *id)
                })
            };
            // What has ended long before the server came back is of no use to anybody.
            let is_kept = behaved + RECONNECTED < known.deadline.0 + Duration::from_secs(300);
            if !is_kept || !of(MessageType::Request).any(|post| post.reached) {
                continue;
            }
            let end = of(MessageType::Closed).find(|post| post.acknowledged.is_some());
            let end =
                end.unwrap_or_else(|| panic!("the end of a request of login {} was not told", known.login));
            let mut outcomes = Vec::new();
            for to in &known.to {
                let device = &CAST.devices[*to];
                let its = device.key.public_key().id();
                let message = end.about.iter().position(|about| {
                    about.message_type == MessageType::Closed && about.to == its && about.id == *id
                });
                let message = message.unwrap_or_else(|| panic!("{:?} was not told", HOLDERS[*to]));
                let Heard::Closed(closed) = device.hear(&self.lab, &end.post.messages[message]) else {
                    panic!("its envelope lies")
                };
                assert_eq!((&closed.id, &closed.request), (id, &known.asked.digest));
                outcomes.push(closed.outcome);
            }
            assert!(outcomes.windows(2).all(|two| two[0] == two[1]));
            let granted = known.approval.is_some_and(|said| self.oracle.said[said].has_granted);
            assert_eq!(outcomes[0] == ClosedOutcome::Approved, granted, "phones were told {:?}", outcomes[0]);
            if self.is_recovered(known) {
                assert_eq!(outcomes[0], ClosedOutcome::Otherwise, "a recovery code has opened");
                self.seen.note("recovery told");
            }
            self.seen.note("end told");
        }
    }

    /// Whether a recovery code that may be typed at any time has opened this request soon enough after its time.
    fn is_recovered(&self, known: &Known) -> bool {
        let Some(record) = self.records.get(&known.login) else { return false };
        let is_its = record.request.as_deref().map(|bytes| digest::sha256_hex(bytes.as_bytes()))
            == Some(known.asked.digest.clone());
        let ended = self.oracle.logins[known.login].ended;
        is_its
            && record.factor.as_deref() == Some("recovery")
            && self.oracle.rule.codes.contains(&Factor::Recovery)
            && ended.is_some_and(|ended| ended < known.deadline.0 + SEARCHED)
    }

    /// After its end nothing rings for a login; and nothing rings twice that the server has taken.
    fn check_rings(&self) {
        let arrived = self.relay.arrived.borrow();
        for known in &self.oracle.requests {
            let id = &known.asked.request.id;
            let (mut is_closed, mut taken) = (false, None::<Duration>);
            for post in arrived.iter().filter(|post| post.about.iter().any(|about| about.id == *id)) {
                if post.about[0].message_type == MessageType::Request {
                    let ended = self.oracle.logins[known.login].ended;
                    assert!(!is_closed, "a request was posted after its end");
                    assert!(
                        ended.is_none_or(|ended| post.at <= ended + MOMENT),
                        "one of a login that is over"
                    );
                    let is_taken = taken.is_some_and(|taken| taken < post.at);
                    assert!(!(is_taken && post.post.ring), "a request rang twice");
                    taken = taken.into_iter().chain(post.acknowledged).min();
                } else {
                    assert!(!post.post.ring, "an end rings");
                    is_closed = true;
                }
            }
        }
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
