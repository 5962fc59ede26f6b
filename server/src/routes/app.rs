//! What the web app has to know about the server.

use crate::app::Shared;
use crate::extract::Anybody;
use axum::extract::State;
use countersign_protocol::api::{AppInfo, Problem};

/// Tells the server's version and its key for Web Push. Anybody may ask.
#[utoipa::path(
    get, path = "/v1/app", tag = "devices",
    responses((status = 200, body = AppInfo), (status = 429, body = Problem))
)]
pub(super) async fn info(State(app): State<Shared>, _: Anybody) -> axum::Json<AppInfo> {
    let server = env!("CARGO_PKG_VERSION").to_owned();
    axum::Json(AppInfo { server, vapid: app.push.key().to_owned() })
}
