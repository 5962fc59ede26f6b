//! A certificate as an ACME server gives it, beside the key that it was asked for with.

use countersign_fuzz::{Target, check};
use countersign_server::fuzzing::certificate;
use std::time::{Duration, UNIX_EPOCH};

pub(crate) const TARGET: Target = Target { name: "acme_certificate", run, seeds };

/// A key and a self-signed certificate of it, which are for nothing else.
const PEM: &str = include_str!("../../seeds/certificate.pem");

fn run(data: &[u8]) {
    let key = PEM.split_inclusive("-----END PRIVATE KEY-----\n").next().unwrap_or_default();
    let now = UNIX_EPOCH + Duration::from_secs(countersign_fuzz::actors::NOW);
    match certificate(&[key.as_bytes(), data].concat(), now) {
        Ok((due, left)) => assert!(left.is_none_or(|left| due <= left), "renewed before it ends"),
        Err(why) => check::is_inert_of_any_length(&countersign_protocol::text::escape(&why)),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let (_, chain) = PEM.split_once("-----END PRIVATE KEY-----\n").unwrap_or_default();
    vec![
        chain.as_bytes().to_vec(),
        format!("{chain}{chain}").into_bytes(),
        b"-----BEGIN CERTIFICATE-----\n".to_vec(),
    ]
}
