//! Leases in a login's story: one is offered with a request, kept when it was granted, and lets in the next time.

use countersign_policy::{Rule, WithoutPrompt};
use countersign_protocol::audit::Record;
use countersign_protocol::login::Stage;
use countersign_protocol::message::Confirm;

use super::ending::Ending;
use super::facts::Facts;
use super::rules::Account;
use super::story::{Login, Told};
use crate::app::App;
use crate::audit::Durability;
use crate::leases::{Binding, Granted, Lease, Offer};
use crate::log::Level;
use crate::verify::Verified;

/// What a phone may grant beside its approval.
pub(super) fn offer(facts: &Facts, rule: &Rule, account: &Account) -> Option<Offer> {
    account.uid?;
    let ceiling = rule.leases()?;
    Some(Offer { binding: Binding::of(facts, &account.known())?, ceiling })
}

/// Whether a lease lets this login in, in place of asking.
pub(super) async fn lets_in(login: &mut Login, rule: &Rule, account: &Account, person: &str) -> Told<bool> {
    let app = &login.app;
    let Some(Offer { binding, ceiling }) = offer(&login.facts, rule, account) else { return Ok(false) };
    if !app.relay.is_up() && !rule.leases_offline() {
        return Ok(false);
    }
    let wanted = (ceiling, confirm(rule, login.facts.stage));
    match app.leases.take(app, &binding, person, wanted).await {
        Ok(leased) => login.leased = leased.map(Box::new),
        Err(error) => return Err(Ending::fault(format!("a lease's use cannot be written down: {error}"))),
    }
    Ok(login.leased.is_some())
}

/// What had to be done beside approving for a lease to be enough now. Where nothing can be asked and a tap is not
/// enough, one that was granted with a code is.
fn confirm(rule: &Rule, stage: Stage) -> Confirm {
    match (stage, rule.without_prompt) {
        (Stage::Auth, _) => rule.confirm,
        (Stage::Session, WithoutPrompt::Tap) => Confirm::Tap,
        (Stage::Session, WithoutPrompt::Refuse) => Confirm::Code,
    }
}

/// Keeps the lease of a login that was granted just now, if its decision holds one.
pub(super) fn keep(login: &Login, ending: &Ending) -> bool {
    let Some(request) = login.request.as_deref().filter(|_| ending.factor == Some("device")) else {
        return false;
    };
    // One person's word; where several are needed none is offered.
    let [decision] = &*request.counting() else { return false };
    if decision.decision.lease.is_none() {
        return false;
    }
    let app = &login.app;
    let granted = Granted {
        request: &request.signed,
        id: &request.id,
        person: &request.person,
        decision,
        since: request.deadline.saturating_sub(request.wait),
    };
    let added = match &request.lease {
        Some(offer) => app.leases.add(offer, &granted),
        None => Err("none was offered".to_owned()),
    };
    let pairs =
        [("user", request.user.as_str()), ("device", &decision.fingerprint), ("request", &request.id)];
    match added {
        Ok(lease) => {
            let text = format!("lease for {} s", lease.left());
            app.log.line(Level::Notice, &text, &pairs);
            true
        }
        Err(why) => {
            app.log.line(Level::Warning, &format!("no lease: {why}"), &pairs);
            false
        }
    }
}

/// A person has said no: something is wrong, and what they granted before ends.
pub(super) async fn denied(app: &App, decision: &Verified) {
    let person = &decision.person;
    let ended = app.leases.refused(person);
    if ended.is_empty() {
        return;
    }
    app.leases.write(&app.log).await;
    let why = format!("{person} has denied or reported a request from {}", decision.fingerprint);
    record_end(app, &ended, &why, Durability::Later).await;
}

/// Writes down that leases have ended; they have, whatever comes of it.
pub(crate) async fn record_end(app: &App, ended: &[Lease], why: &str, durability: Durability) {
    for lease in ended {
        let record = Record {
            event: "lease-ended".to_owned(),
            user: Some(lease.binding.user.clone()),
            service: Some(lease.binding.service.clone()),
            host: Some(app.host.name.clone()),
            approver: Some(lease.person.clone()),
            reason: Some(format!("{why}; it was granted with request {}", lease.id)),
            ..Record::default()
        };
        let written = match app.audit.append(record, durability).await {
            Ok(written) => written,
            Err(error) => {
                app.log.error(&format!("the audit cannot be written: {error}"));
                "unwritten".to_owned()
            }
        };
        let pairs = [
            ("user", lease.binding.user.as_str()),
            ("request", &lease.id),
            ("reason", why),
            ("audit", &written),
        ];
        app.log.line(Level::Notice, "lease-ended", &pairs);
    }
}
