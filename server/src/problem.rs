//! Every error answer is a [`Problem`]: a stable code for programs, one plain line for people.

use crate::store::StoreError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use countersign_protocol::api::Problem;
use countersign_protocol::text;
use std::borrow::Cow;
use std::time::Duration;

/// An error on its way to the client.
#[derive(Debug)]
pub(crate) struct Fault {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
}

impl Fault {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    /// The request is not understood.
    pub(crate) fn bad(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }

    /// No token, or none that is good.
    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "no valid token in the Authorization header; get one from /v1/auth/token",
        )
    }

    pub(crate) fn forbidden(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// The body is of another type than the call takes.
    pub(crate) fn media_type(message: &'static str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", message)
    }

    /// The device calls for a host that it is not paired with.
    pub(crate) fn not_linked() -> Self {
        Self::forbidden("not-linked", "this device is not linked to that host; pair it again")
    }

    pub(crate) fn not_found(message: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    /// No route and no file.
    pub(crate) fn nothing_here() -> Self {
        Self::not_found("there is nothing at this path; see /openapi.json")
    }

    pub(crate) fn conflict(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// Too much, too fast or too many: try again after a while.
    pub(crate) fn limit(message: &'static str, retry_after: Duration) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: "limit",
            message: message.into(),
            retry_after: Some(retry_after),
        }
    }

    /// The fault is ours. What it was stands in the log, not in the answer.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed; its log says why, try again later",
        )
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        tracing::error!("{error}");
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "database",
            message: "the server's database does not work; its log says why, try again later".into(),
            retry_after: Some(Duration::from_secs(5)),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        tracing::debug!("{} {}: {}", self.status.as_u16(), self.code, text::escape(&self.message));
        let body = Problem { code: self.code.to_owned(), message: self.message.into_owned() };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.retry_after {
            // Rounded up, so that who obeys is let through.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}
