//! Signed messages: whoever may sign them writes what they like.

use countersign_fuzz::{Target, actors, check, input::Input};
use countersign_protocol::keys::{Signer, SigningKey};
use countersign_protocol::message::Notice;
use countersign_protocol::message::{
    Closed, ClosedOutcome, Decision, DeviceChange, DeviceEvent, MAX_BODY, NoticeDevice, Receipt, Removal,
    Request, VERSION,
};
use countersign_protocol::signed::{self, Message, SignedMessage};
use countersign_protocol::{notice, sshsig};

pub(crate) const TARGET: Target = Target { name: "signed_message", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() {
        b'r' => read::<Request>(input.rest()),
        b'd' => read::<Decision>(input.rest()),
        b'c' => read::<Closed>(input.rest()),
        b'p' => read::<Receipt>(input.rest()),
        b'n' => read::<Notice>(input.rest()),
        _ => read::<Removal>(input.rest()),
    }
}

fn read<T: Message + std::fmt::Debug + PartialEq>(body: &[u8]) {
    let key = SigningKey::from_seed(&[0x11; 32]);
    let Ok(signature) = sshsig::sign(&key, T::TYPE.namespace(), body) else { return };
    match signed::verify_message::<T>(body, &signature, key.public_key()) {
        Ok(read) => {
            assert!(body.len() <= MAX_BODY);
            // What is believed is in order, so it can be said again, unless that takes more room.
            match signed::sign_message(&key, &read.message) {
                Ok(again) => {
                    let again = signed::verify_message::<T>(&again.bytes, &again.signature, key.public_key());
                    assert_eq!(again.expect("what was signed is believed").message, read.message);
                }
                Err(error) => assert_eq!(error, signed::MessageError::TooLong),
            }
        }
        Err(error) => check::is_inert(&error.to_string()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let seed = |kind: &[u8], message: SignedMessage| [kind, &message.bytes].concat();
    let sign = |kind: &[u8], message: Result<SignedMessage, _>| seed(kind, message.expect("in order"));
    let (host, device) = (actors::host(), actors::device());
    let id = device.public_key().id();
    let devices =
        vec![NoticeDevice { id: id.clone(), name: "phone".into(), paired_at: 1, last_used_at: Some(2) }];
    let event = DeviceEvent { what: DeviceChange::Paired, device: id.clone(), name: "phone".into() };
    let notice = notice::fitted("alice", actors::request().reply_key, Some(event), devices, actors::NOW);
    let closed = Closed {
        version: VERSION,
        id: actors::ID.into(),
        request: actors::signed_request().digest(),
        outcome: ClosedOutcome::Approved,
        closed_at: actors::NOW,
    };
    let receipt = Receipt {
        version: VERSION,
        host: actors::named_host(),
        user: "alice".into(),
        card: "0".repeat(64),
        paired_at: actors::NOW,
    };
    let removal =
        Removal { version: VERSION, notice: "0".repeat(64), device: id, decided_at: actors::NOW, counter: 8 };
    vec![
        seed(b"r", actors::signed_request()),
        seed(b"d", actors::signed_decision()),
        sign(b"c", signed::sign_message(&host, &closed)),
        sign(b"p", signed::sign_message(&host, &receipt)),
        sign(b"n", signed::sign_message(&host, &notice)),
        sign(b"m", signed::sign_message(&device, &removal)),
    ]
}
