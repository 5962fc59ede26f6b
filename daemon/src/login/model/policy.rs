//! The policy of a story: written as an administrator writes it, and read a second time by the oracle, which takes
//! the first rule whose conditions are met.

use std::time::Duration;

use countersign_policy::{self as config, Config, Confirm, Factor, Then, Unenrolled, WithoutPrompt};
use countersign_protocol::login::Stage;

use super::cast::{ALICE, BOTH, GUEST, ROOT};
use super::visit::{NETWORK, ORIGIN, Visit};
use crate::clock;

/// A day that no story sees: in its place comes a time of the story.
const SOME_DAY: &str = "2999-01-01";

/// Minutes from midnight at which all stories begin, where hours are said.
const BEGIN_MINUTE: u64 = 8 * 60;

/// What holds in a story.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// The first one whose conditions are all met decides.
    pub(super) rules: Vec<(Vec<Condition>, Rule)>,
    pub(super) default: Rule,
    /// Whether the guest ever had a device.
    pub(super) is_guest_enrolled: bool,
}

/// What a rule does.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) then: Then,
    pub(super) confirm: Confirm,
    pub(super) without_prompt: WithoutPrompt,
    /// Seconds.
    pub(super) wait: u64,
    /// What may be typed at any time.
    pub(super) codes: Vec<Factor>,
    /// What may be typed while the server is away.
    pub(super) offline: Vec<Factor>,
    /// Until so many seconds after the story's begin people are let in unasked while the server is away.
    pub(super) allow: Option<u64>,
    /// Minutes and uses of a lease.
    pub(super) lease: Option<(u64, Option<u32>)>,
    /// Until so many seconds after the story's begin whoever never had a device is let pass.
    pub(super) skips: Option<u64>,
    /// Whether root and alice both have to approve.
    pub(super) both: bool,
}

/// What a rule asks of a login.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Service(&'static str),
    Session(bool),
    User(Vec<&'static str>),
    NotUser(&'static str),
    /// Member of the group that root alone is in.
    InRootsGroup,
    Requester,
    Remote(bool),
    /// From one address that several logins may have, or from all of them.
    Network(Option<u8>),
    Terminal(u8),
    /// The key that is numbered so.
    Key(u8),
    NewSource(bool),
    ThisHost(bool),
    /// In so many minutes from the story's begin on, by the calendar.
    Hours(u8),
    /// One of the first ten logins, and an even one.
    Command,
    /// Something is asked for whose name begins so.
    Action(&'static str),
    /// All that it is about is of one origin.
    Origin,
}

impl Condition {
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Service(_) => "service",
            Self::Session(_) => "stage",
            Self::User(_) | Self::NotUser(_) => "user",
            Self::InRootsGroup => "group",
            Self::Requester => "requester",
            Self::Remote(_) => "remote",
            Self::Network(_) => "network",
            Self::Terminal(_) => "terminal",
            Self::Key(_) => "ssh_key",
            Self::NewSource(_) => "new_source",
            Self::ThisHost(_) => "host",
            Self::Hours(_) => "hours",
            Self::Command => "command",
            Self::Action(_) => "action",
            Self::Origin => "origin",
        }
    }

    fn value(&self) -> String {
        match self {
            Self::Service(name) => format!("\"{name}\""),
            Self::Session(is) => if *is { "\"session\"" } else { "\"auth\"" }.to_owned(),
            Self::User(names) => format!("{names:?}"),
            Self::NotUser(name) => format!("[\"*\", \"!{name}\"]"),
            Self::InRootsGroup => format!("\"{ROOT}\""),
            Self::Requester => format!("\"{ALICE}\""),
            Self::Remote(is) | Self::NewSource(is) => is.to_string(),
            Self::Network(Some(address)) => format!("\"{NETWORK}.{address}\""),
            Self::Network(None) => format!("[\"{NETWORK}.0/24\"]"),
            Self::Terminal(number) => format!("\"tty{number}\""),
            Self::Key(number) => {
                let visit = Visit { by: *number, ..super::visit::Program::Sshd.into() };
                format!("\"{}\"", visit.fingerprint().unwrap())
            }
            Self::ThisHost(is) => if *is { "\"la?\"" } else { "\"db-*\"" }.to_owned(),
            Self::Hours(minutes) => format!("\"08:00-08:{minutes:02} UTC\""),
            Self::Command => "[\"c0\", \"c2\", \"c4\", \"c6\", \"c8\"]".to_owned(),
            Self::Action(name) => format!("\"{name}*\""),
            Self::Origin => format!("\"{ORIGIN}\""),
        }
    }

    fn is_met(&self, visit: Visit, number: usize, is_new: bool) -> bool {
        match self {
            Self::Service(name) => visit.service() == *name,
            Self::Session(is) => (visit.stage() == Stage::Session) == *is,
            Self::User(names) => names.contains(&visit.account()),
            Self::NotUser(name) => visit.account() != *name,
            Self::InRootsGroup => visit.account() == ROOT,
            Self::Requester => visit.requester().is_some(),
            Self::Remote(is) => visit.address(number).is_some() == *is,
            // Who names the address does not matter, and a name is no address.
            Self::Network(place) => {
                let address = visit.address(number).filter(|_| visit.place > 0);
                address.is_some() && place.is_none_or(|place| place == visit.place)
            }
            Self::Terminal(place) => visit.terminal(number) == Some(format!("tty{place}")),
            Self::Key(key) => visit.fingerprint().is_some() && visit.by == *key,
            Self::NewSource(is) => is_new == *is,
            Self::ThisHost(is) => *is,
            Self::Hours(minutes) => {
                let minute = clock::unix() / 60 % (24 * 60);
                (BEGIN_MINUTE..BEGIN_MINUTE + u64::from(*minutes)).contains(&minute)
            }
            Self::Command => number < 10 && number.is_multiple_of(2),
            Self::Action(name) => visit.action().is_some_and(|action| action.starts_with(name)),
            Self::Origin => {
                let mut origins = visit.origins().iter();
                origins.len() > 0 && origins.all(|origin| *origin == ORIGIN)
            }
        }
    }
}

impl Rule {
    fn text(&self) -> String {
        let word = |one: &Factor| match one {
            Factor::Recovery => "recovery",
            Factor::PhoneCode => "phone-code",
            Factor::Totp => "totp",
            Factor::Lease => "lease",
        };
        let list =
            |factors: &[Factor]| factors.iter().map(|one| format!("\"{}\"", word(one))).collect::<Vec<_>>();
        let then = match self.then {
            Then::Approve => "approve",
            Then::Observe => "observe",
            Then::Skip => "skip",
            Then::Deny => "deny",
        };
        let confirm = if self.confirm == Confirm::Code { "code" } else { "tap" };
        let without = if self.without_prompt == WithoutPrompt::Tap { "tap" } else { "refuse" };
        let mut offline = list(&self.offline);
        offline.extend(self.allow.map(|_| format!("{{ allow_until = {SOME_DAY} }}")));
        let mut text = format!(
            "then = \"{then}\"\nconfirm = \"{confirm}\"\nwithout_prompt = \"{without}\"\nwait = \"{}s\"\ncodes = [{}]\noffline = [{}]\n",
            self.wait,
            list(&self.codes).join(", "),
            offline.join(", "),
        );
        match self.lease {
            Some((minutes, Some(uses))) => {
                text.push_str(&format!("lease = {{ up_to = \"{minutes}m\", uses = {uses} }}\n"));
            }
            Some((minutes, None)) => text.push_str(&format!("lease = \"{minutes}m\"\n")),
            None => text.push_str("lease = \"none\"\n"),
        }
        if self.both {
            text.push_str(&format!("approvals = {{ from = [\"@{BOTH}\", \"{ALICE}\"], needed = 2 }}\n"));
            return text;
        }
        text.push_str("approvals = \"self\"\n");
        match self.skips {
            Some(_) => text.push_str(&format!("unenrolled = {{ skip_until = {SOME_DAY} }}\n")),
            None => text.push_str("unenrolled = \"deny\"\n"),
        }
        text
    }

    /// Puts in the times of the story, which the language knows in days only.
    fn dated(&self, rule: &mut config::Rule, begin: u64) {
        assert_eq!(rule.allow_until.is_some(), self.allow.is_some());
        rule.allow_until = self.allow.map(|after| begin + after);
        if let Some(after) = self.skips.filter(|_| !self.both) {
            rule.unenrolled = Unenrolled::SkipUntil(begin + after);
        }
    }

    pub(super) fn may_type(&self, factor: Factor, had_trouble: bool) -> bool {
        self.codes.contains(&factor) || (self.offline.contains(&factor) && had_trouble)
    }

    /// How many people have to approve, where the rule names them.
    pub(super) fn people(&self) -> Option<u8> {
        self.both.then_some(2)
    }

    /// Minutes and uses of the lease that may be granted; several people are asked each time.
    pub(super) fn lease(&self) -> Option<(u64, Option<u32>)> {
        self.lease.filter(|_| !self.both)
    }

    /// What a person has to do beside approving.
    pub(super) fn confirm(&self, stage: Stage) -> Confirm {
        match (stage, self.without_prompt) {
            (Stage::Auth, _) => self.confirm,
            (Stage::Session, WithoutPrompt::Tap) => Confirm::Tap,
            (Stage::Session, WithoutPrompt::Refuse) => Confirm::Code,
        }
    }
}

impl Policy {
    /// One rule for everybody.
    pub(super) fn of(default: Rule) -> Self {
        Self { rules: Vec::new(), default, is_guest_enrolled: true }
    }

    /// As the daemon reads it, with a story that begins then (seconds since 1970).
    pub(super) fn config(&self, begin: u64) -> Config {
        let mut text = "server = \"http://127.0.0.1:1\"\n".to_owned();
        for (number, (conditions, rule)) in self.rules.iter().enumerate() {
            let when: Vec<String> =
                conditions.iter().map(|one| format!("{} = {}", one.key(), one.value())).collect();
            let when = when.join(", ");
            text.push_str(&format!("[[rule]]\nname = \"{number}\"\nwhen = {{ {when} }}\n{}", rule.text()));
        }
        text.push_str(&format!("[default]\n{}", self.default.text()));
        let mut config = config::read(&text).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
        for (read, (_, rule)) in config.rules.iter_mut().zip(&self.rules) {
            rule.dated(read, begin);
        }
        self.default.dated(&mut config.default, begin);
        config
    }

    /// The rule for a login, and the conditions that it has met.
    pub(super) fn decides(&self, visit: Visit, number: usize, is_new: bool) -> (&Rule, &[Condition]) {
        let met = |(conditions, _): &&(Vec<Condition>, Rule)| {
            conditions.iter().all(|one| one.is_met(visit, number, is_new))
        };
        let rule = self.rules.iter().find(met);
        rule.map_or((&self.default, &[]), |(conditions, rule)| (rule, conditions))
    }

    /// The longest that anybody waits.
    pub(super) fn longest(&self) -> Duration {
        let all = self.rules.iter().map(|(_, rule)| rule).chain([&self.default]);
        Duration::from_secs(all.map(|rule| rule.wait).max().unwrap_or_default())
    }

    /// Whether this account, and whoever is asked for it, never had a device.
    pub(super) fn never_had_any(&self, visit: Visit) -> bool {
        visit.account() == GUEST && visit.person() == GUEST && !self.is_guest_enrolled
    }
}
