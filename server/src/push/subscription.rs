//! Where a device wants to be rung. Untrusted input: a device may write what it likes.

use super::address::is_public;
use super::encrypt::{AUTH, Keys, POINT};
use base64ct::{Base64UrlUnpadded, Encoding};
use countersign_protocol::api::{self, MAX_ENDPOINT};
use p256::PublicKey;
use reqwest::Url;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Why a subscription is not taken, in words for the caller.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSubscription {
    #[error("the endpoint is not an https URL of at most {MAX_ENDPOINT} bytes as browsers give it")]
    Endpoint,
    #[error("the endpoint's port is not 443; the server's setting private_networks in [push] allows others")]
    Port,
    #[error(
        "the endpoint's address is not a public one; the server's setting private_networks in [push] allows that"
    )]
    Private,
    #[error("p256dh is not an uncompressed P-256 point in base64url without padding")]
    Point,
    #[error("auth is not 16 bytes in base64url without padding")]
    Auth,
}

/// A device's subscription in order.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    endpoint: Url,
    service: Arc<str>,
    keys: Keys,
}

impl Subscription {
    /// Checks what a device says. `private` allows addresses and ports that are not the public
    /// internet's.
    pub(crate) fn read(given: &api::Subscription, private: bool) -> Result<Self, BadSubscription> {
        let auth = Base64UrlUnpadded::decode_vec(&given.auth).ok();
        let auth: [u8; AUTH] = auth.and_then(|auth| auth.try_into().ok()).ok_or(BadSubscription::Auth)?;
        let point = Base64UrlUnpadded::decode_vec(&given.p256dh).ok();
        let point = point.filter(|point| point.len() == POINT).ok_or(BadSubscription::Point)?;
        let public = PublicKey::from_sec1_bytes(&point).map_err(|_| BadSubscription::Point)?;
        let endpoint = read_endpoint(&given.endpoint, private)?;
        let host = endpoint.host_str().ok_or(BadSubscription::Endpoint)?;
        let service = match endpoint.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self { endpoint, service: service.into(), keys: Keys { public, auth } })
    }

    /// The push service, as it may be named in a log: what follows in the endpoint is a secret.
    pub(crate) fn service(&self) -> &Arc<str> {
        &self.service
    }

    /// What pushes are posted to.
    pub(crate) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a subscription at {}", self.service)
    }
}

fn read_endpoint(text: &str, private: bool) -> Result<Url, BadSubscription> {
    if text.len() > MAX_ENDPOINT {
        return Err(BadSubscription::Endpoint);
    }
    let url = Url::parse(text).map_err(|_| BadSubscription::Endpoint)?;
    let plain = url.scheme() == "https"
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
        && url.has_host()
        // Browsers give the one spelling of a URL; others are attempts to be read differently twice.
        && url.as_str() == text;
    if !plain {
        return Err(BadSubscription::Endpoint);
    }
    if private {
        return Ok(url);
    }
    if url.port_or_known_default() != Some(443) {
        return Err(BadSubscription::Port);
    }
    // Names are looked at when they are resolved, each time.
    let host = url.host_str().unwrap_or_default();
    let literal: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    match literal {
        Some(address) if !is_public(address) => Err(BadSubscription::Private),
        _ => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::super::encrypt::{new_secret, point};
    use super::*;

    fn given(endpoint: &str) -> api::Subscription {
        let p256dh = Base64UrlUnpadded::encode_string(&point(&new_secret().public_key()));
        let auth = Base64UrlUnpadded::encode_string(&[1; AUTH]);
        api::Subscription { endpoint: endpoint.to_owned(), p256dh, auth }
    }

    fn read(endpoint: &str) -> Result<Subscription, BadSubscription> {
        Subscription::read(&given(endpoint), false)
    }

    #[test]
    fn what_browsers_give_is_taken() {
        for endpoint in [
            "https://fcm.googleapis.com/fcm/send/abc:APA91b-x_y",
            "https://updates.push.services.mozilla.com/wpush/v2/gAAAA_b-x",
            "https://web.push.apple.com/QGx?x=%2F",
            "https://1.1.1.1/x",
            "https://[2606:4700:4700::1111]/x",
        ] {
            let subscription = read(endpoint).unwrap();
            assert_eq!(subscription.endpoint().as_str(), endpoint);
            let shown = format!("{subscription:?}");
            assert!(shown.contains(&**subscription.service()) && !shown.contains("/"), "{shown}");
        }
    }

    #[test]
    fn endpoints_out_of_order_are_refused() {
        let long = format!("https://push.example/{}", "a".repeat(MAX_ENDPOINT));
        for endpoint in [
            "",
            "push.example/x",
            "http://push.example/x",
            "file:///etc/passwd",
            "https://",
            "https://user@push.example/x",
            "https://:secret@push.example/x",
            "https://push.example/x#y",
            "https://push.example",
            "https://push.example:443/x",
            "https://PUSH.example/x",
            " https://push.example/x",
            "https://push.example/a/../b",
            "https://push.example/a b",
            "https://0x7f.1/x",
            "https://2130706433/x",
            "https://127.1/x",
            &long,
        ] {
            assert_eq!(read(endpoint).unwrap_err(), BadSubscription::Endpoint, "{endpoint}");
        }
        assert_eq!(read("https://push.example:8443/x").unwrap_err(), BadSubscription::Port);
        for endpoint in
            ["https://127.0.0.1/x", "https://[::1]/x", "https://[::ffff:a00:1]/x", "https://10.1.2.3/x"]
        {
            assert_eq!(read(endpoint).unwrap_err(), BadSubscription::Private, "{endpoint}");
            assert!(Subscription::read(&given(endpoint), true).is_ok());
        }
        assert!(Subscription::read(&given("https://127.0.0.1:8443/x"), true).is_ok());
        assert!(Subscription::read(&given("http://127.0.0.1:8443/x"), true).is_err());
    }

    #[test]
    fn keys_out_of_order_are_refused() {
        let base64 = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
        let good = given("https://push.example/x");
        let mut off_curve = point(&new_secret().public_key());
        off_curve[64] ^= 1;
        let compressed = [&[2u8][..], &point(&new_secret().public_key())[1..33]].concat();
        for bad in [&off_curve[..], &compressed, &[0], &[0; POINT], &[4; POINT], &[]] {
            let given = api::Subscription { p256dh: base64(bad), ..good.clone() };
            assert_eq!(Subscription::read(&given, true).unwrap_err(), BadSubscription::Point);
        }
        for bad in [base64(&[1; 15]), base64(&[1; 17]), String::new(), base64(&[1; 16]) + "=="] {
            let given = api::Subscription { auth: bad, ..good.clone() };
            assert_eq!(Subscription::read(&given, true).unwrap_err(), BadSubscription::Auth);
        }
    }
}
