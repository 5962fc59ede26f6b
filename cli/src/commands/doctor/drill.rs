//! `doctor --drill`: what would each service do now if the server, the daemon, the phone were gone?

use countersign_pam_stack::examine::{Search, Who, is_on_disk, is_ours, is_passwordless, search};
use countersign_pam_stack::{Code, Stack, Stage};
use countersign_policy::{Factor, Rule, Then, Unenrolled};
use serde::Serialize;

use super::Known;
use super::people::rule;
use crate::output;

/// One service and one kind of person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub(super) service: String,
    pub(super) who: String,
    pub(super) server_gone: String,
    pub(super) daemon_gone: String,
    pub(super) phone_gone: String,
}

/// What is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    Server,
    Daemon,
    Phone,
}

pub(super) fn rows(known: &Known<'_>) -> Vec<Row> {
    let enrolled =
        known.devices.as_ref().and_then(|list| list.devices.first()).map(|device| device.user.clone());
    // The user of a rule for everybody, where nobody is enrolled yet.
    let user = enrolled.unwrap_or_else(|| "nobody".to_owned());
    let mut rows = Vec::new();
    for (service, stage) in &known.asking {
        let stack = Stack::of(&known.folders, service, *stage);
        let shown = if *stage == Stage::Session { format!("{service}, by key") } else { service.clone() };
        for (who, user, break_glass) in [
            ("with a phone", user.as_str(), false),
            ("break-glass", user.as_str(), true),
            ("root", "root", false),
        ] {
            let rule = known.config.as_ref().and_then(|config| rule(config, user, service, *stage));
            let cell = |gone| cell(known, &stack, rule, (user, break_glass), gone);
            rows.push(Row {
                service: shown.clone(),
                who: who.to_owned(),
                server_gone: cell(Gone::Server),
                daemon_gone: cell(Gone::Daemon),
                phone_gone: cell(Gone::Phone),
            });
        }
    }
    rows
}

fn cell(
    known: &Known<'_>,
    stack: &Stack,
    rule: Option<&Rule>,
    (user, break_glass): (&str, bool),
    gone: Gone,
) -> String {
    let is_root = user == "root";
    if is_root && matches!(stack.service.as_str(), "sudo" | "sudo-i") {
        return "in: sudo asks root nothing".to_owned();
    }
    let opens = |ours| {
        let who = Who { break_glass, password: true, others: true, root: false, ours };
        search(stack, &Search { who, has_module: &is_on_disk, known: &[] }).is_some()
    };
    let with = if stack.stage == Stage::Session { "key" } else { "password" };
    let refusal = if stack.stage == Stage::Session { Code::SESSION_ERR } else { Code::AUTHINFO_UNAVAIL };
    if opens(refusal) {
        return format!("in: {with}");
    }
    let is_alone = stack.handlers.iter().any(is_passwordless);
    if gone == Gone::Daemon {
        let ignores = stack.handlers.iter().filter(|handler| is_ours(handler)).any(|handler| {
            handler.module().is_some_and(|module| module.args.iter().any(|arg| arg == "daemon_down=ignore"))
        });
        return if ignores && !is_alone && opens(Code::IGNORE) {
            format!("in: {with}")
        } else {
            "refused".to_owned()
        };
    }
    let Some(rule) = rule else { return "refused: no policy is in force".to_owned() };
    if is_alone && !rule.passwordless {
        return "refused: no rule lets in without a password".to_owned();
    }
    let passes = match rule.then {
        Then::Skip | Then::Observe => Some("the policy does not ask"),
        _ if is_unasked(known, rule, user) => Some("no device yet, not asked until then"),
        _ => None,
    };
    if let Some(why) = passes {
        return if opens(Code::IGNORE) { format!("in: {with} ({why})") } else { "refused".to_owned() };
    }
    if rule.then == Then::Deny {
        return "refused: the policy refuses".to_owned();
    }
    let has_device =
        known.devices.as_ref().is_none_or(|list| list.devices.iter().any(|one| one.user == user));
    if !has_device && rule.approvals.is_none() && !is_others(stack) {
        return "refused: no device".to_owned();
    }
    if !opens(Code::SUCCESS) {
        return "refused".to_owned();
    }
    let factors = factors(rule, stack.stage, gone);
    match (factors.is_empty(), is_alone) {
        (true, _) => "refused".to_owned(),
        (false, true) => format!("in: {}", factors.join(" or ")),
        (false, false) => format!("in: {with} + {}", factors.join(" or ")),
    }
}

/// For su and sudo to root it is the caller who is asked.
fn is_others(stack: &Stack) -> bool {
    matches!(stack.service.as_str(), "su" | "su-l" | "sudo" | "sudo-i")
}

fn is_unasked(known: &Known<'_>, rule: &Rule, user: &str) -> bool {
    let has_device =
        known.devices.as_ref().is_some_and(|list| list.devices.iter().any(|one| one.user == user));
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    !has_device && matches!(rule.unenrolled, Unenrolled::SkipUntil(until) if now < until)
}

/// What may be typed, or holds without being typed.
fn factors(rule: &Rule, stage: Stage, gone: Gone) -> Vec<&'static str> {
    let mut factors = rule.codes.clone();
    if gone == Gone::Server {
        factors.extend(rule.offline.iter().copied());
    }
    // What a phone makes is gone with it.
    factors.retain(|factor| gone != Gone::Phone || *factor != Factor::PhoneCode);
    let typed = |factor: &Factor| stage != Stage::Session || *factor == Factor::Lease;
    let mut words: Vec<&str> = factors
        .iter()
        .filter(|factor| typed(factor))
        .filter(|factor| **factor != Factor::Lease || rule.leases().is_some())
        .map(|factor| match factor {
            Factor::Recovery => "recovery code",
            Factor::PhoneCode => "phone code",
            Factor::Totp => "authenticator",
            Factor::Lease => "lease",
        })
        .collect();
    if gone == Gone::Server && rule.allow_until.is_some() {
        words.push("nothing (offline = allow)");
    }
    let mut seen = Vec::new();
    words.retain(|word| {
        !seen.contains(word) && {
            seen.push(*word);
            true
        }
    });
    words
}

pub(super) fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "No service asks: nothing changes if the server, the daemon or a phone is gone.\n".to_owned();
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            [&row.service, &row.who, &row.server_gone, &row.daemon_gone, &row.phone_gone]
                .map(String::clone)
                .into()
        })
        .collect();
    output::table(&["SERVICE", "WHO", "SERVER GONE", "DAEMON GONE", "PHONE GONE"], &cells)
}
