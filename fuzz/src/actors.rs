//! A host, a device and an authority that are the same in every run, and what they make. The keys are
//! those of `protocol/vectors/`, so that what stands there can be opened.

use base64ct::{Base64, Encoding};
use countersign_protocol::api::SignedCard;
use countersign_protocol::card::{self, VerifiedCard};
use countersign_protocol::certificate::APPROVER_OPTION;
use countersign_protocol::keys::{SealKey, Signer, SigningKey};
use countersign_protocol::message::{
    Answer, Approvals, Card, Confirm, Context, Decision, Envelope, Host, Kind, List, MessageType, Place,
    PlaceSource, Remote, RemoteSource, Request, Sealed, SshKey, VERSION, Zone,
};
use countersign_protocol::seal::{self, Recipient};
use countersign_protocol::signed::{self, SignedMessage};
use countersign_protocol::{digest, signers::Line};

/// Appends a string of SSH's wire encoding.
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A certificate whose inside, from the nonce to the reserved field, is given; signed by the authority.
///
/// # Panics
/// Never: the authority can sign.
#[must_use]
pub fn certified(inside: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    put_string(&mut blob, b"ssh-ed25519-cert-v01@openssh.com");
    blob.extend_from_slice(inside);
    put_string(&mut blob, authority().public_key().blob());
    let signature = authority().sign(&blob).expect("signed");
    put_string(&mut blob, &signature);
    blob
}

/// The inside of a certificate of the device that may approve for these users.
#[must_use]
pub fn certificate_inside(users: &[&str]) -> Vec<u8> {
    let mut inside = Vec::new();
    put_string(&mut inside, &[5; 32]);
    // The key without the name of its type.
    inside.extend_from_slice(device().public_key().blob().get(4 + "ssh-ed25519".len()..).unwrap_or_default());
    inside.extend_from_slice(&7u64.to_be_bytes());
    inside.extend_from_slice(&1u32.to_be_bytes());
    put_string(&mut inside, b"device of alice");
    let mut names = Vec::new();
    users.iter().for_each(|user| put_string(&mut names, user.as_bytes()));
    put_string(&mut inside, &names);
    inside.extend_from_slice(&(NOW - 1000).to_be_bytes());
    inside.extend_from_slice(&(NOW + 1000).to_be_bytes());
    let mut options = Vec::new();
    put_string(&mut options, APPROVER_OPTION.as_bytes());
    put_string(&mut options, b"");
    put_string(&mut inside, &options);
    put_string(&mut inside, b"");
    put_string(&mut inside, b"");
    inside
}

/// The device's certificate.
#[must_use]
pub fn certificate() -> Vec<u8> {
    certified(&certificate_inside(&["alice"]))
}

/// Origin of the server.
pub const ORIGIN: &str = "https://push.example.com";
/// A request's id.
pub const ID: &str = "00112233445566778899aabbccddeeff";
/// A moment in which everything here is valid, seconds since 1970.
pub const NOW: u64 = 1_800_000_000;

/// The host's key.
#[must_use]
pub fn host() -> SigningKey {
    SigningKey::from_seed(&[0x11; 32])
}

/// The device's key.
#[must_use]
pub fn device() -> SigningKey {
    SigningKey::from_seed(&[0x22; 32])
}

/// The key of an authority that certifies devices.
#[must_use]
pub fn authority() -> SigningKey {
    SigningKey::from_seed(&[0x99; 32])
}

/// What is sealed to the device opens with this.
#[must_use]
pub fn seal_key() -> SealKey {
    SealKey::from_bytes(&[0x33; 32])
}

/// What answers the request opens with this.
#[must_use]
pub fn reply_key() -> SealKey {
    SealKey::from_bytes(&[0x44; 32])
}

/// A P-256 key.
///
/// # Panics
/// Never: it is a committed file.
#[must_use]
pub fn p256() -> SigningKey {
    SigningKey::from_openssh(P256, None).expect("a good key")
}

/// The same as a file.
pub const P256: &str = include_str!("../../protocol/vectors/p256_key");

/// The host as it names itself.
#[must_use]
pub fn named_host() -> Host {
    Host { name: "db-1".into(), key: host().public_key().to_line() }
}

/// The device's card, signed.
///
/// # Panics
/// Never: its fields are in order.
#[must_use]
pub fn signed_card() -> SignedCard {
    let card = Card {
        version: VERSION,
        key: device().public_key().to_line(),
        seal: Base64::encode_string(&seal_key().public()),
        serial: 1,
        name: "phone".into(),
    };
    card::sign(&device(), &card).expect("a good card")
}

/// The same, verified.
///
/// # Panics
/// Never: it was just signed.
#[must_use]
pub fn card() -> VerifiedCard {
    card::verify(&signed_card()).expect("a good card")
}

/// A request with every field.
#[must_use]
pub fn request() -> Request {
    Request {
        version: VERSION,
        id: ID.into(),
        reply_key: Base64::encode_string(&reply_key().public()),
        host: named_host(),
        user: "alice".into(),
        uid: 1000,
        requester: Some("bob".into()),
        service: "sudo".into(),
        kind: Kind::Command,
        command: Some("sudo -- echo \"\u{1b}[31m\" \u{202e}é".into()),
        action: Some("org.example.act".into()),
        detail: Some("hello 2.10-3 \u{202e}".into()),
        list: Some(List {
            sha256: "ab".repeat(32),
            bytes: 9,
            lines: 1,
            key: Base64::encode_string(&[7; 16]),
        }),
        terminal: Some("pts/3".into()),
        remote: Some(Remote {
            address: "2001:db8::1".into(),
            port: Some(50022),
            source: RemoteSource::Kernel,
        }),
        ssh_key: Some(SshKey { fingerprint: "SHA256:x".into(), key_type: "ssh-ed25519".into() }),
        context: Some(Context {
            new_source: true,
            place: Some(Place { text: "Zür\u{202e}ich".into(), source: PlaceSource::Geoip }),
            zone: Some(Zone { name: Some("UTC".into()), offset: 120 }),
        }),
        issued_at: NOW,
        expires_in: 60,
        confirm: Confirm::Code,
        lease_max: Some(60),
        lease_uses: Some(2),
        approvals: Approvals { needed: 1, from: vec!["alice".into()] },
    }
}

/// The request, signed.
///
/// # Panics
/// Never: its fields are in order.
#[must_use]
pub fn signed_request() -> SignedMessage {
    signed::sign_message(&host(), &request()).expect("a good request")
}

/// An approval of it.
#[must_use]
pub fn decision() -> Decision {
    Decision {
        version: VERSION,
        request: signed_request().digest(),
        decision: Answer::Approve,
        code: Some("012345".into()),
        lease: None,
        decided_at: NOW + 10,
        counter: 7,
    }
}

/// The approval, signed.
///
/// # Panics
/// Never: its fields are in order.
#[must_use]
pub fn signed_decision() -> SignedMessage {
    signed::sign_message(&device(), &decision()).expect("a good decision")
}

/// The envelope of a message from the host to the device, or back.
#[must_use]
pub fn envelope(message_type: MessageType, id: &str) -> Envelope {
    let (mut from, mut to) = (host().public_key().id(), device().public_key().id());
    if is_to_host(message_type) {
        (from, to) = (to, from);
    }
    Envelope { version: VERSION, message_type, from, to, id: id.into() }
}

/// Whether devices send it.
#[must_use]
pub fn is_to_host(message_type: MessageType) -> bool {
    matches!(message_type, MessageType::Decision | MessageType::Removal)
}

/// Seals bytes as whoever sends such messages does; nothing when they are too long.
#[must_use]
pub fn sealed(message_type: MessageType, id: &str, body: &[u8], signature: &str) -> Option<Sealed> {
    let (sender, recipient) = if is_to_host(message_type) {
        (device(), Recipient::reply_key(reply_key().public()))
    } else {
        (host(), card().recipient())
    };
    let envelope = envelope(message_type, id);
    seal::seal(message_type, sender.public_key(), &recipient, &envelope, body, signature).ok()
}

/// The key that opens such a message, and the hash of its recipient.
#[must_use]
pub fn opener(message_type: MessageType) -> (SealKey, [u8; 32]) {
    if is_to_host(message_type) {
        (reply_key(), digest::sha256(&reply_key().public()))
    } else {
        (seal_key(), card().hash)
    }
}

/// The line that lets the device approve for alice.
///
/// # Panics
/// Never: the name is one.
#[must_use]
pub fn approvers() -> String {
    Line::new("alice", device().public_key().clone(), "phone").expect("a good name").to_string()
}
