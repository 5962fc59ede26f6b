//! One call: sent, limited in time and size, and its errors told apart.

use crate::RelayError;
use crate::transport::Transport;
use countersign_protocol::api::Problem;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::timeout;

/// Longest answer that is read, in bytes: a directory or a long poll.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Longest error that is read, in bytes.
const MAX_PROBLEM: usize = 16 * 1024;
/// A call that may be made twice and has no answer after this long is made again, on another connection.
const DOUBT: Duration = Duration::from_millis(700);
/// Longest wait that the server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What a call sends along: JSON, or bytes as they are.
pub(crate) trait Body {
    fn attach(&self, request: RequestBuilder) -> RequestBuilder;
}

impl<T: Serialize + ?Sized> Body for T {
    fn attach(&self, request: RequestBuilder) -> RequestBuilder {
        request.json(self)
    }
}

/// Bytes as they are.
pub(crate) struct Octets<'a>(pub(crate) &'a [u8]);

impl Body for Octets<'_> {
    fn attach(&self, request: RequestBuilder) -> RequestBuilder {
        request.header(CONTENT_TYPE, "application/octet-stream").body(self.0.to_vec())
    }
}

/// Sends and waits for the head of a good answer.
pub(crate) async fn send<B: Body + ?Sized>(
    transport: &Transport,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&B>,
) -> Result<Response, RelayError> {
    send_on(transport, &transport.http().client, method, path, token, body).await
}

async fn send_on<B: Body + ?Sized>(
    transport: &Transport,
    client: &Client,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&B>,
) -> Result<Response, RelayError> {
    let mut request = client.request(method, transport.url(path)?);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = body.attach(request);
    }
    let response = request.send().await.map_err(|e| RelayError::from_http(transport.origin(), &e))?;
    let status = response.status();
    if status.is_success() { Ok(response) } else { Err(refusal(transport, response, status).await) }
}

/// Sends and reads the whole answer within `limit`. A connection that did not answer is forgotten.
pub(crate) async fn whole<B: Body + ?Sized>(
    transport: &Transport,
    limit: Duration,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&B>,
) -> Result<Vec<u8>, RelayError> {
    let http = transport.http();
    let result = whole_on(transport, &http.client, limit, method, path, token, body).await;
    if matches!(result, Err(RelayError::Timeout { .. })) {
        transport.leave(http.number);
    }
    result
}

/// The same on a connection of its own: what is long fills a slow line, and whatever came behind it would wait. However
/// it ends, it says nothing about the connection that all other calls share.
pub(crate) async fn whole_apart<B: Body + ?Sized>(
    transport: &Transport,
    limit: Duration,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&B>,
) -> Result<Vec<u8>, RelayError> {
    let client = transport.apart()?;
    whole_on(transport, &client, limit, method, path, token, body).await
}

async fn whole_on<B: Body + ?Sized>(
    transport: &Transport,
    client: &Client,
    limit: Duration,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&B>,
) -> Result<Vec<u8>, RelayError> {
    let all = async {
        let response = send_on(transport, client, method, path, token, body).await?;
        read(transport, response, MAX_ANSWER).await
    };
    timeout(limit, all)
        .await
        .unwrap_or_else(|_| Err(RelayError::Timeout { origin: transport.origin().to_owned() }))
}

/// The same as [`whole`] for a call that means no more when it is made twice: one connection that is slow, dead or breaks says
/// nothing about the server yet. The first good answer counts, and of errors the second call's.
pub(crate) async fn whole_or_again<B: Body + ?Sized>(
    transport: &Transport,
    limit: Duration,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&B>,
) -> Result<Vec<u8>, RelayError> {
    let call = || whole(transport, limit, method.clone(), path, token, body);
    let used = transport.http().number;
    let first = call();
    tokio::pin!(first);
    let waits = match timeout(DOUBT, &mut first).await {
        Ok(Err(RelayError::Connection { .. })) => false,
        Ok(result) => return result,
        Err(_) => true,
    };
    transport.leave(used);
    let second = call();
    tokio::pin!(second);
    if waits {
        tokio::select! {
            result = &mut second => return result,
            Ok(answer) = &mut first => return Ok(answer),
        }
    }
    second.await
}

pub(crate) fn parse<T: DeserializeOwned>(transport: &Transport, bytes: &[u8]) -> Result<T, RelayError> {
    serde_json::from_slice(bytes).map_err(|_| garbage(transport, "not the JSON that was expected"))
}

pub(crate) fn garbage(transport: &Transport, detail: &'static str) -> RelayError {
    RelayError::Garbage { origin: transport.origin().to_owned(), detail }
}

async fn read(transport: &Transport, mut response: Response, limit: usize) -> Result<Vec<u8>, RelayError> {
    let mut bytes = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|e| RelayError::from_http(transport.origin(), &e))?
    {
        if bytes.len() + chunk.len() > limit {
            return Err(garbage(transport, "too long an answer"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn refusal(transport: &Transport, response: Response, status: StatusCode) -> RelayError {
    if status == StatusCode::TOO_MANY_REQUESTS {
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let seconds = header.and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
        return RelayError::Limited { retry_after: seconds.map(|wait| wait.min(MAX_RETRY_AFTER)) };
    }
    if status.is_redirection() {
        return garbage(transport, "a redirection");
    }
    let problem = match read(transport, response, MAX_PROBLEM).await {
        Ok(bytes) => serde_json::from_slice::<Problem>(&bytes).ok(),
        Err(_) => None,
    };
    RelayError::Status { status: status.as_u16(), problem }
}
