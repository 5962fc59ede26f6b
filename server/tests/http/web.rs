//! The web app as the server serves it.

use crate::common::{Caller, PROGRAM, Server, assert_refused, first_of_sha256, http};
use reqwest::header::{self, HeaderMap};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; manifest-src 'self'; worker-src 'self'; media-src blob:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types countersign";

fn ask(server: &Server, method: Method, path: &str) -> RequestBuilder {
    http().request(method, format!("{}{path}", server.url))
}

async fn get(server: &Server, path: &str) -> Response {
    ask(server, Method::GET, path).send().await.unwrap()
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

/// By path what the list says of the file's content.
async fn app_files(server: &Server) -> BTreeMap<String, String> {
    let list: Value =
        serde_json::from_str(&get(server, "/app-files.json").await.text().await.unwrap()).unwrap();
    let part =
        |name: &str| -> BTreeMap<String, String> { serde_json::from_value(list[name].clone()).unwrap() };
    let mut files = part("files");
    files.extend(part("later"));
    files
}

#[tokio::test]
async fn every_file_of_the_list_is_served_with_its_type_and_the_headers_of_a_page() {
    let server = Server::start();
    let kept = app_files(&server).await;
    let others = ["/pair", "/sw.js", "/app-files.json"];
    for path in kept.keys().map(String::as_str).chain(others) {
        let response = get(&server, path).await;
        assert_eq!(response.status(), 200, "{path}");
        let headers = response.headers().clone();
        let kind = match path.rsplit_once('.').map_or("html", |(_, ending)| ending) {
            "html" => "text/html; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "json" => "application/json",
            "webmanifest" => "application/manifest+json",
            "svg" => "image/svg+xml",
            "png" => "image/png",
            other => panic!("{path}: {other}"),
        };
        assert_eq!(value(&headers, "content-type"), kind, "{path}");
        assert_eq!(value(&headers, "cache-control"), "no-cache", "{path}");
        assert_eq!(value(&headers, "content-security-policy"), POLICY, "{path}");
        assert_eq!(value(&headers, "x-content-type-options"), "nosniff");
        assert_eq!(value(&headers, "referrer-policy"), "no-referrer");
        assert_eq!(value(&headers, "cross-origin-opener-policy"), "same-origin");
        assert_eq!(value(&headers, "cross-origin-resource-policy"), "same-origin");
        let permissions = value(&headers, "permissions-policy");
        assert!(
            permissions.contains("camera=(self)") && permissions.contains("microphone=()"),
            "{permissions}"
        );
        assert!(!headers.contains_key("strict-transport-security"), "the origin is http");
        assert!(!headers.contains_key("set-cookie"));
        let content = response.bytes().await.unwrap();
        assert!(!content.is_empty(), "{path}");
        if let Some(hash) = kept.get(path) {
            assert_eq!(first_of_sha256(&content), *hash, "{path}");
        }
    }
}

#[tokio::test]
async fn a_pairing_link_leads_to_the_page() {
    let server = Server::start();
    let page = get(&server, "/").await.text().await.unwrap();
    assert!(page.starts_with("<!doctype html>") || page.starts_with("<!DOCTYPE html>"), "{page}");
    assert_eq!(get(&server, "/pair").await.text().await.unwrap(), page);
    assert_eq!(get(&server, "/?source=pwa").await.text().await.unwrap(), page);
}

#[tokio::test]
async fn files_are_sent_compressed_to_who_takes_it() {
    let server = Server::start();
    let fetch = async |accept: &str| {
        let response = ask(&server, Method::GET, "/").header("accept-encoding", accept).send().await.unwrap();
        let headers = response.headers().clone();
        assert_eq!(value(&headers, "vary"), "Accept-Encoding");
        let body = response.bytes().await.unwrap();
        assert_eq!(value(&headers, "content-length"), body.len().to_string());
        (value(&headers, "content-encoding").to_owned(), value(&headers, "etag").to_owned(), body)
    };
    let (none, etag, plain) = fetch("identity").await;
    let (brotli, brotli_etag, packed) = fetch("gzip, deflate, br").await;
    assert_eq!((none.as_str(), brotli.as_str()), ("", "br"));
    assert!(packed.len() < plain.len());
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut brotli::Decompressor::new(&packed[..], 4096), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    let (gzip, gzip_etag, packed) = fetch("gzip").await;
    assert_eq!(gzip, "gzip");
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    assert_eq!([&brotli_etag, &gzip_etag], [&etag; 2], "one content");
}

#[tokio::test]
async fn what_the_client_holds_is_not_sent_again() {
    let server = Server::start();
    let etag = value(get(&server, "/").await.headers(), "etag").to_owned();
    let strong = etag.trim_start_matches("W/");
    for known in [etag.as_str(), strong, "*", &format!("\"other\", {etag}")] {
        let response =
            ask(&server, Method::GET, "/").header(header::IF_NONE_MATCH, known).send().await.unwrap();
        assert_eq!(response.status(), 304, "{known}");
        assert_eq!(value(response.headers(), "etag"), etag);
        assert_eq!(value(response.headers(), "cache-control"), "no-cache");
        assert!(response.bytes().await.unwrap().is_empty());
    }
    for other in ["\"other\"", "", "W/\"\""] {
        let response =
            ask(&server, Method::GET, "/").header(header::IF_NONE_MATCH, other).send().await.unwrap();
        assert_eq!(response.status(), 200, "{other}");
    }
}

#[tokio::test]
async fn heads_have_no_body_and_other_methods_are_refused() {
    let server = Server::start();
    let whole = get(&server, "/").await;
    let head = ask(&server, Method::HEAD, "/").send().await.unwrap();
    assert_eq!(head.status(), 200);
    for name in ["content-length", "content-type", "etag"] {
        assert_eq!(head.headers().get(name), whole.headers().get(name), "{name}");
    }
    assert!(head.bytes().await.unwrap().is_empty());
    let response = ask(&server, Method::POST, "/").body("x").send().await.unwrap();
    assert_eq!(value(response.headers(), "allow"), "GET, HEAD");
    assert_refused(crate::common::check(response).await, 405, "method");
}

#[tokio::test]
async fn unknown_paths_are_problems_for_programs_and_a_line_for_people() {
    let server = Server::start();
    for path in ["/nothing", "/v1/nothing", "/index.html", "/js/", "/../Cargo.toml", "/%2e%2e/Cargo.toml"] {
        let response = get(&server, path).await;
        assert_refused(crate::common::check(response).await, 404, "not-found");
        let response =
            ask(&server, Method::GET, path).header("accept", "text/html,*/*;q=0.8").send().await.unwrap();
        assert_eq!(response.status(), 404);
        assert_eq!(value(response.headers(), "content-type"), "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn without_the_web_app_only_the_api_is_there() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    for (options, toml) in [(&["--no-web"][..], ""), (&[][..], "web = false")] {
        let server = Server::start_with(Arc::clone(&dir), "127.0.0.1:0", options, toml);
        for path in ["/", "/pair", "/sw.js", "/app-files.json"] {
            let response =
                ask(&server, Method::GET, path).header("accept", "text/html").send().await.unwrap();
            assert_refused(crate::common::check(response).await, 404, "not-found");
        }
        assert_eq!(get(&server, "/healthz").await.status(), 200);
    }
}

#[tokio::test]
async fn an_https_origin_is_kept_to() {
    let server = Server::start_with(
        tempfile::tempdir().unwrap().into(),
        "127.0.0.1:0",
        &["--behind-proxy", "--origin", "https://push.example.com"],
        "",
    );
    for path in ["/", "/healthz", "/v1/stream", "/nothing"] {
        let response = get(&server, path).await;
        assert_eq!(value(response.headers(), "strict-transport-security"), "max-age=31536000", "{path}");
    }
}

#[tokio::test]
async fn files_have_a_bound_of_their_own() {
    let server = Server::with_config("[limits]\nfile_rate = 10\naddress_rate = 1\n");
    let (client, begun) = (http(), Instant::now());
    let mut sent = 0;
    let refused = loop {
        let response = client.get(format!("{}/app-files.json", server.url)).send().await.unwrap();
        if response.status() != StatusCode::OK {
            break response;
        }
        sent += 1;
        assert!(sent <= 101 + 10 * begun.elapsed().as_secs() + 10, "{sent}");
    };
    assert!(sent >= 100, "{sent}");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_refused(crate::common::check(refused).await, 429, "limit");
    // Calls of this address are not concerned.
    Caller::new(&server).challenge().await;
}

#[tokio::test]
async fn files_are_counted_together() {
    let server = Server::start();
    for path in ["/", "/app-files.json", "/pair"] {
        get(&server, path).await;
    }
    let metrics = get(&server, "/metrics").await.text().await.unwrap();
    let line = "countersign_requests_total{method=\"GET\",route=\"app\",status=\"200\"} 3";
    assert!(metrics.lines().any(|have| have == line), "{metrics}");
}

const APP: &str = "https://approve.example.com";

fn preflight(server: &Server, path: &str, origin: &str) -> RequestBuilder {
    ask(server, Method::OPTIONS, path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type")
}

#[tokio::test]
async fn an_app_of_its_own_origin_may_call_and_no_other() {
    let server = Server::with_config(&format!("app_origins = [{APP:?}, \"https://two.example\"]"));
    let response = preflight(&server, "/v1/messages", APP).send().await.unwrap();
    assert!(response.status().is_success());
    let headers = response.headers();
    assert_eq!(value(headers, "access-control-allow-origin"), APP);
    for method in ["GET", "POST", "PUT", "DELETE"] {
        assert!(value(headers, "access-control-allow-methods").contains(method), "{headers:?}");
    }
    let allowed = value(headers, "access-control-allow-headers").to_ascii_lowercase();
    assert!(allowed.contains("authorization") && allowed.contains("content-type"), "{allowed}");
    assert_eq!(value(headers, "access-control-max-age"), "7200");
    assert!(!headers.contains_key("access-control-allow-credentials"));

    // Refusals are readable too, with the time to wait.
    let response = ask(&server, Method::GET, "/v1/poll").header("origin", APP).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(value(response.headers(), "access-control-allow-origin"), APP);
    assert_eq!(value(response.headers(), "access-control-expose-headers"), "retry-after");
    assert!(value(response.headers(), "vary").contains("origin"));

    for other in [
        "https://evil.example",
        "https://approve.example.com.evil.example",
        "http://approve.example.com",
        "null",
    ] {
        for request in [
            preflight(&server, "/v1/poll", other),
            ask(&server, Method::GET, "/v1/poll").header("origin", other),
        ] {
            let response = request.send().await.unwrap();
            assert!(!response.headers().contains_key("access-control-allow-origin"), "{other}");
        }
    }
    // Nothing but the API is for others.
    for path in ["/", "/metrics", "/healthz", "/openapi.json"] {
        let response = ask(&server, Method::GET, path).header("origin", APP).send().await.unwrap();
        assert!(!response.headers().contains_key("access-control-allow-origin"), "{path}");
    }
}

#[tokio::test]
async fn without_such_apps_no_other_origin_may_call() {
    let server = Server::start();
    let response = preflight(&server, "/v1/messages", APP).send().await.unwrap();
    assert_eq!(response.status(), 405);
    let response = ask(&server, Method::GET, "/v1/poll").header("origin", APP).send().await.unwrap();
    assert!(!response.headers().contains_key("access-control-allow-origin"));
}

#[test]
fn an_apps_origin_has_one_spelling() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["serve", "--app-origin", "https://approve.example.com/", "--database"])
        .arg(dir.path().join("a.db"))
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("app_origins") && error.contains("no slash at the end"), "{error}");
}
