//! Stories of one thing: so often that each way in which it lets in or does not is gone in every run.

use countersign_protocol::message::Answer;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::cast::Holder;
use super::moves::{By, How, Move, Story, Typed, asking, moves, programs, refused_lists, visits};
use super::policies::{allowing, plain, ruled, ruled_actions};
use super::policy::{Condition, Policy, Rule};
use super::visit::{Program, Visit};
use countersign_policy::{Confirm, Factor};

/// A device of each person who may be asked.
const OWNERS: [Holder; 3] = [Holder::Phone, Holder::OfAlice, Holder::OfGuest];

pub(super) fn themes() -> impl Strategy<Value = Story> {
    prop_oneof![
        5 => of_leases(),
        1 => of_ceilings(),
        2 => of_authenticators(),
        2 => of_allowing(),
        3 => of_rules(),
        3 => of_scans(),
        1 => of_refusals(),
        4 => of_actions(),
    ]
}

fn story((policy, scenes): (Policy, Vec<Vec<Move>>)) -> Story {
    Story { policy, moves: scenes.concat() }
}

/// Says yes to the login that began last, and types what there is to type.
fn yes(how: How) -> [Move; 2] {
    let answer = Move::Decide { request: 0, by: By::Owner, answer: Answer::Approve, how, now: true };
    [answer, Move::Type(0, Typed::Right)]
}

fn of_leases() -> impl Strategy<Value = Story> {
    let rule = |has_one| {
        let confirm = select(vec![Confirm::Tap, Confirm::Code]);
        let lease =
            prop::option::weighted(has_one, (select(vec![1_u64, 9]), prop::option::weighted(0.4, 1..3_u32)));
        let offline = select(vec![Vec::new(), vec![Factor::Lease]]);
        (confirm, lease, offline).prop_map(|(confirm, lease, offline)| Rule {
            confirm,
            lease,
            offline,
            ..plain()
        })
    };
    // One lease may be for both stages, under a rule each.
    let policy = (rule(0.98), prop::option::weighted(0.6, rule(0.6))).prop_map(|(default, other)| Policy {
        rules: other.into_iter().map(|rule| (vec![Condition::Session(true)], rule)).collect(),
        ..Policy::of(default)
    });
    (policy, vec(leases(), 1..4)).prop_map(story)
}

/// A lease of one stage in the other one, whose rule has another ceiling.
fn of_ceilings() -> impl Strategy<Value = Story> {
    let rule = |minutes| Rule { lease: Some((minutes, None)), ..plain() };
    let policy = select(vec![(1, 9), (9, 1)]).prop_map(move |(auth, session)| Policy {
        rules: vec![(vec![Condition::Session(true)], rule(session))],
        ..Policy::of(rule(auth))
    });
    let round = (1..3_u8, 100..500_u16, 65..300_u16).prop_map(|(place, seconds, sleep)| {
        let sshd = Visit { program: Program::Sshd, guest: true, place, by: 1, vouched: true };
        let session = Visit { program: Program::SshdSession, ..sshd };
        let granted = yes(How::Leasing { seconds, is_of_service: true });
        let later = [Move::Sleep(sleep), Move::Begin(session, false), Move::HangUp(0)];
        [vec![Move::Begin(sshd, false)], granted.to_vec(), later.to_vec()].concat()
    });
    (policy, vec(round, 1..3)).prop_map(story)
}

/// Somebody grants a lease, something happens, and somebody comes who is the same or nearly so.
pub(super) fn leases() -> impl Strategy<Value = Vec<Move>> {
    let program = select(vec![Program::Sshd, Program::SshdSession, Program::Sudo, Program::SuOfAlice]);
    let first = (program, any::<bool>(), 1..3_u8, 1..3_u8).prop_map(|(program, guest, place, by)| {
        let guest = guest || matches!(program, Program::Sshd | Program::SshdSession);
        Visit { program, guest, place, by, vouched: true }
    });
    let how = (30..900_u16, prop::bool::weighted(0.95))
        .prop_map(|(seconds, is_of_service)| How::Leasing { seconds, is_of_service });
    let others = vec((0..10_u8, any::<bool>()), 2..5);
    (first, how, 0..12_u8, meanwhile(), others).prop_map(|(first, how, before, meanwhile, others)| {
        let (other, no) = refused_beside(first);
        let mut all = match before {
            0..2 => vec![other, Move::Begin(first, false), no],
            2 => vec![Move::Begin(first, false), Move::NoRecord],
            _ => vec![Move::Begin(first, false)],
        };
        all.extend(yes(how));
        all.extend(meanwhile);
        for (what, is_approved) in others {
            // What was used is used up in the next daemon, too.
            all.extend((what == 9).then_some(Move::Restart(false)));
            all.push(Move::Begin(changed(first, what), false));
            all.extend(if is_approved { yes(How::Rightly).to_vec() } else { vec![Move::HangUp(0)] });
        }
        all
    })
}

/// Another login of the same person, and their no to it once this one has begun.
fn refused_beside(visit: Visit) -> (Move, Move) {
    let no = Move::Decide { request: 1, by: By::Owner, answer: Answer::Deny, how: How::Rightly, now: true };
    // From elsewhere, so that it is not held against this one's place.
    let program = if visit.program == Program::SuOfAlice { Program::SuOfAlice } else { Program::Console };
    (Move::Begin(Visit { place: 0, program, ..visit }, false), no)
}

/// The same with one thing changed, or nothing.
fn changed(visit: Visit, what: u8) -> Visit {
    let Visit { program, guest, place, by, vouched } = visit;
    match what {
        0 => Visit { place: 3 - place, ..visit },
        1 => Visit { by: 3 - by, ..visit },
        2 => Visit { guest: !guest, ..visit },
        3 => Visit { vouched: !vouched, by: if program == Program::Sudo { 0 } else { by }, ..visit },
        4 | 5 => {
            let program = match program {
                Program::SshdSession => Program::Sshd,
                Program::Sshd => Program::SshdSession,
                Program::SuOfAlice => Program::Sudo,
                _ => Program::SuOfAlice,
            };
            Visit { program, ..visit }
        }
        _ => visit,
    }
}

fn meanwhile() -> impl Strategy<Value = Vec<Move>> {
    let no = |answer| {
        let decide = Move::Decide { request: 0, by: By::Owner, answer, how: How::Rightly, now: true };
        let begin = |program, guest| Move::Begin(Visit { guest, ..Visit::from(program) }, false);
        let all = [(Program::Console, true), (Program::Console, false), (Program::SuOfAlice, false)];
        all.into_iter().flat_map(|(program, guest)| [begin(program, guest), decide.clone()]).collect()
    };
    prop_oneof![
        4 => Just(Vec::new()),
        1 => Just(OWNERS.map(Move::Revoke).to_vec()),
        1 => Just(OWNERS.map(Move::Unpair).to_vec()),
        4 => (20..700_u16).prop_map(|seconds| vec![Move::Sleep(seconds)]),
        1 => Just(vec![Move::EndLeases]),
        1 => Just(vec![Move::Reboot]),
        1 => any::<bool>().prop_map(|gently| vec![Move::Restart(gently)]),
        1 => select(vec![Answer::Deny, Answer::Report]).prop_map(no),
        2 => Just(vec![Move::Down, Move::Wait(20_000)]),
        1 => (-700..700_i32).prop_map(|seconds| vec![Move::SetClock(seconds)]),
        1 => Just(vec![Move::NoRecord]),
        1 => moves().prop_map(|one| vec![one]),
    ]
}

fn of_authenticators() -> impl Strategy<Value = Story> {
    let lists = select(vec![
        (vec![Factor::Totp], Vec::new()),
        (vec![Factor::Totp], vec![Factor::Totp]),
        (Vec::new(), vec![Factor::Totp]),
    ]);
    let rule = lists.prop_map(|(codes, offline)| Policy::of(Rule { codes, offline, ..plain() }));
    (rule, vec(authenticators(), 1..4)).prop_map(story)
}

/// Somebody types what an authenticator shows, showed or will show, alone or beside others.
pub(super) fn authenticators() -> impl Strategy<Value = Vec<Move>> {
    let code = || {
        prop_oneof![
            4 => Just(Typed::Totp(0)),
            3 => (-3..4_i8).prop_map(Typed::Totp),
            1 => Just(Typed::TotpOfAlice),
            1 => Just(Typed::Wrong),
        ]
    };
    let alone = (programs(), any::<bool>(), vec(code(), 1..3)).prop_map(|(program, guest, codes)| {
        let begin = Move::Begin(Visit { guest, ..program.into() }, false);
        [vec![begin], codes.into_iter().map(|code| Move::Type(0, code)).collect()].concat()
    });
    let many = prop_oneof![4 => 2..5_usize, 1 => Just(20_usize)];
    let at_once = (programs(), many, code()).prop_map(|(program, many, code)| {
        [vec![Move::Begin(program.into(), false); many], vec![Move::Everybody(code)]].concat()
    });
    let between = prop_oneof![
        4 => Just(Vec::new()),
        2 => (1_000..60_000_u32).prop_map(|time| vec![Move::Wait(time)]),
        1 => Just(vec![Move::Down, Move::Wait(4_000)]),
        1 => (-90..90_i32).prop_map(|seconds| vec![Move::SetClock(seconds)]),
        1 => any::<bool>().prop_map(|gently| vec![Move::Restart(gently)]),
    ];
    (between, prop_oneof![3 => alone, 1 => at_once]).prop_map(|(between, scene)| [between, scene].concat())
}

fn of_allowing() -> impl Strategy<Value = Story> {
    let policy = allowing(60..400).prop_map(|rule| Policy { rules: vec![rule], ..Policy::of(plain()) });
    let front = select(vec![
        Program::Console,
        Program::Console,
        Program::Locker,
        Program::OneField,
        Program::Sudo,
        Program::Sshd,
    ]);
    let visit = (front, any::<bool>(), 0..4_u8).prop_map(|(program, guest, place)| {
        let visit = Visit { guest, place: place.min(1), ..program.into() };
        [vec![Move::Begin(visit, false)], vec![Move::Type(0, Typed::Nothing), Move::HangUp(0)]].concat()
    });
    let between = prop_oneof![
        4 => (1_000..90_000_u32).prop_map(|time| vec![Move::Wait(time)]),
        1 => Just(vec![Move::Up, Move::Wait(3_000), Move::Down]),
        1 => (-400..400_i32).prop_map(|seconds| vec![Move::SetClock(seconds)]),
        1 => any::<bool>().prop_map(|gently| vec![Move::Restart(gently)]),
        1 => Just(vec![Move::Unpair(Holder::OfGuest)]),
        1 => moves().prop_map(|one| vec![one]),
    ];
    let round = (between, visit).prop_map(|(between, visit)| [between, visit].concat());
    (policy, vec(round, 3..9)).prop_map(|(policy, rounds)| {
        let away = vec![Move::Down, Move::Wait(40_000)];
        Story { policy, moves: [away, rounds.concat()].concat() }
    })
}

fn of_rules() -> impl Strategy<Value = Story> {
    let last = prop_oneof![
        2 => Just(Vec::new()),
        1 => moves().prop_map(|one| vec![one]),
        1 => (30..200_u16).prop_map(|seconds| vec![Move::Sleep(seconds)]),
    ];
    let login =
        (visits(), any::<bool>()).prop_map(|(visit, with_token)| vec![Move::Begin(visit, with_token)]);
    // A login by ssh, and its session, which another rule may be for.
    let both_stages = (any::<bool>(), 0..3_u8).prop_map(|(guest, place)| {
        let sshd = Visit { guest, place, ..Program::Sshd.into() };
        let session = Visit { program: Program::SshdSession, ..sshd };
        [vec![Move::Begin(sshd, false)], yes(How::Rightly).to_vec(), vec![Move::Begin(session, true)]]
            .concat()
    });
    let login = (prop_oneof![2 => login, 1 => both_stages], last)
        .prop_map(|(begin, last)| [begin, yes(How::Rightly).to_vec(), last].concat());
    (ruled(), vec(login, 3..10)).prop_map(story)
}

fn of_actions() -> impl Strategy<Value = Story> {
    (ruled_actions(), vec(actions(), 2..8)).prop_map(story)
}

/// Programs ask whether something may be done, with lists and without, and their people decide.
pub(super) fn actions() -> impl Strategy<Value = Vec<Move>> {
    let ask = (asking(), any::<bool>(), 0..3_u8, 0..3_u8, any::<bool>())
        .prop_map(|(program, guest, place, by, vouched)| Visit { program, guest, place, by, vouched });
    let before = prop_oneof![
        6 => Just(Vec::new()),
        2 => refused_lists().prop_map(|one| vec![one]),
        1 => moves().prop_map(|one| vec![one]),
        1 => Just(vec![Move::Up, Move::Wait(3_000)]),
    ];
    let between = prop_oneof![
        6 => Just(Vec::new()),
        1 => Just(vec![Move::HangUp(0)]),
        1 => Just(vec![Move::Cut, Move::Wait(3_000)]),
        1 => moves().prop_map(|one| vec![one]),
    ];
    let how = prop_oneof![6 => Just(How::Rightly), 1 => Just(How::OfOtherList), 1 => Just(How::About(1))];
    (before, ask, between, how).prop_map(|(before, ask, between, how)| {
        [before, vec![Move::Begin(ask, false)], between, yes(how).to_vec()].concat()
    })
}

fn of_scans() -> impl Strategy<Value = Story> {
    let lists = select(vec![(vec![Factor::PhoneCode], Vec::new()), (Vec::new(), vec![Factor::PhoneCode])]);
    let policy = lists.prop_map(|(codes, offline)| Policy::of(Rule { codes, offline, ..plain() }));
    let holder = || {
        let rare = select(vec![Holder::OfAlice, Holder::Revoked, Holder::Tablet, Holder::Stranger]);
        prop_oneof![4 => Just(Holder::Phone), 2 => Just(Holder::OfGuest), 1 => rare]
    };
    let between = prop_oneof![
        4 => Just(Vec::new()),
        1 => (50..200_u16).prop_map(|seconds| vec![Move::Sleep(seconds)]),
        1 => holder().prop_map(|one| vec![Move::Revoke(one)]),
        1 => Just(vec![Move::Type(0, Typed::Nothing)]),
        1 => Just(vec![Move::Type(0, Typed::Qr)]),
        2 => Just(vec![Move::Wait(11_000), Move::Type(0, Typed::Nothing)]),
    ];
    let before = select(vec![vec![], vec![Move::Down], vec![Move::Up, Move::Wait(3_000)]]);
    let scan =
        (before, visits(), between, holder(), holder()).prop_map(|(before, visit, between, one, other)| {
            let scanned = [one, other].map(|holder| Move::Type(0, Typed::Scanned(holder)));
            [before, vec![Move::Begin(visit, false), Move::Type(0, Typed::Qr)], between, scanned.to_vec()]
                .concat()
        });
    (policy, vec(scan, 1..4)).prop_map(story)
}

fn of_refusals() -> impl Strategy<Value = Story> {
    vec(refusals(), 1..4).prop_map(|scenes| story((Policy::of(plain()), scenes)))
}

/// Somebody is refused by a person, and comes again: from there, or nearly so.
pub(super) fn refusals() -> impl Strategy<Value = Vec<Move>> {
    let program = select(vec![Program::Sshd, Program::Sudo, Program::SuOfAlice, Program::Console]);
    let first = (program, any::<bool>(), 1..3_u8, any::<bool>())
        .prop_map(|(program, guest, place, vouched)| Visit { program, guest, place, by: 1, vouched });
    let answer = select(vec![Answer::Deny, Answer::Report]);
    let between = prop_oneof![
        4 => Just(Vec::new()),
        2 => (1..30_u16).prop_map(|seconds| vec![Move::Sleep(seconds)]),
        1 => (1_000..30_000_u32).prop_map(|time| vec![Move::Wait(time)]),
        1 => Just(vec![Move::Wait(4_000), Move::Restart(false)]),
        1 => Just(vec![Move::Restart(true)]),
        1 => moves().prop_map(|one| vec![one]),
    ];
    (first, answer, any::<bool>(), between, vec(0..8_u8, 1..4)).prop_map(
        |(first, answer, is_beside, between, others)| {
            let no = |request| Move::Decide { request, by: By::Owner, answer, how: How::Rightly, now: true };
            let begin = || Move::Begin(first, false);
            let mut all = match is_beside {
                true => [vec![begin(), begin(), no(1)], yes(How::Rightly).to_vec(), between].concat(),
                false => [vec![begin(), no(0)], between].concat(),
            };
            for what in others {
                all.push(Move::Begin(changed(first, what), false));
                all.extend(yes(How::Rightly));
            }
            all
        },
    )
}
