//! How handlers get at a request's parts; every refusal is a [`Fault`].

use crate::app::Shared;
use crate::directory::{KeyId, Role};
use crate::envelope::{self, RequestId};
use crate::mailboxes::{MailboxId, Slot};
use crate::problem::Fault;
use crate::tokens::Caller;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use countersign_protocol::text;
use serde::de::DeserializeOwned;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How long most bodies may take to arrive; until then their first part takes memory.
const BODY: Duration = Duration::from_secs(10);

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Fault> {
        if !is_of_type(&request, "application/json") {
            return Err(Fault::media_type("the body must be JSON with Content-Type: application/json"));
        }
        let body = body(request, app).await?;
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| Fault::bad(format!("the body is not what this call takes: {}", short(&error))))
    }
}

/// Whether a body is said to be of that type.
pub(crate) fn is_of_type(request: &Request, wanted: &str) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    kind.eq_ignore_ascii_case(wanted)
}

/// The whole body, within its limits.
async fn body(request: Request, app: &Shared) -> Result<Bytes, Fault> {
    body_within(BODY, request, app).await
}

/// The same where it may take that long.
pub(crate) async fn body_within(time: Duration, request: Request, app: &Shared) -> Result<Bytes, Fault> {
    let body = Bytes::from_request(request, app);
    let body = tokio::time::timeout(time, body).await.map_err(|_| {
        Fault::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body took too long to arrive")
    })?;
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is over its size limit")
        }
        _ => Fault::bad("the body did not arrive whole"),
    })
}

/// A parser's words may quote the input at length.
fn short(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text::escape(text::clip(&text, 200)).into_owned()
}

/// The part of the URL after `?`.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Params<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Fault> {
        let Query(params) = Query::try_from_uri(&parts.uri)
            .map_err(|error| Fault::bad(format!("the URL's parameters: {}", error.body_text())))?;
        Ok(Self(params))
    }
}

/// Where the caller is: its address, or what the proxy in front says.
pub(crate) struct Address(pub(crate) IpAddr);

impl FromRequestParts<Shared> for Address {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Fault> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        // The proxy appends whom it talks to; what stands before that, anybody can write.
        let last = |parts: &Parts| {
            let mut lines = parts.headers.get_all("x-forwarded-for").iter();
            lines.next_back()?.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
        };
        let told = if app.behind_proxy { last(parts) } else { None };
        told.or(peer).map(Self).ok_or_else(Fault::internal)
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Fault> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
        if let Some(caller) = token.and_then(|token| app.tokens.find(token.trim(), Instant::now())) {
            app.charge(&caller, 1)?;
            return Ok(caller);
        }
        let Address(address) = Address::from_request_parts(parts, app).await?;
        app.charge_address(address)?;
        Err(Fault::unauthorized())
    }
}

/// A caller that is a host.
pub(crate) struct Host(pub(crate) Caller);

impl FromRequestParts<Shared> for Host {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Fault> {
        let caller = Caller::from_request_parts(parts, app).await?;
        match caller.role {
            Role::Host => Ok(Self(caller)),
            Role::Device => {
                Err(Fault::forbidden("not-a-host", "only a host may do this; this key is a device's"))
            }
        }
    }
}

/// A caller that is a device.
pub(crate) struct Device(pub(crate) Caller);

impl FromRequestParts<Shared> for Device {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Fault> {
        let caller = Caller::from_request_parts(parts, app).await?;
        match caller.role {
            Role::Device => Ok(Self(caller)),
            Role::Host => {
                Err(Fault::forbidden("not-a-device", "only a device may do this; this key is a host's"))
            }
        }
    }
}

/// An unknown caller that may call now.
pub(crate) struct Anybody;

impl FromRequestParts<Shared> for Anybody {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Fault> {
        let Address(address) = Address::from_request_parts(parts, app).await?;
        app.charge_address(address)?;
        Ok(Self)
    }
}

/// A mailbox's id in the path.
pub(crate) struct Mailbox(pub(crate) MailboxId);

impl FromRequestParts<Shared> for Mailbox {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Fault> {
        let Path(id) = text_path::<String>(parts, app).await?;
        mailbox_id(&id).map(Self)
    }
}

/// A mailbox's id and slot in the path.
pub(crate) struct MailboxSlot(pub(crate) MailboxId, pub(crate) Slot);

impl FromRequestParts<Shared> for MailboxSlot {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Fault> {
        let Path((id, slot)) = text_path::<(String, String)>(parts, app).await?;
        let slot = match slot.as_str() {
            "m1" => Slot::M1,
            "m2" => Slot::M2,
            "m3" => Slot::M3,
            _ => return Err(Fault::not_found("a mailbox has the slots m1, m2 and m3")),
        };
        Ok(Self(mailbox_id(&id)?, slot))
    }
}

/// A key id in the path.
pub(crate) struct KeyIdPath(pub(crate) KeyId);

impl FromRequestParts<Shared> for KeyIdPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Fault> {
        let Path(id) = text_path::<String>(parts, app).await?;
        KeyId::parse(&id).map(Self).ok_or_else(|| Fault::bad("the path names no key id"))
    }
}

/// The id of a list's request in the path.
pub(crate) struct ListPath(pub(crate) RequestId);

impl FromRequestParts<Shared> for ListPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Fault> {
        let Path(id) = text_path::<String>(parts, app).await?;
        list_id(&id).map(Self)
    }
}

/// A host's key id and the id of a list's request in the path.
pub(crate) struct ListOf(pub(crate) KeyId, pub(crate) RequestId);

impl FromRequestParts<Shared> for ListOf {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Fault> {
        let Path((host, id)) = text_path::<(String, String)>(parts, app).await?;
        let host = KeyId::parse(&host).ok_or_else(|| Fault::bad("the path names no key id"))?;
        Ok(Self(host, list_id(&id)?))
    }
}

fn list_id(text: &str) -> Result<RequestId, Fault> {
    envelope::request_id(text).ok_or_else(|| Fault::bad("a request's id is 32 lower-case hex digits"))
}

/// Reads a mailbox's id: 32 lower-case hex digits.
pub(crate) fn mailbox_id(text: &str) -> Result<MailboxId, Fault> {
    envelope::request_id(text).ok_or_else(|| Fault::bad("a mailbox's id is 32 lower-case hex digits"))
}

async fn text_path<T: DeserializeOwned + Send>(parts: &mut Parts, app: &Shared) -> Result<Path<T>, Fault> {
    Path::from_request_parts(parts, app).await.map_err(|_| Fault::bad("the path is not readable"))
}
