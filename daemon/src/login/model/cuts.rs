//! A connection that ends at each of its bytes once, and a decision with its bits changed one by one. Time passes
//! only when everybody waits, so that thousands of logins take seconds.

use std::time::{Duration, Instant};

use countersign_protocol::login::Outcome;
use countersign_protocol::message::Sealed;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, spawn_blocking};
use tokio::time::{Instant as Virtual, sleep};

use super::cast::{CAST, Holder, number};
use super::forgery::{approval, seal_to};
use super::hostile::{DECIDED, Field, WAIT};
use super::peer::{At, Peer};
use crate::clock;
use crate::testing::hostile::event;
use crate::testing::wire::Harm;

/// What passes between two looks: of the runtime's time, and of the machine's, in which bytes get from one end of a
/// connection to the other.
const LOOK: Duration = Duration::from_millis(50);
const NAP: Duration = Duration::from_micros(200);
/// How long the host may take to notice that a connection has ended, and to have another one.
const BACK: Duration = Duration::from_secs(60);
/// Each so manieth offset is tried, and each so manieth bit, where nobody asks for more.
const OFFSETS: usize = 16;
const BITS: usize = 64;
const CASES: u32 = 1_000;
/// The last offsets are tried in any case.
const SURELY: u16 = 16;
/// Bytes of a decision as it comes: its envelope and what is sealed have one length.
const DECISION: usize = 4_380;
/// Longer than it takes to try some bits, however busy the machine is.
const LONG: Duration = Duration::from_secs(500);
/// Bits that are changed in one login.
const AT_ONCE: usize = 256;

/// All of them where somebody does: they take minutes.
fn step(usual: usize) -> usize {
    if super::cases(CASES) > CASES { 1 } else { usual }
}

fn stage() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

async fn pass() {
    // The runtime's time stands still meanwhile.
    spawn_blocking(|| std::thread::sleep(NAP)).await.unwrap();
    sleep(LOOK).await;
}

/// What came of a login whose connection ended.
struct Cut {
    granted: bool,
    /// Whether the host was sent all of the decision.
    whole: bool,
    /// Bytes that it was sent on the connection that ended.
    carried: usize,
}

impl Field {
    fn granted(&self, login: &Peer) -> bool {
        login.ended();
        match login.at() {
            At::Over(verdict) => verdict.outcome == Outcome::Granted,
            _ => false,
        }
    }

    /// The phone's approval of the login at that terminal, as it comes down the stream, once it was asked.
    fn approved(&mut self, terminal: &str) -> Option<String> {
        let phone = &CAST.devices[number(Holder::Phone)];
        let asked = self.look(terminal).map(|request| &self.asked[request].1)?;
        Some(event(&seal_to(&self.lab, phone, asked, &approval(phone, asked))))
    }

    /// The host has noticed that its stream has ended, and has another one.
    async fn is_back(&self) {
        for is_up in [false, true] {
            let began = Virtual::now();
            while self.lab.app.relay.is_up() != is_up {
                assert!(began.elapsed() < BACK, "its stream should be {is_up}\n{}", self.log());
                pass().await;
            }
        }
    }

    /// A login that is sent the phone's approval with each of these bits changed, and at last as it was.
    async fn change(&mut self, bits: &[(usize, usize)]) {
        let (login, terminal) = self.begin(LONG);
        let sent = loop {
            pass().await;
            if let Some(sent) = self.approved(&terminal) {
                break sent;
            }
        };
        let start = sent.find('{').unwrap();
        assert_eq!(sent.trim_end().len() - start, DECISION);
        for (at, bit) in bits {
            let mut changed = sent.clone().into_bytes();
            changed[start + at] ^= 1 << bit;
            let is_sealed = serde_json::from_slice::<Sealed>(changed[start..].trim_ascii_end()).is_ok();
            self.server.send(changed);
            // Where it was the end of a line that changed.
            self.server.send("\n\n");
            // What is no message ends the stream.
            if !is_sealed {
                self.is_back().await;
            }
            assert!(!login.is_over(), "bit {bit} of byte {at}: {:?}\n{}", login.at(), self.log());
        }
        for _ in 0..3 {
            pass().await;
        }
        let is_open = !login.is_over() && self.lab.app.relay.is_up();
        assert!(is_open, "within {bits:?}: {:?}\n{}", login.at(), self.log());
        self.server.send(sent);
        while !login.is_over() {
            pass().await;
        }
        assert!(self.granted(&login), "{:?}\n{}", login.at(), self.log());
        self.asked.clear();
    }

    /// A login on a connection that ends after so many bytes; the phone's approval is sent once.
    async fn cut(&mut self, at: u16, wait: Duration) -> Cut {
        self.server.wire.carried();
        self.server.wire.harm(Harm::Cut(at));
        // As far as that connection gets, or on the one after it.
        self.is_back().await;
        let (login, terminal) = self.begin(wait);
        let (began, mut sent) = (Virtual::now(), None);
        while !login.is_over() {
            assert!(began.elapsed() < wait + DECIDED, "cut at {at}: {:?}\n{}", login.at(), self.log());
            if sent.is_none() {
                sent = self.approved(&terminal);
                if let Some(sent) = &sent {
                    self.server.send(sent.clone());
                }
            }
            pass().await;
        }
        let granted = self.granted(&login);
        let carried = self.server.wire.carried();
        let whole = sent.is_some_and(|sent| carried.iter().any(|bytes| contains(bytes, sent.as_bytes())));
        self.asked.clear();
        Cut { granted, whole, carried: carried.first().map_or(0, Vec::len) }
    }
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|piece| piece == part)
}

#[test]
fn a_connection_may_end_at_any_byte() {
    let began = Instant::now();
    LocalSet::new().block_on(&stage(), async {
        clock::wound::follow();
        let mut field = Field::new().await;
        let whole = field.cut(u16::MAX, LONG).await;
        assert!(whole.granted && whole.whole, "{}", field.log());
        let (last, step) = (u16::try_from(whole.carried).unwrap(), step(OFFSETS));
        let (mut refused, mut granted) = (0, 0);
        for at in (0..=last).filter(|at| usize::from(*at) % step == 0 || last - at < SURELY) {
            let cut = field.cut(at, WAIT).await;
            assert!(!cut.granted || cut.whole, "cut at {at}: let in without a decision\n{}", field.log());
            *(if cut.granted { &mut granted } else { &mut refused }) += 1;
        }
        eprintln!("{last} offsets: {granted} granted, {refused} refused in {:.1?}", began.elapsed());
        assert!(granted > 0 && refused > granted, "the connection does not end where it should");
    });
}

#[test]
fn no_bit_of_a_decision_may_change() {
    let began = Instant::now();
    LocalSet::new().block_on(&stage(), async {
        clock::wound::follow();
        let mut field = Field::new().await;
        let step = step(BITS);
        let bits: Vec<(usize, usize)> =
            (0..DECISION * 8).step_by(step).map(|n| (n / 8, n / step % 8)).collect();
        for some in bits.chunks(AT_ONCE) {
            field.change(some).await;
        }
        eprintln!("{} bits in {:.1?}", bits.len(), began.elapsed());
    });
}
