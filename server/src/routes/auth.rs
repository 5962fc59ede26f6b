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
use countersign_protocol::auth::{self, AuthError, Proven};
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
    let proven = check_proof(&app, &proof)?;
    let id = KeyId(proven.key.sha256());
    let (peer, role) = app.registry.find(&id).ok_or_else(|| {
        Fault::forbidden(
            "unknown-key",
            "this key is not known here; a host joins first (countersign join), a device is paired first \
             (countersign pair)",
        )
    })?;
    // Only now: keys that anybody can make must not fill the memory of used nonces.
    use_up(&app, &proven)?;
    let token = app.tokens.give(Caller { peer, id, role }, Instant::now());
    Ok(axum::Json(Token { token, expires_in: TOKEN_LIFE }))
}

/// Checks a proof. Whoever grants something for it uses up its nonce, too.
pub(super) fn check_proof(app: &App, proof: &Proof) -> Result<Proven, Fault> {
    let now = registry::now();
    let proven = auth::verify(proof, &app.origin, now).map_err(|error| match error {
        AuthError::Origin => Fault::forbidden(
            "wrong-origin",
            format!("the proof was made for another address; this server's is {}", app.origin),
        ),
        AuthError::Expired => Fault::forbidden("bad-nonce", "the challenge has expired; ask for a new one"),
        error => Fault::forbidden("bad-proof", error.to_string()),
    })?;
    let Proven { key, nonce, expires_at } = &proven;
    app.challenges.check(nonce, &key.sha256(), *expires_at, now).map_err(bad_nonce)?;
    Ok(proven)
}

/// Takes a proof's nonce: once.
pub(super) fn use_up(app: &App, proven: &Proven) -> Result<(), Fault> {
    let Proven { key, nonce, expires_at } = proven;
    app.challenges.take(nonce, &key.sha256(), *expires_at, registry::now()).map_err(bad_nonce)
}

fn bad_nonce(bad: BadNonce) -> Fault {
    match bad {
        BadNonce::Unknown | BadNonce::Expired | BadNonce::Used => Fault::forbidden(
            "bad-nonce",
            "the challenge is not this server's, not this key's, expired or used; ask for a new one",
        ),
        BadNonce::Full => Fault::limit("too many callers at once; try again", Duration::from_secs(10)),
    }
}
