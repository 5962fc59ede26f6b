//! Authentication at the server: a statement that its signer writes, and the server's challenge.

use countersign_fuzz::actors::{self, NOW, ORIGIN};
use countersign_fuzz::{Target, check, input::Input};
use countersign_protocol::api::{Challenge, Proof};
use countersign_protocol::auth::{self, MAX_NONCE, MAX_STATEMENT};
use countersign_protocol::keys::Signer;
use countersign_protocol::message::namespace;
use countersign_protocol::sshsig;

pub(crate) const TARGET: Target = Target { name: "auth", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() == b'c' {
        // A server's challenge: what is signed for it is worth nothing elsewhere or later.
        let expires_at = u64::from(input.byte()) << 24;
        let challenge = Challenge { nonce: String::from_utf8_lossy(input.rest()).into_owned(), expires_at };
        let Ok(proof) = auth::prove(&actors::device(), ORIGIN, &challenge) else {
            return assert!(challenge.nonce.len() > MAX_NONCE / 8);
        };
        let proven = auth::verify(&proof, ORIGIN, 0);
        assert_eq!(proven.is_ok(), expires_at > 0 && !challenge.nonce.is_empty());
        assert!(auth::verify(&proof, "https://other.example.com", 0).is_err());
        assert!(auth::verify(&proof, ORIGIN, expires_at).is_err());
        return;
    }
    let statement = String::from_utf8_lossy(input.rest()).into_owned();
    let signed = sshsig::sign(&actors::device(), namespace::AUTH, statement.as_bytes());
    let proof = Proof { statement, signature: signed.expect("signed") };
    match auth::verify(&proof, ORIGIN, NOW) {
        Ok(proven) => {
            assert_eq!(proven.key, *actors::device().public_key());
            assert!(proven.expires_at > NOW && (1..=MAX_NONCE).contains(&proven.nonce.len()));
            assert!(proof.statement.len() <= MAX_STATEMENT);
        }
        Err(error) => check::is_inert(&error.to_string()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let challenge = Challenge { nonce: "bm9uY2U".into(), expires_at: NOW + 60 };
    let proof = auth::prove(&actors::device(), ORIGIN, &challenge).expect("signed");
    vec![[b"s", proof.statement.as_bytes()].concat(), b"c\xffbm9uY2U".to_vec(), b"c\x01\"\\\n".to_vec()]
}
