//! Stories that went wrong once, each as short as it can be.

use super::Stage;
use super::cast::Holder;
use super::moves::{By, How, Move, Story, Typed};
use super::policy::{Policy, Rule};
use super::visit::Program;
use crate::testing::simulated::Fate;
use countersign_policy::{Confirm, Factor, Then, WithoutPrompt};
use countersign_protocol::message::{Answer, Envelope, MessageType};

fn usual() -> Policy {
    let codes = vec![Factor::Recovery, Factor::PhoneCode];
    Policy::of(Rule {
        then: Then::Approve,
        confirm: Confirm::Code,
        without_prompt: WithoutPrompt::Tap,
        wait: 5,
        offline: codes.clone(),
        codes,
        allow: None,
        lease: None,
        skips: None,
        both: false,
    })
}

fn plays(moves: Vec<Move>) {
    if let Err(why) = Stage::new().play(&Story { policy: usual(), moves }) {
        panic!("{why}");
    }
}

fn begin(program: Program) -> Move {
    Move::Begin(program.into(), false)
}

fn says(answer: Answer) -> Move {
    Move::Decide { request: 0, by: By::Owner, answer, how: How::Rightly, now: true }
}

/// The record of it named the person who was asked as the account, and so contradicted its own evidence:
/// `countersign audit verify` found fault with a trail that nobody had touched.
#[test]
fn a_late_no_to_somebody_who_became_another_user_is_a_record_that_holds() {
    let right = Move::Type(0, Typed::Right);
    let begin = begin(Program::SuOfAlice);
    plays(vec![begin, says(Answer::Approve), right, says(Answer::Deny)]);
}

/// The record of it named the tablet and held what the phone had signed: it contradicted its own evidence.
#[test]
fn the_code_of_a_device_after_anothers_approval_is_a_record_that_holds() {
    let typed = Move::Type(0, Typed::PhoneCode(Holder::Tablet));
    plays(vec![begin(Program::Sshd), says(Answer::Approve), typed]);
}

/// For as long as the server took to answer the post, up to two seconds, nobody saw that the client was gone;
/// a reconnect in that time posted its request once more.
#[test]
fn who_hangs_up_while_the_request_is_posted_is_not_asked_about_again() {
    let begin = begin(Program::Sshd);
    for slow in [Fate::Late(1_900), Fate::Unanswered, Fate::Lost] {
        plays(vec![Move::Next(slow), begin.clone(), Move::HangUp(0)]);
        plays(vec![Move::Next(slow), begin.clone(), Move::Cut, Move::HangUp(0), Move::Wait(1_000)]);
    }
    // The same for the post that an empty line at the offline prompt causes.
    let refused = Move::Next(Fate::Status(400));
    let back = [Move::Down, begin, refused, Move::Up, Move::Wait(2_000)];
    let slow = Move::Next(Fate::Late(1_900));
    plays([&back[..], &[slow, Move::Type(0, Typed::Nothing), Move::HangUp(0)]].concat());
}

/// It came back four times a second for as long as the server liked, and wrote two lines each time.
#[test]
fn a_server_that_takes_streams_and_breaks_them_is_not_hammered() {
    let minutes = || (0..1_200).flat_map(|_| [Move::Cut, Move::Wait(460)]);
    let streams = |moves| {
        let story = Story { policy: usual(), moves };
        Stage::new().act(&story, async |world| world.relay.streams.get()).unwrap()
    };
    // Every two seconds at most: its next login should find the server all the same.
    let opened = streams(minutes().collect());
    assert!(opened < 400, "{opened}");
    // Who waits is worth a try a second; and one that was well for a while is tried at once.
    let login = begin(Program::SshdSession);
    let while_waiting = [login, Move::Cut, Move::Wait(3_000)];
    assert!((2..6).contains(&streams(while_waiting.to_vec())));
    let well = (0..10).flat_map(|_| [Move::Wait(11_000), Move::Cut, Move::Wait(300)]);
    assert_eq!(streams(well.collect()), 11);
}

/// Phones were told that nobody had answered, and somebody was let in by a recovery code a moment later. Who looks for
/// it for minutes is let in, too; phones have heard of the end by then.
#[test]
fn a_recovery_code_after_the_time_opens_and_phones_hear_of_it() {
    let begin = begin(Program::Sshd);
    for waits in [1, 2, 6] {
        let looks = vec![Move::Wait(25_000); waits];
        let story = [&[begin.clone()][..], &looks, &[Move::Type(0, Typed::Recovery(0))]].concat();
        let seen = Stage::new().play(&Story { policy: usual(), moves: story });
        let seen = format!("{:?}", seen.unwrap_or_else(|why| panic!("{why}")));
        assert!(seen.contains("granted recovery"), "{seen}");
        assert_eq!(seen.contains("recovery told"), waits < 6, "{seen}");
    }
}

/// A server that was not well for a moment had it said only after the next connection, while phones went on ringing.
#[test]
fn an_end_that_the_server_refuses_is_said_again() {
    for status in [400, 403, 413] {
        let begin = begin(Program::Sshd);
        let refused = [Move::Next(Fate::Status(status)), Move::Next(Fate::Status(status))];
        let story = [&[begin][..], &refused, &[Move::HangUp(0), Move::Wait(4_000)]].concat();
        let ends = Stage::new().act(&Story { policy: usual(), moves: story }, async |world| {
            let arrived = world.relay.arrived.borrow();
            let is_end = |about: &Envelope| about.message_type == MessageType::Closed;
            let ends = arrived.iter().filter(|post| post.about.iter().any(is_end));
            (ends.map(|post| post.acknowledged.is_some()).collect::<Vec<_>>(), world.relay.streams.get())
        });
        assert_eq!(ends.unwrap(), (vec![false, false, true], 1));
    }
}
