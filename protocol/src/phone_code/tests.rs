use super::*;
use crate::keys::{Signer, SigningKey};

fn host() -> PublicKey {
    SigningKey::from_seed(&[1; 32]).public_key().clone()
}

fn challenge(service: &str, user: &str, address: &str) -> Result<Challenge, PhoneCodeError> {
    let reply = SealKey::from_bytes(&[2; 32]).public();
    Challenge::new(&host(), reply, 1_800_000_000, 60, (service, user, address))
}

#[test]
fn challenges_read_back_and_never_grow_over_their_limit() {
    let long = "é".repeat(300);
    for service in ["sshd", "x", &long] {
        for user in ["alice", &"u".repeat(MAX_USER)] {
            for address in ["", "::1", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", &long] {
                let made = challenge(service, user, address).unwrap();
                let bytes = made.to_bytes();
                assert!(bytes.len() <= MAX_CHALLENGE, "{}", bytes.len());
                assert_eq!(Challenge::parse(&bytes).as_ref(), Ok(&made));
                assert_eq!(made.user, user);
                assert_eq!(made.address.is_empty(), address.is_empty(), "what is cut does not look local");
            }
        }
    }
    let made = challenge("sshd", "alice", &"1".repeat(60)).unwrap();
    assert_eq!((made.service.as_str(), made.address.len()), ("sshd", 40), "the address gives way first");
    assert!(made.address.ends_with("1…"));
    assert_eq!(challenge("sshd", "", ""), Err(PhoneCodeError::User));
    assert_eq!(challenge("sshd", &"u".repeat(MAX_USER + 1), ""), Err(PhoneCodeError::User));
    assert_eq!(challenge("", "alice", ""), Err(PhoneCodeError::Service));
}

#[test]
fn other_bytes_are_no_challenge() {
    let good = challenge("sshd", "alice", "::1").unwrap().to_bytes();
    for length in 0..good.len() {
        assert_eq!(Challenge::parse(&good[..length]), Err(PhoneCodeError::Malformed), "{length}");
    }
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Challenge::parse(&bytes)
    };
    assert_eq!(changed(0, 0), Err(PhoneCodeError::Malformed));
    assert_eq!(changed(0, 2), Err(PhoneCodeError::Version));
    assert_eq!(changed(54, 0), Err(PhoneCodeError::Malformed), "the service's length");
    assert_eq!(changed(54, 255), Err(PhoneCodeError::Malformed));
    assert_eq!(changed(55, 0xff), Err(PhoneCodeError::Malformed), "no UTF-8");
    assert_eq!(Challenge::parse(&[&good[..], b"x"].concat()), Err(PhoneCodeError::Malformed));
    let long = [&good[..], &[0; MAX_CHALLENGE]].concat();
    assert_eq!(Challenge::parse(&long), Err(PhoneCodeError::Malformed));
}

#[test]
fn both_sides_compute_the_same_and_everything_counts() {
    let (device, reply) = (SealKey::from_bytes(&[3; 32]), SealKey::from_bytes(&[2; 32]));
    let base = challenge("sshd", "alice", "::1").unwrap();
    let code = at_device(&device, &[4; 32], &host(), &base).unwrap();
    assert_eq!((code.len(), code.bytes().all(|b| b.is_ascii_digit())), (DIGITS, true));
    let of = |card: u8, seal: u8, challenge: &Challenge| {
        let key = SealKey::from_bytes(&[seal; 32]).public();
        at_host(&reply, &[card; 32], key, &host(), challenge).unwrap()
    };
    assert_eq!(of(4, 3, &base), code);
    assert_ne!(of(5, 3, &base), code, "another card");
    assert_ne!(of(4, 5, &base), code, "another device");
    let other = Challenge { time: base.time + 1, ..base.clone() };
    assert_ne!(of(4, 3, &other), code);
    let other = Challenge { address: "::2".into(), ..base.clone() };
    assert_ne!(of(4, 3, &other), code);
    let evil = SigningKey::from_seed(&[9; 32]);
    let asked = at_device(&device, &[4; 32], evil.public_key(), &base);
    assert_eq!(asked, Err(PhoneCodeError::OtherHost));
}

#[test]
fn keys_that_give_everybody_the_same_secret_are_refused() {
    let device = SealKey::from_bytes(&[3; 32]);
    let mut one = [0; 32];
    one[0] = 1;
    for key in [[0; 32], one] {
        let challenge = Challenge { reply_key: key, ..challenge("sshd", "alice", "").unwrap() };
        assert_eq!(at_device(&device, &[4; 32], &host(), &challenge), Err(PhoneCodeError::Key));
        assert_eq!(at_host(&device, &[4; 32], key, &host(), &challenge), Err(PhoneCodeError::Key));
    }
}

#[test]
fn what_is_typed_may_have_gaps_and_nothing_else() {
    assert!(matches("01234567", "01234567") && matches(" 0123 45-67\n", "01234567"));
    for wrong in ["", "0123456", "012345678", "11234567", "o1234567"] {
        assert!(!matches(wrong, "01234567"), "{wrong}");
    }
}
