//! What can happen in a story, and how likely it is.

use countersign_protocol::message::Answer;
use proptest::prelude::*;
use proptest::sample::select;

use super::cast::{HOLDERS, Holder};
use super::policy::Policy;
use super::visit::{Program, Visit};
use crate::testing::simulated::Fate;

/// A policy and what happens under it.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) policy: Policy,
    pub(super) moves: Vec<Move>,
}

/// Something that happens. Numbers count back from what came last; what is not there does not happen.
#[derive(Debug, Clone)]
pub(super) enum Move {
    /// A program asks for approval; a session brings the token that was given last, unless it has none.
    Begin(Visit, bool),
    /// The same is typed at all prompts at once.
    Everybody(Typed),
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
    /// The server does not take one of the next lists, with this status.
    RefuseList(u16),
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
    /// The administrator ends all leases.
    EndLeases,
    /// The administrator sets the calendar's clock so many seconds ahead of the true time.
    SetClock(i32),
    /// The machine starts again.
    Reboot,
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
    /// What the authenticator of the login's person shows so many steps from now.
    Totp(i8),
    TotpOfAlice,
    /// A wish to see the QR code.
    Qr,
    /// The eight digits that a device makes of what stands on the terminal.
    Scanned(Holder),
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
    /// The same, with a lease, whose service may be another.
    Leasing { seconds: u16, is_of_service: bool },
    /// About the same request with another list.
    OfOtherList,
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

pub(super) fn moves() -> impl Strategy<Value = Move> {
    let login = || 0..3_u8;
    prop_oneof![
        14 => (visits(), any::<bool>()).prop_map(|(visit, token)| Move::Begin(visit, token)),
        1 => typed().prop_map(Move::Everybody),
        22 => (login(), typed()).prop_map(|(login, typed)| Move::Type(login, typed)),
        2 => login().prop_map(Move::CannotAsk),
        3 => login().prop_map(Move::HangUp),
        2 => (login(), babble()).prop_map(|(login, what)| Move::Babble(login, what)),
        26 => decisions(),
        4 => (0..6_u8).prop_map(Move::Again),
        1 => rubbish().prop_map(Move::Rubbish),
        5 => fates().prop_map(Move::Next),
        1 => refused_lists(),
        2 => Just(Move::Cut),
        2 => Just(Move::Down),
        4 => Just(Move::Up),
        8 => waits().prop_map(Move::Wait),
        1 => (1..60_u16).prop_map(Move::Sleep),
        1 => holders().prop_map(Move::Revoke),
        1 => holders().prop_map(Move::Unpair),
        1 => Just(Move::EndLeases),
        1 => (-200..200_i32).prop_map(Move::SetClock),
        1 => Just(Move::NoRecord),
        2 => any::<bool>().prop_map(Move::Restart),
        1 => Just(Move::Reboot),
    ]
}

pub(super) fn programs() -> impl Strategy<Value = Program> {
    prop_oneof![
        4 => Just(Program::Sshd),
        3 => Just(Program::SshdSession),
        2 => Just(Program::Sudo),
        2 => Just(Program::SuOfAlice),
        1 => Just(Program::Console),
        1 => Just(Program::Locker),
        1 => Just(Program::SilentLocker),
        1 => Just(Program::OneField),
        1 => asking(),
    ]
}

/// What asks for an action.
pub(super) fn asking() -> impl Strategy<Value = Program> {
    select(vec![Program::Ask, Program::AskOfAlice, Program::AskOfJob, Program::AskOfGuest])
}

/// Most come from a place of their own, as nothing there is held against them.
pub(super) fn visits() -> impl Strategy<Value = Visit> {
    let same = (programs(), any::<bool>(), 1..3_u8, 0..3_u8, prop::bool::weighted(0.8));
    prop_oneof![
        3 => programs().prop_map(Visit::from),
        1 => (programs(), Just(true)).prop_map(|(program, guest)| Visit { guest, ..program.into() }),
        2 => same.prop_map(|(program, guest, place, by, vouched)| Visit { program, guest, place, by, vouched }),
    ]
}

pub(super) fn typed() -> impl Strategy<Value = Typed> {
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
        3 => (-2..3_i8).prop_map(Typed::Totp),
        1 => Just(Typed::TotpOfAlice),
        1 => Just(Typed::Qr),
        2 => holders().prop_map(Typed::Scanned),
        2 => Just(Typed::PhoneCode(Holder::Phone)),
        2 => holders().prop_map(Typed::PhoneCode),
    ]
}

fn babble() -> impl Strategy<Value = Babble> {
    select(vec![Babble::Continue, Babble::Begin, Babble::Garbage, Babble::Half, Babble::Flood])
}

pub(super) fn decisions() -> impl Strategy<Value = Move> {
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
        16 => Just(How::Rightly),
        4 => (0..900_u16, prop::bool::weighted(0.9))
            .prop_map(|(seconds, is_of_service)| How::Leasing { seconds, is_of_service }),
        1 => (1..4_u8).prop_map(How::About),
        1 => Just(How::OfOtherList),
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

pub(super) fn holders() -> impl Strategy<Value = Holder> {
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

pub(super) fn refused_lists() -> impl Strategy<Value = Move> {
    select(vec![403_u16, 413, 429, 503]).prop_map(Move::RefuseList)
}

fn waits() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 1..50_u32, 3 => 50..3_000_u32, 2 => 3_000..25_000_u32]
}
