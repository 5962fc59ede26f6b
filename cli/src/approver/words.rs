//! A request in words that are read at a glance. All that a host says is escaped here.

use super::inbox::{Ended, Verified};
use countersign_protocol::login::ASK_SERVICE;
use countersign_protocol::message::{
    Answer, ClosedOutcome, DeviceChange, DeviceEvent, Kind, PlaceSource, RemoteSource, Request,
};
use countersign_protocol::text::escape;
use std::borrow::Cow;

/// Who wants what, on which machine: one sentence.
#[must_use]
pub fn headline(verified: &Verified) -> String {
    let (r, host) = (&verified.request, escape(&verified.host_name));
    let (user, service) = (escape(&r.user), escape(&r.service));
    let who = r.requester.as_deref().map_or_else(|| user.clone(), escape);
    match r.kind {
        Kind::Login if who == user => format!("{user} wants to log in to {host}"),
        Kind::Login => format!("{who} wants to log in to {host} as {user}"),
        Kind::Command if who == user => format!("{user} wants to use {service} on {host}"),
        Kind::Command => format!("{who} wants to act as {user} by {service} on {host}"),
        Kind::Unlock => format!("{who} wants to unlock {host}"),
        Kind::Action => format!("{who} wants to do something privileged on {host}"),
        Kind::Test => format!("{host} rings this device as a test; nothing opens"),
    }
}

/// The rest, as labels and values.
#[must_use]
pub fn details(verified: &Verified, time_of: fn(u64) -> String) -> Vec<(&'static str, String)> {
    let r = &verified.request;
    let text = |t: &Option<String>| t.as_deref().map(|t| escape(t).into_owned());
    let mut out = vec![("from", from(verified))];
    if let Some(place) = place(r) {
        out.push(("place", place));
    }
    if first_time(r) {
        out.push(("new", "first time from this address".to_owned()));
    }
    out.push(("service", escape(&r.service).into_owned()));
    if let Some(command) = text(&r.command) {
        out.push(match r.kind {
            // Which is to run, once it is approved.
            Kind::Action => ("command", command),
            _ => ("command", format!("{command} (command line of the calling process)")),
        });
    }
    if let Some(action) = text(&r.action) {
        out.push(("action", action));
    }
    if let Some(detail) = text(&r.detail) {
        out.push(("what", detail));
    }
    if let Some(list) = &r.list {
        out.push(("list", lines(list.lines)));
    }
    if let (Kind::Action, Some(_)) = (r.kind, r.requester.as_ref().filter(|who| **who != r.user)) {
        out.push(("as", escape(&r.user).into_owned()));
    }
    if let Some(terminal) = text(&r.terminal) {
        out.push(("terminal", terminal));
    }
    if let Some(key) = &r.ssh_key {
        out.push(("ssh key", format!("{} ({})", escape(&key.fingerprint), escape(&key.key_type))));
    }
    if r.host.name != verified.host_name {
        out.push(("machine", format!("calls itself {} now", escape(&r.host.name))));
    }
    if r.kind == Kind::Unlock || r.service == ASK_SERVICE {
        out.push(("note", "all this is the word of the program that asks".to_owned()));
    }
    out.extend(others(verified));
    if let Some(seconds) = r.lease_max {
        out.push(("lease", lease(r, seconds)));
    }
    out.push(("asked at", time_of(r.issued_at)));
    if let Some(there) = clock_there(r) {
        out.push(("its clock", there));
    }
    out
}

/// `1 line`, `500 lines`.
#[must_use]
pub fn lines(n: u32) -> String {
    if n == 1 { "1 line".to_owned() } else { format!("{n} lines") }
}

/// The lines of a list. What acts on a terminal is escaped.
pub fn list_lines(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.split_terminator('\n').map(escape)
}

/// Where its address may be, and whose word that is.
fn place(request: &Request) -> Option<String> {
    let place = request.context.as_ref()?.place.as_ref()?;
    Some(match place.source {
        PlaceSource::Geoip => {
            format!("{} (by the machine's own table; may be wrong)", escape(&place.text))
        }
    })
}

/// Whether the user was never let in from its address.
#[must_use]
pub fn first_time(request: &Request) -> bool {
    request.context.as_ref().is_some_and(|context| context.new_source)
}

/// What the machine's own clock shows, and in which zone.
fn clock_there(request: &Request) -> Option<String> {
    let zone = request.context.as_ref()?.zone.as_ref()?;
    let shown = i64::try_from(request.issued_at).ok()?.checked_add(i64::from(zone.offset) * 60)?;
    let (hours, minutes) = (shown.rem_euclid(86_400) / 3_600, shown.rem_euclid(3_600) / 60);
    let far = zone.offset.unsigned_abs();
    let ahead = match (zone.offset, far % 60) {
        (0, _) => String::new(),
        (offset, 0) => format!("{}{}", if offset < 0 { '-' } else { '+' }, far / 60),
        (offset, rest) => format!("{}{}:{rest:02}", if offset < 0 { '-' } else { '+' }, far / 60),
    };
    let name = zone.name.as_deref().filter(|name| *name != "UTC");
    let name = name.map(|name| format!(", {}", escape(name))).unwrap_or_default();
    Some(format!("{hours:02}:{minutes:02} there (UTC{ahead}{name})"))
}

/// What a lease would be, so that nobody grants more than they think.
fn lease(request: &Request, seconds: u32) -> String {
    let uses = request.lease_uses.map(|uses| format!(", {uses} times at most")).unwrap_or_default();
    let what = match request.kind {
        Kind::Command => "ANY command of this service, in this session on this terminal",
        _ => "this user again, from this address with this key",
    };
    format!("may be granted for up to {}{uses}: {what}, unasked", length(seconds))
}

/// `8 h`, `90 min`.
#[must_use]
pub fn length(seconds: u32) -> String {
    match seconds {
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s => format!("{} min", s.div_ceil(60)),
    }
}

/// That others decide, too, or about somebody else.
fn others(verified: &Verified) -> Vec<(&'static str, String)> {
    let approvals = &verified.request.approvals;
    let mut out = Vec::new();
    let is_else = verified.somebody_else();
    if approvals.needed > 1 || is_else.is_some() {
        let from = approvals.from.join(", ");
        let how = match approvals.needed {
            1 => "1 person has to approve; you are one of those who may".to_owned(),
            needed => format!("{needed} people have to approve; you are one of them"),
        };
        out.push(("needs", format!("{how} ({})", escape(&from))));
    }
    if let Some(who) = is_else {
        // Behind a job there is nobody.
        let ask = match (verified.request.kind, &verified.request.requester) {
            (Kind::Action, None) => "nobody is logged in behind it",
            _ => "ask them whether it is they",
        };
        out.push(("whose", format!("{}'s, not yours: {ask}", escape(who))));
    }
    out
}

/// What to do with an approval's code.
#[must_use]
pub fn about_code(verified: &Verified) -> String {
    match verified.somebody_else() {
        None if verified.request.kind == Kind::Action => "Type this code where it is asked for".to_owned(),
        None => "Type this code at the login".to_owned(),
        Some(who) if verified.request.kind == Kind::Action => {
            format!("Tell {} this code, who types it where it is asked for", escape(who))
        }
        Some(who) => format!("Tell {} this code, who types it at their login", escape(who)),
    }
}

/// Where from, and whose word that is.
fn from(verified: &Verified) -> String {
    let request = &verified.request;
    let Some(remote) = &request.remote else {
        return format!("{} itself, not over the network", escape(&verified.host_name));
    };
    let address = escape(&remote.address);
    let port = remote.port.map(|p| format!(" port {p}")).unwrap_or_default();
    match remote.source {
        RemoteSource::Kernel => format!("{address}{port} (the connection itself)"),
        RemoteSource::Pam => format!("{address}{port} (as {} says; may be wrong)", escape(&request.service)),
        RemoteSource::None => format!("{address}{port} (nobody vouches for it)"),
    }
}

/// How it ended.
#[must_use]
pub fn ending(ended: &Ended) -> String {
    let mut head = headline(&ended.verified);
    // There is no more of it where this stands, and one action differs from the next by its name alone.
    if let Some(action) = &ended.verified.request.action {
        head = format!("{head} ({})", escape(action));
    }
    let how = match ended.outcome {
        Some(ClosedOutcome::Approved) if ended.verified.request.kind == Kind::Test => "it rang",
        Some(ClosedOutcome::Approved) if ended.verified.request.kind == Kind::Action => "approved",
        Some(ClosedOutcome::Approved) => "let in",
        Some(ClosedOutcome::Denied) => "denied",
        Some(ClosedOutcome::Reported) => "denied and reported",
        Some(ClosedOutcome::Expired) => "expired: nobody answered, or the code was not typed",
        Some(ClosedOutcome::Withdrawn) => "withdrawn: the other side went away",
        Some(ClosedOutcome::Failed) => "failed: wrong codes were typed, or the host could not write it down",
        Some(ClosedOutcome::Replaced) => "replaced by another request",
        Some(ClosedOutcome::Otherwise) => "decided in another way",
        None => "over: its time ran out",
    };
    let elsewhere = match (ended.answer, ended.outcome) {
        (None, Some(ClosedOutcome::Approved | ClosedOutcome::Denied | ClosedOutcome::Reported)) => {
            " (on another device)"
        }
        _ => "",
    };
    format!("{head}: {how}{elsewhere}")
}

/// What has become of a device, and what to do when that is wrong.
#[must_use]
pub fn news(host_name: &str, user: &str, change: &DeviceEvent) -> String {
    let (host, user, device) = (escape(host_name), escape(user), escape(&change.name));
    match change.what {
        DeviceChange::Paired => format!(
            "The device \"{device}\" may approve for {user} at {host} from now on. If you did not pair it: \
             countersign revoke {user} there"
        ),
        DeviceChange::Removed => {
            format!("The device \"{device}\" may no longer approve for {user} at {host}.")
        }
    }
}

/// That more has become of devices than is shown.
#[must_use]
pub fn many_news(host_name: &str, user: &str, many: usize) -> String {
    let (host, user) = (escape(host_name), escape(user));
    format!(
        "{many} devices of {user} at {host} came or went: look at all with countersign devices {user} there"
    )
}

/// An answer as the person gave it.
#[must_use]
pub fn answered(answer: Answer) -> &'static str {
    match answer {
        Answer::Approve => "approved",
        Answer::Deny => "denied",
        Answer::Report => "denied and reported",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approver::testing::{listed, request, verified};

    fn said(verified: &Verified) -> Vec<String> {
        let about = |(label, _): &(&str, String)| ["needs", "whose"].contains(label);
        details(verified, |_| String::new()).into_iter().filter(about).map(|(_, text)| text).collect()
    }

    #[test]
    fn of_an_action_it_is_said_for_whom_it_is_and_whose_word() {
        let row = |verified: &Verified, name: &str| {
            let rows = details(verified, |_| String::new());
            rows.into_iter().find(|(label, _)| *label == name).map(|(_, text)| text)
        };
        let mut asked = verified(request("a"));
        asked.request.command = Some("make install".into());
        assert!(row(&asked, "command").is_some_and(|text| text.contains("of the calling process")));
        assert_eq!((row(&asked, "note"), row(&asked, "as")), (None, None));
        (asked.request.kind, asked.request.service) = (Kind::Action, "ask".into());
        (asked.request.user, asked.request.requester) = ("root".into(), Some("alice".into()));
        assert_eq!(row(&asked, "command").as_deref(), Some("make install"), "it does not run yet");
        assert_eq!(row(&asked, "as").as_deref(), Some("root"));
        assert!(row(&asked, "note").is_some_and(|text| text.contains("the program that asks")));
        // What polkit's rule has said says so by itself.
        asked.request.service = "polkit-1".into();
        assert_eq!(row(&asked, "note"), None);
    }

    #[test]
    fn that_others_decide_and_whose_login_it_is_stands_there() {
        let mut asked = verified(request("a"));
        assert_eq!(said(&asked), Vec::<String>::new(), "one's own, and alone");
        assert_eq!(about_code(&asked), "Type this code at the login");
        asked.request.approvals.needed = 2;
        asked.request.approvals.from = vec!["@oncall".into(), "carol\x1b".into()];
        assert_eq!(said(&asked), ["2 people have to approve; you are one of them (@oncall, carol\\u{1b})"]);
        (asked.request.user, asked.request.requester) = ("root".into(), Some("bob".into()));
        assert_eq!(said(&asked)[1], "bob's, not yours: ask them whether it is they");
        assert_eq!(about_code(&asked), "Tell bob this code, who types it at their login");
        asked.request.approvals.needed = 1;
        assert!(said(&asked)[0].starts_with("1 person has to approve; you are one of those who may"));
        asked.request.requester = Some("alice".into());
        assert_eq!(asked.somebody_else(), None);
        (asked.request.kind, asked.request.requester) = (Kind::Action, None);
        assert!(said(&asked).contains(&"root's, not yours: nobody is logged in behind it".to_owned()));
    }

    #[test]
    fn of_an_action_nothing_is_said_about_a_login() {
        let mut asked = verified(listed("a", "one"));
        assert_eq!(about_code(&asked), "Type this code where it is asked for");
        (asked.request.user, asked.request.requester) = ("root".into(), Some("bob".into()));
        asked.request.action = Some("apt.upgrade\x1b".into());
        assert_eq!(about_code(&asked), "Tell bob this code, who types it where it is asked for");
        let outcome = Some(ClosedOutcome::Approved);
        let ended = Ended { verified: asked, answer: None, outcome, at: 0 };
        let said =
            "bob wants to do something privileged on web1 (apt.upgrade\\u{1b}): approved (on another device)";
        assert_eq!(ending(&ended), said);
    }
}
