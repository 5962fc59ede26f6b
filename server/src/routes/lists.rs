//! Lists of actions, from hosts to the devices that are linked to them.

use crate::app::Shared;
use crate::extract::{self, Device, Host, ListOf, ListPath, Params};
use crate::lists::Full;
use crate::problem::Fault;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use countersign_protocol::api::{MAX_TTL, Problem, PutList};
use countersign_protocol::list::{STEP, is_sealed_length};
use std::time::{Duration, Instant};

/// How long a list may take to arrive: longer than hosts try it.
const ARRIVAL: Duration = Duration::from_secs(20);
/// How a list is sent, in both directions.
const OCTETS: &str = "application/octet-stream";

/// Takes the encrypted list of a host's request.
#[utoipa::path(
    put, path = "/v1/lists/{id}", tag = "lists", security(("token" = [])),
    params(
        ("id" = String, Path, description = "The request's id"),
        ("ttl" = u32, Query, description = "Seconds to keep it, at most 900"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 204, description = "Held until the request is closed, or the time is over"),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The caller is a device"),
        (status = 413, body = Problem),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn put(
    State(app): State<Shared>,
    Host(caller): Host,
    ListPath(id): ListPath,
    Params(PutList { ttl }): Params<PutList>,
    request: Request,
) -> Result<StatusCode, Fault> {
    if ttl == 0 || ttl > MAX_TTL {
        return Err(Fault::bad(format!("ttl is 1 to {MAX_TTL} seconds")));
    }
    if !extract::is_of_type(&request, OCTETS) {
        return Err(Fault::media_type("the body must be bytes with Content-Type: application/octet-stream"));
    }
    let room = app.lists.room(caller.peer).map_err(|full| no_room(&full))?;
    let list = extract::body_within(ARRIVAL, request, &app).await?;
    if !is_sealed_length(list.len()) {
        return Err(Fault::bad("the body's length is not that of an encrypted list"));
    }
    app.charge(&caller, cost(&list))?;
    let expires = Instant::now() + Duration::from_secs(u64::from(ttl));
    room.hold(id, &list, expires).map_err(|full| no_room(&full))?;
    app.metrics.lists.inc();
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a device the encrypted list of a host's request.
#[utoipa::path(
    get, path = "/v1/lists/{host}/{id}", tag = "lists", security(("token" = [])),
    params(
        ("host" = String, Path, description = "The host's key id"),
        ("id" = String, Path, description = "The request's id"),
    ),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem, description = "The caller is a host, or not linked to that one"),
        (status = 404, body = Problem, description = "There is no such list (any more)"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn get(
    State(app): State<Shared>,
    Device(caller): Device,
    ListOf(host, id): ListOf,
) -> Result<impl IntoResponse, Fault> {
    let host = app.registry.host_of(caller.peer, &host).ok_or_else(Fault::not_linked)?;
    let list = app
        .lists
        .get(host, &id, Instant::now())
        .ok_or_else(|| Fault::not_found("no list is held for this request; its host brings it again"))?;
    app.charge(&caller, cost(&list))?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(OCTETS))], list))
}

/// How many calls a list counts as, beside the one that it is.
fn cost(list: &Bytes) -> u32 {
    u32::try_from(list.len() / STEP).unwrap_or(u32::MAX)
}

fn no_room(full: &Full) -> Fault {
    let message = match full {
        Full::Host => {
            "this host has too many lists waiting; try again when some of their requests have ended"
        }
        Full::Server => "the server holds as many lists as it may; try again",
    };
    Fault::limit(message, Duration::from_secs(5))
}
