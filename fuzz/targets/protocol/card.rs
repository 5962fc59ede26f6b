//! Device cards: any device writes its own.

use countersign_fuzz::{Target, actors, check};
use countersign_protocol::api::SignedCard;
use countersign_protocol::card::{self, MAX_CARD};
use countersign_protocol::keys::Signer;
use countersign_protocol::message::{MAX_DEVICE_NAME, namespace};
use countersign_protocol::sshsig;

pub(crate) const TARGET: Target = Target { name: "card", run, seeds };

fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let Ok(signature) = sshsig::sign(&actors::device(), namespace::CARD, text.as_bytes()) else { return };
    match card::verify(&SignedCard { card: text.clone(), signature }) {
        Ok(read) => {
            assert!(text.len() <= MAX_CARD && read.card.name.len() <= MAX_DEVICE_NAME);
            assert_eq!(read.key, *actors::device().public_key(), "a card is of its signer");
            assert_ne!(read.seal_key, [0; 32]);
            let again = card::sign(&actors::device(), &read.card);
            // Written without blanks and escapes it is no longer, but for what JSON must escape.
            if let Ok(again) = again {
                assert_eq!(card::verify(&again).expect("its own").card, read.card);
            }
        }
        Err(error) => check::is_inert(&error.to_string()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let other = actors::signed_card()
        .card
        .replace(&actors::device().public_key().to_line(), &actors::p256().public_key().to_line());
    vec![actors::signed_card().card.into_bytes(), other.into_bytes()]
}
