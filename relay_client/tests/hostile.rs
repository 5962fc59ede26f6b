//! Answers of a server that means harm, or whose bits get lost on the way.

mod fake;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use countersign_protocol::api::{Challenge, Directory, Proof, Token};
use countersign_relay_client::RelayError;
use fake::client;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// What the server says next in place of a nonce or a token; then it is honest.
#[derive(Default)]
struct Server {
    nonces: Mutex<VecDeque<String>>,
    tokens: Mutex<VecDeque<String>>,
    /// Lengths of the statements that came.
    signed: Mutex<Vec<usize>>,
}

async fn answer(State(server): State<Arc<Server>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let next = |of: &Mutex<VecDeque<String>>| of.lock().unwrap().pop_front();
    match uri.path() {
        "/v1/auth/challenge" => {
            let nonce = next(&server.nonces).unwrap_or_else(|| "nonce".into());
            Json(Challenge { nonce, expires_at: 1 }).into_response()
        }
        "/v1/auth/token" => {
            let proof: Proof = serde_json::from_slice(&body).unwrap();
            server.signed.lock().unwrap().push(proof.statement.len());
            let token = next(&server.tokens).unwrap_or_else(|| "good".into());
            Json(Token { token, expires_in: 600 }).into_response()
        }
        _ if headers.get("authorization").is_some_and(|token| token.as_bytes() == b"Bearer good") => {
            Json(Directory { devices: Vec::new() }).into_response()
        }
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn start(server: Server) -> (Arc<Server>, String) {
    let server = Arc::new(server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(Arc::clone(&server));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (server, origin)
}

/// It was kept for ten minutes, and each call failed before it was sent.
#[tokio::test]
async fn a_token_that_no_call_can_carry_is_not_kept() {
    let tokens: Vec<String> =
        ["a\nb", "", "a b", "\u{7f}", "é"].map(str::to_owned).into_iter().chain(["x".repeat(513)]).collect();
    let count = tokens.len();
    let (_server, origin) = start(Server { tokens: Mutex::new(tokens.into()), ..Server::default() }).await;
    let client = client(&origin);
    for _ in 0..count {
        let error = client.directory().await.unwrap_err();
        assert!(matches!(error, RelayError::Garbage { .. }), "{error:?}");
    }
    assert!(client.directory().await.is_ok());
}

#[tokio::test]
async fn only_short_nonces_are_signed() {
    let nonces = VecDeque::from(["x".repeat(129), "x".repeat(4_000_000), "x".repeat(128)]);
    let (server, origin) = start(Server { nonces: Mutex::new(nonces), ..Server::default() }).await;
    let client = client(&origin);
    for _ in 0..2 {
        let error = client.directory().await.unwrap_err();
        assert!(matches!(error, RelayError::Garbage { .. }), "{error:?}");
    }
    assert!(server.signed.lock().unwrap().is_empty());
    assert!(client.directory().await.is_ok());
    assert!(server.signed.lock().unwrap()[0] < 1024);
}
