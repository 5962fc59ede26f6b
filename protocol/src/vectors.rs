//! Test vectors for a second implementation, in `protocol/vectors/`. The committed files have to be
//! what this code makes; `COUNTERSIGN_WRITE_VECTORS=1 cargo test -p countersign-protocol vectors`
//! writes them anew.

use crate::api::{Challenge, SignedCard};
use crate::auth;
use crate::card;
use crate::digest::{hex, sha256, sha256_hex};
use crate::keys::{SealKey, Signer, SigningKey};
use crate::message::{
    Answer, Approvals, Card, Confirm, Decision, Envelope, Host, Kind, MessageType, Remote, RemoteSource,
    Request, namespace,
};
use crate::pairing::{HostPairing, PhonePairing};
use crate::seal::{self, Recipient, tests::Fixed};
use crate::signed::{self, SignedMessage};
use crate::sshsig;
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use std::path::Path;
use zeroize::Zeroizing;

/// A P-256 key that `ssh-keygen` made for these vectors and nothing else.
const P256: &str = include_str!("../vectors/p256_key");
const ID: &str = "00112233445566778899aabbccddeeff";
const ORIGIN: &str = "https://push.example.com";

fn host() -> SigningKey {
    SigningKey::from_seed(&[0x11; 32])
}

fn device() -> SigningKey {
    SigningKey::from_seed(&[0x22; 32])
}

fn seal_key() -> SealKey {
    SealKey::from_bytes(&[0x33; 32])
}

fn reply_key() -> SealKey {
    SealKey::from_bytes(&[0x44; 32])
}

fn p256() -> SigningKey {
    SigningKey::from_openssh(P256, None).unwrap()
}

fn named_host() -> Host {
    Host { name: "db-1".into(), key: host().public_key().to_line() }
}

fn signed_card() -> SignedCard {
    let card = Card {
        version: 1,
        key: device().public_key().to_line(),
        seal: Base64::encode_string(&seal_key().public()),
        serial: 1,
        name: "Alice's phone – été".into(),
    };
    card::sign(&device(), &card).unwrap()
}

fn request() -> SignedMessage {
    let request = Request {
        version: 1,
        id: ID.into(),
        reply_key: Base64::encode_string(&reply_key().public()),
        host: named_host(),
        user: "alice".into(),
        uid: 1000,
        requester: Some("bob".into()),
        service: "sudo".into(),
        kind: Kind::Command,
        command: Some("sudo -- echo \"\u{1b}[31m\" é".into()),
        action: None,
        terminal: Some("pts/3".into()),
        remote: Some(Remote {
            address: "2001:db8::1".into(),
            port: Some(50022),
            source: RemoteSource::Kernel,
        }),
        ssh_key: None,
        issued_at: 1_800_000_000,
        expires_in: 60,
        confirm: Confirm::Code,
        lease_max: None,
        approvals: Approvals { needed: 1, from: vec!["alice".into()] },
    };
    signed::sign_message(&host(), &request).unwrap()
}

fn decision() -> SignedMessage {
    let decision = Decision {
        version: 1,
        request: request().digest(),
        decision: Answer::Approve,
        code: Some("012345".into()),
        lease: None,
        decided_at: 1_800_000_010,
        counter: 7,
    };
    signed::sign_message(&device(), &decision).unwrap()
}

fn text(message: &SignedMessage) -> Value {
    json!({
        "body": String::from_utf8(message.bytes.clone()).unwrap(),
        "signature": message.signature,
        "digest": message.digest(),
    })
}

fn keys() -> Value {
    let key = |name: &str, key: &SigningKey, seed: Option<u8>| {
        json!({
            "name": name,
            "seed": seed.map(|byte| hex(&[byte; 32])),
            "private": seed.is_none().then_some(P256),
            "line": key.public_key().to_line(),
            "blob": hex(key.public_key().blob()),
            "id": key.public_key().id(),
            "fingerprint": key.public_key().fingerprint(),
        })
    };
    json!([
        key("host", &host(), Some(0x11)),
        key("device", &device(), Some(0x22)),
        key("p256", &p256(), None)
    ])
}

fn sshsigs() -> Value {
    let case = |key: &SigningKey, namespace: &str, data: &str| {
        let signature = sshsig::sign(key, namespace, data.as_bytes()).unwrap();
        json!({ "key": key.public_key().to_line(), "namespace": namespace, "data": data, "signature": signature })
    };
    let good = sshsig::sign(&device(), namespace::DECISION, b"{}").unwrap();
    json!({
        "valid": [
            case(&device(), namespace::DECISION, "{}"),
            case(&host(), namespace::REQUEST, "{\"é\":\"\\u001b\"}"),
            case(&p256(), namespace::DECISION, "{}"),
            // Whose r or s begins with a zero byte or a high bit, in ssh's mpints.
            case(&p256(), namespace::DECISION, "{\"n\":1}"),
            case(&p256(), namespace::DECISION, "{\"n\":2}"),
            case(&p256(), namespace::DECISION, "{\"n\":3}"),
        ],
        "refused": [
            { "why": "another namespace", "namespace": namespace::REQUEST, "data": "{}", "signature": good },
            { "why": "other data", "namespace": namespace::DECISION, "data": "{ }", "signature": good },
            { "why": "cut", "namespace": namespace::DECISION, "data": "{}", "signature": good.replacen('A', "", 1) },
        ],
    })
}

fn envelope(message_type: MessageType, from: &SigningKey, to: &SigningKey) -> Envelope {
    Envelope {
        version: 1,
        message_type,
        from: from.public_key().id(),
        to: to.public_key().id(),
        id: ID.into(),
    }
}

fn seals() -> Value {
    let card = card::verify(&signed_card()).unwrap();
    let case =
        |ikm: u8, from: &SigningKey, to: &SigningKey, key: &SealKey, hash, message: &SignedMessage, kind| {
            let recipient = Recipient { seal_key: key.public(), hash };
            let envelope = envelope(kind, from, to);
            let mut random = Fixed(vec![ikm; 32]);
            let sealed = seal::seal_with(
                &mut random,
                kind,
                from.public_key(),
                &recipient,
                &envelope,
                &message.bytes,
                &message.signature,
            )
            .unwrap();
            let opened = seal::open(kind, key, hash, from.public_key(), &sealed).unwrap();
            assert_eq!(opened.body, message.bytes);
            json!({
                "type": kind.as_str(),
                "sender": from.public_key().to_line(),
                "recipient_secret": hex(key.to_bytes().as_slice()),
                "recipient_public": hex(&key.public()),
                "recipient_hash": hex(&hash),
                "info": hex(&seal::info(kind, from.public_key(), &hash)),
                "ephemeral_ikm": hex(&[ikm; 32]),
                "message": text(message),
                "sealed": sealed,
            })
        };
    let to_host = sha256(&reply_key().public());
    json!([
        case(0x55, &host(), &device(), &seal_key(), card.hash, &request(), MessageType::Request),
        case(0x66, &device(), &host(), &reply_key(), to_host, &decision(), MessageType::Decision),
    ])
}

fn messages() -> Value {
    let challenge = Challenge { nonce: "bm9uY2U".into(), expires_at: 1_800_000_060 };
    json!({
        "request": text(&request()),
        "decision": text(&decision()),
        "card": signed_card(),
        "card_digest": sha256_hex(signed_card().card.as_bytes()),
        "auth": { "origin": ORIGIN, "challenge": challenge, "proof": auth::prove(&device(), ORIGIN, &challenge).unwrap() },
    })
}

fn pairing() -> Value {
    let n = Zeroizing::new([0x77; 32]);
    let mut host_side = HostPairing::from_secret(n.clone(), ORIGIN, named_host(), "alice").unwrap();
    let mut phone = PhonePairing::with_nonce(host_side.ticket().clone(), &signed_card(), [0x88; 12]).unwrap();
    let second = host_side.receive_with(phone.first(), [0x99; 12]).unwrap();
    let shown = phone.reveal(&second).unwrap();
    host_side.check(&shown.code).unwrap();
    let random = &mut Fixed(vec![0xaa; 32]);
    let receipt = host_side.receipt_with(random, &host(), 1_800_000_020).unwrap();
    let pinned = phone.receipt(&seal_key(), &receipt).unwrap();
    assert_eq!(pinned.host_key, *host().public_key());
    json!({
        "n": hex(n.as_slice()),
        "host": named_host(),
        "user": "alice",
        "link": host_side.ticket().link().as_str(),
        "mailbox": host_side.mailbox(),
        "card": signed_card(),
        "device_seal_secret": hex(seal_key().to_bytes().as_slice()),
        "m1_nonce": hex(&[0x88; 12]),
        "m1": phone.first(),
        "m2_nonce": hex(&[0x99; 12]),
        "m2": second,
        "code": shown.code.as_str(),
        "m3_ephemeral_ikm": hex(&[0xaa; 32]),
        "m3": receipt,
    })
}

#[test]
fn committed_vectors_are_what_this_code_makes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let write = std::env::var_os("COUNTERSIGN_WRITE_VECTORS").is_some();
    for (name, value) in [
        ("keys", keys()),
        ("sshsig", sshsigs()),
        ("seal", seals()),
        ("messages", messages()),
        ("pairing", pairing()),
    ] {
        let path = folder.join(format!("{name}.json"));
        let made = format!("{}\n", serde_json::to_string_pretty(&value).unwrap());
        if write {
            std::fs::write(&path, &made).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let committed: Value = serde_json::from_str(&committed).unwrap_or_default();
        assert!(committed == value, "{} is not what this code makes", path.display());
    }
}

#[test]
fn the_vectors_verify() {
    for case in sshsigs()["valid"].as_array().unwrap() {
        let field = |name: &str| case[name].as_str().unwrap();
        let signed =
            sshsig::verify(field("signature"), field("namespace"), field("data").as_bytes()).unwrap();
        assert_eq!(signed.key.to_line(), field("key"));
    }
    for case in sshsigs()["refused"].as_array().unwrap() {
        let field = |name: &str| case[name].as_str().unwrap();
        let refused = sshsig::verify(field("signature"), field("namespace"), field("data").as_bytes());
        assert!(refused.is_err(), "{}", field("why"));
    }
}
