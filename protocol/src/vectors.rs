//! Test vectors for a second implementation, in `protocol/vectors/`. The committed files have to be
//! what this code makes; `COUNTERSIGN_WRITE_VECTORS=1 cargo test -p countersign-protocol vectors`
//! writes them anew.

use crate::api::{Challenge, SignedCard};
use crate::auth;
use crate::card;
use crate::digest::{hex, sha256, sha256_hex};
use crate::keys::{SealKey, Signer, SigningKey};
use crate::list;
use crate::message::{
    Answer, Approvals, Card, Confirm, Context, Decision, DeviceChange, DeviceEvent, Envelope, Host, Kind,
    List, MessageType, NoticeDevice, Place, PlaceSource, Remote, RemoteSource, Removal, Request, Zone,
    namespace,
};
use crate::notice;
use crate::pairing::{HostPairing, PhonePairing, Ticket, TypedTicket};
use crate::phone_code::{self, Challenge as PhoneChallenge};
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
        detail: None,
        list: None,
        terminal: Some("pts/3".into()),
        remote: Some(Remote {
            address: "2001:db8::1".into(),
            port: Some(50022),
            source: RemoteSource::Kernel,
        }),
        ssh_key: None,
        context: Some(Context {
            new_source: true,
            place: Some(Place { text: "São Paulo, Brazil".into(), source: PlaceSource::Geoip }),
            zone: Some(Zone { name: Some("America/St_Johns".into()), offset: -150 }),
        }),
        issued_at: 1_800_000_000,
        expires_in: 60,
        confirm: Confirm::Code,
        lease_max: None,
        lease_uses: None,
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

/// A message from the host to the device, or back.
fn sealed(ikm: u8, kind: MessageType, id: &str, message: &SignedMessage) -> Value {
    let to_host = matches!(kind, MessageType::Decision | MessageType::Removal);
    let (from, to) = if to_host { (device(), host()) } else { (host(), device()) };
    let (key, hash) = if to_host {
        (reply_key(), sha256(&reply_key().public()))
    } else {
        (seal_key(), card::verify(&signed_card()).unwrap().hash)
    };
    let envelope = Envelope {
        version: 1,
        message_type: kind,
        from: from.public_key().id(),
        to: to.public_key().id(),
        id: id.into(),
    };
    let sealed = seal::seal_with(
        &mut Fixed(vec![ikm; 32]),
        kind,
        from.public_key(),
        &Recipient { seal_key: key.public(), hash },
        &envelope,
        &message.bytes,
        &message.signature,
    )
    .unwrap();
    let opened = seal::open(kind, &key, hash, from.public_key(), &sealed).unwrap();
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
}

fn seals() -> Value {
    json!([
        sealed(0x55, MessageType::Request, ID, &request()),
        sealed(0x66, MessageType::Decision, ID, &decision()),
    ])
}

fn notices() -> Value {
    let listed = |key: &SigningKey, name: &str, last_used_at| NoticeDevice {
        id: key.public_key().id(),
        name: name.into(),
        paired_at: 1_800_000_020,
        last_used_at,
    };
    let devices = vec![listed(&p256(), "tablet", None), listed(&device(), "phone", Some(1_800_000_030))];
    let event =
        DeviceEvent { what: DeviceChange::Paired, device: p256().public_key().id(), name: "tablet".into() };
    let reply = Base64::encode_string(&reply_key().public());
    let notice = notice::fitted("alice", reply, Some(event), devices, 1_800_000_040);
    let id = notice.id.clone();
    let notice = signed::sign_message(&host(), &notice).unwrap();
    let removal = Removal {
        version: 1,
        notice: notice.digest(),
        device: p256().public_key().id(),
        decided_at: 1_800_000_050,
        counter: 8,
    };
    let removal = signed::sign_message(&device(), &removal).unwrap();
    json!({
        "user": "alice",
        "id": id,
        "card": signed_card(),
        "notice": sealed(0xbb, MessageType::Notice, &id, &notice),
        "removal": sealed(0xcc, MessageType::Removal, &id, &removal),
    })
}

fn phone_codes() -> Value {
    let card = card::verify(&signed_card()).unwrap();
    let key = host().public_key().clone();
    let made = |reply: [u8; 32], service: &str, user: &str, address: &str| {
        PhoneChallenge::new(&key, reply, 1_800_000_000, 120, (service, user, address)).unwrap()
    };
    let case = |service: &str, user: &str, address: &str| {
        let challenge = made(reply_key().public(), service, user, address);
        let code = phone_code::at_device(&seal_key(), &card.hash, &key, &challenge).unwrap();
        let there = phone_code::at_host(&reply_key(), &card.hash, card.seal_key, &key, &challenge).unwrap();
        assert_eq!(code, there);
        let PhoneChallenge { time, ttl, service: shown, user, address: from, .. } = &challenge;
        json!({
            "given": { "service": service, "address": address },
            "time": time, "ttl": ttl, "service": shown, "user": user, "address": from,
            "challenge": hex(&challenge.to_bytes()),
            "code": code.as_str(),
        })
    };
    let request = |byte: u8| {
        let (digest, public) = (hex(&[byte; 32]), reply_key().public());
        let code = phone_code::of_request_at_device(&seal_key(), &card.hash, &key, public, &digest).unwrap();
        let there =
            phone_code::of_request_at_host(&reply_key(), &card.hash, card.seal_key, &key, &digest).unwrap();
        assert_eq!(code, there);
        json!({ "reply_key": hex(&public), "digest": digest, "code": code.as_str() })
    };
    let good = made(reply_key().public(), "sshd", "alice", "2001:db8::1");
    let refused = |why: &str, bytes: Vec<u8>| {
        let parsed = PhoneChallenge::parse(&bytes);
        assert!(
            parsed.and_then(|c| phone_code::at_device(&seal_key(), &card.hash, &key, &c)).is_err(),
            "{why}"
        );
        json!({ "why": why, "challenge": hex(&bytes) })
    };
    let small_order = std::array::from_fn(|at| u8::from(at == 0));
    let with = |at: usize, byte: u8| {
        let mut bytes = good.to_bytes();
        *bytes.get_mut(at).unwrap() = byte;
        bytes
    };
    let other = PhoneChallenge::new(
        p256().public_key(),
        reply_key().public(),
        1_800_000_000,
        120,
        ("sshd", "alice", ""),
    );
    json!({
        "host_key": key.to_line(),
        "reply_secret": hex(reply_key().to_bytes().as_slice()),
        "device_seal_secret": hex(seal_key().to_bytes().as_slice()),
        "card": signed_card(),
        "card_digest": hex(&card.hash),
        "valid": [
            case("sshd", "alice", "2001:db8::1"),
            case("sudo", "alice", ""),
            case("login", "zoë", "été.example.com"),
            // Cut: the address first, then the service.
            case("sshd", "alice", "a-very-long-name-of-a-machine.somewhere.example.com"),
            case("a-service-of-a-name-that-nobody-can-want-to-read", "alice", "2001:db8::1"),
        ],
        "requests": [request(0x00), request(0x5a)],
        "refused": [
            refused("too short", good.to_bytes()[..50].to_vec()),
            refused("a byte too many", [good.to_bytes(), vec![0]].concat()),
            refused("over 106 bytes", [good.to_bytes(), vec![0; 106]].concat()),
            refused("a later version", with(0, 2)),
            refused("a text that is longer than the rest", with(54, 200)),
            refused("no UTF-8", with(55, 0xff)),
            refused("an empty service", with(54, 0)),
            refused("another host", other.unwrap().to_bytes()),
            refused("a reply key of zeros", made([0; 32], "sshd", "alice", "").to_bytes()),
            refused("a reply key of small order", made(small_order, "sshd", "alice", "").to_bytes()),
        ],
    })
}

fn lists() -> Value {
    let described = |text: &str| {
        let mut list = list::describe(text).unwrap();
        list.key = Base64::encode_string(&[0xdd; 16]);
        list
    };
    let case = |text: &str| {
        let described = described(text);
        let sealed = list::seal_with([0xee; 12], &described, ID, text).unwrap();
        assert_eq!(list::open(&described, ID, &sealed).unwrap(), text);
        // The padding makes the rest of it long; its end is the tag, which is over all of it.
        let (bytes, end) = (sealed.len(), hex(&sealed[sealed.len() - 16..]));
        json!({ "list": described, "text": text, "bytes": bytes, "start": hex(&sealed[..64]), "tag": end })
    };
    let text = "install hello 2.10-3\nupgrade zoë 1.0 -> 1.1\n";
    let refused = |why: &str, change: &dyn Fn(&mut List)| {
        let mut list = described(text);
        change(&mut list);
        json!({ "why": why, "list": list })
    };
    json!({
        "id": ID,
        "nonce": hex(&[0xee; 12]),
        "valid": [case(text), case("no line feed"), case("\n"), case(&"x".repeat(list::STEP)), case(&"y\n".repeat(list::STEP))],
        "text": text,
        // Of the list of that text.
        "refused": [
            refused("another digest", &|list| list.sha256 = "00".repeat(32)),
            refused("a byte less", &|list| list.bytes -= 1),
            refused("a byte more", &|list| list.bytes += 1),
            refused("another number of lines", &|list| list.lines += 1),
            refused("another length", &|list| list.bytes += 16_384),
            refused("another key", &|list| list.key = Base64::encode_string(&[0xdc; 16])),
        ],
    })
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
    let mut phone =
        PhonePairing::with_random(host_side.ticket().clone(), &signed_card(), [0x66; 16], [0x88; 12])
            .unwrap();
    let second = host_side.receive_with(phone.first(), [0x99; 12]).unwrap();
    let shown = phone.reveal(&second).unwrap();
    host_side.check(&shown.code).unwrap();
    let random = &mut Fixed(vec![0xaa; 32]);
    let receipt = host_side.receipt_with(random, &host(), 1_800_000_020).unwrap();
    let pinned = phone.receipt(&seal_key(), &receipt).unwrap();
    assert_eq!(pinned.host_key, *host().public_key());
    let typed = host_side.ticket().typed();
    let of_typed = TypedTicket::parse(&typed).unwrap().of_host(ORIGIN, &host().public_key().id()).unwrap();
    assert_eq!(of_typed, *host_side.ticket());
    let other = host_side.ticket().clone().with_app("https://approve.example.com").unwrap();
    assert_eq!(Ticket::parse(&other.link()).unwrap().origin(), ORIGIN);
    json!({
        "n": hex(n.as_slice()),
        "host": named_host(),
        "user": "alice",
        "link": host_side.ticket().link().as_str(),
        // Where the app has an origin of its own.
        "link_with_server": other.link().as_str(),
        // What is typed, and whose the server says that the mailbox is.
        "typed": typed.as_str(),
        "mailbox_host": host().public_key().id(),
        "mailbox": host_side.mailbox(),
        "card": signed_card(),
        "device_seal_secret": hex(seal_key().to_bytes().as_slice()),
        "m1_fresh": hex(&[0x66; 16]),
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
        ("notice", notices()),
        ("phone_code", phone_codes()),
        ("list", lists()),
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
