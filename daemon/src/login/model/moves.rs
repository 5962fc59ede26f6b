//! What can happen in a story, and how likely it is.

use std::time::Duration;

use countersign_protocol::message::Answer;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::cast::{ALICE, BOTH, HOLDERS, Holder};
use super::world::Program;
use crate::testing::simulated::Fate;
use countersign_policy::{self as config, Approvals, Config, Confirm, Factor, Named, Then, WithoutPrompt};

/// Most scenes of a story. Nearly everything that breaks breaks in a short one, and short ones are quick.
const MOST_SCENES: usize = 16;

/// A policy and what happens under it.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) policy: Policy,
    pub(super) moves: Vec<Move>,
}

/// The rule that holds.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) observes: bool,
    pub(super) confirm: Confirm,
    pub(super) without_prompt: WithoutPrompt,
    /// Seconds.
    pub(super) wait: u64,
    /// Whether recovery and phone codes may be typed at any time, and while the server is away.
    pub(super) codes: bool,
    pub(super) offline: bool,
    /// Whether root and alice both have to approve.
    pub(super) both: bool,
}

/// Something that happens. Numbers count back from what came last; what is not there does not happen.
#[derive(Debug, Clone)]
pub(super) enum Move {
    /// A program asks for approval; a session brings the token that was given last, unless it has none.
    Begin(Program, bool),
    /// Somebody types at the prompt of a login.
    Type(u8, Typed),
    /// A login's application cannot ask.
    CannotAsk(u8),
    /// A login's client is gone.
    HangUp(u8),
    /// A login's module sends what it may not.
    Babble(u8, Babble),
    /// A device decides about a request, and the server hands that on or only keeps it.
    Decide { request: u8, by: By, answer: Answer, how: How, now: bool },
    /// The server hands on a decision that it had before.
    Again(u8),
    /// The server makes something up.
    Rubbish(Rubbish),
    /// What becomes of one of the next posts.
    Next(Fate),
    /// The server's stream ends.
    Cut,
    /// The server goes away, and has forgotten everything.
    Down,
    /// It is back.
    Up,
    /// Milliseconds pass.
    Wait(u32),
    /// The machine sleeps for so many seconds.
    Sleep(u16),
    /// The administrator ends a device.
    Revoke(Holder),
    /// A device is no longer paired.
    Unpair(Holder),
    /// The next record cannot be written.
    NoRecord,
    /// The daemon starts again, killed or told to.
    Restart(bool),
}

/// Which device decides.
#[derive(Debug, Clone, Copy)]
pub(super) enum By {
    /// One that may.
    Owner,
    Holder(Holder),
}

/// What is typed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Typed {
    /// The code that the approving device shows, or will show.
    Right,
    /// That of a decision, whatever it was about.
    CodeOf(u8),
    Wrong,
    Nonsense,
    Nothing,
    Blank,
    /// One of root's recovery codes.
    Recovery(u8),
    RecoveryOfAlice,
    RecoveryOfNobody,
    /// The one that root's colleague has made.
    Once,
    /// The eight digits that a device makes of the login's request, whether it may or not.
    PhoneCode(Holder),
}

/// What a module may not send.
#[derive(Debug, Clone, Copy)]
pub(super) enum Babble {
    /// A call while one is out, or after the end.
    Continue,
    Begin,
    Garbage,
    /// A frame without an end.
    Half,
    /// More than a frame may hold.
    Flood,
}

/// How a decision is made.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// As the protocol says.
    Rightly,
    /// About another request, sealed to this one.
    About(u8),
    /// Sealed to another request's key, in this one's envelope.
    SealedTo(u8),
    /// In another request's envelope.
    InEnvelopeOf(u8),
    /// Signed by this holder's key, sent as one's own.
    SignedBy(Holder),
    /// Sent in this holder's name.
    SentAs(Holder),
    /// Signed for another purpose.
    OtherNamespace,
    /// A bit of the sealed part is another.
    Flipped(u16),
    /// A bit of the envelope is another.
    FlippedEnvelope(u16),
    /// An approval without a code.
    NoCode,
    /// The last decision of this device, sealed to this request.
    LastOne,
}

/// What a server can make up by itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rubbish {
    Unreadable,
    Huge,
    OfNobody,
    Removal,
}

impl Policy {
    pub(super) fn config(&self) -> Config {
        let mut config = config::read("server = \"http://127.0.0.1:1\"\n").unwrap();
        let typed = |is_allowed| match is_allowed {
            true => vec![Factor::Recovery, Factor::PhoneCode],
            false => Vec::new(),
        };
        let rule = &mut config.default;
        rule.then = if self.observes { Then::Observe } else { Then::Approve };
        (rule.confirm, rule.without_prompt) = (self.confirm, self.without_prompt);
        (rule.codes, rule.offline) = (typed(self.codes), typed(self.offline));
        rule.wait = Duration::from_secs(self.wait);
        let from = vec![Named::Group(BOTH.into()), Named::User(ALICE.into())];
        rule.approvals = self.both.then_some(Approvals { from, needed: 2 });
        config
    }
}

pub(super) fn stories() -> impl Strategy<Value = Story> {
    let scene = prop_oneof![
        12 => moves().prop_map(|one| vec![one]),
        4 => logins(),
        4 => sessions(),
        1 => guesses(),
        1 => quick_answers(),
        2 => both_approve(),
    ];
    (policies(), vec(scene, 1..MOST_SCENES))
        .prop_map(|(policy, scenes)| Story { policy, moves: scenes.concat() })
}

/// A login as it should be, into which other things happen, and which may end otherwise in its last moment.
fn logins() -> impl Strategy<Value = Vec<Move>> {
    let between = || vec(moves(), 0..2);
    let last = prop_oneof![
        6 => Just(Move::Type(0, Typed::Right)),
        2 => typed().prop_map(|typed| Move::Type(0, typed)),
        1 => (0..3_u8).prop_map(|code| Move::Type(0, Typed::Recovery(code))),
        1 => Just(Move::HangUp(0)),
    ];
    (programs(), between(), between(), last).prop_map(|(program, before, after, last)| {
        let yes =
            Move::Decide { request: 0, by: By::Owner, answer: Answer::Approve, how: How::Rightly, now: true };
        [vec![Move::Begin(program, false)], before, vec![yes], after, vec![last]].concat()
    })
}

/// The same by ssh, with its session.
fn sessions() -> impl Strategy<Value = Vec<Move>> {
    (logins(), vec(moves(), 0..2)).prop_map(|(mut login, between)| {
        login[0] = Move::Begin(Program::Sshd, false);
        [login, between, vec![Move::Begin(Program::SshdSession, true)]].concat()
    })
}

/// Somebody who has no code tries one after the other, also while the server is away.
fn guesses() -> impl Strategy<Value = Vec<Move>> {
    let guess = || prop_oneof![2 => Just(Typed::Wrong), 2 => Just(Typed::Nonsense), 1 => typed()];
    let guesses = vec(guess().prop_map(|guess| Move::Type(0, guess)), 3..6);
    let mut before = vec![vec![]; 2];
    before.push(vec![Move::Down]);
    (select(before), programs(), vec(decisions(), 0..2), guesses).prop_map(
        |(before, program, decisions, guesses)| {
            [before, vec![Move::Begin(program, false)], decisions, guesses].concat()
        },
    )
}

/// Two people decide and their codes are typed, in some order; where one is enough, the other does no harm.
fn both_approve() -> impl Strategy<Value = Vec<Move>> {
    let says = |holder, answer| {
        let by = By::Holder(holder);
        Move::Decide { request: 0, by, answer, how: How::Rightly, now: true }
    };
    let (one, other) = (says(Holder::Phone, Answer::Approve), says(Holder::OfAlice, Answer::Approve));
    let right = || Move::Type(0, Typed::Right);
    let more = vec![
        says(Holder::Tablet, Answer::Approve),
        says(Holder::OfAlice, Answer::Deny),
        Move::Revoke(Holder::OfAlice),
        Move::Type(0, Typed::Nothing),
        Move::Wait(300),
    ];
    let steps = vec![one, other, right(), right()];
    (programs(), Just(steps).prop_shuffle(), prop::option::weighted(0.5, select(more)), 0..4_usize).prop_map(
        |(program, mut steps, more, at)| {
            steps.splice(at..at, more);
            steps.insert(0, Move::Begin(program, false));
            // Whoever typed too early types once more.
            steps.push(Move::Type(0, Typed::Right));
            steps
        },
    )
}

/// The server hands a request on, and has the answer back before it says that it holds the request.
fn quick_answers() -> impl Strategy<Value = Vec<Move>> {
    let answers = select(vec![Answer::Approve, Answer::Deny, Answer::Report]);
    (100..1_900_u16, programs(), answers).prop_map(|(late, program, answer)| {
        let decide = Move::Decide { request: 0, by: By::Owner, answer, how: How::Rightly, now: true };
        vec![Move::Next(Fate::Late(late)), Move::Begin(program, false), decide]
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let confirm = prop_oneof![3 => Just(Confirm::Code), 1 => Just(Confirm::Tap)];
    let without_prompt = prop_oneof![3 => Just(WithoutPrompt::Tap), 1 => Just(WithoutPrompt::Refuse)];
    (
        prop::bool::weighted(0.1),
        confirm,
        without_prompt,
        5..20_u64,
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.3),
    )
        .prop_map(|(observes, confirm, without_prompt, wait, codes, offline, both)| Policy {
            observes,
            confirm,
            without_prompt,
            wait,
            codes,
            offline,
            both,
        })
}

fn moves() -> impl Strategy<Value = Move> {
    let login = || 0..3_u8;
    prop_oneof![
        14 => (programs(), any::<bool>()).prop_map(|(program, token)| Move::Begin(program, token)),
        22 => (login(), typed()).prop_map(|(login, typed)| Move::Type(login, typed)),
        2 => login().prop_map(Move::CannotAsk),
        3 => login().prop_map(Move::HangUp),
        2 => (login(), babble()).prop_map(|(login, what)| Move::Babble(login, what)),
        26 => decisions(),
        4 => (0..6_u8).prop_map(Move::Again),
        1 => rubbish().prop_map(Move::Rubbish),
        5 => fates().prop_map(Move::Next),
        2 => Just(Move::Cut),
        2 => Just(Move::Down),
        4 => Just(Move::Up),
        8 => waits().prop_map(Move::Wait),
        1 => (1..60_u16).prop_map(Move::Sleep),
        1 => holders().prop_map(Move::Revoke),
        1 => holders().prop_map(Move::Unpair),
        1 => Just(Move::NoRecord),
        2 => any::<bool>().prop_map(Move::Restart),
    ]
}

fn programs() -> impl Strategy<Value = Program> {
    prop_oneof![
        4 => Just(Program::Sshd),
        3 => Just(Program::SshdSession),
        2 => Just(Program::Sudo),
        2 => Just(Program::SuOfAlice),
        1 => Just(Program::Locker),
        1 => Just(Program::SilentLocker),
    ]
}

fn typed() -> impl Strategy<Value = Typed> {
    prop_oneof![
        10 => Just(Typed::Right),
        1 => (0..4_u8).prop_map(Typed::CodeOf),
        2 => Just(Typed::Wrong),
        1 => Just(Typed::Nonsense),
        4 => Just(Typed::Nothing),
        1 => Just(Typed::Blank),
        4 => (0..3_u8).prop_map(Typed::Recovery),
        1 => Just(Typed::RecoveryOfAlice),
        1 => Just(Typed::RecoveryOfNobody),
        1 => Just(Typed::Once),
        2 => Just(Typed::PhoneCode(Holder::Phone)),
        2 => holders().prop_map(Typed::PhoneCode),
    ]
}

fn babble() -> impl Strategy<Value = Babble> {
    select(vec![Babble::Continue, Babble::Begin, Babble::Garbage, Babble::Half, Babble::Flood])
}

fn decisions() -> impl Strategy<Value = Move> {
    let answer = prop_oneof![
        8 => Just(Answer::Approve),
        1 => Just(Answer::Deny),
        1 => Just(Answer::Report),
    ];
    let by = prop_oneof![
        8 => Just(By::Owner),
        2 => Just(By::Holder(Holder::Tablet)),
        4 => holders().prop_map(By::Holder),
    ];
    (0..3_u8, by, answer, hows(), prop::bool::weighted(0.9))
        .prop_map(|(request, by, answer, how, now)| Move::Decide { request, by, answer, how, now })
}

fn hows() -> impl Strategy<Value = How> {
    prop_oneof![
        20 => Just(How::Rightly),
        1 => (1..4_u8).prop_map(How::About),
        1 => (1..4_u8).prop_map(How::SealedTo),
        1 => (1..4_u8).prop_map(How::InEnvelopeOf),
        1 => holders().prop_map(How::SignedBy),
        1 => holders().prop_map(How::SentAs),
        1 => Just(How::OtherNamespace),
        2 => any::<u16>().prop_map(How::Flipped),
        1 => any::<u16>().prop_map(How::FlippedEnvelope),
        1 => Just(How::NoCode),
        1 => Just(How::LastOne),
    ]
}

fn holders() -> impl Strategy<Value = Holder> {
    select(HOLDERS.to_vec())
}

fn rubbish() -> impl Strategy<Value = Rubbish> {
    select(vec![Rubbish::Unreadable, Rubbish::Huge, Rubbish::OfNobody, Rubbish::Removal])
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::Taken),
        (1..4000_u16).prop_map(Fate::Late),
        Just(Fate::Unanswered),
        Just(Fate::Lost),
        prop_oneof![1..5_u16, Just(u16::MAX)].prop_map(Fate::Limited),
        select(vec![400_u16, 401, 403, 404, 413, 500, 503]).prop_map(Fate::Status),
        Just(Fate::Garbage),
        Just(Fate::ForNobody),
    ]
}

fn waits() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 1..50_u32, 3 => 50..3_000_u32, 2 => 3_000..25_000_u32]
}
