//! Messages from hosts to devices, and decisions back.

use crate::app::{App, Shared};
use crate::envelope::{self, Checked, Frame};
use crate::extract::{Device, Host, Json};
use crate::messages::{Full, Key, Kind, Version};
use crate::problem::Fault;
use axum::extract::State;
use axum::http::StatusCode;
use countersign_protocol::api::{MAX_MESSAGES, MAX_TTL, Post, PostDecision, Posted, Problem};
use countersign_protocol::message::{MessageType, Sealed};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::tokens::Caller;

/// Takes a host's messages.
#[utoipa::path(
    post, path = "/v1/messages", tag = "messages", security(("token" = [])), request_body = Post,
    responses(
        (status = 202, body = Posted, description = "Held for the devices"),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The caller is a device, or not who the envelope says"),
        (status = 413, body = Problem),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn post(
    State(app): State<Shared>,
    Host(caller): Host,
    Json(post): Json<Post>,
) -> Result<(StatusCode, axum::Json<Posted>), Fault> {
    if post.messages.is_empty() || post.messages.len() > MAX_MESSAGES {
        return Err(Fault::bad(format!("a post has 1 to {MAX_MESSAGES} messages")));
    }
    if post.ttl == 0 || post.ttl > MAX_TTL {
        return Err(Fault::bad(format!("ttl is 1 to {MAX_TTL} seconds")));
    }
    let messages =
        post.messages.iter().map(|sealed| check(sealed, &caller)).collect::<Result<Vec<_>, _>>()?;
    let to: Vec<_> = messages.iter().map(|(_, checked)| checked.to).collect();
    let devices = app.registry.devices(caller.peer, &to);
    for (version, checked) in &messages {
        if *version == Version::Closed {
            app.lists.remove(caller.peer, &checked.id);
        }
    }
    let mut unknown = Vec::new();
    let mut known = Vec::with_capacity(messages.len());
    for ((version, checked), device) in messages.into_iter().zip(devices) {
        let Checked { to, id, frame, .. } = checked;
        match device {
            Some(device) => {
                let key = Key { host: caller.peer, device, kind: version.kind(), id };
                known.push(Message { key, version, frame });
            }
            None => unknown.push(to.to_string()),
        }
    }
    if post.ring {
        for message in known.iter().filter(|message| message.version != Version::Closed) {
            app.limits.pair(caller.peer, message.key.device).map_err(|wait| {
                Fault::limit(
                    "too many requests of this host to one device; wait as long as Retry-After says",
                    wait,
                )
            })?;
        }
    }
    let (listening, ring) = hold(&app, &known, Instant::now() + Duration::from_secs(u64::from(post.ttl)))?;
    for Message { key, version, frame } in ring {
        // The end of a request is pushed to whoever was rung for it.
        if post.ring || *version == Version::Closed {
            app.push.ring(&app, *key, *version, frame, post.ttl);
        }
    }
    app.metrics.posts.inc();
    app.metrics.messages.inc_by(known.len() as u64);
    Ok((StatusCode::ACCEPTED, axum::Json(Posted { listening, unknown })))
}

/// A host's message to a device that is linked to it.
struct Message {
    key: Key,
    version: Version,
    frame: Frame,
}

/// Checks a host's message.
fn check(sealed: &Sealed, caller: &Caller) -> Result<(Version, Checked), Fault> {
    let checked = envelope::check(sealed)?;
    let version = match checked.message_type {
        MessageType::Request => Version::Request,
        MessageType::Closed => Version::Closed,
        MessageType::Notice => Version::Notice,
        MessageType::Decision | MessageType::Receipt | MessageType::Removal => {
            return Err(Fault::bad("a host posts only messages of the types request, closed and notice"));
        }
    };
    check_sender(&checked, caller)?;
    Ok((version, checked))
}

fn check_sender(checked: &Checked, caller: &Caller) -> Result<(), Fault> {
    if checked.from == caller.id {
        return Ok(());
    }
    Err(Fault::forbidden("other-key", "an envelope's `from` is not the caller's key id"))
}

/// Holds the messages; tells how many of the devices have a stream open, and which messages are held now.
fn hold<'a>(app: &App, messages: &'a [Message], expires: Instant) -> Result<(u32, Vec<&'a Message>), Fault> {
    let mut store = app.messages();
    let mut listening = BTreeSet::new();
    let (mut held, mut current, mut no_device) = (0, Vec::new(), None);
    for message in messages {
        let Message { key, version, frame } = message;
        match store.put(*key, *version, frame, expires) {
            Ok(taken) => {
                held += 1;
                current.extend(taken.then_some(message));
            }
            // One device that others have filled must not keep the person's other devices from it.
            Err(full @ Full::Device) => {
                no_device = Some(full);
                continue;
            }
            Err(full) => return Err(no_room(&full)),
        }
        if store.listens(key.device) {
            listening.insert(key.device);
        }
    }
    if let (0, Some(full)) = (held, no_device) {
        return Err(no_room(&full));
    }
    Ok((u32::try_from(listening.len()).unwrap_or(u32::MAX), current))
}

fn no_room(full: &Full) -> Fault {
    let message = match full {
        Full::Host => "this host has too many messages waiting; try again when some have ended",
        Full::Device => "the device has too many messages waiting; try again when some have ended",
        Full::Server => "the server holds as many messages as it may; try again",
    };
    Fault::limit(message, Duration::from_secs(5))
}

/// Takes a device's decision or removal.
#[utoipa::path(
    post, path = "/v1/decisions", tag = "messages", security(("token" = [])), request_body = PostDecision,
    responses(
        (status = 202, description = "Held for the host"),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The caller is a host, not who the envelope says, or not linked to that host"),
        (status = 413, body = Problem),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn decide(
    State(app): State<Shared>,
    Device(caller): Device,
    Json(post): Json<PostDecision>,
) -> Result<StatusCode, Fault> {
    let checked = envelope::check(&post.decision)?;
    let kind = match checked.message_type {
        MessageType::Decision => Kind::Request,
        MessageType::Removal => Kind::Notice,
        MessageType::Request | MessageType::Closed | MessageType::Receipt | MessageType::Notice => {
            return Err(Fault::bad("a device posts only messages of the types decision and removal"));
        }
    };
    check_sender(&checked, &caller)?;
    let host = app.registry.host_of(caller.peer, &checked.to).ok_or_else(Fault::not_linked)?;
    let key = Key { host, device: caller.peer, kind, id: checked.id };
    app.messages().put_decision(key, &checked.frame, Instant::now()).map_err(|full| no_room(&full))?;
    app.metrics.decisions.inc();
    Ok(StatusCode::ACCEPTED)
}
