//! Attacks by somebody who has seen the link and can therefore write both messages.

use super::*;
use crate::api::SignedCard;
use crate::card;
use crate::keys::{Signer, SigningKey};
use crate::message::{Card, VERSION};

fn device_card(device: &SigningKey) -> SignedCard {
    let card = Card {
        version: VERSION,
        key: device.public_key().to_line(),
        seal: Base64::encode_string(&[7; 32]),
        serial: 1,
        name: "phone".into(),
    };
    card::sign(device, &card).unwrap()
}

/// `m2` as somebody makes it who knows `T`.
fn second(t: &[u8; 16], first_hash: &[u8; 32], n: &[u8], host: &Host) -> String {
    let reveal = Reveal {
        version: VERSION,
        n: Zeroizing::new(Base64::encode_string(n)),
        host: host.clone(),
        user: "alice".into(),
    };
    let plaintext = serde_json::to_vec(&reveal).unwrap();
    encrypt(&Secrets::derive(t).reveal, [0; 12], first_hash, &plaintext).unwrap()
}

#[test]
fn the_answer_has_to_fit_the_link() {
    let (host_key, evil, device) = (SigningKey::generate(), SigningKey::generate(), SigningKey::generate());
    let named = |key: &SigningKey| Host { name: "db-1".into(), key: key.public_key().to_line() };
    let n = Zeroizing::new([9; 32]);
    let host = HostPairing::from_secret(n.clone(), "https://a", named(&host_key), "alice").unwrap();
    let card = device_card(&device);
    let mut phone = PhonePairing::new(host.ticket().clone(), &card).unwrap();
    let t = ticket_secret(&n);
    let secrets = Secrets::derive(&t);
    let aad = secrets.first_aad(&host_key.public_key().sha256());
    let first = digest::sha256(&decrypt(&secrets.card, &aad, phone.first()).unwrap());
    let mut answer = |n: &[u8], host: &Host| phone.reveal(&second(&t, &first, n, host)).map(drop);
    assert_eq!(answer(&[9; 32], &named(&evil)), Err(PairingError::Contradiction), "another host key");
    assert_eq!(answer(&[8; 32], &named(&host_key)), Err(PairingError::Contradiction), "another N");
    assert_eq!(answer(&[9; 31], &named(&host_key)), Err(PairingError::Contradiction), "a short N");
    assert_eq!(answer(&[9; 32], &named(&host_key)), Ok(()));
}

#[test]
fn the_code_depends_on_all_three() {
    let (host, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
    let code_of = |n: u8, key: &SigningKey, card: u8| code(&[n; 32], key.public_key(), &[card; 32]);
    let base = code_of(1, &host, 1);
    assert_eq!(base.len(), 6);
    assert_eq!(base, code_of(1, &host, 1));
    for changed in [code_of(2, &host, 1), code_of(1, &other, 1), code_of(1, &host, 2)] {
        assert_ne!(base, changed);
    }
}

#[test]
fn no_two_first_messages_of_a_device_have_the_same_code() {
    let (host_key, device) = (SigningKey::generate(), SigningKey::generate());
    let named = Host { name: "db-1".into(), key: host_key.public_key().to_line() };
    let n = Zeroizing::new([9; 32]);
    let host = || HostPairing::from_secret(n.clone(), "https://a", named.clone(), "alice").unwrap();
    let card = device_card(&device);
    let codes: std::collections::BTreeSet<String> = (0..4)
        .map(|_| {
            let (mut host, mut phone) = (host(), PhonePairing::new(host().ticket().clone(), &card).unwrap());
            let second = host.receive(phone.first()).unwrap();
            phone.reveal(&second).unwrap().code.to_string()
        })
        .collect();
    assert!(codes.len() > 1, "the same link and the same card, and yet another code: {codes:?}");
}

#[test]
fn a_first_message_without_fresh_bytes_is_passed_over() {
    let (host_key, device) = (SigningKey::generate(), SigningKey::generate());
    let named = Host { name: "db-1".into(), key: host_key.public_key().to_line() };
    let mut host = HostPairing::new("https://a", named, "alice").unwrap();
    let secrets = host.ticket().secrets();
    let aad = secrets.first_aad(&host_key.public_key().sha256());
    let card = device_card(&device);
    let short = First { card: card.card.clone(), signature: card.signature.clone(), fresh: "AAAA".into() };
    for plaintext in [serde_json::to_vec(&card).unwrap(), serde_json::to_vec(&short).unwrap()] {
        let mail = encrypt(&secrets.card, [0; 12], &aad, &plaintext).unwrap();
        assert_eq!(host.receive(&mail), Err(FirstError::Unreadable));
    }
}
