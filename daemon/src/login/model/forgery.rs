//! What a server can make of what it has seen, and what it could make if a device helped it.

use base64ct::{Base64, Encoding};
use countersign_protocol::keys::Signer;
use countersign_protocol::message::{Answer, Decision, Envelope, MessageType, Removal, Sealed, VERSION};
use countersign_protocol::seal::{self, Recipient};
use countersign_protocol::signed::{self, SignedMessage};
use proptest::prelude::*;
use proptest::sample::select;

use super::cast::{CAST, HOLDERS, HOST, Holder, number};
use crate::testing::{Asked, Lab, TestDevice};

/// A forged decision about a request that nobody has approved.
#[derive(Debug, Clone)]
pub(super) enum Forgery {
    /// An approval of an earlier login, as it was.
    Replayed,
    /// The same, in an envelope that names this request.
    Renamed,
    /// What was signed then, sealed to this request: its device has to have helped.
    Resealed,
    /// The approval of the login beside it, in this one's envelope.
    Swapped,
    /// The same, sealed anew.
    SwappedInside,
    /// A sound approval, made by another key.
    By(Holder),
    /// The same, in the name of the phone.
    ByAs(Holder),
    /// Signed by the phone, for something else.
    Namespace,
    /// Sealed as another kind of message.
    Kind(MessageType),
    /// To another host.
    OtherHost,
    /// The phone's approval of this very request, which the server has held back, with one bit changed: in the
    /// envelope, in what is sealed as it travels, or below its base64.
    FlippedEnvelope(u16),
    FlippedText(u16),
    Flipped(u16),
    /// And cut, or longer.
    Cut(u16),
    Longer,
    /// The host's own message, sent back to it.
    Reflected,
}

/// What there is to forge from.
pub(super) struct Loot<'a> {
    pub(super) lab: &'a Lab,
    /// The request that is attacked, as its message came.
    pub(super) asked: &'a Asked,
    pub(super) message: &'a Sealed,
    /// An honest approval of the login beside it, and of an earlier one; each as signed and as sealed.
    pub(super) beside: &'a (SignedMessage, Sealed),
    pub(super) earlier: &'a (SignedMessage, Sealed),
}

impl Forgery {
    pub(super) fn make(&self, loot: &Loot) -> Sealed {
        let asked = loot.asked;
        let phone = &CAST.devices[number(Holder::Phone)];
        let genuine = || seal_to(loot.lab, phone, asked, &approval(phone, asked));
        match *self {
            Self::Replayed => loot.earlier.1.clone(),
            Self::Renamed => Sealed { envelope: genuine().envelope, ..loot.earlier.1.clone() },
            Self::Resealed => seal_to(loot.lab, phone, asked, &loot.earlier.0),
            Self::Swapped => Sealed { envelope: genuine().envelope, ..loot.beside.1.clone() },
            Self::SwappedInside => seal_to(loot.lab, phone, asked, &loot.beside.0),
            Self::By(holder) => {
                let device = &CAST.devices[number(holder)];
                seal_to(loot.lab, device, asked, &approval(device, asked))
            }
            Self::ByAs(holder) => {
                seal_to(loot.lab, phone, asked, &approval(&CAST.devices[number(holder)], asked))
            }
            Self::Namespace => {
                let device = phone.key.public_key().id();
                let removal = Removal {
                    version: VERSION,
                    notice: asked.digest.clone(),
                    device,
                    decided_at: 1,
                    counter: 1,
                };
                let bytes = approval(phone, asked).bytes;
                let signature = signed::sign_message(&phone.key, &removal).unwrap().signature;
                seal_to(loot.lab, phone, asked, &SignedMessage { bytes, signature })
            }
            Self::Kind(kind) => {
                let message = approval(phone, asked);
                phone.seal_as(loot.lab, kind, &asked.request.id, reply_key(asked), &message)
            }
            Self::OtherHost => {
                let message = approval(phone, asked);
                let envelope = Envelope {
                    version: VERSION,
                    message_type: MessageType::Decision,
                    from: phone.key.public_key().id(),
                    to: CAST.devices[number(Holder::Stranger)].key.public_key().id(),
                    id: asked.request.id.clone(),
                };
                let to = Recipient::reply_key(reply_key(asked));
                let kind = MessageType::Decision;
                let key = phone.key.public_key();
                let mut sealed =
                    seal::seal(kind, key, &to, &envelope, &message.bytes, &message.signature).unwrap();
                // And then in an envelope that names this host, so that it gets there.
                sealed.envelope = genuine().envelope;
                sealed
            }
            Self::FlippedEnvelope(bit) => {
                let mut sealed = genuine();
                sealed.envelope = flipped(&sealed.envelope, bit);
                sealed
            }
            Self::FlippedText(bit) => {
                let mut sealed = genuine();
                sealed.sealed = flipped(&sealed.sealed, bit);
                sealed
            }
            Self::Flipped(bit) => {
                let mut sealed = genuine();
                let mut bytes = Base64::decode_vec(&sealed.sealed).unwrap();
                let at = usize::from(bit) % (bytes.len() * 8);
                bytes[at / 8] ^= 1 << (at % 8);
                sealed.sealed = Base64::encode_string(&bytes);
                sealed
            }
            Self::Cut(length) => {
                let mut sealed = genuine();
                sealed.sealed.truncate(usize::from(length) % sealed.sealed.len());
                sealed
            }
            Self::Longer => {
                let mut sealed = genuine();
                sealed.sealed.push_str("AAAA");
                sealed
            }
            Self::Reflected => loot.message.clone(),
        }
    }
}

/// What a device signs to approve.
pub(super) fn approval(device: &TestDevice, asked: &Asked) -> SignedMessage {
    device.sign(&Decision {
        version: VERSION,
        request: asked.digest.clone(),
        decision: Answer::Approve,
        code: None,
        lease: None,
        decided_at: 1,
        counter: 1,
    })
}

/// A message of a device's about a request, sealed to it.
pub(super) fn seal_to(lab: &Lab, device: &TestDevice, asked: &Asked, message: &SignedMessage) -> Sealed {
    device.seal_as(lab, MessageType::Decision, &asked.request.id, reply_key(asked), message)
}

fn reply_key(asked: &Asked) -> [u8; 32] {
    let mut key = [0; 32];
    Base64::decode(&asked.request.reply_key, &mut key).unwrap();
    key
}

/// The text with one bit changed, one that leaves it a text.
fn flipped(text: &str, bit: u16) -> String {
    let mut bytes = text.to_owned().into_bytes();
    let at = usize::from(bit) % (bytes.len() * 7);
    bytes[at / 7] ^= 1 << (at % 7);
    String::from_utf8(bytes).unwrap()
}

pub(super) fn forgeries() -> impl Strategy<Value = Forgery> {
    let others: Vec<Holder> = HOLDERS.into_iter().filter(|holder| *holder != Holder::Phone).collect();
    let kinds = vec![
        MessageType::Request,
        MessageType::Closed,
        MessageType::Receipt,
        MessageType::Notice,
        MessageType::Removal,
    ];
    prop_oneof![
        1 => Just(Forgery::Replayed),
        1 => Just(Forgery::Renamed),
        1 => Just(Forgery::Resealed),
        1 => Just(Forgery::Swapped),
        1 => Just(Forgery::SwappedInside),
        2 => select(others.clone()).prop_map(Forgery::By),
        2 => select(others).prop_map(Forgery::ByAs),
        1 => Just(Forgery::Namespace),
        2 => select(kinds).prop_map(Forgery::Kind),
        1 => Just(Forgery::OtherHost),
        3 => any::<u16>().prop_map(Forgery::FlippedEnvelope),
        3 => any::<u16>().prop_map(Forgery::FlippedText),
        3 => any::<u16>().prop_map(Forgery::Flipped),
        1 => any::<u16>().prop_map(Forgery::Cut),
        1 => Just(Forgery::Longer),
        1 => Just(Forgery::Reflected),
    ]
}

/// Every bit of a sealed decision, as it travels: of its envelope, and of its base64. None of them may be changed.
/// In a usual run one bit of each byte, in a long one all.
#[tokio::test]
async fn no_bit_of_a_decision_may_be_another() {
    tokio::task::LocalSet::new()
        .run_until(async {
            let (lab, _said) = Lab::quiet(HOST.clone(), |paths| CAST.prepare(paths, &[Holder::Phone]));
            let confirm = countersign_protocol::message::Confirm::Tap;
            let request = lab.request(super::cast::ROOT, confirm, std::time::Duration::from_secs(600));
            let phone = &CAST.devices[number(Holder::Phone)];
            let genuine = phone.answer(&lab, &request, Answer::Approve);
            let is_long = super::cases(0) > 10_000;
            let mut tried = 0;
            for of_envelope in [true, false] {
                let length = if of_envelope { genuine.envelope.len() } else { genuine.sealed.len() };
                for bit in 0..length * 8 {
                    if !is_long && bit % 8 != bit / 8 % 8 {
                        continue;
                    }
                    let mut sealed = genuine.clone();
                    let text = if of_envelope { &mut sealed.envelope } else { &mut sealed.sealed };
                    let mut bytes = std::mem::take(text).into_bytes();
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    // What is no text is no JSON, and ends the stream.
                    let Ok(changed) = String::from_utf8(bytes) else { continue };
                    *text = changed;
                    tried += 1;
                    assert!(
                        crate::verify::decision(&lab.app, &request, &sealed).is_err(),
                        "bit {bit} of {sealed:?}"
                    );
                }
            }
            assert!(tried > 3_000, "{tried}");
            crate::verify::decision(&lab.app, &request, &genuine).unwrap();
        })
        .await;
}
