//! Where a device wants to be rung, and what a push service answers.

use base64ct::{Base64UrlUnpadded, Encoding};
use countersign_fuzz::{Target, actors, check, input::Input};
use countersign_protocol::api::{MAX_ENDPOINT, Subscription};
use countersign_protocol::keys::Signer;
use countersign_server::fuzzing::{retry_after, subscription};
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

pub(crate) const TARGET: Target = Target { name: "push_service", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    if kind == b'r' {
        let now = UNIX_EPOCH + Duration::from_secs(actors::NOW);
        let wait = retry_after(input.rest(), now);
        return assert!(wait.is_none_or(|wait| wait <= Duration::from_secs(3600)));
    }
    let given = if kind == b'j' {
        match serde_json::from_slice(input.rest()) {
            Ok(given) => given,
            Err(_) => return,
        }
    } else {
        Subscription { endpoint: input.line(), ..keys() }
    };
    for private in [false, true] {
        match subscription(&given, private) {
            Ok((endpoint, service)) => {
                assert_eq!(endpoint, given.endpoint, "what is called is what was checked");
                assert!(endpoint.starts_with("https://") && endpoint.len() <= MAX_ENDPOINT);
                check::is_inert(&endpoint);
                let rest = endpoint.strip_prefix(&format!("https://{service}"));
                assert!(rest.is_some_and(|rest| rest.starts_with('/')), "{service} of {endpoint}");
                let host = service.trim_start_matches('[').trim_end_matches(']');
                if let (false, Ok(address)) = (private, host.parse::<IpAddr>()) {
                    assert!(!address.is_loopback() && !address.is_multicast() && !address.is_unspecified());
                    if let IpAddr::V4(v4) = address.to_canonical() {
                        assert!(!v4.is_private() && !v4.is_link_local() && !v4.is_broadcast());
                    }
                }
                assert!(private || !host.contains(':') || service.ends_with(']'), "another port: {service}");
            }
            Err(why) => check::is_inert(&why),
        }
    }
}

/// A point that is one, and a secret.
fn keys() -> Subscription {
    let p256 = actors::p256();
    let point = p256.public_key().blob();
    let point = point.get(point.len() - 65..).unwrap_or_default();
    let (p256dh, auth) =
        (Base64UrlUnpadded::encode_string(point), Base64UrlUnpadded::encode_string(&[1; 16]));
    Subscription { endpoint: "https://push.example.com/x".into(), p256dh, auth }
}

fn seeds() -> Vec<Vec<u8>> {
    let json = serde_json::to_vec(&keys()).expect("JSON");
    let mut seeds: Vec<Vec<u8>> = [
        "ehttps://updates.push.services.mozilla.com/wpush/v2/gAAA-_x",
        "ehttps://127.0.0.1/x",
        "ehttps://[2606:4700::1]:443/x?y=z",
        "ehttps://[::ffff:10.0.0.1]:8443/x",
        "ehttps://user@push.example.com/x#y",
        "ehttps://xn--bcher-kva.example/%7E",
        "ehttps://0x7f.1/",
        "r120",
        "rSun, 06 Nov 2044 08:50:37 GMT",
        "rSunday, 06-Nov-94 08:49:37 GMT",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    seeds.push([b"j", json.as_slice()].concat());
    seeds
}
