//! What comes to an approver: sealed, but by a host that writes what it likes, or by somebody who is none.

use countersign_cli::approver::letter::{self, Letter, Saying};
use countersign_cli::approver::store::{Device, PinnedHost};
use countersign_fuzz::actors::{self, ID, NOW, ORIGIN};
use countersign_fuzz::{Target, check, input::Input};
use countersign_protocol::digest;
use countersign_protocol::keys::Signer;
use countersign_protocol::message::{
    Answer, Closed, ClosedOutcome, Confirm, MessageType, NoticeDevice, Sealed, VERSION,
};
use countersign_protocol::{notice, seal, signed, sshsig};
use std::sync::Arc;

pub(crate) const TARGET: Target = Target { name: "approver_letter", run, seeds };

fn run(data: &[u8]) {
    thread_local!(static DEVICE: Device = device());
    let mut input = Input::new(data);
    let (kind, id, signer) = (input.byte(), input.line(), input.byte());
    let body = input.rest();
    let message_type = match kind {
        b'r' => MessageType::Request,
        b'c' => MessageType::Closed,
        b'n' => MessageType::Notice,
        b'd' => MessageType::Decision,
        _ => return raw(body),
    };
    let by_host = signer == b'h';
    let key = if by_host { actors::host() } else { actors::device() };
    let signature = sshsig::sign(&key, message_type.namespace(), body).expect("signed");
    let Some(sealed) = actors::sealed(message_type, &id, body, &signature) else { return };
    let read = DEVICE.with(|device| letter::read(&sealed, device, &pinned(), ORIGIN));
    match read {
        Ok(letter) => {
            assert!(by_host, "somebody else's word");
            assert!(is_of(&letter, &id), "in another's envelope");
            if let Letter::Request(verified) = letter {
                assert_eq!(verified.digest, digest::sha256_hex(body));
                assert_eq!(verified.request.host.key, actors::named_host().key);
                let deny = DEVICE.with(|device| {
                    letter::decide(
                        &verified,
                        &Saying { answer: Answer::Deny, lease: None, counter: 1, now: NOW },
                        device,
                    )
                });
                let approve = DEVICE.with(|device| {
                    letter::decide(
                        &verified,
                        &Saying { answer: Answer::Approve, lease: None, counter: 2, now: NOW },
                        device,
                    )
                });
                match (deny, approve) {
                    (Ok((_, none)), Ok((sealed, code))) => {
                        assert!(none.is_none());
                        assert_eq!(code.is_some(), verified.request.confirm == Confirm::Code);
                        assert!(seal::peek(&sealed).is_ok());
                    }
                    (deny, approve) => {
                        [deny, approve]
                            .into_iter()
                            .filter_map(Result::err)
                            .for_each(|why| check::is_inert(&why));
                    }
                }
            }
        }
        Err(why) => check::is_inert(&why),
    }
}

/// Of the relay's own making.
fn raw(json: &[u8]) {
    let Ok(sealed) = serde_json::from_slice::<Sealed>(json) else { return };
    match letter::read(&sealed, &device(), &pinned(), ORIGIN) {
        Ok(letter) => {
            let known = [actors::signed_request().digest()];
            if let Letter::Request(verified) = &letter {
                assert!(known.contains(&verified.digest), "a request that no host has made");
            }
        }
        Err(why) => check::is_inert(&why),
    }
}

fn is_of(letter: &Letter, id: &str) -> bool {
    match letter {
        Letter::Request(verified) => verified.request.id == id,
        Letter::Closed { key, .. } | Letter::Notice { key, .. } => key.id == id,
        Letter::Unknown => false,
    }
}

fn device() -> Device {
    Device {
        signer: Arc::new(actors::device()),
        seal_key: actors::seal_key(),
        signed_card: actors::signed_card(),
        card: actors::card(),
    }
}

fn pinned() -> [PinnedHost; 1] {
    [PinnedHost {
        name: "db-1\u{1b}".into(),
        key: actors::named_host().key,
        user: "alice".into(),
        server: ORIGIN.into(),
        paired_at: 1,
    }]
}

fn seeds() -> Vec<Vec<u8>> {
    let closed = Closed {
        version: VERSION,
        id: ID.into(),
        request: actors::signed_request().digest(),
        outcome: ClosedOutcome::Approved,
        closed_at: NOW,
    };
    let devices = vec![NoticeDevice {
        id: actors::device().public_key().id(),
        name: "phone".into(),
        paired_at: 1,
        last_used_at: None,
    }];
    let notice = notice::fitted("alice", actors::request().reply_key, None, devices, NOW);
    let id = notice.id.clone();
    let sign = |message: Result<signed::SignedMessage, _>| message.expect("in order").bytes;
    let request = actors::signed_request();
    let sealed = actors::sealed(MessageType::Request, ID, &request.bytes, &request.signature);
    let seed = |head: &str, body: &[u8]| [head.as_bytes(), body].concat();
    vec![
        seed(&format!("r{ID}\nh"), &request.bytes),
        seed(&format!("r{ID}\nd"), &request.bytes),
        seed(&format!("c{ID}\nh"), &sign(signed::sign_message(&actors::host(), &closed))),
        seed(&format!("n{id}\nh"), &sign(signed::sign_message(&actors::host(), &notice))),
        seed(&format!("d{ID}\nh"), b"{}"),
        seed("x\n-", &serde_json::to_vec(&sealed).expect("JSON")),
        seed("x\n-", br#"{"envelope":"{\"version\":2,\"type\":\"later\"}","sealed":""}"#),
    ]
}
