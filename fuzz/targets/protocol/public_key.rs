//! Public keys: lines and blobs.

use countersign_fuzz::{Target, actors, check, input::Input};
use countersign_protocol::digest;
use countersign_protocol::keys::{PublicKey, Signer};

pub(crate) const TARGET: Target = Target { name: "public_key", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let read = match input.byte() {
        b'b' => PublicKey::from_blob(input.rest()).inspect(|key| {
            assert_eq!(key.blob(), input_of(data), "a key has one binary form");
        }),
        _ => {
            let line = String::from_utf8_lossy(input.rest());
            let exact = PublicKey::from_line(&line).is_ok();
            PublicKey::from_openssh(&line).inspect(|key| assert_eq!(exact, key.to_line() == line))
        }
    };
    match read {
        Ok(key) => {
            assert_eq!(PublicKey::from_blob(key.blob()).as_ref(), Ok(&key));
            assert_eq!(PublicKey::from_line(&key.to_line()).as_ref(), Ok(&key));
            assert!(digest::is_key_id(&key.id()));
            assert!(key.verify(b"", input_of(data)).is_err(), "no key is its own signature");
        }
        Err(error) => check::is_inert(&error.to_string()),
    }
}

fn input_of(data: &[u8]) -> &[u8] {
    data.get(1..).unwrap_or_default()
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![b"assh-ed25519 AAAA comment".to_vec()];
    for key in [actors::device(), actors::p256()] {
        let key = key.public_key();
        seeds.push(format!("a{}", key.to_line()).into_bytes());
        seeds.push(format!("a \t{}  a comment\n", key.to_line()).into_bytes());
        seeds.push([b"b", key.blob()].concat());
    }
    seeds.push([b"b", actors::certificate().as_slice()].concat());
    seeds
}
