//! Rules, as they are written: what one leaves out it takes from `[default]`.

use std::ops::Range;
use std::time::Duration;

use crate::approvals::{self, Approvals};
use crate::table::{Table, Value};
use crate::{Ask, Confirm, Factor, Fault, Lease, Rule, Then, Unenrolled, When, WithoutPrompt};

use super::offline::Offline;
use super::{lease, passwordless, taken, values, when};

const THEN: &[(&str, Then)] =
    &[("approve", Then::Approve), ("observe", Then::Observe), ("skip", Then::Skip), ("deny", Then::Deny)];
const CONFIRM: &[(&str, Confirm)] = &[("code", Confirm::Code), ("tap", Confirm::Tap)];
const WITHOUT_PROMPT: &[(&str, WithoutPrompt)] =
    &[("tap", WithoutPrompt::Tap), ("refuse", WithoutPrompt::Refuse)];
const CODES: &[(&str, Factor)] =
    &[("recovery", Factor::Recovery), ("phone-code", Factor::PhoneCode), ("totp", Factor::Totp)];
const OFFLINE: &[(&str, Factor)] = &[
    ("recovery", Factor::Recovery),
    ("phone-code", Factor::PhoneCode),
    ("totp", Factor::Totp),
    ("lease", Factor::Lease),
];
const ASK: &[(&str, Ask)] = &[("user", Ask::User), ("caller", Ask::Caller)];

/// Keys of what happens to a login.
pub(super) const KEYS: &[&str] = &[
    "then",
    "confirm",
    "without_prompt",
    "wait",
    "codes",
    "offline",
    "lease",
    "unenrolled",
    "ask",
    "approvals",
    "passwordless",
];

/// A rule with what was written of it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Where it stands.
    pub(super) span: Range<usize>,
    /// What it is called, and where.
    pub(super) name: Option<(String, Range<usize>)>,
    when: When,
    then: Option<Then>,
    confirm: Option<Confirm>,
    without_prompt: Option<WithoutPrompt>,
    wait: Option<Duration>,
    codes: Option<Vec<Factor>>,
    offline: Option<Offline>,
    lease: Option<Option<Lease>>,
    unenrolled: Option<Unenrolled>,
    ask: Option<Ask>,
    /// What was written: some people, or the user alone.
    approvals: Option<Option<Approvals>>,
    /// Whether an approval is enough without a password, and where that stands.
    passwordless: Option<(bool, Range<usize>)>,
}

impl Draft {
    /// Reads `[default]`.
    pub(super) fn default(value: &Value<'_, '_>, faults: &mut Vec<Fault>) -> Self {
        let Some(mut table) = taken(value.table("[default]"), faults) else { return Self::empty(value) };
        let draft = Self { span: value.span.clone(), ..Self::outcome(&mut table, faults) };
        faults.extend(draft.offline.as_ref().and_then(|offline| offline.fault(None)));
        if let Some((true, place)) = &draft.passwordless {
            faults.push(Fault::at(place.clone(), passwordless::HOW));
        }
        table.finish(&[("above [default]", super::KEYS), ("in \"when\" of a rule", when::KEYS)], faults);
        draft
    }

    /// Reads one `[[rule]]`.
    pub(super) fn rule(value: &Value<'_, '_>, faults: &mut Vec<Fault>) -> Self {
        let Some(mut table) = taken(value.table("a rule"), faults) else { return Self::empty(value) };
        let name = table.get("name");
        if name.is_none() {
            faults.push(value.fault("a rule needs a \"name\": logs and the audit say which one it was"));
        }
        let name = name.and_then(|name| Some((taken(values::name(&name), faults)?, name.span)));
        let when = table.get("when").map(|when| when::read(&when, faults)).unwrap_or_default();
        let mut draft = Self { span: value.span.clone(), name, when, ..Self::outcome(&mut table, faults) };
        faults.extend(draft.offline.as_ref().and_then(|offline| offline.fault(Some(&draft.when))));
        faults.extend(draft.weakened());
        if !table.has("then") {
            let words: Vec<&str> = THEN.iter().map(|(word, _)| *word).collect();
            faults.push(value.fault(format!("a rule says \"then\": {}", words.join(", "))));
            draft.then = Some(Then::Deny);
        }
        table.finish(&[("in its \"when\"", when::KEYS), ("above the first rule", super::KEYS)], faults);
        draft
    }

    fn empty(value: &Value<'_, '_>) -> Self {
        Self { span: value.span.clone(), ..Self::default_draft() }
    }

    fn default_draft() -> Self {
        <Self as Default>::default()
    }

    fn outcome(table: &mut Table<'_, '_>, faults: &mut Vec<Fault>) -> Self {
        let codes = table.get("codes").and_then(|value| all_taken(value.words(CODES), faults));
        let offline =
            table.get("offline").and_then(|value| all_taken(Offline::read(&value, OFFLINE), faults));
        let mut spared = None;
        let draft = Self {
            then: table.get("then").and_then(|value| taken(value.word(THEN), faults)),
            confirm: table.get("confirm").and_then(|value| taken(value.word(CONFIRM), faults)),
            without_prompt: table
                .get("without_prompt")
                .and_then(|value| taken(value.word(WITHOUT_PROMPT), faults)),
            wait: table.get("wait").and_then(|value| taken(values::wait(&value), faults)),
            codes,
            offline,
            lease: table.get("lease").and_then(|value| taken(lease::read(&value), faults)),
            unenrolled: table.get("unenrolled").and_then(|value| {
                spared = Some(value.fault(approvals::SPARED));
                taken(values::unenrolled(&value), faults)
            }),
            ask: table.get("ask").and_then(|value| taken(value.word(ASK), faults)),
            approvals: table.get("approvals").and_then(|value| approvals::read(&value, faults)),
            passwordless: table
                .get("passwordless")
                .and_then(|value| Some((taken(value.flag(), faults)?, value.span.clone()))),
            ..Self::default_draft()
        };
        if let Some(Some(_)) = &draft.approvals {
            faults.extend(spared);
        }
        draft
    }

    /// What stands in a passwordless rule that is too wide or too weak for one.
    fn weakened(&self) -> Option<Fault> {
        let (_, place) = self.passwordless.as_ref().filter(|(is, _)| *is)?;
        let typed = self.codes.iter().chain(self.offline.iter().map(|offline| &offline.factors)).flatten();
        let beside = [
            (self.then.is_some_and(|then| then != Then::Approve), "\"then\" is \"approve\""),
            (self.confirm == Some(Confirm::Tap), "\"confirm\" is \"code\""),
            (self.without_prompt == Some(WithoutPrompt::Tap), "\"without_prompt\" is \"refuse\""),
            (
                passwordless::too_weak(typed)
                    || self.offline.as_ref().is_some_and(|offline| offline.allow_until.is_some()),
                "\"codes\" and \"offline\" list \"recovery\" and \"phone-code\" alone",
            ),
            (matches!(self.lease, Some(Some(_))), "there is no \"lease\""),
            (matches!(self.unenrolled, Some(Unenrolled::SkipUntil(_))), "\"unenrolled\" is \"deny\""),
            (matches!(self.approvals, Some(Some(_))), "\"approvals\" is \"self\""),
        ];
        if !passwordless::is_narrow(&self.when) {
            return Some(Fault::at(place.clone(), passwordless::HOW));
        }
        let wanted: Vec<&str> =
            beside.iter().filter(|(is_weak, _)| *is_weak).map(|(_, want)| *want).collect();
        (!wanted.is_empty())
            .then(|| Fault::at(place.clone(), format!("{}: {}", passwordless::BESIDE, wanted.join(", "))))
    }

    /// The rule, with another one's word where it says nothing.
    pub(super) fn over(self, other: &Rule) -> Rule {
        if matches!(self.passwordless, Some((true, _))) {
            return self.alone(other);
        }
        let approvals = self.approvals.unwrap_or_else(|| other.approvals.clone());
        // What one person types, or is spared, was not written for a rule of several unless it stands there.
        let until = self.offline.as_ref().and_then(|offline| Some(offline.allow_until.as_ref()?.0));
        let alone = built_in();
        let other_one = match (&approvals, &other.approvals) {
            (Some(_), _) => &Rule { codes: Vec::new(), offline: Vec::new(), ..alone },
            (None, Some(_)) => &alone,
            (None, None) => other,
        };
        Rule {
            name: self.name.map_or_else(|| other.name.clone(), |(name, _)| name),
            when: self.when,
            then: self.then.unwrap_or(other.then),
            confirm: self.confirm.unwrap_or(other.confirm),
            without_prompt: self.without_prompt.unwrap_or(other.without_prompt),
            wait: self.wait.unwrap_or(other.wait),
            codes: self.codes.unwrap_or_else(|| other_one.codes.clone()),
            // Only where it is written, and never in place of several people.
            allow_until: until.filter(|_| approvals.is_none()),
            offline: self.offline.map_or_else(|| other_one.offline.clone(), |offline| offline.factors),
            lease: self.lease.unwrap_or(other_one.lease),
            unenrolled: self.unenrolled.unwrap_or(other_one.unenrolled),
            ask: self.ask.unwrap_or(other.ask),
            approvals,
            passwordless: false,
        }
    }

    /// A passwordless rule: of another one it takes the time alone.
    fn alone(self, other: &Rule) -> Rule {
        Rule {
            name: self.name.map_or_else(|| other.name.clone(), |(name, _)| name),
            when: self.when,
            then: Then::Approve,
            confirm: Confirm::Code,
            without_prompt: WithoutPrompt::Refuse,
            wait: self.wait.unwrap_or(other.wait),
            codes: self.codes.unwrap_or_default(),
            offline: self.offline.map(|offline| offline.factors).unwrap_or_default(),
            allow_until: None,
            lease: None,
            unenrolled: Unenrolled::Deny,
            ask: Ask::User,
            approvals: None,
            passwordless: true,
        }
    }
}

fn all_taken<T>(value: Result<T, Vec<Fault>>, faults: &mut Vec<Fault>) -> Option<T> {
    value.map_err(|more| faults.extend(more)).ok()
}

/// What holds where nothing is written.
pub(super) fn built_in() -> Rule {
    Rule {
        name: "default".into(),
        when: When::default(),
        then: Then::Approve,
        confirm: Confirm::Code,
        without_prompt: WithoutPrompt::Tap,
        wait: Duration::from_secs(60),
        // They exist only where root has made them, for the day on which no phone is there.
        codes: vec![Factor::Recovery],
        offline: Vec::new(),
        allow_until: None,
        lease: None,
        unenrolled: Unenrolled::Deny,
        ask: Ask::User,
        approvals: None,
        passwordless: false,
    }
}
