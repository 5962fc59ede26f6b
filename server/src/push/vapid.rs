//! Who this server is to push services (RFC 8292): a key of its own, made once and kept in the
//! database, and with each push a token that it has signed for that service.

use super::encrypt::point;
use base64ct::{Base64UrlUnpadded, Encoding};
use p256::SecretKey;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How long a token is good in seconds. RFC 8292 allows 24 hours; clocks differ.
const LIFE: u64 = 12 * 3600;
/// For how long a token is used in seconds: until well before its end.
const USED: u64 = 6 * 3600;
/// Most services of which tokens are remembered.
const MAX_TOKENS: usize = 1000;
/// The header of all tokens.
const HEADER: &[u8] = br#"{"typ":"JWT","alg":"ES256"}"#;

/// What a token says.
#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    exp: u64,
    sub: &'a str,
}

/// The server's key for Web Push. Its secret is wiped from memory when dropped.
pub(crate) struct Vapid {
    key: SigningKey,
    public: String,
    contact: String,
    /// `Authorization` values and since when each is used, by the service's origin.
    tokens: Mutex<HashMap<String, (String, u64)>>,
}

impl Vapid {
    /// `contact` is where a service's operator turns to: a `mailto:` or `https:` URL.
    pub(crate) fn new(secret: &SecretKey, contact: String) -> Self {
        let public = Base64UrlUnpadded::encode_string(&point(&secret.public_key()));
        Self { key: SigningKey::from(secret), public, contact, tokens: Mutex::default() }
    }

    /// The public key in base64url, as browsers take it when they subscribe.
    pub(crate) fn public(&self) -> &str {
        &self.public
    }

    /// The value of `Authorization` for a push service.
    pub(super) fn authorization(&self, origin: &str, now: u64) -> String {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((value, since)) = tokens.get(origin)
            && (*since..since.saturating_add(USED)).contains(&now)
        {
            return value.clone();
        }
        let value = self.sign(&Claims { aud: origin, exp: now.saturating_add(LIFE), sub: &self.contact });
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.insert(origin.to_owned(), (value.clone(), now));
        value
    }

    fn sign(&self, claims: &Claims<'_>) -> String {
        let claims = serde_json::to_vec(claims).unwrap_or_default();
        let base64 = Base64UrlUnpadded::encode_string;
        let signed = format!("{}.{}", base64(HEADER), base64(&claims));
        let signature: Signature = self.key.sign(signed.as_bytes());
        format!("vapid t={signed}.{}, k={}", base64(&signature.to_bytes()), self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::super::encrypt::new_secret;
    use super::*;
    use p256::ecdsa::VerifyingKey;
    use p256::ecdsa::signature::Verifier;
    use serde_json::Value;

    const ORIGIN: &str = "https://push.example.com";

    fn vapid() -> Vapid {
        Vapid::new(&new_secret(), "mailto:admin@example.com".to_owned())
    }

    /// Checks a header as a push service does, and gives what the token says.
    fn check(header: &str) -> Value {
        let (token, key) = header.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        let key = VerifyingKey::from_sec1_bytes(&Base64UrlUnpadded::decode_vec(key).unwrap()).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = Signature::from_slice(&Base64UrlUnpadded::decode_vec(signature).unwrap()).unwrap();
        key.verify(signed.as_bytes(), &signature).unwrap();
        let (head, claims) = signed.split_once('.').unwrap();
        assert_eq!(Base64UrlUnpadded::decode_vec(head).unwrap(), HEADER);
        serde_json::from_slice(&Base64UrlUnpadded::decode_vec(claims).unwrap()).unwrap()
    }

    #[test]
    fn a_token_is_for_one_service_and_for_half_a_day() {
        let vapid = vapid();
        let claims = check(&vapid.authorization(ORIGIN, 1000));
        assert_eq!(claims["aud"], ORIGIN);
        assert_eq!(claims["exp"], 1000 + LIFE);
        assert_eq!(claims["sub"], "mailto:admin@example.com");
        assert_eq!(
            check(&vapid.authorization("https://other.example", 1000))["aud"],
            "https://other.example"
        );
    }

    #[test]
    fn tokens_are_used_again_for_a_while_and_few_are_remembered() {
        let vapid = vapid();
        let first = vapid.authorization(ORIGIN, 1000);
        assert_eq!(vapid.authorization(ORIGIN, 1000 + USED - 1), first);
        assert_ne!(vapid.authorization(ORIGIN, 1000 + USED), first);
        // The clock was set back: what was signed before may be for too long.
        assert_eq!(check(&vapid.authorization(ORIGIN, 10))["exp"], 10 + LIFE);
        for n in 0..MAX_TOKENS * 2 {
            vapid.authorization(&format!("https://{n}.example"), 1000);
        }
        assert!(vapid.tokens.lock().unwrap().len() <= MAX_TOKENS);
    }
}
