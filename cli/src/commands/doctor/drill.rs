//! `doctor --drill`: what would each service do now if the server, the daemon, the phone were gone?

use countersign_pam_stack::examine::{Search, Who, is_on_disk, is_ours, is_passwordless, search};
use countersign_pam_stack::{Code, Stack, Stage};
use countersign_policy::{Factor, Rule, Then, Unenrolled};
use serde::Serialize;

use super::people::rule;
use super::{Known, program};
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

/// Where no rule decides, and where it is not known which one does.
const NO_POLICY: &str = "refused: no policy is in force";
const NO_ANSWER: &str = "not known: the name service does not answer";

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
    let rules = rules(known, &user);
    let mut rows = Vec::new();
    for (at, (service, stage)) in known.asking.iter().enumerate() {
        let stack = Stack::of(&known.folders, service, *stage);
        let shown = if *stage == Stage::Session { format!("{service}, by key") } else { service.clone() };
        let found = rules.as_deref().map(|rules| rules.get(at));
        let (of_user, of_root) = match found {
            Some(rules) => {
                let rules =
                    rules.map_or((None, None), |(of_user, of_root)| (of_user.as_ref(), of_root.as_ref()));
                (rules.0.ok_or(NO_POLICY), rules.1.ok_or(NO_POLICY))
            }
            None => (Err(NO_ANSWER), Err(NO_ANSWER)),
        };
        for (who, user, break_glass, rule) in [
            ("with a phone", user.as_str(), false, of_user),
            ("break-glass", user.as_str(), true, of_user),
            ("root", "root", false, of_root),
        ] {
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

/// The rules for one user and for root, service by service; nothing where the name service, which says in what groups they
/// are, does not answer in time.
fn rules(known: &Known<'_>, user: &str) -> Option<Vec<(Option<Rule>, Option<Rule>)>> {
    let Some(config) = known.config.clone() else { return Some(Vec::new()) };
    let (asking, user) = (known.asking.clone(), user.to_owned());
    program::in_time(move || {
        let of = |user: &str, service: &str, stage| rule(&config, user, service, stage).cloned();
        let both =
            |(service, stage): &(String, Stage)| (of(&user, service, *stage), of("root", service, *stage));
        asking.iter().map(both).collect()
    })
}

fn cell(
    known: &Known<'_>,
    stack: &Stack,
    rule: Result<&Rule, &str>,
    (user, break_glass): (&str, bool),
    gone: Gone,
) -> String {
    let is_root = user == "root";
    match stack.service.as_str() {
        "sudo" | "sudo-i" if is_root => return "in: sudo asks root nothing".to_owned(),
        "polkit-1" if is_root => return "in: polkit asks root nothing".to_owned(),
        _ => {}
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
    let rule = match rule {
        Ok(rule) => rule,
        Err(why) => return why.to_owned(),
    };
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
