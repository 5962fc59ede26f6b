//! A request in words that are read at a glance. All that a host says is escaped here.

use super::inbox::{Ended, Verified};
use countersign_protocol::message::{
    Answer, ClosedOutcome, DeviceChange, DeviceEvent, Kind, RemoteSource, Request,
};
use countersign_protocol::text::escape;

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
    let mut out = vec![("from", from(verified)), ("service", escape(&r.service).into_owned())];
    if let Some(command) = text(&r.command) {
        out.push(("command", command));
    }
    if let Some(action) = text(&r.action) {
        out.push(("action", action));
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
    if r.kind == Kind::Unlock {
        out.push(("note", format!("all this is the word of a program of {}'s", escape(&r.user))));
    }
    out.extend(others(verified));
    if let Some(seconds) = r.lease_max {
        out.push(("lease", lease(r, seconds)));
    }
    out.push(("asked at", time_of(r.issued_at)));
    out
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
        out.push(("whose", format!("{}'s, not yours: ask them whether it is they", escape(who))));
    }
    out
}

/// What to do with an approval's code.
#[must_use]
pub fn about_code(verified: &Verified) -> String {
    match verified.somebody_else() {
        None => "Type this code at the login".to_owned(),
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
    let head = headline(&ended.verified);
    let how = match ended.outcome {
        Some(ClosedOutcome::Approved) if ended.verified.request.kind == Kind::Test => "it rang",
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
