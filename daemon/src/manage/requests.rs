//! The requests that wait: listed, and ended before their time.

use super::{Answer, Refusal, Session, write_record};
use crate::app::App;
use crate::login::request::OpenRequest;
use crate::login::state::Event;
use countersign_protocol::audit::Record;
use countersign_protocol::manage::{MIN_REQUEST_ID, Request, Requests, error};
use countersign_protocol::message;
use std::rc::Rc;

/// Room for a list in a reply.
const MAX_REPLY: usize = 12 * 1024;

impl Session {
    pub(super) async fn requests(&self, user: Option<&str>, after: Option<&str>) -> Answer<Requests> {
        let user = self.whose(user).await?;
        Ok(list(&self.app, user.as_deref(), after))
    }

    pub(super) async fn cancel_request(&self, id: &str) -> Answer<Request> {
        let user = self.whose(None).await?;
        cancel(&self.app, user.as_deref(), id, &self.by()).await
    }
}

/// Whether a user may see a request and end it: their account is to be entered, or they ask.
fn is_of(request: &OpenRequest, user: Option<&str>) -> bool {
    user.is_none_or(|user| request.user == user || request.requester.as_deref() == Some(user))
}

/// Those of a user that wait, after the one of that id where one is given.
fn list(app: &App, user: Option<&str>, after: Option<&str>) -> Requests {
    let mut all = app.logins.open_requests(|request| is_of(request, user));
    all.sort_by(|one, other| (one.deadline, &one.id).cmp(&(other.deadline, &other.id)));
    if let Some(at) = after.and_then(|id| all.iter().position(|request| request.id == id)) {
        all.drain(..=at);
    }
    let (mut room, mut requests, mut rest) = (MAX_REPLY, Vec::new(), all.len());
    for request in &all {
        if let Some(told) = told_request(request) {
            let length = serde_json::to_vec(&told).map_or(room, |text| text.len() + 1);
            let Some(left) = room.checked_sub(length) else { break };
            room = left;
            requests.push(told);
        }
        rest -= 1;
    }
    Requests { requests, more: u32::try_from(rest).unwrap_or(u32::MAX) }
}

/// Ends one of a user's: whoever waits for it is refused, and the phones stop ringing.
async fn cancel(app: &App, user: Option<&str>, id: &str, by: &str) -> Answer<Request> {
    let mut found: Vec<Rc<OpenRequest>> =
        app.logins.open_requests(|request| is_of(request, user) && request.id.starts_with(id));
    let none = || Refusal(error::NOT_FOUND, "no such request waits; see: countersign requests".into());
    let request = found.pop().ok_or_else(none)?;
    if id.len() < MIN_REQUEST_ID || !found.is_empty() {
        return Err(Refusal(error::REFUSED, "give more of the request's id (countersign requests)".into()));
    }
    let told = told_request(&request).ok_or_else(none)?;
    // At once: what is refused needs no record first, and might be granted while that is written.
    if !request.cancel(by) {
        return Err(none());
    }
    let record = Record {
        event: "request-cancelled".into(),
        user: Some(request.user.clone()),
        service: Some(told.service.clone()),
        reason: Some(format!("request {} by {by}", request.id)),
        ..Record::default()
    };
    write_record(app, record).await?;
    Ok(told)
}

/// A request as it is told: what its signed bytes say. Nothing for one that cannot be read, which there is not.
pub(crate) fn told_request(request: &OpenRequest) -> Option<Request> {
    let said: message::Request = serde_json::from_slice(&request.signed.bytes).ok()?;
    Some(Request {
        id: said.id,
        user: said.user,
        requester: said.requester,
        service: said.service,
        kind: said.kind,
        command: said.command,
        action: said.action,
        terminal: said.terminal,
        from: said.remote.map(|remote| remote.address),
        issued_at: said.issued_at,
        expires_in: u32::try_from(request.left().as_secs()).unwrap_or(u32::MAX),
        confirm: said.confirm,
        needed: request.needed.max(1),
        approved: u32::try_from(request.approved()).unwrap_or(u32::MAX),
        unreachable: request.is_unreachable(),
    })
}

impl OpenRequest {
    /// Takes it back, whoever waits for it; `false` when it is over already.
    fn cancel(&self, by: &str) -> bool {
        self.cancelled_by.replace(Some(by.to_owned()));
        self.happens(Event::HangUp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::state::State;
    use crate::manage::testing::session;
    use crate::testing::{Lab, TestDevice};
    use countersign_protocol::message::Confirm;
    use std::time::Duration;

    #[tokio::test]
    async fn a_request_is_seen_and_ended_by_root_and_by_whom_it_concerns() {
        let (lab, device) = (Lab::new(), TestDevice::new());
        lab.pair("alice", &device).await;
        let request = lab.request("alice", Confirm::Code, Duration::from_secs(60));
        lab.app.logins.keep(&request);
        let (root, _peer) = session(&lab, 0, true);
        let ids = |found: Requests| found.requests.into_iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(ids(root.requests(None, None).await.ok().unwrap()), [request.id.as_str()]);
        assert!(ids(root.requests(Some("root"), None).await.ok().unwrap()).is_empty());
        assert!(ids(root.requests(None, Some(&request.id)).await.ok().unwrap()).is_empty());
        let none = |refused: Answer<Request>| refused.err().map(|Refusal(name, _)| name);
        let cancel = async |user, id: &str| cancel(&lab.app, user, id, "user 1").await;
        assert_eq!(none(cancel(Some("bob"), &request.id).await), Some(error::NOT_FOUND));
        assert_eq!(none(cancel(Some("alice"), &request.id[..3]).await), Some(error::REFUSED));
        assert!(lab.audit().is_empty() && !request.state().is_end());
        assert!(cancel(Some("alice"), &request.id[..8]).await.is_ok());
        assert_eq!(request.state(), State::Withdrawn);
        assert_eq!(none(cancel(None, &request.id).await), Some(error::NOT_FOUND));
        let records = lab.audit();
        assert_eq!((records.len(), records[0].event.as_str()), (1, "request-cancelled"));
        assert!(ids(root.requests(None, None).await.ok().unwrap()).is_empty());
    }
}
