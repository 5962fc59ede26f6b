//! The routes, the document that describes them, and what is done with every request.

mod app;
mod auth;
mod devices;
mod health;
mod hosts;
mod lists;
mod mailboxes;
mod messages;
mod stream;

use crate::app::Shared;
use crate::config::Config;
use crate::problem::Fault;
use crate::web;
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use countersign_protocol::api::{MAX_BODY, MAX_POLL, MAX_POST};
use countersign_protocol::list;
use std::any::Any;
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

/// Longest time from a request's head to its answer's head.
const ANSWER: Duration = Duration::from_secs(MAX_POLL as u64 + 10);
/// How long a browser may remember what another origin's page may call. Browsers allow two hours.
const PREFLIGHT: Duration = Duration::from_secs(2 * 3600);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Countersign push server",
        description = "Relay between hosts and the devices that approve. Every error is a Problem."
    ),
    modifiers(&Bearer),
    components(schemas(countersign_protocol::api::Hello, countersign_protocol::message::Sealed)),
)]
struct Api;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("From POST /v1/auth/token, for ten minutes"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// All described routes with their document. Pages of `app_origins` may call those of hosts and devices.
fn described(app_origins: &[String]) -> (Router<Shared>, Document) {
    let (mut calls, mut document) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(auth::challenge))
        .routes(routes!(auth::token))
        .routes(routes!(hosts::join, hosts::list))
        .routes(routes!(hosts::unlink))
        .routes(routes!(devices::register, devices::list))
        .routes(routes!(devices::replace_card))
        .routes(routes!(devices::subscribe, devices::unsubscribe))
        .routes(routes!(app::info))
        .routes(routes!(devices::unlink))
        .routes(routes!(messages::post).layer(DefaultBodyLimit::max(MAX_POST)))
        .routes(routes!(messages::decide))
        .routes(routes!(lists::put).layer(DefaultBodyLimit::max(list::MAX_BODY)))
        .routes(routes!(lists::get))
        .routes(routes!(stream::stream))
        .routes(routes!(stream::poll))
        .routes(routes!(mailboxes::open, mailboxes::info, mailboxes::close))
        .routes(routes!(mailboxes::append, mailboxes::put, mailboxes::read))
        .split_for_parts();
    // Before the layer, which answers OPTIONS: a method that no route takes.
    calls = calls.method_not_allowed_fallback(wrong_method);
    if !app_origins.is_empty() {
        calls = calls.layer(cors(app_origins));
    }
    let (health, more) = OpenApiRouter::new()
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .split_for_parts();
    document.merge(more);
    (calls.merge(health), document)
}

async fn wrong_method() -> Fault {
    Fault::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "this path does not take this method; see /openapi.json",
    )
}

/// Lets pages of exactly these origins call.
fn cors(app_origins: &[String]) -> CorsLayer {
    let origins = app_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers([header::RETRY_AFTER])
        .max_age(PREFLIGHT)
}

/// The whole service.
pub(crate) fn router(app: Shared, config: &Config) -> Router {
    let (router, document) = described(&config.app_origins);
    let document = axum::body::Bytes::from(serde_json::to_vec(&document).unwrap_or_default());
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let router = router.route("/openapi.json", get(move || async move { (json, document) }));
    let router = if config.web {
        router.fallback(web::answer)
    } else {
        router.fallback(async || Fault::nothing_here())
    };
    router
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app.clone(), every_request))
        .with_state(app)
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request met a fault in the server; the lines above say where");
    Fault::internal().into_response()
}

/// Bounds the time, adds the headers, counts.
async fn every_request(
    State(app): State<Shared>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let method = method_name(request.method());
    let mut response = match tokio::time::timeout(ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Fault::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long to arrive")
            .into_response(),
    };
    let page = response.extensions().get::<web::Page>().is_some();
    let headers = response.headers_mut();
    if page {
        web::headers::add(headers);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if app.origin.starts_with("https://") {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(web::headers::HSTS));
    }
    let other = if page { web::ROUTE } else { "other" };
    let route = route.as_ref().map_or(other, MatchedPath::as_str);
    app.metrics.answered(method, route, response.status().as_u16());
    response
}

/// Clients may invent methods; counters must not.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
