//! Policies of stories, and how likely they are.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::cast::{GUEST, ROOT};
use super::policy::{Condition, Policy, Rule};
use countersign_policy::{Confirm, Factor, Then, WithoutPrompt};

/// Most rules of a policy beside the default.
const MOST_RULES: usize = 4;

/// Mostly one rule for everybody.
pub(super) fn policies() -> impl Strategy<Value = Policy> {
    let rules = prop_oneof![2 => Just(Vec::new()), 1 => rules()];
    (rules, defaults(), prop::bool::weighted(0.9)).prop_map(policy)
}

/// Several rules.
pub(super) fn ruled() -> impl Strategy<Value = Policy> {
    (rules(), defaults(), prop::bool::weighted(0.5)).prop_map(policy)
}

/// Several, some of which are about actions alone.
pub(super) fn ruled_actions() -> impl Strategy<Value = Policy> {
    let of_actions = (vec(of_actions(), 1..3), outcomes()).prop_map(once_each);
    let rules = vec(prop_oneof![3 => of_actions, 1 => conditioned()], 1..=MOST_RULES);
    (rules, defaults(), prop::bool::weighted(0.8)).prop_map(policy)
}

fn policy((rules, default, is_guest_enrolled): (Vec<(Vec<Condition>, Rule)>, Rule, bool)) -> Policy {
    Policy { rules, default, is_guest_enrolled }
}

/// What asks for an approval in the plainest way.
pub(super) fn plain() -> Rule {
    Rule {
        then: Then::Approve,
        confirm: Confirm::Code,
        without_prompt: WithoutPrompt::Tap,
        wait: 10,
        codes: Vec::new(),
        offline: Vec::new(),
        allow: None,
        lease: None,
        skips: None,
        both: false,
    }
}

fn rules() -> impl Strategy<Value = Vec<(Vec<Condition>, Rule)>> {
    vec(prop_oneof![5 => conditioned(), 1 => allowing(0..4_000)], 1..=MOST_RULES)
}

fn conditioned() -> impl Strategy<Value = (Vec<Condition>, Rule)> {
    (vec(conditions(), 1..3), outcomes()).prop_map(once_each)
}

/// A rule has each condition once.
fn once_each((mut conditions, rule): (Vec<Condition>, Rule)) -> (Vec<Condition>, Rule) {
    let mut keys = Vec::new();
    conditions.retain(|one| {
        let is_new = !keys.contains(&one.key());
        keys.push(one.key());
        is_new
    });
    (conditions, rule)
}

/// A rule that lets root in unasked while the server is away, until so many seconds after the story's begin.
pub(super) fn allowing(until: std::ops::Range<u64>) -> impl Strategy<Value = (Vec<Condition>, Rule)> {
    let names = select(vec![vec![ROOT], vec![ROOT, GUEST]]);
    (names, outcomes(), until).prop_map(|(names, rule, until)| {
        let conditions = vec![Condition::Remote(false), Condition::User(names)];
        (conditions, Rule { then: Then::Approve, allow: Some(until), both: false, ..rule })
    })
}

fn conditions() -> impl Strategy<Value = Condition> {
    prop_oneof![
        3 => select(vec!["sshd", "sudo", "su", "login"]).prop_map(Condition::Service),
        2 => any::<bool>().prop_map(Condition::Session),
        2 => select(vec![ROOT, GUEST]).prop_map(|name| Condition::User(vec![name])),
        1 => select(vec![ROOT, GUEST]).prop_map(Condition::NotUser),
        1 => Just(Condition::InRootsGroup),
        2 => Just(Condition::Requester),
        1 => any::<bool>().prop_map(Condition::Remote),
        3 => prop::option::of(1..3_u8).prop_map(Condition::Network),
        1 => (1..3_u8).prop_map(Condition::Terminal),
        1 => (1..3_u8).prop_map(Condition::Key),
        2 => any::<bool>().prop_map(Condition::NewSource),
        1 => any::<bool>().prop_map(Condition::ThisHost),
        1 => (1..9_u8).prop_map(Condition::Hours),
        1 => Just(Condition::Command),
        2 => of_actions(),
    ]
}

fn of_actions() -> impl Strategy<Value = Condition> {
    prop_oneof![
        3 => select(vec!["apt.", "deploy."]).prop_map(Condition::Action),
        2 => Just(Condition::Origin),
    ]
}

/// What a rule that stands above the default may say.
fn outcomes() -> impl Strategy<Value = Rule> {
    let then = select(vec![Then::Approve, Then::Approve, Then::Skip, Then::Deny, Then::Observe]);
    (defaults(), then).prop_map(|(rule, then)| Rule { then, ..rule })
}

fn factors(all: &[Factor]) -> impl Strategy<Value = Vec<Factor>> + use<> {
    let most = all.len();
    subsequence(all.to_vec(), 0..=most)
}

fn defaults() -> impl Strategy<Value = Rule> {
    let then = prop_oneof![9 => Just(Then::Approve), 1 => Just(Then::Observe)];
    let confirm = prop_oneof![3 => Just(Confirm::Code), 1 => Just(Confirm::Tap)];
    let without_prompt = prop_oneof![3 => Just(WithoutPrompt::Tap), 1 => Just(WithoutPrompt::Refuse)];
    let codes = factors(&[Factor::Recovery, Factor::PhoneCode, Factor::Totp]);
    let offline = factors(&[Factor::Recovery, Factor::PhoneCode, Factor::Totp, Factor::Lease]);
    let lease = prop::option::of((1..10_u64, prop::option::weighted(0.4, 1..3_u32)));
    let skips = prop::option::weighted(0.4, 0..300_u64);
    let both = prop::bool::weighted(0.25);
    (then, confirm, without_prompt, 5..20_u64, codes, offline, lease, skips, both).prop_map(
        |(then, confirm, without_prompt, wait, codes, offline, lease, skips, both)| Rule {
            then,
            confirm,
            without_prompt,
            wait,
            codes,
            offline,
            allow: None,
            lease,
            skips,
            both,
        },
    )
}
