//! Sealed messages as they travel: envelope and ciphertext.

use countersign_fuzz::{Target, actors, check};
use countersign_protocol::keys::Signer;
use countersign_protocol::message::{MAX_BODY, MAX_ENVELOPE, MessageType, Sealed};
use countersign_protocol::{digest, seal};

pub(crate) const TARGET: Target = Target { name: "sealed", run, seeds };

fn run(data: &[u8]) {
    let Ok(sealed) = serde_json::from_slice::<Sealed>(data) else { return };
    let envelope = match seal::peek(&sealed) {
        Ok(envelope) => envelope,
        Err(error) => return check::is_inert(&error.to_string()),
    };
    assert!(sealed.envelope.len() <= MAX_ENVELOPE);
    assert!(
        digest::is_hex(&envelope.id, 32)
            && digest::is_key_id(&envelope.from)
            && digest::is_key_id(&envelope.to)
    );
    let sender = if actors::is_to_host(envelope.message_type) { actors::device() } else { actors::host() };
    let (key, recipient) = actors::opener(envelope.message_type);
    match seal::open(envelope.message_type, &key, recipient, sender.public_key(), &sealed) {
        Ok(opened) => {
            assert_eq!(opened.envelope, envelope);
            assert!(opened.body.len() <= MAX_BODY);
            let other = match envelope.message_type {
                MessageType::Request => MessageType::Closed,
                _ => MessageType::Request,
            };
            assert!(seal::open(other, &key, recipient, sender.public_key(), &sealed).is_err());
            assert!(seal::open(envelope.message_type, &key, [0; 32], sender.public_key(), &sealed).is_err());
        }
        Err(error) => check::is_inert(&error.to_string()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let (request, decision) = (actors::signed_request(), actors::signed_decision());
    [(MessageType::Request, request), (MessageType::Decision, decision)]
        .map(|(message_type, message)| {
            let sealed = actors::sealed(message_type, actors::ID, &message.bytes, &message.signature);
            serde_json::to_vec(&sealed.expect("it fits")).expect("JSON")
        })
        .into()
}
