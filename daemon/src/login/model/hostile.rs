//! A server that means harm, at the real client over TCP, in real time: whatever it does to one login, nobody is
//! let in by it, it ends in time, and the login beside it, that a person approves, is let in.

mod attacks;
mod turns;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_protocol::login::{Begin, Outcome, Stage, VERSION};
use countersign_protocol::message::Sealed;
use countersign_protocol::signed::SignedMessage;
use countersign_relay_client::{RelayClient, Server};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::cast::{CAST, HOST, Holder, ROOT, number};
use super::forgery::{Forgery, Loot, approval, seal_to};
use super::peer::{At, Peer};
use crate::login::state::State;
use crate::relay;
use crate::testing::hostile::{Call, Hostile, Lie};
use crate::testing::{Asked, Heard, Lab, Said};
use attacks::{Attack, attacks};
use countersign_policy::{self as config, Confirm, Loaded};
use turns::{AT_ONCE, Turns};

/// Attacks in a usual run.
const CASES: u32 = 1_000;
/// How long the attacked login may wait for a decision: no request is for less.
pub(super) const WAIT: Duration = Duration::from_secs(1);
/// How long a forgery has to be taken for what it is not.
const TAKEN: Duration = Duration::from_millis(100);
/// A post, and room for a machine that has other things to do.
pub(super) const DECIDED: Duration = Duration::from_secs(8);
/// How long the one beside it has, and its server to come back.
const BESIDE: Duration = Duration::from_secs(60);
/// Most bytes of one endless answer that may be taken from a server: four of them are read, the rest waits in
/// the connection's own windows.
const MOST_TAKEN: u64 = 24 * 1024 * 1024;

/// A daemon, and the server that attacks it.
pub(super) struct Field {
    pub(super) lab: Lab,
    pub(super) server: Hostile,
    said: Said,
    /// Requests that came by: whose terminal, and as they came.
    pub(super) asked: Vec<(String, Asked, Sealed)>,
    /// The approval that opened last.
    earlier: Option<(SignedMessage, Sealed)>,
    number: u32,
}

impl Field {
    pub(super) async fn new() -> Self {
        let holders = [Holder::Phone, Holder::Revoked];
        let (lab, said) = Lab::quiet(HOST.clone(), |paths| CAST.prepare(paths, &holders));
        let server = Hostile::start().await;
        let there = Server { origin: server.origin.clone(), ca_pem: None };
        let client = RelayClient::new(there, lab.app.host.key.clone()).unwrap();
        lab.app.relay.set_client(Some(Arc::new(client)));
        spawn_local(relay::run(Rc::clone(&lab.app)));
        spawn_local(relay::tell(Rc::clone(&lab.app)));
        let mut field = Self { lab, server, said, asked: Vec::new(), earlier: None, number: 0 };
        field.is_up().await;
        // Something to replay.
        field.survives(&[]).await;
        field
    }

    pub(super) async fn is_up(&self) {
        let up = async {
            while !self.lab.app.relay.is_up() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(BESIDE, up).await.is_ok(), "the daemon does not come back: {}", self.log());
    }

    pub(super) fn log(&self) -> String {
        self.said.borrow().join("\n  ")
    }

    pub(super) fn begin(&mut self, wait: Duration) -> (Peer, String) {
        let mut config = config::read("server = \"http://127.0.0.1:1\"\n").unwrap();
        (config.default.confirm, config.default.wait) = (Confirm::Tap, wait);
        // Nobody is there to type one.
        config.default.codes.clear();
        *self.lab.app.config.borrow_mut() = Loaded { good: Some(Rc::new(config)), faults: Vec::new() };
        self.number += 1;
        let terminal = format!("t{}", self.number);
        let begin = Begin {
            version: VERSION,
            stage: Stage::Auth,
            service: "sudo".to_owned(),
            user: ROOT.to_owned(),
            remote_host: None,
            remote_user: None,
            terminal: Some(terminal.clone()),
            ssh_auth_info: None,
            command_line: None,
            peer: None,
            session: None,
            silent: false,
            token: None,
            passwordless: false,
            action: None,
        };
        (Peer::begin(&self.lab.app, begin), terminal)
    }

    /// The request from that terminal, when it has come by.
    pub(super) fn look(&mut self, terminal: &str) -> Option<usize> {
        let phone = &CAST.devices[number(Holder::Phone)];
        for post in self.server.posts() {
            // What is not for the phone first is beside it.
            if let Some(Heard::Request(asked)) =
                post.messages.first().map(|sealed| phone.hear(&self.lab, sealed))
            {
                let terminal = asked.request.terminal.clone().unwrap_or_default();
                self.asked.push((terminal, *asked, post.messages[0].clone()));
            }
        }
        self.asked.iter().rposition(|(of, ..)| of == terminal)
    }

    /// One login is attacked; the one beside it began before, and is approved afterwards.
    async fn survives(&mut self, attacks: &[Attack]) {
        let phone = &CAST.devices[number(Holder::Phone)];
        let (beside, request) = self.asks_beside().await;
        let asked = &self.asked[request].1;
        let message = approval(phone, asked);
        let approved = (message.clone(), seal_to(&self.lab, phone, asked, &message));

        for attack in attacks {
            match attack {
                Attack::Lie(call, lie) => self.server.lie(*call, lie.clone()),
                Attack::Harm(harm) => self.server.wire.harm(*harm),
                Attack::Stream(noise) => self.server.send(noise.bytes()),
                Attack::Forge(_) => {}
            }
        }
        let (taken, _) = self.server.taken();
        let began = Instant::now();
        let (attacked, terminal) = self.begin(WAIT);
        let forged: Vec<&Forgery> = attacks
            .iter()
            .filter_map(|attack| if let Attack::Forge(what) = attack { Some(what) } else { None })
            .collect();
        let (mut is_forged, mut heard) = (forged.is_empty(), None);
        while !attacked.is_over() {
            // Where only decisions are forged it need not wait for its deadline.
            if heard.is_some_and(|at: Instant| at.elapsed() > TAKEN) && forged.len() == attacks.len() {
                attacked.hang_up();
            }
            assert!(
                began.elapsed() < DECIDED,
                "an attacked login does not end: {:?}\n{}",
                attacked.at(),
                self.log()
            );
            if let Some(request) = self.look(&terminal).filter(|_| !is_forged) {
                is_forged = true;
                let (_, asked, message) = &self.asked[request];
                let (beside, earlier) = (&approved, self.earlier.as_ref().unwrap_or(&approved));
                let loot = Loot { lab: &self.lab, asked, message, beside, earlier };
                for forgery in &forged {
                    self.server.deliver(&forgery.make(&loot));
                }
                heard = Some(Instant::now());
            }
            sleep(Duration::from_millis(5)).await;
        }
        if let At::Over(verdict) = attacked.at() {
            let outcome = verdict.outcome;
            assert!(
                !matches!(outcome, Outcome::Granted | Outcome::Ignored),
                "let in: {outcome:?}\n{}",
                self.log()
            );
        }

        // The server comes to its senses, and hands on what the phone has said.
        self.server.behave();
        self.server.keep(&approved.1);
        let began = Instant::now();
        while !beside.is_over() {
            assert!(began.elapsed() < BESIDE, "the login beside it waits: {}", self.log());
            sleep(Duration::from_millis(5)).await;
        }
        assert!(
            matches!(beside.at(), At::Over(verdict) if verdict.outcome == Outcome::Granted),
            "the login beside it was refused: {:?}\n{}",
            beside.at(),
            self.log()
        );
        beside.hang_up();
        let (now, trapped) = self.server.taken();
        assert!(now - taken < MOST_TAKEN, "{} bytes were taken", now - taken);
        assert_eq!(trapped, 0, "a redirection was followed");
        self.server.forget();
        self.earlier = Some(approved);
        self.asked.clear();
        self.said.borrow_mut().clear();
        self.is_up().await;
    }

    /// A login that the server is known to hold.
    async fn asks_beside(&mut self) -> (Peer, usize) {
        loop {
            let (peer, terminal) = self.begin(BESIDE);
            while !peer.is_over() {
                if let Some(request) = self.look(&terminal) {
                    let id = &self.asked[request].1.request.id;
                    let state = self.lab.app.logins.requests.borrow().get(id).map(|open| open.state());
                    if state == Some(State::Posted) {
                        return (peer, request);
                    }
                }
                sleep(Duration::from_millis(5)).await;
            }
            self.is_up().await;
        }
    }
}

#[test]
fn a_hostile_server_lets_nobody_in_and_stops_nobody_else() {
    // Real time passes: a long run has fewer of these.
    let (wanted, began) = (super::cases(CASES), Instant::now());
    let cases = wanted.min(CASES.max(wanted / 20));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::default();
    let plans: Vec<Vec<Attack>> =
        (0..cases).map(|_| attacks().new_tree(&mut runner).unwrap().current()).collect();
    let done = Rc::new(Cell::new(0));
    let turns = Rc::new(Turns::default());
    LocalSet::new().block_on(&runtime, async {
        let looking = Rc::clone(&turns);
        let looking = spawn_local(async move { looking.look().await });
        let mut fields = Vec::new();
        for plan in plans.chunks(cases.div_ceil(AT_ONCE) as usize) {
            let (plan, done, turns) = (plan.to_vec(), Rc::clone(&done), Rc::clone(&turns));
            fields.push(spawn_local(async move {
                let first = turns.take().await;
                let mut field = Field::new().await;
                drop(first);
                for attacks in plan {
                    let _turn = turns.take().await;
                    // What a failure shows first.
                    field.said.borrow_mut().push(format!("{attacks:?}"));
                    field.survives(&attacks).await;
                    done.set(done.get() + 1);
                }
            }));
        }
        for field in fields {
            field.await.unwrap();
        }
        looking.abort();
    });
    eprintln!("{} attacks in {:.1?}", done.get(), began.elapsed());
}

/// A stream whose beginning does not get through in three seconds, as on a machine that has much else to do, is given up
/// for long polls, and those go on: what the server keeps has to come by them as well.
#[test]
fn a_server_whose_streams_are_held_back_is_heard_by_long_poll() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let mut field = Field::new().await;
        field.server.lie(Call::Poll, Lie::Status(200));
        let polls = async {
            while !field.log().contains("(by long poll)") {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(BESIDE, polls).await.is_ok(), "it does not poll: {}", field.log());
        for _ in 0..2 {
            let (login, request) = field.asks_beside().await;
            let (phone, asked) = (&CAST.devices[number(Holder::Phone)], &field.asked[request].1);
            let message = approval(phone, asked);
            field.server.keep(&seal_to(&field.lab, phone, asked, &message));
            let began = Instant::now();
            while !login.is_over() {
                assert!(began.elapsed() < DECIDED, "its approval does not come: {}", field.log());
                sleep(Duration::from_millis(5)).await;
            }
            let granted = matches!(login.at(), At::Over(verdict) if verdict.outcome == Outcome::Granted);
            assert!(granted, "{:?}\n{}", login.at(), field.log());
            field.server.forget();
        }
    });
}
