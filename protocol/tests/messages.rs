//! Signed messages, cards, authentication and the audit log, from outside.

use countersign_protocol::api::{Challenge, Proof, SignedCard};
use countersign_protocol::audit::{self, BadLine, Chain, ChainFault, EvidenceFault, Record};
use countersign_protocol::auth::{self, AuthError};
use countersign_protocol::card::{self, CardError};
use countersign_protocol::keys::{Signer, SigningKey};
use countersign_protocol::message::{
    Answer, Approvals, Card, Closed, ClosedOutcome, Confirm, Decision, Host, Kind, Lease, List, Request,
    namespace,
};
use countersign_protocol::signed::{self, Message, MessageError, SignedMessage};
use countersign_protocol::sshsig::{self, SshSigError};

/// 32 bytes of seven in base64.
const X25519: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

fn request(host: &SigningKey) -> Request {
    Request {
        version: 1,
        id: "00112233445566778899aabbccddeeff".into(),
        reply_key: X25519.into(),
        host: Host { name: "db-1".into(), key: host.public_key().to_line() },
        user: "alice".into(),
        uid: 1000,
        requester: None,
        service: "sshd".into(),
        kind: Kind::Login,
        command: None,
        action: None,
        detail: None,
        list: None,
        terminal: None,
        remote: None,
        ssh_key: None,
        context: None,
        issued_at: 1_800_000_000,
        expires_in: 60,
        confirm: Confirm::Code,
        lease_max: None,
        lease_uses: None,
        approvals: Approvals { needed: 1, from: vec!["alice".into()] },
    }
}

fn decision(request: &SignedMessage) -> Decision {
    Decision {
        version: 1,
        request: request.digest(),
        decision: Answer::Approve,
        code: Some("012345".into()),
        lease: None,
        decided_at: 1_800_000_010,
        counter: 3,
    }
}

fn card(device: &SigningKey) -> Card {
    Card {
        version: 1,
        key: device.public_key().to_line(),
        seal: X25519.into(),
        serial: 1,
        name: "phone".into(),
    }
}

#[test]
fn a_message_is_believed_from_its_signer_only() {
    let (host, other) = (SigningKey::generate(), SigningKey::generate());
    let request = request(&host);
    let message = signed::sign_message(&host, &request).unwrap();
    let read =
        signed::verify_message::<Request>(&message.bytes, &message.signature, host.public_key()).unwrap();
    assert_eq!(read.message, request);
    assert_eq!(read.signed.key, *host.public_key());
    let as_other = signed::verify_message::<Request>(&message.bytes, &message.signature, other.public_key());
    assert_eq!(as_other.unwrap_err(), MessageError::OtherKey);
    let as_closed = signed::verify_message::<Closed>(&message.bytes, &message.signature, host.public_key());
    assert_eq!(as_closed.unwrap_err(), MessageError::Signature(SshSigError::Namespace));
    let mut changed = message.bytes.clone();
    let at = changed.windows(5).position(|w| w == b"alice").unwrap();
    changed[at] = b'b';
    let as_changed = signed::verify_message::<Request>(&changed, &message.signature, host.public_key());
    assert_eq!(as_changed.unwrap_err(), MessageError::Signature(SshSigError::Signature));
    // The same JSON, written in another way, is another message.
    let spaced = String::from_utf8(message.bytes).unwrap().replacen(':', ": ", 1);
    assert!(
        signed::verify_message::<Request>(spaced.as_bytes(), &message.signature, host.public_key()).is_err()
    );
}

type Fault = Box<dyn Fn(&mut Request)>;

#[test]
fn wrong_fields_are_refused_on_both_sides() {
    let host = SigningKey::generate();
    let mut good = request(&host);
    good.detail = Some("d".repeat(300));
    good.list = Some(List {
        sha256: "ab".repeat(32),
        bytes: 262_144,
        lines: 262_144,
        key: "BwcHBwcHBwcHBwcHBwcHBw==".into(),
    });
    assert!(signed::sign_message(&host, &good).is_ok());
    let faults: Vec<Fault> = vec![
        Box::new(|r| r.version = 2),
        Box::new(|r| r.id = r.id.to_uppercase()),
        Box::new(|r| r.id = "0011".into()),
        Box::new(|r| r.reply_key = "AAAA".into()),
        Box::new(|r| r.reply_key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into()),
        Box::new(|r| r.host.key = "ssh-ed25519 AAAA".into()),
        Box::new(|r| r.host.key += " comment"),
        Box::new(|r| r.host.name = String::new()),
        Box::new(|r| r.user = String::new()),
        Box::new(|r| r.user = "a".repeat(257)),
        Box::new(|r| r.service = String::new()),
        Box::new(|r| r.command = Some("c".repeat(1025))),
        Box::new(|r| r.detail = Some("d".repeat(301))),
        Box::new(|r| r.list.as_mut().unwrap().sha256 = "00".into()),
        Box::new(|r| r.list.as_mut().unwrap().bytes = 262_145),
        Box::new(|r| r.list.as_mut().unwrap().bytes = 0),
        Box::new(|r| r.list.as_mut().unwrap().lines = 0),
        Box::new(|r| r.list.as_mut().unwrap().lines = 262_145),
        Box::new(|r| r.list.as_mut().unwrap().key = "AAAA".into()),
        Box::new(|r| r.list.as_mut().unwrap().key = X25519.into()),
        Box::new(|r| r.expires_in = 0),
        Box::new(|r| r.expires_in = 601),
        Box::new(|r| r.lease_max = Some(8 * 3600 + 1)),
        Box::new(|r| r.lease_uses = Some(1)),
        Box::new(|r| (r.lease_max, r.lease_uses) = (Some(60), Some(1001))),
        Box::new(|r| (r.lease_max, r.lease_uses) = (Some(60), Some(0))),
        Box::new(|r| r.approvals.needed = 0),
        Box::new(|r| r.approvals.from.clear()),
        Box::new(|r| r.approvals.from = vec!["x".into(); 17]),
    ];
    for (i, fault) in faults.iter().enumerate() {
        let mut bad = good.clone();
        fault(&mut bad);
        assert!(matches!(signed::sign_message(&host, &bad), Err(MessageError::Field(_))), "{i}");
        let bytes = serde_json::to_vec(&bad).unwrap();
        let signature = sshsig::sign(&host, namespace::REQUEST, &bytes).unwrap();
        let read = signed::verify_message::<Request>(&bytes, &signature, host.public_key());
        assert!(matches!(read, Err(MessageError::Field(_))), "{i}: {read:?}");
    }
    // Control characters are for whoever shows the text.
    let mut odd = good.clone();
    odd.command = Some("rm\x1b[2J\n".into());
    assert!(signed::sign_message(&host, &odd).is_ok());
    let mut long = good;
    long.approvals.from = vec!["x".repeat(200); 10];
    assert_eq!(signed::sign_message(&host, &long).unwrap_err(), MessageError::TooLong);
    let junk = b"{\"version\":1}";
    let signature = sshsig::sign(&host, namespace::REQUEST, junk).unwrap();
    let read = signed::verify_message::<Request>(junk, &signature, host.public_key());
    assert!(matches!(read, Err(MessageError::Malformed(_))));
}

#[test]
fn decisions_carry_six_digits_and_only_with_approvals() {
    let host = SigningKey::generate();
    let good = decision(&signed::sign_message(&host, &request(&host)).unwrap());
    assert_eq!(good.check(), Ok(()));
    for code in ["", "12345", "1234567", "12345a", "１２", " 12345", "-12345"] {
        let bad = Decision { code: Some(code.into()), ..good.clone() };
        assert!(bad.check().is_err(), "{code:?}");
    }
    let lease = Some(Lease { until: 1, scope: "host".into() });
    for answer in [Answer::Deny, Answer::Report] {
        assert!(Decision { decision: answer, ..good.clone() }.check().is_err());
        let bare = Decision { decision: answer, code: None, ..good.clone() };
        assert_eq!(bare.check(), Ok(()));
        assert!(Decision { lease: lease.clone(), ..bare }.check().is_err());
    }
    assert_eq!(Decision { code: None, lease, ..good.clone() }.check(), Ok(()));
    assert!(Decision { request: "00".into(), ..good }.check().is_err());
    let closed = Closed {
        version: 1,
        id: "00112233445566778899aabbccddeeff".into(),
        request: "0".repeat(64),
        outcome: ClosedOutcome::Approved,
        closed_at: 1,
    };
    assert_eq!(closed.check(), Ok(()));
    assert!(Closed { id: "x".into(), ..closed }.check().is_err());
}

#[test]
fn cards_are_signed_by_the_key_they_name() {
    let (device, other) = (SigningKey::generate(), SigningKey::generate());
    let signed = card::sign(&device, &card(&device)).unwrap();
    let verified = card::verify(&signed).unwrap();
    assert_eq!(verified.key, *device.public_key());
    assert_eq!(verified.seal_key, [7; 32]);
    assert_eq!(verified.hash, countersign_protocol::digest::sha256(signed.card.as_bytes()));
    assert_eq!(card::sign(&other, &card(&device)), Err(CardError::OtherKey));
    let forged = SignedCard {
        card: signed.card.clone(),
        signature: sshsig::sign(&other, namespace::CARD, signed.card.as_bytes()).unwrap(),
    };
    assert_eq!(card::verify(&forged), Err(CardError::OtherKey));
    let renamed = SignedCard { card: signed.card.replace("phone", "other"), ..signed };
    assert_eq!(card::verify(&renamed), Err(CardError::Signature(SshSigError::Signature)));
    for bad in [
        Card { version: 2, ..card(&device) },
        Card { name: "x".repeat(65), ..card(&device) },
        Card { seal: "AAAA".into(), ..card(&device) },
    ] {
        assert!(matches!(card::sign(&device, &bad), Err(CardError::Field(_))));
    }
    let long = SignedCard { card: " ".repeat(1025), signature: String::new() };
    assert_eq!(card::verify(&long), Err(CardError::TooLong));
}

#[test]
fn a_proof_is_for_one_server_one_key_one_time() {
    let (device, other) = (SigningKey::generate(), SigningKey::generate());
    let origin = "https://push.example.com";
    let challenge = Challenge { nonce: "n0".into(), expires_at: 100 };
    let proof = auth::prove(&device, origin, &challenge).unwrap();
    let proven = auth::verify(&proof, origin, 99).unwrap();
    assert_eq!((proven.key, proven.nonce.as_str()), (device.public_key().clone(), "n0"));
    assert_eq!(auth::verify(&proof, origin, 100), Err(AuthError::Expired));
    assert_eq!(auth::verify(&proof, "https://evil.example.com", 99), Err(AuthError::Origin));
    let stolen = Proof {
        signature: sshsig::sign(&other, namespace::AUTH, proof.statement.as_bytes()).unwrap(),
        statement: proof.statement.clone(),
    };
    assert_eq!(auth::verify(&stolen, origin, 99), Err(AuthError::OtherKey));
    let changed = Proof { statement: proof.statement.replace("n0", "n1"), ..proof };
    assert_eq!(auth::verify(&changed, origin, 99), Err(AuthError::Signature(SshSigError::Signature)));
    let long = Challenge { nonce: "n".repeat(129), expires_at: 1 };
    assert_eq!(auth::prove(&device, origin, &long), Err(AuthError::Malformed));
}

fn log(count: usize) -> Vec<String> {
    let mut chain = Chain::new();
    (0..count)
        .map(|i| {
            let record = Record { at_ms: i as u64, event: "login".into(), ..Record::default() };
            chain.append(record).unwrap()
        })
        .collect()
}

fn check(lines: &[String]) -> Result<Chain, BadLine> {
    audit::verify(Chain::new(), lines.iter().map(String::as_str))
}

#[test]
fn the_chain_finds_the_first_bad_line() {
    let good = log(6);
    let end = check(&good).unwrap();
    assert_eq!(end.last(), 6);
    assert_eq!(Chain::after(&good[5]).unwrap(), end);

    let mut edited = good.clone();
    edited[2] = edited[2].replace("\"at_ms\":2", "\"at_ms\":9");
    assert_eq!(check(&edited), Err(BadLine { line: 3, fault: ChainFault::Changed }));
    let mut removed = good.clone();
    removed.remove(3);
    let fault = ChainFault::Sequence { expected: 4, found: 5 };
    assert_eq!(check(&removed), Err(BadLine { line: 4, fault }));
    let mut swapped = good.clone();
    swapped.swap(1, 2);
    let fault = ChainFault::Sequence { expected: 2, found: 3 };
    assert_eq!(check(&swapped), Err(BadLine { line: 2, fault }));
    let mut doubled = good.clone();
    doubled.insert(1, good[0].clone());
    let fault = ChainFault::Sequence { expected: 2, found: 1 };
    assert_eq!(check(&doubled), Err(BadLine { line: 2, fault }));
    assert_eq!(check(&good[2..]), Err(BadLine { line: 1, fault: ChainFault::Start(3) }));
    assert_eq!(audit::verify(Chain::after(&good[1]).unwrap(), good[2..].iter().map(String::as_str)), Ok(end));
    let other = log(3)[1].replace("login", "other");
    let follows_another = audit::verify(Chain::after(&other).unwrap(), [good[2].as_str()]);
    assert_eq!(follows_another, Err(BadLine { line: 1, fault: ChainFault::Unlinked }));
    let mut torn = good.clone();
    torn[5].truncate(20);
    assert!(matches!(check(&torn), Err(BadLine { line: 6, fault: ChainFault::Malformed(_) })));
    // Renumbered after a removal, the links still tell.
    let mut renumbered = good;
    renumbered.remove(3);
    renumbered[3] = renumbered[3].replace("\"seq\":5", "\"seq\":4");
    assert_eq!(check(&renumbered), Err(BadLine { line: 3, fault: ChainFault::Changed }));
}

#[test]
fn a_record_too_long_leaves_the_chain_as_it_was() {
    let mut chain = Chain::new();
    let long = Record { reason: Some("x".repeat(audit::MAX_LINE)), ..Record::default() };
    assert_eq!(chain.append(long), Err(ChainFault::TooLong));
    assert_eq!(chain, Chain::new());
}

#[test]
fn nothing_follows_the_highest_number() {
    let last = log(1)[0].replace("\"seq\":1,", "\"seq\":18446744073709551615,");
    let mut chain = Chain::after(&last).unwrap();
    let as_it_was = chain.clone();
    assert_eq!(chain.append(Record::default()), Err(ChainFault::Last));
    assert_eq!(chain.follow(&last.replace("18446744073709551615", "0")), Err(ChainFault::Last));
    assert_eq!(chain, as_it_was);
}

fn proven(host: &SigningKey, device: &SigningKey) -> Record {
    let request = signed::sign_message(host, &request(host)).unwrap();
    let decision = signed::sign_message(device, &decision(&request)).unwrap();
    Record {
        at_ms: 1_800_000_011_000,
        event: "login".into(),
        user: Some("alice".into()),
        service: Some("sshd".into()),
        device: Some(device.public_key().fingerprint()),
        request: Some(String::from_utf8(request.bytes).unwrap()),
        request_signature: Some(request.signature),
        decision: Some(String::from_utf8(decision.bytes).unwrap()),
        decision_signature: Some(decision.signature),
        ..Record::default()
    }
}

#[test]
fn a_record_proves_itself() {
    let (host, device) = (SigningKey::generate(), SigningKey::generate());
    let good = proven(&host, &device);
    let evidence = good.evidence(host.public_key()).unwrap();
    assert_eq!(evidence.decision.unwrap().signed.key, *device.public_key());
    let other = SigningKey::generate();
    assert!(matches!(good.evidence(other.public_key()), Err(EvidenceFault::Request(MessageError::OtherKey))));
    let another = signed::sign_message(&host, &Request { uid: 0, ..request(&host) }).unwrap();
    for (bad, fault) in [
        (Record { request_signature: None, ..good.clone() }, EvidenceFault::Incomplete),
        (Record { decision: None, ..good.clone() }, EvidenceFault::Incomplete),
        (Record { action: Some("deploy.web".into()), ..good.clone() }, EvidenceFault::Mismatch("action")),
        (Record { detail: Some("release 42".into()), ..good.clone() }, EvidenceFault::Mismatch("detail")),
        (Record { list: Some("ab".repeat(32)), ..good.clone() }, EvidenceFault::Mismatch("list")),
        (Record { request: None, request_signature: None, ..good.clone() }, EvidenceFault::Incomplete),
        (Record { user: Some("root".into()), ..good.clone() }, EvidenceFault::Mismatch("user")),
        (Record { service: Some("sudo".into()), ..good.clone() }, EvidenceFault::Mismatch("service")),
        (Record { device: Some("SHA256:x".into()), ..good.clone() }, EvidenceFault::Mismatch("device")),
        (
            Record {
                request: Some(String::from_utf8(another.bytes).unwrap()),
                request_signature: Some(another.signature),
                ..good.clone()
            },
            EvidenceFault::OtherRequest,
        ),
    ] {
        assert_eq!(bad.evidence(host.public_key()), Err(fault));
    }
    let denied = good.decision.as_ref().unwrap().replace("approve", "deny");
    let bad = Record { decision: Some(denied), ..good };
    assert!(matches!(bad.evidence(host.public_key()), Err(EvidenceFault::Decision(_))));
}
