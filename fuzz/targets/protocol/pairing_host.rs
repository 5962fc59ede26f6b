//! A pairing at the host: `m1` by somebody who has seen the link, and what is typed.

use countersign_fuzz::actors::{self, ORIGIN};
use countersign_fuzz::{Target, check, input::Input, pairing};
use countersign_protocol::keys::Signer;
use countersign_protocol::message::MessageType;
use countersign_protocol::pairing::{CodeError, HostPairing, PairingError, PhonePairing};
use countersign_protocol::seal;

pub(crate) const TARGET: Target = Target { name: "pairing_host", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut host = HostPairing::new(ORIGIN, actors::named_host(), "alice").expect("in order");
    let is_raw = input.byte() == b'r';
    let typed = input.line();
    let body = input.rest();
    assert_eq!(host.check(&typed), Err(CodeError::NoDevice));
    let first = if is_raw {
        String::from_utf8_lossy(body).into_owned()
    } else {
        let keys = pairing::Keys::of_link(&host.ticket().link());
        let host_key = host.ticket().host_key();
        pairing::encrypt(&keys.card, &[&keys.mailbox[..], &host_key].concat(), body)
    };
    match host.receive(&first) {
        Ok(second) => {
            assert_eq!(host.receive(&first).as_ref(), Ok(&second), "the same again gives the same");
            let card = host.card().expect("a device has answered").clone();
            // A typed code of six digits is right once in a million; nothing else ever is.
            let digits = typed.chars().filter(char::is_ascii_digit).count();
            match host.check(&typed) {
                Ok(confirmed) => {
                    assert!(digits == 6 && confirmed == card);
                    let receipt = host.receipt(&actors::host(), 1).expect("it can be given now");
                    let sealed = serde_json::from_str(&receipt).expect("JSON");
                    assert_eq!(seal::peek(&sealed).expect("an envelope").message_type, MessageType::Receipt);
                }
                Err(error) => {
                    assert_eq!(error, CodeError::Wrong(2));
                    assert_eq!(host.receipt(&actors::host(), 1), Err(PairingError::Order));
                    assert_eq!(host.check(&typed), Err(CodeError::Wrong(1)));
                    assert_eq!(host.check(&typed), Err(CodeError::Over));
                    assert!(host.receive(&first).is_err() && host.card().is_none());
                }
            }
        }
        Err(error) => {
            check::is_inert(&error.to_string());
            assert!(host.card().is_none());
            let mut phone =
                PhonePairing::new(host.ticket().clone(), &actors::signed_card()).expect("in order");
            let second = host.receive(phone.first()).expect("a bad message keeps no honest device away");
            let code = phone.reveal(&second).expect("the host's").code;
            assert_eq!(host.check(&code).expect("the right code").key, *actors::device().public_key());
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let first = pairing::first();
    vec![
        [b"e012 345\n", first.as_slice()].concat(),
        [b"e\n", first.as_slice()].concat(),
        [b"r\n", pairing::phone().first().as_bytes()].concat(),
        b"e1\n{\"card\":\"{}\",\"signature\":\"\",\"fresh\":\"AAAAAAAAAAAAAAAAAAAAAA==\"}".to_vec(),
    ]
}
