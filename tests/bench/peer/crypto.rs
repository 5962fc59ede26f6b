//! What the cryptography of a login takes by itself.

use crate::{Outcome, say};
use base64ct::{Base64, Encoding};
use countersign_protocol::keys::{SealKey, Signer, SigningKey};
use countersign_protocol::message::{
    Answer, Approvals, Confirm, Decision, Envelope, Host, Kind, MessageType, Request, VERSION,
};
use countersign_protocol::seal::{self, Recipient};
use countersign_protocol::signed::{sign_message, verify_message};
use serde_json::json;
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: u32 = 500;

/// The steps of one login, in order: who does it, and microseconds each.
pub(crate) fn run() -> Outcome {
    let (host, device) = (SigningKey::generate(), SigningKey::generate());
    let (reply, card) = (SealKey::generate(), SealKey::generate());
    let request = request(&host, &reply);
    let id = request.id.clone();
    let signed = sign_message(&host, &request)?;
    let to_device = Recipient { seal_key: card.public(), hash: [7; 32] };
    let to_host = Recipient::reply_key(reply.public());
    let about = envelope(MessageType::Request, &host, &device, &id);
    let back = envelope(MessageType::Decision, &device, &host, &id);
    let sealed = seal::seal(
        MessageType::Request,
        host.public_key(),
        &to_device,
        &about,
        &signed.bytes,
        &signed.signature,
    )?;
    let decision = Decision {
        version: VERSION,
        request: signed.digest(),
        decision: Answer::Approve,
        code: None,
        lease: None,
        decided_at: 1,
        counter: 1,
    };
    let decided = sign_message(&device, &decision)?;
    let answer = seal::seal(
        MessageType::Decision,
        device.public_key(),
        &to_host,
        &back,
        &decided.bytes,
        &decided.signature,
    )?;
    let steps = [
        (
            "host: a reply key",
            time(|| {
                let _ = black_box(SealKey::generate().public());
            }),
        ),
        ("host: sign the request", time(|| drop(black_box(sign_message(&host, &request))))),
        (
            "host: seal it",
            time(|| {
                let sealed = seal::seal(
                    MessageType::Request,
                    host.public_key(),
                    &to_device,
                    &about,
                    &signed.bytes,
                    &signed.signature,
                );
                drop(black_box(sealed));
            }),
        ),
        (
            "device: open it",
            time(|| {
                drop(black_box(seal::open(MessageType::Request, &card, [7; 32], host.public_key(), &sealed)))
            }),
        ),
        (
            "device: verify it",
            time(|| {
                drop(black_box(verify_message::<Request>(
                    &signed.bytes,
                    &signed.signature,
                    host.public_key(),
                )))
            }),
        ),
        ("device: sign the decision", time(|| drop(black_box(sign_message(&device, &decision))))),
        (
            "device: seal it",
            time(|| {
                let sealed = seal::seal(
                    MessageType::Decision,
                    device.public_key(),
                    &to_host,
                    &back,
                    &decided.bytes,
                    &decided.signature,
                );
                drop(black_box(sealed));
            }),
        ),
        (
            "host: open it",
            time(|| {
                drop(black_box(seal::open(
                    MessageType::Decision,
                    &reply,
                    to_host.hash,
                    device.public_key(),
                    &answer,
                )))
            }),
        ),
        (
            "host: verify it",
            time(|| {
                drop(black_box(verify_message::<Decision>(
                    &decided.bytes,
                    &decided.signature,
                    device.public_key(),
                )))
            }),
        ),
    ];
    for (step, microseconds) in steps {
        say(&json!({"event": "step", "step": step, "us": microseconds}));
    }
    Ok(())
}

/// Microseconds of one, the quickest of some batches: what else runs here does not count.
fn time(step: impl Fn()) -> f64 {
    let batch = || {
        let began = Instant::now();
        for _ in 0..ROUNDS / 10 {
            step();
        }
        began.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS / 10)
    };
    (0..10).map(|_| batch()).fold(f64::INFINITY, f64::min)
}

fn envelope(kind: MessageType, from: &SigningKey, to: &SigningKey, id: &str) -> Envelope {
    let (from, to) = (from.public_key().id(), to.public_key().id());
    Envelope { version: VERSION, message_type: kind, from, to, id: id.to_owned() }
}

fn request(host: &SigningKey, reply: &SealKey) -> Request {
    Request {
        version: VERSION,
        id: "00".repeat(16),
        reply_key: Base64::encode_string(&reply.public()),
        host: Host { name: "lab".to_owned(), key: host.public_key().to_line() },
        user: "alice".to_owned(),
        uid: 1000,
        requester: None,
        service: "sshd".to_owned(),
        kind: Kind::Login,
        command: None,
        action: None,
        detail: None,
        list: None,
        terminal: Some("ssh".to_owned()),
        remote: None,
        ssh_key: None,
        context: None,
        issued_at: 1,
        expires_in: 60,
        confirm: Confirm::Tap,
        lease_max: None,
        lease_uses: None,
        approvals: Approvals { needed: 1, from: vec!["alice".to_owned()] },
    }
}
