//! Earning a token: a challenge, signed.

use crate::app::{App, Shared};
use crate::challenges::BadNonce;
use crate::directory::KeyId;
use crate::extract::{Anybody, Json};
use crate::problem::Fault;
use crate::registry;
use crate::tokens::Caller;
use axum::extract::State;
use countersign_protocol::api::{Challenge, ChallengeFor, Problem, Proof, TOKEN_LIFE, Token};
use countersign_protocol::auth::{self, AuthError};
use countersign_protocol::keys::PublicKey;
use std::time::{Duration, Instant};

/// Gives a nonce to sign.
#[utoipa::path(
    post, path = "/v1/auth/challenge", tag = "auth", request_body = ChallengeFor,
    responses(
        (status = 200, body = Challenge),
        (status = 400, body = Problem),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn challenge(
    State(app): State<Shared>,
    _: Anybody,
    Json(asked): Json<ChallengeFor>,
) -> Result<axum::Json<Challenge>, Fault> {
    let key = PublicKey::from_line(&asked.key).map_err(|e| Fault::bad(format!("the key: {e}")))?;
    Ok(axum::Json(app.challenges.give(&key.sha256(), registry::now())))
}

/// Gives a token for a signed challenge.
#[utoipa::path(
    post, path = "/v1/auth/token", tag = "auth", request_body = Proof,
    responses(
        (status = 200, body = Token),
        (status = 400, body = Problem),
        (status = 403, body = Problem, description = "The proof does not hold, or the key is not known"),
        (status = 429, body = Problem),
    )
)]
pub(super) async fn token(
    State(app): State<Shared>,
    _: Anybody,
    Json(proof): Json<Proof>,
) -> Result<axum::Json<Token>, Fault> {
    let key = check_proof(&app, &proof)?;
    let id = KeyId(key.sha256());
    let (peer, role) = app.registry.find(&id).ok_or_else(|| {
        Fault::forbidden(
            "unknown-key",
            "this key is not known here; a host joins first (countersign join), a device is paired first \
             (countersign pair)",
        )
    })?;
    let token = app.tokens.give(Caller { peer, id, role }, Instant::now());
    Ok(axum::Json(Token { token, expires_in: TOKEN_LIFE }))
}

/// Checks a proof and uses up its nonce.
pub(super) fn check_proof(app: &App, proof: &Proof) -> Result<PublicKey, Fault> {
    let now = registry::now();
    let proven = auth::verify(proof, &app.origin, now).map_err(|error| match error {
        AuthError::Origin => Fault::forbidden(
            "wrong-origin",
            format!("the proof was made for another address; this server's is {}", app.origin),
        ),
        AuthError::Expired => Fault::forbidden("bad-nonce", "the challenge has expired; ask for a new one"),
        error => Fault::forbidden("bad-proof", error.to_string()),
    })?;
    match app.challenges.take(&proven.nonce, &proven.key.sha256(), proven.expires_at, now) {
        Ok(()) => Ok(proven.key),
        Err(BadNonce::Unknown | BadNonce::Expired | BadNonce::Used) => Err(Fault::forbidden(
            "bad-nonce",
            "the challenge is not this server's, not this key's, expired or used; ask for a new one",
        )),
        Err(BadNonce::Full) => {
            Err(Fault::limit("too many callers at once; try again", Duration::from_secs(10)))
        }
    }
}
