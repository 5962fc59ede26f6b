//! Hosts: how they join, and what a device sees of them.

use super::auth::{check_proof, use_up};
use crate::app::Shared;
use crate::directory::KeyId;
use crate::extract::{Anybody, Device, Json, KeyIdPath};
use crate::problem::Fault;
use crate::store::tables::Joined;
use axum::extract::State;
use axum::http::StatusCode;
use countersign_protocol::api::{Hosts, Join, Problem};
use countersign_protocol::text;

/// Longest name of a host in bytes, as DNS has it.
const MAX_NAME: usize = 253;
/// Longest join token in bytes.
const MAX_TOKEN: usize = 128;

/// Lets a host join that has a one-time token.
#[utoipa::path(
    post, path = "/v1/hosts", tag = "hosts", request_body = Join,
    responses(
        (status = 201, description = "Joined"),
        (status = 200, description = "Known already; its name is renewed"),
        (status = 400, body = Problem),
        (status = 403, body = Problem, description = "The token is wrong, used or old, or the proof does not hold"),
        (status = 409, body = Problem, description = "The key is a device's"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn join(
    State(app): State<Shared>,
    _: Anybody,
    Json(join): Json<Join>,
) -> Result<StatusCode, Fault> {
    if join.name.is_empty() || join.name.len() > MAX_NAME || join.name.chars().any(text::is_active) {
        return Err(Fault::bad("the host's name is empty, too long or holds control characters"));
    }
    if join.token.len() > MAX_TOKEN {
        return Err(Fault::forbidden("token-unknown", NO_TOKEN));
    }
    let proven = check_proof(&app, &join.proof)?;
    let id = KeyId(proven.key.sha256());
    let name = text::escape(&join.name).into_owned();
    let joined = app.registry.join(join.token, id, proven.key.to_line(), join.name).await?;
    if matches!(joined, Joined::New | Joined::Again) {
        // The same join twice is no more than once, but a proof shall serve one purpose.
        use_up(&app, &proven)?;
    }
    match joined {
        Joined::New => {
            tracing::info!("host {id} ({name}) has joined");
            Ok(StatusCode::CREATED)
        }
        Joined::Again => {
            tracing::info!("host {id} ({name}) has joined again");
            Ok(StatusCode::OK)
        }
        Joined::NoToken => Err(Fault::forbidden("token-unknown", NO_TOKEN)),
        Joined::Used => Err(Fault::forbidden(
            "token-used",
            "another host has used this join token; make a new one on the server: countersign-server token",
        )),
        Joined::Expired => Err(Fault::forbidden(
            "token-expired",
            "this join token has expired; make a new one on the server: countersign-server token",
        )),
        Joined::IsDevice => {
            Err(Fault::conflict("is-device", "this key is known as a device's; make a new host key"))
        }
    }
}

const NO_TOKEN: &str = "there is no such join token; make a new one on the server: countersign-server token";

/// The hosts that a device is linked to.
#[utoipa::path(
    get, path = "/v1/hosts", tag = "hosts", security(("token" = [])),
    responses(
        (status = 200, body = Hosts),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The caller is a host"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn list(
    State(app): State<Shared>,
    Device(caller): Device,
) -> Result<axum::Json<Hosts>, Fault> {
    Ok(axum::Json(Hosts { hosts: app.registry.hosts(caller.id).await? }))
}

/// Ends a device's link to a host.
#[utoipa::path(
    delete, path = "/v1/hosts/{id}", tag = "hosts", security(("token" = [])),
    params(("id" = String, Path, description = "The host's key id")),
    responses(
        (status = 204, description = "The link has ended"),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The caller is a host"),
        (status = 404, body = Problem, description = "There is no such link"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn unlink(
    State(app): State<Shared>,
    Device(caller): Device,
    KeyIdPath(host): KeyIdPath,
) -> Result<StatusCode, Fault> {
    end_link(&app, host, caller.id).await
}

/// Ends a link: nothing between the two is kept, and a device without a host is nobody any more.
pub(super) async fn end_link(app: &Shared, host: KeyId, device: KeyId) -> Result<StatusCode, Fault> {
    let (host_peer, device_peer) =
        app.registry.unlink(host, device).await?.ok_or_else(|| Fault::not_found("the two are not linked"))?;
    app.messages().unlink(host_peer, device_peer);
    app.push.unlink(host_peer, device_peer);
    if app.registry.find(&device).is_none() {
        app.tokens.end(device_peer);
    }
    tracing::info!("host {host} and device {device} are no longer linked");
    Ok(StatusCode::NO_CONTENT)
}
