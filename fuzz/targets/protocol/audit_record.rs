//! A record of the audit, and what the signed messages inside prove.

use countersign_fuzz::{Target, actors, check};
use countersign_protocol::audit::{Chain, Record};
use countersign_protocol::digest;
use countersign_protocol::keys::Signer;
use countersign_protocol::message::{Removal, VERSION};
use countersign_protocol::signed;

pub(crate) const TARGET: Target = Target { name: "audit_record", run, seeds };

fn run(data: &[u8]) {
    let line = String::from_utf8_lossy(data);
    let Ok(record) = serde_json::from_str::<Record>(&line) else {
        return assert!(Chain::after(&line).is_err());
    };
    let host = actors::host();
    match record.evidence(host.public_key()) {
        Ok(evidence) => {
            if let Some(decision) = &evidence.decision {
                let request = record.request.as_deref().expect("a decision is about a request");
                assert_eq!(decision.message.request, digest::sha256_hex(request.as_bytes()));
                let named = record.device.as_deref();
                assert!(named.is_none_or(|device| device == decision.signed.key.fingerprint()));
            }
            if let Some(request) = &evidence.request {
                assert_eq!(request.signed.key, *host.public_key());
                assert!(record.user.as_ref().is_none_or(|user| *user == request.message.user));
            }
            assert_eq!(evidence.removal.is_some(), record.removal.is_some());
        }
        Err(error) => check::is_inert(&error.to_string()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let (request, decision) = (actors::signed_request(), actors::signed_decision());
    let device = actors::device();
    let text = |bytes: Vec<u8>| Some(String::from_utf8(bytes).expect("text"));
    let login = Record {
        event: "login".into(),
        user: Some("alice".into()),
        service: Some("sudo".into()),
        device: Some(device.public_key().fingerprint()),
        request: text(request.bytes),
        request_signature: Some(request.signature),
        decision: text(decision.bytes),
        decision_signature: Some(decision.signature),
        ..Record::default()
    };
    let removal = Removal {
        version: VERSION,
        notice: "0".repeat(64),
        device: device.public_key().id(),
        decided_at: 1,
        counter: 1,
    };
    let removal = signed::sign_message(&device, &removal).expect("signed");
    let removed = Record {
        event: "revoked".into(),
        device: Some(device.public_key().fingerprint()),
        removal: text(removal.bytes),
        removal_signature: Some(removal.signature),
        ..Record::default()
    };
    let mut chain = Chain::new();
    [login, removed].map(|record| chain.append(record).expect("short").into_bytes()).into()
}
