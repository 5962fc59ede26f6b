//! What is inside a seal, made by somebody who seals as they like: lengths, padding, signature.

use base64ct::{Base64, Encoding};
use countersign_fuzz::actors;
use countersign_fuzz::{Target, input::Input};
use countersign_protocol::keys::Signer;
use countersign_protocol::message::{MAX_BODY, MessageType, PADDED, Sealed};
use countersign_protocol::seal::{self, SealError};
use hpke::aead::AesGcm128;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeS, Serializable};

pub(crate) const TARGET: Target = Target { name: "seal_inside", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let right_length = input.byte() != b'x';
    let mut plaintext = input.rest().to_vec();
    if right_length {
        plaintext.resize(PADDED, 0);
    }
    let sealed = seal(&plaintext);
    let (key, recipient) = actors::opener(MessageType::Request);
    match seal::open(MessageType::Request, &key, recipient, actors::host().public_key(), &sealed) {
        Ok(opened) => {
            assert!(opened.body.len() <= MAX_BODY);
            // There is one plaintext for a message: `u16 ‖ body ‖ u16 ‖ signature ‖ zeros`.
            let mut expected = Vec::new();
            for part in [opened.body.as_slice(), opened.signature.as_bytes()] {
                expected.extend_from_slice(&u16::try_from(part.len()).expect("short").to_be_bytes());
                expected.extend_from_slice(part);
            }
            expected.resize(PADDED, 0);
            assert_eq!(plaintext, expected);
        }
        Err(SealError::Inside) => assert_eq!(plaintext.len(), PADDED),
        Err(error) => assert!(error == SealError::Malformed && plaintext.len() != PADDED, "{error}"),
    }
}

/// As docs/protocol.md has it, whatever is inside.
fn seal(plaintext: &[u8]) -> Sealed {
    let (host, card) = (actors::host(), actors::card());
    let envelope = serde_json::to_string(&actors::envelope(MessageType::Request, actors::ID)).expect("JSON");
    let info = [b"countersign message v1", &b"request"[..], &host.public_key().sha256(), &card.hash].concat();
    let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&card.seal_key).expect("a key");
    let (enc, ciphertext) = hpke::single_shot_seal::<AesGcm128, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &key,
        &info,
        plaintext,
        envelope.as_bytes(),
    )
    .expect("sealed");
    Sealed { envelope, sealed: Base64::encode_string(&[&enc.to_bytes()[..], &ciphertext].concat()) }
}

fn seeds() -> Vec<Vec<u8>> {
    let request = actors::signed_request();
    let length = |n: usize| u16::try_from(n).expect("short").to_be_bytes();
    let inside = [
        &length(request.bytes.len())[..],
        &request.bytes,
        &length(request.signature.len()),
        request.signature.as_bytes(),
    ]
    .concat();
    vec![
        [b"p", inside.as_slice()].concat(),
        [b"x", inside.as_slice()].concat(),
        b"p\0\x02{}\0\x01s".to_vec(),
        b"p\xff\xff".to_vec(),
        [b"p\0\0\0\0".to_vec(), vec![0; 40], b"x".to_vec()].concat(),
    ]
}
