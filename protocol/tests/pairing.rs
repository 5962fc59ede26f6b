//! Pairing, and those who want to come between.

use countersign_protocol::api::SignedCard;
use countersign_protocol::card;
use countersign_protocol::keys::{SealKey, Signer, SigningKey};
use countersign_protocol::message::{Card, Host, Receipt, namespace};
use countersign_protocol::pairing::{
    CodeError, FirstError, HostPairing, PairingError, PhonePairing, Ticket, TicketError,
};
use countersign_protocol::seal::SealError;
use countersign_protocol::sshsig;

const ORIGIN: &str = "https://push.example.com";

struct Device {
    key: SigningKey,
    seal: SealKey,
}

impl Device {
    fn new() -> Self {
        Self { key: SigningKey::generate(), seal: SealKey::generate() }
    }

    fn card(&self) -> SignedCard {
        use base64ct::Encoding;
        let card = Card {
            version: 1,
            key: self.key.public_key().to_line(),
            seal: base64ct::Base64::encode_string(&self.seal.public()),
            serial: 1,
            name: "phone".into(),
        };
        card::sign(&self.key, &card).unwrap()
    }

    fn answer(&self, host: &HostPairing) -> PhonePairing {
        PhonePairing::new(Ticket::parse(&host.ticket().link()).unwrap(), &self.card()).unwrap()
    }
}

fn host(key: &SigningKey) -> HostPairing {
    let host = Host { name: "db-1".into(), key: key.public_key().to_line() };
    HostPairing::new(ORIGIN, host, "alice").unwrap()
}

#[test]
fn the_whole_story() {
    let (key, device) = (SigningKey::generate(), Device::new());
    let mut host = host(&key);
    let mut phone = device.answer(&host);
    assert_eq!(phone.ticket().mailbox(), host.mailbox());
    assert_eq!(host.check("123456"), Err(CodeError::NoDevice));
    assert_eq!(phone.receipt(&device.seal, "{}"), Err(PairingError::Order));
    let second = host.receive(phone.first()).unwrap();
    assert_eq!(host.receive(phone.first()), Ok(second.clone()), "a re-send passes");
    assert_eq!(host.card().unwrap().card.name, "phone");
    let shown = phone.reveal(&second).unwrap();
    assert_eq!((shown.host.name.as_str(), shown.user.as_str()), ("db-1", "alice"));
    assert_eq!(host.receipt(&key, 5), Err(PairingError::Order), "not before the code");
    let typed = format!(" {}-{}\n", &shown.code[..3], &shown.code[3..]);
    let card = host.check(&typed).unwrap();
    assert_eq!(card.key, *device.key.public_key());
    let pinned = phone.receipt(&device.seal, &host.receipt(&key, 5).unwrap()).unwrap();
    assert_eq!(pinned.host_key, *key.public_key());
    assert_eq!((pinned.user.as_str(), pinned.paired_at), ("alice", 5));
    assert_eq!(host.check(&shown.code), Err(CodeError::Over), "one code is one pairing");
}

#[test]
fn three_wrong_codes_end_it() {
    let (key, device) = (SigningKey::generate(), Device::new());
    let mut host = host(&key);
    let mut phone = device.answer(&host);
    let second = host.receive(phone.first()).unwrap();
    let code = phone.reveal(&second).unwrap().code;
    let wrong = if code.as_str() == "000000" { "000001" } else { "000000" };
    assert_eq!(host.check(wrong), Err(CodeError::Wrong(2)));
    assert_eq!(host.check(""), Err(CodeError::Wrong(1)));
    assert_eq!(host.check(&code[..5]), Err(CodeError::Over));
    assert_eq!(host.check(&code), Err(CodeError::Over));
    assert_eq!(host.receive(phone.first()), Err(FirstError::Over));
    assert_eq!(host.receipt(&key, 5), Err(PairingError::Order));
}

#[test]
fn the_second_device_hears_that_the_link_is_taken() {
    let key = SigningKey::generate();
    let mut host = host(&key);
    let (first, mut second) = (Device::new().answer(&host), Device::new().answer(&host));
    let for_first = host.receive(first.first()).unwrap();
    assert_eq!(host.receive(second.first()), Err(FirstError::Taken));
    assert_eq!(second.reveal(&for_first), Err(PairingError::Reveal));
}

#[test]
fn messages_of_other_pairings_do_not_open() {
    let key = SigningKey::generate();
    let (mut one, mut two) = (host(&key), host(&key));
    let device = Device::new();
    let (mut for_one, for_two) = (device.answer(&one), device.answer(&two));
    assert_eq!(two.receive(for_one.first()), Err(FirstError::Unreadable), "m1 replayed elsewhere");
    let second = two.receive(for_two.first()).unwrap();
    assert_eq!(for_one.reveal(&second), Err(PairingError::Reveal));
    for junk in ["", "AAAA", "!", &"A".repeat(9000)] {
        assert_eq!(one.receive(junk), Err(FirstError::Unreadable));
        assert_eq!(for_one.reveal(junk), Err(PairingError::Reveal));
    }
    assert!(one.receive(for_one.first()).is_ok(), "junk before it does not matter");
}

#[test]
fn a_device_card_that_is_forged_or_swapped_fails() {
    let key = SigningKey::generate();
    let mut host = host(&key);
    let (device, mallory) = (Device::new(), Device::new());
    let mut phone = device.answer(&host);
    // Somebody who saw the link can be first, but the code is then of that card.
    let mut intruder = mallory.answer(&host);
    let second = host.receive(intruder.first()).unwrap();
    assert_eq!(phone.reveal(&second), Err(PairingError::Reveal), "the real phone shows no code");
    let code = intruder.reveal(&second).unwrap().code;
    assert_eq!(host.check(&code).unwrap().key, *mallory.key.public_key());

    // A card with another's signing key does not even start.
    let good = device.card();
    let forged = SignedCard { card: good.card.replace("\"serial\":1", "\"serial\":2"), ..good };
    let ticket = Ticket::parse(&host.ticket().link()).unwrap();
    assert!(matches!(PhonePairing::new(ticket, &forged), Err(PairingError::Card(_))));
}

#[test]
fn another_host_cannot_answer_for_the_one_in_the_link() {
    let (real, evil) = (SigningKey::generate(), SigningKey::generate());
    let honest = host(&real);
    let device = Device::new();
    // The link names the real host's key; the evil one knows nothing of N.
    let mut evil_host = host(&evil);
    let mut phone = device.answer(&honest);
    assert_eq!(evil_host.receive(phone.first()), Err(FirstError::Unreadable));

    // The relay gives the phone a link of its own making, that names the real host's key hash.
    let evil_link = evil_host.ticket().link();
    let (_, real_hash) =
        honest.ticket().link().rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let (head, _) = evil_link.rsplit_once('.').unwrap();
    let mixed = Ticket::parse(&format!("{head}.{real_hash}")).unwrap();
    let mixed = PhonePairing::new(mixed, &device.card()).unwrap();
    assert_eq!(
        evil_host.receive(mixed.first()),
        Err(FirstError::Unreadable),
        "m1 is bound to the host's key"
    );

    // A changed T is another mailbox and another key.
    let mut other_t = honest.ticket().link().to_string().into_bytes();
    let at = "https://push.example.com/pair#1.".len();
    other_t[at] = if other_t[at] == b'A' { b'B' } else { b'A' };
    let other = Ticket::parse(std::str::from_utf8(&other_t).unwrap()).unwrap();
    assert_ne!(other.mailbox(), honest.mailbox());
    let mut honest = honest;
    let wrong = PhonePairing::new(other, &device.card()).unwrap();
    assert_eq!(honest.receive(wrong.first()), Err(FirstError::Unreadable));
    let second = honest.receive(phone.first()).unwrap();
    assert!(phone.reveal(&second).is_ok());
}

#[test]
fn a_receipt_is_for_one_pairing() {
    let (key, device) = (SigningKey::generate(), Device::new());
    let run = |user: &str| {
        let host = Host { name: "db-1".into(), key: key.public_key().to_line() };
        let mut host = HostPairing::new(ORIGIN, host, user).unwrap();
        let mut phone = device.answer(&host);
        let second = host.receive(phone.first()).unwrap();
        let code = phone.reveal(&second).unwrap().code;
        host.check(&code).unwrap();
        (host.receipt(&key, 5).unwrap(), phone)
    };
    let ((for_alice, alice), (for_root, _)) = (run("alice"), run("root"));
    assert!(alice.receipt(&device.seal, &for_alice).is_ok());
    assert_eq!(alice.receipt(&device.seal, &for_root), Err(PairingError::Receipt));
    let other = SealKey::generate();
    assert_eq!(alice.receipt(&other, &for_alice), Err(PairingError::Seal(SealError::Closed)));
    for junk in ["", "{}", "null", &" ".repeat(9000)] {
        assert_eq!(alice.receipt(&device.seal, junk), Err(PairingError::Receipt));
    }
}

#[test]
fn a_receipt_by_another_key_is_refused() {
    let (key, evil, device) = (SigningKey::generate(), SigningKey::generate(), Device::new());
    let mut host = host(&key);
    let mut phone = device.answer(&host);
    let second = host.receive(phone.first()).unwrap();
    let code = phone.reveal(&second).unwrap().code;
    host.check(&code).unwrap();
    // Sealed for the right device under the right names, but signed by another.
    let forged = host.receipt(&evil, 5).unwrap();
    assert!(matches!(phone.receipt(&device.seal, &forged), Err(PairingError::Message(_))));
}

#[test]
fn receipts_are_ssh_signatures_in_their_own_namespace() {
    let key = SigningKey::generate();
    let receipt = Receipt {
        version: 1,
        host: Host { name: "db-1".into(), key: key.public_key().to_line() },
        user: "alice".into(),
        card: "0".repeat(64),
        paired_at: 1,
    };
    let message = countersign_protocol::signed::sign_message(&key, &receipt).unwrap();
    assert!(sshsig::verify(&message.signature, namespace::RECEIPT, &message.bytes).is_ok());
    assert!(sshsig::verify(&message.signature, namespace::DECISION, &message.bytes).is_err());
}

#[test]
fn bad_users_and_servers_cannot_be_paired() {
    let key = SigningKey::generate().public_key().to_line();
    let host = Host { name: "db-1".into(), key };
    for user in ["*", "a,root", "", "!x"] {
        assert_eq!(HostPairing::new(ORIGIN, host.clone(), user).err(), Some(PairingError::User));
    }
    let refused = HostPairing::new("push.example.com", host.clone(), "alice").err();
    assert_eq!(refused, Some(PairingError::Ticket(TicketError::Origin)));
    let bad = Host { key: "ssh-ed25519 AAAA".into(), ..host };
    assert!(matches!(HostPairing::new(ORIGIN, bad, "alice"), Err(PairingError::Key(_))));
}
