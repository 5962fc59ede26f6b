//! Armored SSHSIG signatures, and the binary form inside.

use base64ct::{Base64, Encoding};
use countersign_fuzz::{Target, actors, check, input::Input};
use countersign_protocol::keys::Signer;
use countersign_protocol::message::namespace::{DECISION, REQUEST};
use countersign_protocol::sshsig;

pub(crate) const TARGET: Target = Target { name: "sshsig", run, seeds };

const DATA: &[u8] = b"{}";

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let armored = match input.byte() {
        b'b' => format!(
            "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
            Base64::encode_string(input.rest())
        ),
        _ => String::from_utf8_lossy(input.rest()).into_owned(),
    };
    match sshsig::verify(&armored, DECISION, DATA) {
        Ok(signed) => {
            assert!(armored.len() <= sshsig::MAX_ARMORED);
            assert!(sshsig::verify(&armored, REQUEST, DATA).is_err(), "a signature serves once");
            assert!(sshsig::verify(&armored, DECISION, b"{ }").is_err());
            let certified = signed.certificate.as_ref().map(|certificate| certificate.key());
            assert!(certified.is_none_or(|key| *key == signed.key));
        }
        Err(error) => check::is_inert(&error.to_string()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for armored in [
        sshsig::sign(&actors::device(), DECISION, DATA),
        sshsig::sign(&actors::p256(), DECISION, DATA),
        sshsig::sign(&actors::device(), REQUEST, DATA),
        sshsig::sign_with_certificate(&actors::device(), &actors::certificate(), DECISION, DATA),
    ] {
        let armored = armored.expect("signed");
        let inside: String = armored.lines().filter(|line| !line.starts_with('-')).collect();
        let blob = Base64::decode_vec(&inside).expect("its own base64");
        seeds.push([b"a", armored.as_bytes()].concat());
        seeds.push([&b"b"[..], &blob].concat());
    }
    let key = actors::device();
    seeds.push([&b"b"[..], b"SSHSIG\0\0\0\x01", key.public_key().blob()].concat());
    seeds
}
