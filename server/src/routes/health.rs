//! For whoever watches the server.

use crate::app::Shared;
use crate::problem::Fault;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use countersign_protocol::api::Problem;
use std::time::Duration;

/// How long readiness waits for the database.
const PING: Duration = Duration::from_secs(2);

/// The process answers.
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    responses((status = 200, content_type = "text/plain", body = String))
)]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// The server can do its work: the database answers, and it is not stopping.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, content_type = "text/plain", body = String),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn ready(State(app): State<Shared>) -> Result<&'static str, Fault> {
    let not_ready = |why| Fault::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", why);
    if *app.stopping.borrow() {
        return Err(not_ready("the server is stopping"));
    }
    match tokio::time::timeout(PING, app.registry.ping()).await {
        Ok(pong) => pong?,
        Err(_) => return Err(not_ready("the database does not answer")),
    }
    Ok("ok\n")
}

/// Counters in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, content_type = "application/openmetrics-text", body = String))
)]
pub(super) async fn metrics(State(app): State<Shared>) -> Result<impl IntoResponse, Fault> {
    let text = app.metrics.text(&app).ok_or_else(Fault::internal)?;
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text))
}
