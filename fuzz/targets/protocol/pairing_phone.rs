//! A pairing at the device: `m2` and `m3` by somebody who knows the link, or by the relay.

use countersign_fuzz::actors;
use countersign_fuzz::{Target, check, input::Input, pairing};
use countersign_protocol::keys::Signer;
use countersign_protocol::message::{MessageType, Receipt, VERSION, namespace};
use countersign_protocol::pairing::PairingError;
use countersign_protocol::{digest, sshsig};

pub(crate) const TARGET: Target = Target { name: "pairing_phone", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut phone = pairing::phone();
    let keys = pairing::Keys::of_link(&phone.ticket().link());
    let first = pairing::decrypt(&keys.card, &keys.first_aad(), phone.first());
    let second = |inside: &[u8]| pairing::encrypt(&keys.reveal, &digest::sha256(&first), inside);
    match input.byte() {
        b'2' => match phone.reveal(&second(input.rest())) {
            Ok(revealed) => {
                assert_eq!(revealed.host.key, actors::named_host().key, "only the link's host");
                assert!(revealed.code.len() == 6 && revealed.code.bytes().all(|b| b.is_ascii_digit()));
            }
            Err(error) => check::is_inert(&error.to_string()),
        },
        kind => {
            let body = input.rest();
            let mail = if kind == b'3' {
                let signature = sshsig::sign(&actors::host(), namespace::RECEIPT, body).expect("signed");
                let sealed =
                    actors::sealed(MessageType::Receipt, &phone.ticket().mailbox(), body, &signature);
                serde_json::to_string(&sealed).expect("JSON")
            } else {
                String::from_utf8_lossy(body).into_owned()
            };
            assert_eq!(phone.receipt(&actors::seal_key(), &mail), Err(PairingError::Order));
            phone.reveal(&second(&pairing::reveal())).expect("the host's");
            match phone.receipt(&actors::seal_key(), &mail) {
                Ok(pinned) => {
                    assert_eq!(pinned.host, actors::named_host());
                    assert_eq!(pinned.user, "alice");
                    assert_eq!(pinned.host_key, *actors::host().public_key());
                }
                Err(error) => check::is_inert(&error.to_string()),
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let receipt = Receipt {
        version: VERSION,
        host: actors::named_host(),
        user: "alice".into(),
        card: digest::hex(&actors::card().hash),
        paired_at: 1,
    };
    let receipt = serde_json::to_vec(&receipt).expect("JSON");
    let sealed = actors::sealed(MessageType::Receipt, actors::ID, &receipt, "");
    vec![
        [b"2", pairing::reveal().as_slice()].concat(),
        [b"3", receipt.as_slice()].concat(),
        [b"r".to_vec(), serde_json::to_vec(&sealed).expect("JSON")].concat(),
    ]
}
