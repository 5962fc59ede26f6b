//! Stories that went wrong once, each as short as it can be.

use super::Stage;
use super::moves::{By, How, Move, Policy, Story, Typed};
use super::world::Program;
use crate::config::{Confirm, WithoutPrompt};
use countersign_protocol::message::Answer;

const USUAL: Policy = Policy {
    observes: false,
    confirm: Confirm::Code,
    without_prompt: WithoutPrompt::Tap,
    wait: 5,
    codes: true,
    offline: true,
};

fn plays(moves: Vec<Move>) {
    if let Err(why) = Stage::new().play(&Story { policy: USUAL, moves }) {
        panic!("{why}");
    }
}

fn says(answer: Answer) -> Move {
    Move::Decide { request: 0, by: By::Owner, answer, how: How::Rightly, now: true }
}

/// The record of it named the person who was asked as the account, and so contradicted its own evidence:
/// `countersign audit verify` found fault with a trail that nobody had touched.
#[test]
fn a_late_no_to_somebody_who_became_another_user_is_a_record_that_holds() {
    let right = Move::Type(0, Typed::Right);
    let begin = Move::Begin(Program::SuOfAlice, false);
    plays(vec![begin, says(Answer::Approve), right, says(Answer::Deny)]);
}
