//! Pairing mailboxes.

use crate::app::Shared;
use crate::envelope;
use crate::extract::{Anybody, Host, Json, Mailbox, MailboxSlot, Params};
use crate::mailboxes::{Refusal, Slot};
use crate::problem::Fault;
use crate::tokens::Caller;
use axum::extract::State;
use axum::http::StatusCode;
use countersign_protocol::api::{MAX_MAIL, MAX_POLL, Mail, MailboxInfo, Mails, Problem};
use countersign_protocol::message::{MessageType, Sealed};
use serde::Deserialize;
use std::time::{Duration, Instant};

fn refused(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::NotOpen => Fault::not_found("this mailbox is not open; begin the pairing anew"),
        Refusal::OtherHost => Fault::conflict("taken", "this mailbox is another host's"),
        Refusal::Taken => Fault::conflict("taken", "somebody else was first; begin the pairing anew"),
        Refusal::Full => {
            Fault::limit("too many mailboxes, messages or readers; try again", Duration::from_secs(10))
        }
    }
}

fn created(new: bool) -> StatusCode {
    if new { StatusCode::CREATED } else { StatusCode::OK }
}

/// Opens a mailbox for five minutes.
#[utoipa::path(
    put, path = "/v1/mailboxes/{id}", tag = "pairing", security(("token" = [])),
    params(("id" = String, Path, description = "32 hex digits")),
    responses(
        (status = 201, description = "Open"),
        (status = 200, description = "It was open already"),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The caller is a device"),
        (status = 409, body = Problem, description = "It is another host's"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn open(
    State(app): State<Shared>,
    Host(caller): Host,
    Mailbox(id): Mailbox,
) -> Result<StatusCode, Fault> {
    app.mailboxes.open(id, caller.peer, Instant::now()).map(created).map_err(refused)
}

/// Closes a mailbox.
#[utoipa::path(
    delete, path = "/v1/mailboxes/{id}", tag = "pairing", security(("token" = [])),
    params(("id" = String, Path, description = "32 hex digits")),
    responses(
        (status = 204, description = "Closed"),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The caller is a device"),
        (status = 404, body = Problem, description = "It is not open"),
        (status = 409, body = Problem, description = "It is another host's"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn close(
    State(app): State<Shared>,
    Host(caller): Host,
    Mailbox(id): Mailbox,
) -> Result<StatusCode, Fault> {
    app.mailboxes.close(&id, caller.peer, Instant::now()).map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tells whose mailbox it is. Anybody may ask who knows the id; what the host reveals later proves it.
#[utoipa::path(
    get, path = "/v1/mailboxes/{id}", tag = "pairing",
    params(("id" = String, Path, description = "32 hex digits")),
    responses(
        (status = 200, body = MailboxInfo),
        (status = 400, body = Problem),
        (status = 404, body = Problem, description = "It is not open"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn info(
    State(app): State<Shared>,
    _: Anybody,
    Mailbox(id): Mailbox,
) -> Result<axum::Json<MailboxInfo>, Fault> {
    let host = app.mailboxes.host(&id, Instant::now()).map_err(refused)?;
    let host = app.registry.id(host).ok_or_else(Fault::internal)?;
    Ok(axum::Json(MailboxInfo { host: host.to_string() }))
}

/// Appends to slot m1. Anybody may who knows the id.
#[utoipa::path(
    post, path = "/v1/mailboxes/{id}/{slot}", tag = "pairing", request_body = Mail,
    params(("id" = String, Path, description = "32 hex digits"), ("slot" = String, Path, description = "m1")),
    responses(
        (status = 201, description = "Appended"),
        (status = 200, description = "It was there already"),
        (status = 400, body = Problem),
        (status = 404, body = Problem, description = "The mailbox is not open"),
        (status = 405, body = Problem, description = "Only m1 is appended to"),
        (status = 409, body = Problem, description = "The host has answered somebody else"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn append(
    State(app): State<Shared>,
    _: Anybody,
    MailboxSlot(id, slot): MailboxSlot,
    Json(mail): Json<Mail>,
) -> Result<StatusCode, Fault> {
    if slot != Slot::M1 {
        return Err(wrong_method());
    }
    check_base64(&mail)?;
    app.mailboxes.append(&id, mail.data, Instant::now()).map(created).map_err(refused)
}

/// Puts slot m2 or m3, once.
#[utoipa::path(
    put, path = "/v1/mailboxes/{id}/{slot}", tag = "pairing", security(("token" = [])), request_body = Mail,
    params(("id" = String, Path, description = "32 hex digits"), ("slot" = String, Path, description = "m2 or m3")),
    responses(
        (status = 201, description = "Put"),
        (status = 200, description = "It was there already"),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The caller is a device"),
        (status = 404, body = Problem, description = "The mailbox is not open"),
        (status = 405, body = Problem, description = "Only m2 and m3 are put"),
        (status = 409, body = Problem, description = "The mailbox is another host's, or the slot holds something else"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn put(
    State(app): State<Shared>,
    Host(caller): Host,
    MailboxSlot(id, slot): MailboxSlot,
    Json(mail): Json<Mail>,
) -> Result<StatusCode, Fault> {
    match slot {
        Slot::M1 => return Err(wrong_method()),
        Slot::M2 => check_base64(&mail)?,
        Slot::M3 => check_receipt(&mail, &caller)?,
    }
    app.mailboxes.put(&id, slot, caller.peer, mail.data, Instant::now()).map(created).map_err(refused)
}

fn wrong_method() -> Fault {
    Fault::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "m1 is appended to with POST; m2 and m3 are put with PUT",
    )
}

fn check_base64(mail: &Mail) -> Result<(), Fault> {
    if !mail.data.is_empty() && envelope::is_base64(&mail.data, MAX_MAIL) {
        return Ok(());
    }
    Err(Fault::bad(format!("data is base64, 1 to {MAX_MAIL} characters")))
}

fn check_receipt(mail: &Mail, caller: &Caller) -> Result<(), Fault> {
    let bad = || Fault::bad("data is the JSON text of a sealed receipt from this host");
    if mail.data.len() > MAX_MAIL {
        return Err(bad());
    }
    let sealed: Sealed = serde_json::from_str(&mail.data).map_err(|_| bad())?;
    let checked = envelope::check(&sealed)?;
    if checked.message_type == MessageType::Receipt && checked.from == caller.id {
        Ok(())
    } else {
        Err(bad())
    }
}

/// The parameters of a read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    #[serde(default)]
    after: usize,
    #[serde(default)]
    wait: u32,
}

/// Reads a slot; waits until there is something. Anybody may who knows the id.
#[utoipa::path(
    get, path = "/v1/mailboxes/{id}/{slot}", tag = "pairing",
    params(
        ("id" = String, Path, description = "32 hex digits"),
        ("slot" = String, Path, description = "m1, m2 or m3"),
        ("after" = Option<u32>, Query, description = "How many messages the reader has already"),
        ("wait" = Option<u32>, Query, maximum = 25, description = "Seconds to wait at most"),
    ),
    responses(
        (status = 200, body = Mails),
        (status = 400, body = Problem),
        (status = 404, body = Problem, description = "The mailbox is not open"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn read(
    State(app): State<Shared>,
    _: Anybody,
    MailboxSlot(id, slot): MailboxSlot,
    Params(Wait { after, wait }): Params<Wait>,
) -> Result<axum::Json<Mails>, Fault> {
    if wait > MAX_POLL {
        return Err(Fault::bad(format!("wait is at most {MAX_POLL} seconds")));
    }
    let until = tokio::time::Instant::now() + Duration::from_secs(u64::from(wait));
    let mut stopping = app.stopping.clone();
    let wake = app.mailboxes.watch(&id, Instant::now()).map_err(refused)?;
    loop {
        let woken = wake.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let mails = app.mailboxes.read(&id, slot, after, Instant::now()).map_err(refused)?;
        if !mails.is_empty() || tokio::time::Instant::now() >= until || *stopping.borrow() {
            return Ok(axum::Json(Mails { mails }));
        }
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep_until(until) => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }
}
