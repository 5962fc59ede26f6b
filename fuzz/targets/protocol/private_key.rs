//! OpenSSH private key files. One with a passphrase is as slow as its writer wants, so it is only recognised.

use countersign_fuzz::{Target, actors, check};
use countersign_protocol::keys::{Signer, SigningKey};

pub(crate) const TARGET: Target = Target { name: "private_key", run, seeds };

fn run(data: &[u8]) {
    let pem = String::from_utf8_lossy(data);
    match SigningKey::from_openssh(&pem, None) {
        Ok(key) => {
            let written = key.to_openssh("").expect("what was read can be written");
            let again = SigningKey::from_openssh(&written, None).expect("and read again");
            assert_eq!(again.public_key(), key.public_key());
            let signature = key.sign(b"x").expect("it signs");
            assert_eq!(key.public_key().verify(b"x", &signature), Ok(()), "its halves belong together");
        }
        Err(error) => check::is_inert(&error.to_string()),
    }
}

/// Made by ssh-keygen with a passphrase.
const ENCRYPTED: &str = include_str!("../../seeds/encrypted_key");

fn seeds() -> Vec<Vec<u8>> {
    let ed25519 = actors::device().to_openssh("phone").expect("written");
    [&ed25519, actors::P256, ENCRYPTED].map(|pem| pem.as_bytes().to_vec()).into()
}
