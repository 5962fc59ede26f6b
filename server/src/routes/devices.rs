//! Devices: how they become known, and what a host sees of them.

use crate::app::Shared;
use crate::directory::KeyId;
use crate::extract::{Anybody, Device, Host, Json, KeyIdPath, mailbox_id};
use crate::problem::Fault;
use crate::push::Subscription;
use crate::registry::Registered;
use axum::extract::State;
use axum::http::StatusCode;
use countersign_protocol::api::{self, Directory, Problem, Register, SignedCard};
use countersign_protocol::card;
use std::sync::Arc;
use std::time::Instant;

/// Makes a device known that a host has opened a mailbox for, and links the two.
#[utoipa::path(
    post, path = "/v1/devices", tag = "devices", request_body = Register,
    responses(
        (status = 201, description = "Known and linked"),
        (status = 200, description = "Nothing has changed"),
        (status = 400, body = Problem),
        (status = 403, body = Problem, description = "The mailbox is not open, or the card's signature is wrong"),
        (status = 409, body = Problem, description = "A newer card is known, or the key is a host's"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn register(
    State(app): State<Shared>,
    _: Anybody,
    Json(register): Json<Register>,
) -> Result<StatusCode, Fault> {
    let mailbox = mailbox_id(&register.mailbox)?;
    let (device, serial) = check_card(&register.card)?;
    let host = app.mailboxes.admit(&mailbox, device, Instant::now()).map_err(|refusal| match refusal {
        crate::mailboxes::Refusal::Full => {
            Fault::forbidden("limit", "too many devices have used this mailbox; begin the pairing anew")
        }
        _ => Fault::forbidden("mailbox-closed", "the pairing mailbox is not open; begin the pairing anew"),
    })?;
    let host = app.registry.id(host).ok_or_else(Fault::internal)?;
    match put_card(&app, device, register.card, serial, Some(host)).await? {
        true => {
            tracing::info!("device {device} is linked to host {host}");
            Ok(StatusCode::CREATED)
        }
        false => Ok(StatusCode::OK),
    }
}

/// Takes a later card of a device.
#[utoipa::path(
    put, path = "/v1/devices/self", tag = "devices", security(("token" = [])), request_body = SignedCard,
    responses(
        (status = 204, description = "This is the device's card now"),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The card is not the caller's, or its signature is wrong"),
        (status = 409, body = Problem, description = "A newer card is known"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn replace_card(
    State(app): State<Shared>,
    Device(caller): Device,
    Json(card): Json<SignedCard>,
) -> Result<StatusCode, Fault> {
    let (device, serial) = check_card(&card)?;
    if device != caller.id {
        return Err(Fault::forbidden("other-key", "the card is another device's"));
    }
    put_card(&app, device, card, serial, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Checks that a card is signed by the device that it names: the relay has no use for others, and
/// hosts check again.
fn check_card(signed: &SignedCard) -> Result<(KeyId, i64), Fault> {
    let verified = card::verify(signed).map_err(|error| Fault::forbidden("bad-card", error.to_string()))?;
    let serial = i64::try_from(verified.card.serial)
        .map_err(|_| Fault::bad("the card's serial is over 9223372036854775807"))?;
    Ok((KeyId(verified.key.sha256()), serial))
}

fn unknown() -> Fault {
    Fault::forbidden("unknown-key", "this device has no host any more; pair it again")
}

async fn put_card(
    app: &Shared,
    device: KeyId,
    card: SignedCard,
    serial: i64,
    host: Option<KeyId>,
) -> Result<bool, Fault> {
    match app.registry.put_card(device, card, serial, host).await? {
        Registered::Done { changed } => Ok(changed),
        Registered::Older => Err(Fault::conflict(
            "old-card",
            "a card of this device with this or a higher serial is known; serials only rise",
        )),
        Registered::IsHost => {
            Err(Fault::conflict("is-host", "this key is known as a host's; make a new device key"))
        }
        Registered::Unknown => Err(unknown()),
        Registered::Full => Err(Fault::forbidden(
            "limit",
            "the host or the device has as many links as it may; end some of them first",
        )),
    }
}

/// Takes where the device wants to be rung, in place of what it has said before.
#[utoipa::path(
    put, path = "/v1/devices/self/push", tag = "devices", security(("token" = [])),
    request_body = api::Subscription,
    responses(
        (status = 204, description = "It will be rung there"),
        (status = 400, body = Problem, description = "The endpoint or a key is not one that is allowed"),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The caller is a host, or a device without a host"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn subscribe(
    State(app): State<Shared>,
    Device(caller): Device,
    Json(given): Json<api::Subscription>,
) -> Result<StatusCode, Fault> {
    let subscription =
        Subscription::read(&given, app.push.private_networks()).map_err(|bad| Fault::bad(bad.to_string()))?;
    let service = Arc::clone(subscription.service());
    if !app.registry.subscribe(caller.id, given, subscription).await? {
        return Err(unknown());
    }
    tracing::debug!("device {} is rung by way of {service}", caller.id);
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the ringing of a device.
#[utoipa::path(
    delete, path = "/v1/devices/self/push", tag = "devices", security(("token" = [])),
    responses(
        (status = 204, description = "It is not rung (any more)"),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The caller is a host"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn unsubscribe(
    State(app): State<Shared>,
    Device(caller): Device,
) -> Result<StatusCode, Fault> {
    app.registry.unsubscribe(caller.id, None).await?;
    app.push.forget(caller.peer);
    Ok(StatusCode::NO_CONTENT)
}

/// The cards of the devices that a host is linked to.
#[utoipa::path(
    get, path = "/v1/devices", tag = "devices", security(("token" = [])),
    responses(
        (status = 200, body = Directory),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The caller is a device"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn list(
    State(app): State<Shared>,
    Host(caller): Host,
) -> Result<axum::Json<Directory>, Fault> {
    Ok(axum::Json(Directory { devices: app.registry.cards(caller.id).await? }))
}

/// Ends a host's link to a device.
#[utoipa::path(
    delete, path = "/v1/devices/{id}", tag = "devices", security(("token" = [])),
    params(("id" = String, Path, description = "The device's key id")),
    responses(
        (status = 204, description = "The link has ended"),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The caller is a device"),
        (status = 404, body = Problem, description = "There is no such link"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn unlink(
    State(app): State<Shared>,
    Host(caller): Host,
    KeyIdPath(device): KeyIdPath,
) -> Result<StatusCode, Fault> {
    super::hosts::end_link(&app, caller.id, device).await
}
