//! What is written down of a login: one audit record with its evidence, and one line for the log.

use std::time::Duration;

use countersign_policy::MOST_NEEDED;
use countersign_protocol::audit::{Further, NO_DEVICE, Record};
use countersign_protocol::login::{Outcome, Stage};
use countersign_protocol::message::Answer;

use super::ending::Ending;
use super::place;
use super::request::OpenRequest;
use super::state::State;
use super::story::Login;
use crate::app::App;
use crate::audit::Durability;
use crate::hook;
use crate::log::Level;
use crate::verify::Verified;

/// Most decisions beside the first in one record: all that can let anybody in, and no longer a line than is read.
const MOST_FURTHER: usize = MOST_NEEDED as usize - 1;

/// Writes an end down, before anybody learns of it. What a typed factor or a lease opened is on the disk
/// afterwards; the rest follows within a second.
///
/// # Errors
/// When the record could not be written.
pub(super) async fn write(
    app: &App,
    id: &str,
    login: &Login,
    ending: &Ending,
    took: Duration,
) -> std::io::Result<()> {
    let facts = &login.facts;
    let stage = match facts.stage {
        Stage::Auth => "auth",
        Stage::Session => "session",
    };
    let outcome = name(ending.outcome);
    let remote = facts.remote.as_ref().map(|remote| remote.address.clone());
    let request = login.request.as_deref();
    let mut decisions = request.map(OpenRequest::evidence).unwrap_or_default();
    if let Some(device) = &ending.device {
        // What another device has signed did not open it, and would contradict the record.
        decisions.retain(|decision| decision.fingerprint == *device);
    }
    let factor = ending.factor.map(str::to_owned);
    let device = decisions.first().map(|decision| decision.fingerprint.clone());
    let device = ending.device.clone().or(device);
    let rule = login.rule.clone();
    let mut reason = ending.reason.clone();
    if decisions.len() > 1 {
        let people: Vec<&str> = decisions.iter().map(|decision| decision.person.as_str()).collect();
        reason.push_str(&format!(" (decided by {})", people.join(", ")));
    }
    if !facts.by_root {
        // All that follows is that caller's own word, and the verdict is for its own use.
        reason.push_str(&format!(" (asked by user {})", facts.uid));
    }

    if request.is_some_and(|request| request.devices.is_empty()) {
        reason.push_str(&format!(" {NO_DEVICE}"));
    }

    let mut record = Record {
        event: match login.observed {
            true => "observed",
            false if facts.is_ask() => "ask",
            false => "login",
        }
        .to_owned(),
        login: Some(id.to_owned()),
        user: Some(facts.user.clone()),
        service: Some(facts.service.clone()),
        stage: Some(stage.to_owned()),
        host: Some(app.host.name.clone()),
        remote,
        outcome: Some(outcome.to_owned()),
        factor,
        approver: decisions.first().map(|decision| decision.person.clone()),
        device,
        action: facts.asked_action().map(str::to_owned),
        detail: request.map_or_else(|| facts.detail.clone(), |request| request.detail.clone()),
        origins: facts.origins.clone(),
        list: facts.list.as_ref().map(|list| list.sha256.clone()),
        rule,
        reason: Some(reason.clone()),
        ..Record::default()
    };
    evidence(&mut record, request, &decisions);
    if let Some(leased) = &login.leased {
        leased.tell(&mut record);
    }
    let durability = if ending.is_unsigned_grant() { Durability::Now } else { Durability::Later };
    let written = app.audit.append(record.clone(), durability).await?;
    if ending.is_unsigned_grant() && ending.factor != Some("lease") {
        let event = hook::Event {
            user: record.user.clone(),
            person: request.map(|request| request.person.clone()),
            service: record.service.clone(),
            source: Some(place::place(facts).name),
            requester: facts.requester.clone(),
            terminal: facts.terminal.clone(),
            factor: record.factor.clone(),
            reason: Some(reason.clone()),
            ..hook::Event::default()
        };
        app.hook.tell(app, hook::What::OfflineFactor, event);
    }

    let seconds = format!("{:.1}s", took.as_secs_f64());
    let mut pairs = vec![("login", id), ("user", &facts.user), ("service", &facts.service), ("stage", stage)];
    let optional = [
        ("requester", &facts.requester),
        ("from", &record.remote),
        ("tty", &facts.terminal),
        ("action", &record.action),
        ("detail", &record.detail),
        ("list", &record.list),
        ("rule", &record.rule),
        ("factor", &record.factor),
        ("device", &record.device),
    ];
    pairs.extend(optional.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?))));
    pairs.extend([("after", seconds.as_str()), ("reason", reason.as_str()), ("audit", written.as_str())]);
    let level = match ending.outcome {
        Outcome::Granted if matches!(ending.factor, Some("allow" | "once")) => Level::Warning,
        Outcome::Granted => Level::Info,
        _ => Level::Notice,
    };
    let observed = if login.observed { " (observed only)" } else { "" };
    app.log.line(level, &format!("{outcome}{observed}"), &pairs);
    Ok(())
}

/// Writes down what came of asking a person about something that is done with the daemon itself: on the
/// disk afterwards, before it is done.
///
/// # Errors
/// When the record could not be written.
pub(super) async fn action(
    app: &App,
    event: &str,
    request: &OpenRequest,
    reason: &str,
) -> std::io::Result<()> {
    let decisions = request.evidence();
    let outcome = match request.state() {
        State::Granted => "granted",
        State::Expired => "expired",
        State::Denied | State::Reported | State::Failed => "denied",
        _ => "withdrawn",
    };
    let mut record = Record {
        event: event.to_owned(),
        user: Some(request.person.clone()),
        host: Some(app.host.name.clone()),
        outcome: Some(outcome.to_owned()),
        approver: decisions.first().map(|decision| decision.person.clone()),
        device: decisions.first().map(|decision| decision.fingerprint.clone()),
        reason: Some(reason.to_owned()),
        ..Record::default()
    };
    evidence(&mut record, Some(request), &decisions);
    let device = record.device.clone();
    let written = app.audit.append(record, Durability::Now).await?;
    let mut pairs = vec![("user", request.person.as_str()), ("outcome", outcome), ("reason", reason)];
    pairs.extend(device.as_deref().map(|device| ("device", device)));
    pairs.push(("audit", &written));
    app.log.line(Level::Notice, event, &pairs);
    Ok(())
}

/// Writes down a decision that came after the end: the login is over, but a denial says that
/// something was wrong with it.
pub(super) async fn late(app: &App, request: &OpenRequest, decision: &Verified) {
    let answer = match decision.decision.decision {
        Answer::Approve => return, // Another device was quicker.
        Answer::Deny => "denied",
        Answer::Report => "reported",
    };
    let mut record = Record {
        event: "late-decision".to_owned(),
        user: Some(request.user.clone()),
        host: Some(app.host.name.clone()),
        outcome: Some(answer.to_owned()),
        approver: Some(decision.person.clone()),
        device: Some(decision.fingerprint.clone()),
        reason: Some(format!("it came when the request was {:?}", request.state()).to_lowercase()),
        ..Record::default()
    };
    evidence(&mut record, Some(request), std::slice::from_ref(decision));
    let written = app.audit.append(record, Durability::Later).await;
    let pairs = [
        ("user", request.user.as_str()),
        ("request", &request.id),
        ("device", &decision.fingerprint),
        ("audit", written.as_deref().unwrap_or("unwritten")),
    ];
    app.log.line(Level::Warning, &format!("{answer} after the login was over"), &pairs);
    if let Err(error) = written {
        app.log.error(&format!("the audit cannot be written: {error}"));
    }
}

fn evidence(record: &mut Record, request: Option<&OpenRequest>, decisions: &[Verified]) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    record.request = request.map(|request| text(&request.signed.bytes));
    record.request_signature = request.map(|request| request.signed.signature.clone());
    let mut decisions = decisions.iter().take(MOST_FURTHER + 1);
    record.certificates = decisions.clone().filter_map(|decision| decision.certificate.clone()).collect();
    if let Some(first) = decisions.next() {
        record.decision = Some(text(&first.bytes));
        record.decision_signature = Some(first.signature.clone());
    }
    let further = decisions.map(|decision| Further {
        approver: decision.person.clone(),
        device: decision.fingerprint.clone(),
        decision: text(&decision.bytes),
        decision_signature: decision.signature.clone(),
    });
    record.further = further.collect();
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Granted => "granted",
        Outcome::Ignored => "ignored",
        Outcome::Denied => "denied",
        Outcome::Expired => "expired",
        Outcome::Withdrawn => "withdrawn",
        Outcome::Unreachable => "unreachable",
        Outcome::Busy => "busy",
        Outcome::Misconfigured => "misconfigured",
        Outcome::Fault => "fault",
    }
}
