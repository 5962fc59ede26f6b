//! What a rule means, in words for an administrator.

use std::time::Duration;

use countersign_protocol::login::{ASK_SERVICE, Stage};
use countersign_protocol::message::{Kind, RemoteSource};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::{
    ALLOWED_AFTER, Approvals, Ask, Confirm, Factor, Lease, Rule, Situation, Then, Unenrolled, WithoutPrompt,
    services,
};

/// What happens to a login, while the server can be reached and while it cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// While the server can be reached.
    pub online: Vec<String>,
    /// While it cannot.
    pub offline: Vec<String>,
}

/// What a rule means for a login. `is_root`: the account that is entered is root's.
#[must_use]
pub fn meaning(rule: &Rule, login: &Situation<'_>, is_root: bool) -> Meaning {
    let (mut online, mut offline) = match rule.then {
        Then::Skip => return always("let pass: nobody is asked"),
        Then::Deny => return always("refused: nobody is asked"),
        Then::Approve | Then::Observe => {
            let lease = rule.leases().map(|lease| (lease, no_lease(login, is_root)));
            (asked(rule, login, is_root, lease), unreachable(rule, login, lease))
        }
    };
    if rule.then == Then::Observe {
        for lines in [&mut online, &mut offline] {
            lines.insert(
                0,
                "nobody is refused, PAM goes on: written down is only what would come of this".to_owned(),
            );
        }
    }
    Meaning { online, offline }
}

fn always(text: &str) -> Meaning {
    Meaning { online: vec![text.to_owned()], offline: vec![text.to_owned()] }
}

/// Whether the program has one field, for the password alone.
fn has_one_field(login: &Situation<'_>) -> bool {
    login.stage == Stage::Auth && services::has_one_field(login.service)
}

/// Whether nothing can be typed, and the rule takes nothing less.
fn refuses(rule: &Rule, login: &Situation<'_>) -> bool {
    let wants_code = rule.confirm == Confirm::Code && rule.without_prompt == WithoutPrompt::Refuse;
    refuses_session(rule, login.stage) || (has_one_field(login) && wants_code)
}

/// The same at the session stage.
pub(crate) fn refuses_session(rule: &Rule, stage: Stage) -> bool {
    stage == Stage::Session && rule.without_prompt == WithoutPrompt::Refuse
}

/// What comes of that.
fn at_once(login: &Situation<'_>) -> String {
    let what =
        if has_one_field(login) { one_field(login) } else { "this stage cannot ask for a code".to_owned() };
    format!("refused at once: {what}, and \"without_prompt\" refuses")
}

fn one_field(login: &Situation<'_>) -> String {
    format!("{} has one field, in which no code can be typed", login.service)
}

/// Whose phone is asked. For su, sudo and polkit to root, and for what root asks for, the caller's, since nobody carries
/// root's.
fn whose(rule: &Rule, login: &Situation<'_>, is_root: bool) -> String {
    if login.service == ASK_SERVICE && is_root {
        return match login.requester {
            Some(caller) => format!("the phone of {caller}, who is logged in behind it, is asked"),
            None => "the phone of whoever is logged in behind it is asked, root's where nobody is".to_owned(),
        };
    }
    let is_polkit = services::is_polkit(login.service);
    let has_caller = is_polkit || services::kind(login.service) == Kind::Command;
    let for_caller = has_caller && (rule.ask == Ask::Caller || is_root);
    match login.requester.filter(|_| for_caller) {
        Some(caller) if is_polkit => format!("the phone of {caller}, whose dialog it is, is asked"),
        Some(caller) => format!("the phone of {caller}, who typed the command, is asked"),
        None if for_caller => "the caller's phone is asked".to_owned(),
        None => "the user's phone is asked".to_owned(),
    }
}

fn asked(
    rule: &Rule,
    login: &Situation<'_>,
    is_root: bool,
    lease: Option<(Lease, Option<&'static str>)>,
) -> Vec<String> {
    let stage = login.stage;
    let mut lines = Vec::new();
    if refuses(rule, login) {
        if spares(rule, login.now) {
            lines.push(unenrolled(rule, login.now));
        }
        if let Some((_, None)) = lease {
            lines.push("a lease that was granted with a code before lets in, unasked".to_owned());
        }
        lines.push(otherwise(&lines, at_once(login)));
        return lines;
    }
    let seconds = rule.wait_for(login.service).as_secs();
    lines.push(match &rule.approvals {
        None => format!("{}, for {seconds} s", whose(rule, login, is_root)),
        Some(approvals) => {
            let (needed, from) = (approvals.needed, approvals.names().join(", "));
            format!(
                "{needed} different people of {from} have to approve: all their phones are asked, for {seconds} s"
            )
        }
    });
    let principals: Vec<String> =
        rule.approvals.iter().flat_map(Approvals::principals).map(|name| format!("\"{name}\"")).collect();
    if !principals.is_empty() {
        lines.push(format!(
            "by a principal: whose device has a certificate with {} beside their name, when they approve and when it is over",
            principals.join(" or ")
        ));
    }
    let tap = "approving it is enough";
    lines.push(match (stage, rule.confirm, rule.without_prompt) {
        (Stage::Session, _, _) | (Stage::Auth, Confirm::Tap, _) => tap.to_owned(),
        (Stage::Auth, Confirm::Code, _) if has_one_field(login) => format!("{tap}: {}", one_field(login)),
        (Stage::Auth, Confirm::Code, WithoutPrompt::Tap) => {
            format!("the code that it shows is typed at the prompt; where nothing can be asked {tap}")
        }
        (Stage::Auth, Confirm::Code, WithoutPrompt::Refuse) => {
            "the code that it shows is typed at the prompt; where nothing can be asked it is refused"
                .to_owned()
        }
    });
    if stage == Stage::Auth && !has_one_field(login) && !rule.codes.is_empty() {
        lines.push(format!("also taken at the prompt: {}", words(&rule.codes, login.service)));
    }
    lines.extend(lease.map(|(lease, none)| match none {
        None => granted(lease),
        Some(why) => format!("no lease can be granted: {why}"),
    }));
    if rule.passwordless {
        let text = "no password is wanted before it where the service's PAM line says \"passwordless\"";
        lines.push(text.to_owned());
    }
    lines.push(unenrolled(rule, login.now));
    lines
}

fn unreachable(
    rule: &Rule,
    login: &Situation<'_>,
    lease: Option<(Lease, Option<&'static str>)>,
) -> Vec<String> {
    let mut factors = rule.codes.clone();
    factors.extend(rule.offline.iter().copied().filter(|factor| !rule.codes.contains(factor)));
    factors.retain(|factor| *factor != Factor::Lease);
    let line = match login.stage {
        _ if refuses(rule, login) => at_once(login),
        Stage::Auth if has_one_field(login) => {
            format!("refused, within 3 s, with the reason: {}", one_field(login))
        }
        Stage::Auth if !factors.is_empty() => {
            format!("taken at the prompt: {}", words(&factors, login.service))
        }
        Stage::Auth => "refused, within 3 s, with the reason".to_owned(),
        Stage::Session => "refused, within 3 s, with the reason: this stage cannot ask".to_owned(),
    };
    let mut ways = Vec::new();
    if let Some(date) = rule.allow_until.filter(|date| allows(login) && !is_over(*date, login.now)) {
        ways.push(format!(
            "who has a device is let in without anything until {}, once the server has been away for {} s",
            day(date),
            ALLOWED_AFTER.as_secs()
        ));
    }
    if let Some((_, None)) = lease {
        match rule.leases_offline() {
            true => ways.push("a lease that was granted before lets in, unasked".to_owned()),
            false => return vec!["a lease is not taken".to_owned(), line],
        }
    }
    let line = otherwise(&ways, line);
    ways.into_iter().chain([line]).collect()
}

/// A line behind others that let in.
fn otherwise(ways: &[String], line: String) -> String {
    if ways.is_empty() { line } else { format!("otherwise {line}") }
}

/// Whether `allow_until` counts for logins like this one: at the machine itself, and no command.
fn allows(login: &Situation<'_>) -> bool {
    login.stage == Stage::Auth
        && login.remote.is_none()
        && !services::is_sshd(login.service)
        && matches!(services::kind(login.service), Kind::Login | Kind::Unlock)
}

/// Why no lease holds for a login, if that is so.
fn no_lease(login: &Situation<'_>, is_root: bool) -> Option<&'static str> {
    match services::kind(login.service) {
        Kind::Command => None,
        _ if login.service == ASK_SERVICE => Some("an action is asked for each time"),
        _ if !services::is_sshd(login.service) => {
            Some("leases are for ssh with a key, and for commands such as sudo")
        }
        _ if is_root => Some("over ssh there is none for root's own account"),
        _ if login.remote.is_none_or(|remote| remote.source != RemoteSource::Kernel) => {
            Some("over ssh it takes a key and an address: say --key and --from")
        }
        _ if login.ssh_key.is_none() => Some("over ssh it takes a key, and none is known here: say --key"),
        _ => None,
    }
}

/// Whether who never had a device is let pass now.
fn spares(rule: &Rule, now: Timestamp) -> bool {
    rule.approvals.is_none() && matches!(rule.unenrolled, Unenrolled::SkipUntil(date) if !is_over(date, now))
}

fn unenrolled(rule: &Rule, now: Timestamp) -> String {
    let refused = "who has no device is refused, after the same prompts";
    match rule.unenrolled {
        _ if rule.approvals.is_some() => {
            "where too few of them have a device it is refused, after the same prompts".to_owned()
        }
        Unenrolled::Deny => refused.to_owned(),
        Unenrolled::SkipUntil(date) if is_over(date, now) => {
            format!("{refused}: the day until which they passed, {}, has come", day(date))
        }
        Unenrolled::SkipUntil(date) => format!("who never had a device is let pass until {}", day(date)),
    }
}

/// Whether a date (seconds since 1970) has come.
pub(crate) fn is_over(date: u64, now: Timestamp) -> bool {
    i64::try_from(date).is_ok_and(|date| date <= now.as_second())
}

/// What a phone may grant beside an approval.
fn granted(lease: Lease) -> String {
    let uses = lease.uses.map(|uses| format!(", for {uses} logins at most")).unwrap_or_default();
    format!(
        "the phone may grant a lease with it, of up to {}{uses}: as long as it holds nobody is asked again",
        length(lease.up_to)
    )
}

fn length(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds => format!("{} min", seconds / 60),
    }
}

fn words(factors: &[Factor], service: &str) -> String {
    let shows_rows = service == ASK_SERVICE
        || services::is_sshd(service)
        || services::has_terminal(services::kind(service), service);
    let words: Vec<&str> = factors
        .iter()
        .map(|factor| match factor {
            Factor::Recovery => "a recovery code",
            Factor::PhoneCode if !shows_rows => {
                "the eight digits that the phone makes out of a QR code, which windows of greeters and lockers do not show"
            }
            Factor::PhoneCode => "the eight digits that the phone makes out of the QR code shown",
            Factor::Totp => "an authenticator's six digits",
            Factor::Lease => "a lease",
        })
        .collect();
    words.join(", ")
}

pub(crate) fn day(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| "a day far off".to_owned(), |at| at.to_zoned(TimeZone::UTC).date().to_string())
}

#[cfg(test)]
mod tests;
