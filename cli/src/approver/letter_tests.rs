use super::*;
use crate::approver::store::Store;
use crate::approver::testing::{Dir, request};
use countersign_protocol::keys::{SealKey, Signer, SigningKey};
use countersign_protocol::message::{DeviceChange, DeviceEvent, namespace};
use countersign_protocol::notice;
use countersign_protocol::signed::SignedMessage;
use countersign_protocol::sshsig;

#[path = "letter_attack_tests.rs"]
mod attacks;

/// A host, a device that trusts it, and what they need.
struct Pair {
    _dir: Dir,
    host_key: SigningKey,
    reply_key: SealKey,
    device: Device,
    hosts: Vec<PinnedHost>,
}

const ID: &str = "00112233445566778899aabbccddeeff";
const SERVER: &str = "https://push.example.com";

impl Pair {
    fn new() -> Self {
        let dir = Dir::new();
        let device = Store::open(dir.path()).unwrap().create("laptop", None).unwrap();
        let host_key = SigningKey::generate();
        let host = PinnedHost {
            name: "web1".into(),
            key: host_key.public_key().to_line(),
            user: "alice".into(),
            server: SERVER.into(),
            paired_at: 1,
        };
        Self { _dir: dir, host_key, reply_key: SealKey::generate(), device, hosts: vec![host] }
    }

    fn request(&self) -> Request {
        let mut request = request(ID);
        request.host.key = self.host_key.public_key().to_line();
        request.reply_key = Base64::encode_string(&self.reply_key.public());
        request
    }

    fn envelope(&self, message_type: MessageType) -> Envelope {
        Envelope {
            version: VERSION,
            message_type,
            from: self.host_key.public_key().id(),
            to: self.device.card.key.id(),
            id: ID.into(),
        }
    }

    fn seal_as(&self, envelope: &Envelope, by: &SigningKey, message: &SignedMessage) -> Sealed {
        seal::seal(
            envelope.message_type,
            by.public_key(),
            &self.device.card.recipient(),
            envelope,
            &message.bytes,
            &message.signature,
        )
        .unwrap()
    }

    fn seal(&self, message_type: MessageType, message: &SignedMessage) -> Sealed {
        self.seal_as(&self.envelope(message_type), &self.host_key, message)
    }

    fn read(&self, sealed: &Sealed) -> Result<Letter, String> {
        read(sealed, &self.device, &self.hosts, SERVER)
    }

    fn signed_request(&self) -> SignedMessage {
        sign_message(&self.host_key, &self.request()).unwrap()
    }
}

fn says(answer: Answer, lease: Option<u64>) -> Saying {
    Saying { answer, lease, counter: 7, now: 1_000_010 }
}

#[test]
fn a_request_is_believed_and_answered_so_that_the_host_can_open_it() {
    let pair = Pair::new();
    let message = pair.signed_request();
    let Ok(Letter::Request(verified)) = pair.read(&pair.seal(MessageType::Request, &message)) else {
        panic!("not believed")
    };
    assert_eq!((verified.request.user.as_str(), &verified.digest), ("alice", &message.digest()));
    for answer in [Answer::Approve, Answer::Deny, Answer::Report] {
        let (sealed, code) = decide(&verified, &says(answer, None), &pair.device).unwrap();
        let hash = Recipient::reply_key(pair.reply_key.public()).hash;
        let sender = pair.device.signer.public_key();
        let opened = seal::open(MessageType::Decision, &pair.reply_key, hash, sender, &sealed).unwrap();
        let decision: Decision = verify_message(&opened.body, &opened.signature, sender).unwrap().message;
        assert_eq!(decision.request, message.digest());
        assert_eq!((decision.decision, decision.counter), (answer, 7));
        assert_eq!(decision.code.as_deref(), code.as_deref().map(String::as_str));
        assert_eq!(code.is_some(), answer == Answer::Approve, "a code only with an approval");
    }
}

#[test]
fn an_approval_by_tap_has_no_code() {
    let pair = Pair::new();
    let mut request = pair.request();
    request.confirm = Confirm::Tap;
    let verified = Verified {
        request,
        digest: "0".repeat(64),
        host: pair.host_key.public_key().id(),
        host_name: "web1".into(),
        server: SERVER.into(),
        users: vec!["alice".into()],
    };
    assert_eq!(decide(&verified, &says(Answer::Approve, None), &pair.device).unwrap().1, None);
}

#[test]
fn a_closed_is_believed() {
    let pair = Pair::new();
    let closed = Closed {
        version: VERSION,
        id: ID.into(),
        request: "a".repeat(64),
        outcome: ClosedOutcome::Withdrawn,
        closed_at: 1,
    };
    let message = sign_message(&pair.host_key, &closed).unwrap();
    let letter = pair.read(&pair.seal(MessageType::Closed, &message)).unwrap();
    let Letter::Closed { key, outcome, .. } = letter else { panic!("{letter:?}") };
    assert_eq!((key.id.as_str(), outcome), (ID, ClosedOutcome::Withdrawn));
}

/// Every way to cheat ends in an alarm that names what is wrong.
#[test]
fn what_is_not_the_hosts_word_is_an_alarm() {
    let pair = Pair::new();
    let other = SigningKey::generate();
    let good = pair.signed_request();
    let alarm = |sealed: Sealed, part: &str| {
        let text = pair.read(&sealed).unwrap_err();
        assert!(text.contains(part), "{part}: {text}");
    };

    let forged = sign_message(&other, &pair.request()).unwrap();
    alarm(pair.seal(MessageType::Request, &forged), "another key");

    let mut altered = good.clone();
    altered.bytes = String::from_utf8(good.bytes.clone()).unwrap().replace("alice", "mallo").into_bytes();
    alarm(pair.seal(MessageType::Request, &altered), "signature is not valid");

    // A closed's signature does not make a request, nor a request's a closed.
    let purpose = SignedMessage {
        signature: sshsig::sign(&pair.host_key, namespace::CLOSED, &good.bytes).unwrap(),
        ..good.clone()
    };
    alarm(pair.seal(MessageType::Request, &purpose), "another purpose");
    alarm(pair.seal(MessageType::Closed, &good), "another purpose");

    let mut stranger = pair.envelope(MessageType::Request);
    stranger.from = other.public_key().id();
    alarm(pair.seal_as(&stranger, &other, &forged), "never paired");

    let mut swapped = pair.envelope(MessageType::Request);
    swapped.id = "f".repeat(32);
    alarm(pair.seal_as(&swapped, &pair.host_key, &good), "another's envelope");

    let mut elsewhere = pair.envelope(MessageType::Request);
    elsewhere.to = other.public_key().id();
    alarm(pair.seal_as(&elsewhere, &pair.host_key, &good), "another device");

    let mut in_the_name_of = pair.request();
    in_the_name_of.host.key = other.public_key().to_line();
    let message = sign_message(&pair.host_key, &in_the_name_of).unwrap();
    alarm(pair.seal(MessageType::Request, &message), "another host's key");

    let mut damaged = pair.seal(MessageType::Request, &good);
    damaged.sealed.replace_range(100..101, if &damaged.sealed[100..101] == "A" { "B" } else { "A" });
    alarm(damaged, "does not open");
    alarm(Sealed { envelope: "{}".into(), sealed: String::new() }, "damaged");
}

/// A notice of another device's coming.
fn notice_of(pair: &Pair) -> Notice {
    let event = DeviceEvent {
        what: DeviceChange::Paired,
        device: pair.host_key.public_key().id(),
        name: "tablet".into(),
    };
    let reply_key = Base64::encode_string(&pair.reply_key.public());
    notice::fitted("alice", reply_key, Some(event), Vec::new(), 1_000_000)
}

#[test]
fn a_notice_is_believed_like_a_request() {
    let pair = Pair::new();
    let notice = notice_of(&pair);
    let envelope = Envelope { id: notice.id.clone(), ..pair.envelope(MessageType::Notice) };
    let message = sign_message(&pair.host_key, &notice).unwrap();
    let key = Key { host: envelope.from.clone(), id: notice.id.clone() };
    let letter = pair.read(&pair.seal_as(&envelope, &pair.host_key, &message)).unwrap();
    let digest = digest::sha256_hex(&message.bytes);
    let host_name = "web1".into();
    assert_eq!(letter, Letter::Notice { key, digest, notice: Arc::new(notice.clone()), host_name });
    // Signed by another, or put into another's envelope.
    let forged = sign_message(&SigningKey::generate(), &notice).unwrap();
    let alarm = pair.read(&pair.seal_as(&envelope, &pair.host_key, &forged)).unwrap_err();
    assert!(alarm.contains("CHEATING"), "{alarm}");
    let alarm = pair.read(&pair.seal(MessageType::Notice, &message)).unwrap_err();
    assert!(alarm.contains("another's envelope"), "{alarm}");
}

#[test]
fn what_a_later_version_sends_is_no_alarm_and_what_is_damaged_is() {
    let pair = Pair::new();
    let message = sign_message(&pair.host_key, &pair.request()).unwrap();
    let good = pair.seal(MessageType::Request, &message);
    let changed = |from: &str, to: &str| Sealed { envelope: good.envelope.replace(from, to), ..good.clone() };
    for later in [changed("\"request\"", "\"lease\""), changed("\"version\":1", "\"version\":2")] {
        assert_eq!(pair.read(&later), Ok(Letter::Unknown), "{}", later.envelope);
    }
    for damaged in [
        changed("\"version\":1", "\"version\":0"),
        changed("{", "["),
        changed("\"type\"", "\"kind\""),
        changed("\"from\"", "\"frum\""),
        Sealed {
            envelope: format!("{}{}", changed("\"request\"", "\"lease\"").envelope, " ".repeat(600)),
            ..good.clone()
        },
    ] {
        assert!(pair.read(&damaged).is_err(), "{}", damaged.envelope);
    }
}

#[test]
fn a_lease_is_for_the_requests_service() {
    let pair = Pair::new();
    let Ok(Letter::Request(verified)) = pair.read(&pair.seal(MessageType::Request, &pair.signed_request()))
    else {
        panic!("not believed")
    };
    let (sealed, _) = decide(&verified, &says(Answer::Approve, Some(1_003_600)), &pair.device).unwrap();
    let hash = Recipient::reply_key(pair.reply_key.public()).hash;
    let sender = pair.device.signer.public_key();
    let opened = seal::open(MessageType::Decision, &pair.reply_key, hash, sender, &sealed).unwrap();
    let decision: Decision = verify_message(&opened.body, &opened.signature, sender).unwrap().message;
    let lease = decision.lease.unwrap();
    assert_eq!((lease.until, lease.scope.as_str()), (1_003_600, "sshd"));
}
