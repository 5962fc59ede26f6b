//! Events for a host or a device: as a stream, or by long poll.

use crate::app::Shared;
use crate::extract::Params;
use crate::poll::{self, Answer};
use crate::problem::Fault;
use crate::streams;
use crate::tokens::Caller;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use countersign_protocol::api::{MAX_POLL, Polled, Problem};
use serde::Deserialize;

/// What opening a stream costs beside the call: all that is held is sent again.
const OPENING: u32 = 9;

/// The parameters of a stream. Others are those of a later version.
#[derive(Debug, Deserialize)]
pub(super) struct Pace {
    comments: Option<u32>,
}

/// Opens the caller's one event stream; another that is open ends.
#[utoipa::path(
    get, path = "/v1/stream", tag = "events", security(("token" = [])),
    params(
        ("comments" = Option<u32>, Query,
         description = "Seconds between comments while nothing happens: 20 unless given, at most 45"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = String,
         description = "Event `hello` (Hello) at once; then `message` and `decision` (Sealed): all held ones, then live. \
                        Comments show that the stream is alive. Event `replaced` ends it when the same key has \
                        opened another."),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn stream(
    State(app): State<Shared>,
    caller: Caller,
    Params(pace): Params<Pace>,
) -> Result<Response, Fault> {
    app.charge(&caller, OPENING)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // nginx would hold events back to fill its buffers.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, streams::open(app, caller.peer, pace.comments)).into_response())
}

/// The parameters of a poll.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    #[serde(default)]
    after: String,
    #[serde(default)]
    wait: u32,
}

/// What a stream would have carried since a cursor; waits until there is something.
#[utoipa::path(
    get, path = "/v1/poll", tag = "events", security(("token" = [])),
    params(
        ("after" = Option<String>, Query, description = "The cursor of the last answer"),
        ("wait" = Option<u32>, Query, maximum = 25, description = "Seconds to wait at most"),
    ),
    responses(
        (status = 200, body = Polled),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn poll(
    State(app): State<Shared>,
    caller: Caller,
    Params(Wait { after, wait }): Params<Wait>,
) -> Result<axum::Json<Answer>, Fault> {
    if wait > MAX_POLL {
        return Err(Fault::bad(format!("wait is at most {MAX_POLL} seconds")));
    }
    poll::poll(app, caller.peer, &after, wait).await.map(axum::Json)
}
