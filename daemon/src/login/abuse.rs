//! What follows when a person says no, beside the end of their login.

use countersign_protocol::audit::Record;
use countersign_protocol::message::Answer;

use super::request::OpenRequest;
use super::state::Event;
use crate::app::App;
use crate::audit::Durability;
use crate::fatigue::AFTER_REPORT;
use crate::hook;
use crate::log::Level;
use crate::verify::Verified;

/// A believed decision about a request, which may be over by now.
pub(super) async fn decided(app: &App, request: &OpenRequest, by: &Verified) {
    match by.decision.decision {
        Answer::Approve => {}
        Answer::Deny => {
            app.fatigue.denied(&request.asking);
            tell(app, hook::What::Denied, request, by);
        }
        Answer::Report => {
            tell(app, hook::What::Reported, request, by);
            // Another approver's word ends this login; under other rules the person may be their own approver.
            if by.person != request.asking.person {
                app.fatigue.denied(&request.asking);
            } else if app.fatigue.reported(&request.asking) {
                block(app, request).await;
            }
        }
    }
}

fn tell(app: &App, what: hook::What, request: &OpenRequest, by: &Verified) {
    let event = hook::Event {
        person: Some(request.person.clone()),
        source: Some(request.asking.place.name.clone()),
        device: Some(by.fingerprint.clone()),
        ..hook::Event::of_request(&request.signed.bytes)
    };
    app.hook.tell(app, what, event);
}

/// Ends what else is asked of the person from there, and writes down that nothing more will be.
async fn block(app: &App, request: &OpenRequest) {
    let asking = &request.asking;
    for other in app.logins.from(asking) {
        other.happens(Event::Report);
    }
    let hours = AFTER_REPORT / 3600;
    let reason = format!(
        "a login of {} from {} was reported: refused from there for {hours} h, or until: countersign unblock {0}",
        asking.person, asking.place.name
    );
    let record = Record {
        event: "blocked".to_owned(),
        user: Some(asking.person.clone()),
        host: Some(app.host.name.clone()),
        remote: Some(asking.place.name.clone()),
        reason: Some(reason),
        ..Record::default()
    };
    let written = app.audit.append(record, Durability::Later).await;
    let pairs = [
        ("user", asking.person.as_str()),
        ("from", &asking.place.name),
        ("audit", written.as_deref().unwrap_or("unwritten")),
    ];
    app.log.line(Level::Warning, "blocked after a report", &pairs);
    if let Err(error) = written {
        app.log.error(&format!("the audit cannot be written: {error}"));
    }
}
