//! What a server can do to the messages that it carries: nothing that it alters, swaps or repeats is believed.

use super::{ID, Pair, SERVER, notice_of};
use crate::approver::inbox::{Inbox, Now};
use crate::approver::letter::{Letter, read};
use crate::approver::store::{Device, Store};
use crate::approver::testing::Dir;
use base64ct::{Base64, Encoding};
use countersign_protocol::keys::{Signer, SigningKey};
use countersign_protocol::message::{Closed, ClosedOutcome, Envelope, Host, MessageType, Sealed, VERSION};
use countersign_protocol::pairing::{HostPairing, PhonePairing, Ticket};
use countersign_protocol::seal;
use countersign_protocol::signed::{SignedMessage, sign_message};
use std::thread;

/// Each kind that a host sends, and the same signed by another host's key.
fn letters(pair: &Pair, by: &SigningKey) -> [(Envelope, SignedMessage); 3] {
    let request = sign_message(by, &pair.request()).unwrap();
    let closed = Closed {
        version: VERSION,
        id: ID.into(),
        request: request.digest(),
        outcome: ClosedOutcome::Withdrawn,
        closed_at: 1,
    };
    let notice = notice_of(pair);
    let about_notice = Envelope { id: notice.id.clone(), ..pair.envelope(MessageType::Notice) };
    [
        (pair.envelope(MessageType::Request), request),
        (pair.envelope(MessageType::Closed), sign_message(by, &closed).unwrap()),
        (about_notice, sign_message(by, &notice).unwrap()),
    ]
}

/// Whether something of it would be shown, or counted.
fn is_believed(pair: &Pair, sealed: &Sealed) -> bool {
    !matches!(pair.read(sealed), Err(_) | Ok(Letter::Unknown))
}

/// From so many cases on each bit is tried, and otherwise one of each byte.
const ALL_BITS: u32 = 10_000;

/// Tries the bits of so many bytes, on all processors.
fn each_bit(bytes: usize, believed: impl Fn(usize, u8) -> bool + Sync) {
    let cases = std::env::var("COUNTERSIGN_CASES").ok().and_then(|cases| cases.parse::<u32>().ok());
    let all = cases.is_some_and(|cases| cases >= ALL_BITS);
    let parts = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for part in 0..parts {
            let believed = &believed;
            scope.spawn(move || {
                for at in (part..bytes).step_by(parts) {
                    for bit in (0..8).filter(|bit| all || at % 8 == *bit) {
                        assert!(!believed(at, 1 << bit), "byte {at}, bit {bit}");
                    }
                }
            });
        }
    });
}

fn flipped(bytes: &[u8], at: usize, mask: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= mask;
    bytes
}

/// What a server sees: the sealed part and its envelope.
#[test]
fn no_bit_of_a_sealed_letter_may_be_another() {
    let pair = Pair::new();
    for (envelope, message) in letters(&pair, &pair.host_key) {
        let good = pair.seal_as(&envelope, &pair.host_key, &message);
        assert!(is_believed(&pair, &good));
        let sealed = Base64::decode_vec(&good.sealed).unwrap();
        each_bit(sealed.len(), |at, mask| {
            let sealed = Base64::encode_string(&flipped(&sealed, at, mask));
            is_believed(&pair, &Sealed { sealed, ..good.clone() })
        });
        let about = good.envelope.as_bytes();
        each_bit(about.len(), |at, mask| {
            let Ok(envelope) = String::from_utf8(flipped(about, at, mask)) else { return false };
            is_believed(&pair, &Sealed { envelope, ..good.clone() })
        });
    }
}

/// Anybody can seal to a device; what is inside is signed.
#[test]
fn no_bit_inside_may_be_another() {
    let pair = Pair::new();
    for (envelope, message) in letters(&pair, &pair.host_key) {
        let resealed =
            |message: SignedMessage| is_believed(&pair, &pair.seal_as(&envelope, &pair.host_key, &message));
        each_bit(message.bytes.len(), |at, mask| {
            resealed(SignedMessage { bytes: flipped(&message.bytes, at, mask), ..message.clone() })
        });
        // Beyond its last line there may be blanks.
        each_bit(message.signature.trim_end().len(), |at, mask| {
            let signature = String::from_utf8(flipped(message.signature.as_bytes(), at, mask));
            signature.is_ok_and(|signature| resealed(SignedMessage { signature, ..message.clone() }))
        });
    }
}

/// The server that carries a receipt may have read the link, and so can seal one like it.
#[test]
fn no_bit_of_a_receipt_may_be_another() {
    let pair = Pair::new();
    let (device, by) = (&pair.device, &pair.host_key);
    let name = Host { name: "web1".into(), key: by.public_key().to_line() };
    let mut host = HostPairing::new(SERVER, name, "alice").unwrap();
    let link = Ticket::parse(&host.ticket().link()).unwrap();
    let mut phone = PhonePairing::new(link, &device.signed_card).unwrap();
    let shown = phone.reveal(&host.receive(phone.first()).unwrap()).unwrap();
    host.check(&shown.code).unwrap();
    let good: Sealed = serde_json::from_str(&host.receipt(by, 5).unwrap()).unwrap();
    let pins =
        |sealed: &Sealed| phone.receipt(&device.seal_key, &serde_json::to_string(sealed).unwrap()).is_ok();
    assert!(pins(&good));
    let sealed = Base64::decode_vec(&good.sealed).unwrap();
    each_bit(sealed.len(), |at, mask| {
        pins(&Sealed { sealed: Base64::encode_string(&flipped(&sealed, at, mask)), ..good.clone() })
    });
    each_bit(good.envelope.len(), |at, mask| {
        let envelope = String::from_utf8(flipped(good.envelope.as_bytes(), at, mask));
        envelope.is_ok_and(|envelope| pins(&Sealed { envelope, ..good.clone() }))
    });

    let kind = MessageType::Receipt;
    let opened = seal::open(kind, &device.seal_key, device.card.hash, by.public_key(), &good).unwrap();
    let (to, about) = (device.card.recipient(), &opened.envelope);
    let sealed_anew = |body: &[u8], signature: &str| {
        pins(&seal::seal(kind, by.public_key(), &to, about, body, signature).unwrap())
    };
    assert!(sealed_anew(&opened.body, &opened.signature));
    each_bit(opened.body.len(), |at, mask| sealed_anew(&flipped(&opened.body, at, mask), &opened.signature));
    each_bit(opened.signature.trim_end().len(), |at, mask| {
        let signature = String::from_utf8(flipped(opened.signature.as_bytes(), at, mask));
        signature.is_ok_and(|signature| sealed_anew(&opened.body, &signature))
    });
}

/// Both are paired; neither speaks for the other.
#[test]
fn a_letter_of_one_host_is_none_of_another() {
    let mut pair = Pair::new();
    let other = SigningKey::generate();
    let key = other.public_key().to_line();
    pair.hosts.push(crate::approver::store::PinnedHost { name: "web2".into(), key, ..pair.hosts[0].clone() });
    for (about, message) in letters(&pair, &pair.host_key) {
        let good = pair.seal_as(&about, &pair.host_key, &message);
        assert!(is_believed(&pair, &good));
        let from_other = Envelope { from: other.public_key().id(), ..about.clone() };
        // Only readdressed; sealed anew in the other's name; and with the envelope of one and the seal of the other.
        let readdressed = Sealed { envelope: serde_json::to_string(&from_other).unwrap(), ..good.clone() };
        let sealed_anew = pair.seal_as(&from_other, &other, &message);
        let half = Sealed { envelope: good.envelope, sealed: sealed_anew.sealed.clone() };
        for (name, sealed) in [("readdressed", readdressed), ("anew", sealed_anew), ("half", half)] {
            assert!(!is_believed(&pair, &sealed), "{name}: {about:?}");
        }
    }
    // And the other way round: the other's word in this one's name.
    for (about, message) in letters(&pair, &other) {
        assert!(!is_believed(&pair, &pair.seal_as(&about, &pair.host_key, &message)));
    }
}

/// Both belong to one person, and are paired with the same host.
#[test]
fn a_letter_to_one_device_is_none_to_another() {
    let pair = Pair::new();
    let dir = Dir::new();
    let tablet: Device = Store::open(dir.path()).unwrap().create("tablet", None).unwrap();
    for (about, message) in letters(&pair, &pair.host_key) {
        let good = pair.seal_as(&about, &pair.host_key, &message);
        let to_tablet = Envelope { to: tablet.card.key.id(), ..about };
        let readdressed = Sealed { envelope: serde_json::to_string(&to_tablet).unwrap(), ..good.clone() };
        // Sealed to this device's key under the other's name.
        let half = pair.seal_as(&to_tablet, &pair.host_key, &message);
        for sealed in [&good, &readdressed, &half] {
            assert!(read(sealed, &tablet, &pair.hosts, SERVER).is_err(), "{}", sealed.envelope);
        }
        assert!(!is_believed(&pair, &readdressed) && !is_believed(&pair, &half));
    }
}

/// A server may bring each as often as it likes, and in any order.
#[test]
fn what_comes_again_says_nothing_new() {
    let pair = Pair::new();
    let now = |s: u64| Now { ms: s * 1000, unix: 1_000_000 + s };
    let sealed =
        letters(&pair, &pair.host_key).map(|(about, message)| pair.seal_as(&about, &pair.host_key, &message));
    let mut inbox = Inbox::default();
    let mut hears = |which: usize, at: u64| {
        match pair.read(&sealed[which]).unwrap() {
            Letter::Request(verified) => inbox.arrive(*verified, now(at)),
            Letter::Closed { key, digest, outcome, host_name } => {
                inbox.close(&key, &digest, outcome, &host_name, now(at));
            }
            Letter::Notice { key, digest, notice, host_name } => {
                inbox.hear(&key, &notice, &digest, &host_name, now(at));
            }
            Letter::Unknown => panic!("a kind of a later version"),
        }
        (inbox.items().len(), inbox.recent().count(), inbox.news().count(), inbox.take_events().len())
    };
    let told = hears(2, 0);
    assert_eq!(told.2, 1);
    assert_eq!(hears(2, 1), (0, 0, 1, 0));
    assert_eq!(hears(0, 1).0, 1);
    assert_eq!(hears(0, 2), (1, 0, 1, 0));
    assert_eq!(hears(1, 3).1, 1);
    for again in [1, 0, 2, 0, 1] {
        assert_eq!(hears(again, 4), (0, 1, 1, 0), "nothing rings, nothing is told");
    }
}
