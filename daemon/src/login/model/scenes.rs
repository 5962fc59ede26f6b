//! What often happens together, and stories of it.

use countersign_protocol::message::Answer;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::cast::Holder;
use super::moves::{By, How, Move, Story, Typed, decisions, moves, programs, typed};
use super::policies::policies;
use super::themes::{self, themes};
use super::visit::Program;
use crate::testing::simulated::Fate;

/// Most scenes of a story. Nearly everything that breaks breaks in a short one, and short ones are quick.
const MOST_SCENES: usize = 16;

/// Of everything, and of one thing each.
pub(super) fn stories() -> impl Strategy<Value = Story> {
    prop_oneof![3 => of_everything(), 4 => themes()]
}

fn of_everything() -> impl Strategy<Value = Story> {
    let scene = prop_oneof![
        12 => moves().prop_map(|one| vec![one]),
        4 => logins(),
        4 => sessions(),
        1 => guesses(),
        1 => quick_answers(),
        2 => both_approve(),
        1 => themes::leases(),
        1 => themes::authenticators(),
        1 => themes::refusals(),
        2 => themes::actions(),
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
        [vec![Move::Begin(program.into(), false)], before, vec![yes], after, vec![last]].concat()
    })
}

/// The same by ssh, with its session.
fn sessions() -> impl Strategy<Value = Vec<Move>> {
    (logins(), vec(moves(), 0..2)).prop_map(|(mut login, between)| {
        login[0] = Move::Begin(Program::Sshd.into(), false);
        [login, between, vec![Move::Begin(Program::SshdSession.into(), true)]].concat()
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
            [before, vec![Move::Begin(program.into(), false)], decisions, guesses].concat()
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
            steps.insert(0, Move::Begin(program.into(), false));
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
        vec![Move::Next(Fate::Late(late)), Move::Begin(program.into(), false), decide]
    })
}
