//! Challenges in a QR code, and the codes that answer them.

use countersign_fuzz::{Target, actors, check, input::Input};
use countersign_protocol::keys::Signer;
use countersign_protocol::phone_code::{self, Challenge, DIGITS, MAX_CHALLENGE, MAX_USER};

pub(crate) const TARGET: Target = Target { name: "phone_code", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() == b'n' {
        return make(input);
    }
    let bytes = input.rest();
    let challenge = match Challenge::parse(bytes) {
        Ok(challenge) => challenge,
        Err(error) => return check::is_inert(&error.to_string()),
    };
    assert_eq!(challenge.to_bytes(), bytes, "a challenge has one form, or its code would be another");
    let (host, card) = (actors::host(), actors::card());
    let code = phone_code::at_device(&actors::seal_key(), &card.hash, host.public_key(), &challenge);
    match code {
        Ok(code) => {
            assert!(code.len() == DIGITS && code.bytes().all(|b| b.is_ascii_digit()));
            assert!(phone_code::matches(&format!(" {}-{}", &code[..4], &code[4..]), &code));
            if challenge.reply_key == actors::reply_key().public() {
                let there = phone_code::at_host(
                    &actors::reply_key(),
                    &card.hash,
                    card.seal_key,
                    host.public_key(),
                    &challenge,
                );
                assert_eq!(there.as_ref(), Ok(&code));
            }
        }
        Err(error) => check::is_inert(&error.to_string()),
    }
}

/// Whatever the texts are, what is shown is true: the user whole, what was cut marked.
fn make(mut input: Input<'_>) {
    let (service, user, address) = (input.line(), input.line(), input.line());
    let made = Challenge::new(
        actors::host().public_key(),
        actors::reply_key().public(),
        1,
        60,
        (&service, &user, &address),
    );
    let Ok(challenge) = made else {
        return assert!(user.is_empty() || user.len() > MAX_USER || service.is_empty());
    };
    let bytes = challenge.to_bytes();
    assert!(bytes.len() <= MAX_CHALLENGE);
    assert_eq!(Challenge::parse(&bytes).as_ref(), Ok(&challenge));
    assert_eq!(challenge.user, user);
    assert_eq!(challenge.address.is_empty(), address.is_empty(), "no login passes for a local one");
    for (shown, whole) in [(&challenge.service, &service), (&challenge.address, &address)] {
        let start = shown.strip_suffix('…').unwrap_or(shown);
        assert!(shown == whole || (shown.ends_with('…') && whole.starts_with(start)), "{shown} of {whole}");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let made = |reply: [u8; 32], texts| {
        let challenge = Challenge::new(actors::host().public_key(), reply, 1_800_000_000, 120, texts);
        [b"p", challenge.expect("it fits").to_bytes().as_slice()].concat()
    };
    vec![
        made(actors::reply_key().public(), ("sshd", "alice", "2001:db8::1")),
        made(actors::reply_key().public(), ("login", "zoë", "")),
        made([0; 32], ("sudo", "alice", "a-very-long-name-of-a-machine.example.com")),
        "nsudo\nalice\nété.example.com".as_bytes().to_vec(),
        format!("n{}\n{}\n{}", "s".repeat(60), "u".repeat(30), "…".repeat(30)).into_bytes(),
    ]
}
