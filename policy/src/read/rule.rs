//! Rules, as they are written: what one leaves out it takes from `[default]`.

use std::ops::Range;
use std::time::Duration;

use crate::approvals::{self, Approvals};
use crate::table::{Table, Value};
use crate::{Ask, Confirm, Factor, Fault, Rule, Then, Unenrolled, When, WithoutPrompt};

use super::{taken, values, when};

const THEN: &[(&str, Then)] =
    &[("approve", Then::Approve), ("observe", Then::Observe), ("skip", Then::Skip), ("deny", Then::Deny)];
const CONFIRM: &[(&str, Confirm)] = &[("code", Confirm::Code), ("tap", Confirm::Tap)];
const WITHOUT_PROMPT: &[(&str, WithoutPrompt)] =
    &[("tap", WithoutPrompt::Tap), ("refuse", WithoutPrompt::Refuse)];
const FACTORS: &[(&str, Factor)] = &[("recovery", Factor::Recovery)];
const ASK: &[(&str, Ask)] = &[("user", Ask::User), ("caller", Ask::Caller)];

/// Keys of what happens to a login.
pub(super) const KEYS: &[&str] =
    &["then", "confirm", "without_prompt", "wait", "codes", "offline", "unenrolled", "ask", "approvals"];

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
    offline: Option<Vec<Factor>>,
    unenrolled: Option<Unenrolled>,
    ask: Option<Ask>,
    /// What was written: some people, or the user alone.
    approvals: Option<Option<Approvals>>,
}

impl Draft {
    /// Reads `[default]`.
    pub(super) fn default(value: &Value<'_, '_>, faults: &mut Vec<Fault>) -> Self {
        let Some(mut table) = taken(value.table("[default]"), faults) else { return Self::empty(value) };
        let draft = Self { span: value.span.clone(), ..Self::outcome(&mut table, faults) };
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
        let mut factors = |table: &mut Table<'_, '_>, key| match table.get(key)?.words(FACTORS) {
            Ok(factors) => Some(factors),
            Err(more) => {
                faults.extend(more);
                None
            }
        };
        let (codes, offline) = (factors(table, "codes"), factors(table, "offline"));
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
            unenrolled: table.get("unenrolled").and_then(|value| {
                spared = Some(value.fault(approvals::SPARED));
                taken(values::unenrolled(&value), faults)
            }),
            ask: table.get("ask").and_then(|value| taken(value.word(ASK), faults)),
            approvals: table.get("approvals").and_then(|value| approvals::read(&value, faults)),
            ..Self::default_draft()
        };
        if let Some(Some(_)) = &draft.approvals {
            faults.extend(spared);
        }
        draft
    }

    /// The rule, with another one's word where it says nothing.
    pub(super) fn over(self, other: &Rule) -> Rule {
        let approvals = self.approvals.unwrap_or_else(|| other.approvals.clone());
        // What one person types, or is spared, was not written for a rule of several unless it stands there.
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
            offline: self.offline.unwrap_or_else(|| other_one.offline.clone()),
            unenrolled: self.unenrolled.unwrap_or(other_one.unenrolled),
            ask: self.ask.unwrap_or(other.ask),
            approvals,
        }
    }
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
        unenrolled: Unenrolled::Deny,
        ask: Ask::User,
        approvals: None,
    }
}
