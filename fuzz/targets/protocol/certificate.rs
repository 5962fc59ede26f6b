//! Certificates of devices: their inside is hostile, the authority has signed it all the same.

use countersign_fuzz::actors::{self, NOW};
use countersign_fuzz::{Target, check, input::Input};
use countersign_protocol::certificate::{Certificate, MAX_CERTIFICATE};
use countersign_protocol::keys::Signer;
use countersign_protocol::message::namespace::DECISION;
use countersign_protocol::signers::{AllowedSigners, Certificates, Revoked};
use countersign_protocol::sshsig;

pub(crate) const TARGET: Target = Target { name: "certificate", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let blob = match input.byte() {
        b'r' => input.rest().to_vec(),
        _ => actors::certified(input.rest()),
    };
    let certificate = match Certificate::from_blob(&blob) {
        Ok(certificate) => certificate,
        Err(error) => return check::is_inert(&error.to_string()),
    };
    assert!(blob.len() <= MAX_CERTIFICATE);
    assert_eq!(certificate.ca(), authority(), "somebody else's are not signed");
    let line = certificate.to_line();
    match Certificates::parse(&line) {
        Ok(copies) => assert_eq!(copies.of(certificate.key()), std::slice::from_ref(&certificate)),
        Err(faults) => faults.iter().for_each(|fault| check::is_inert(&fault.to_string())),
    }

    // Where it is the device's own, a signature may bring it along.
    let Ok(armored) = sshsig::sign_with_certificate(&actors::device(), &blob, DECISION, b"x") else {
        return assert_ne!(certificate.key(), actors::device().public_key());
    };
    let signed = sshsig::verify(&armored, DECISION, b"x").expect("signed a moment ago");
    let allowed =
        AllowedSigners::parse(&format!("* cert-authority {}", authority().to_line())).expect("a line");
    for user in ["alice", "root"] {
        let counts = allowed.authorize(user, DECISION, &signed, NOW, &Revoked::default()).is_ok();
        let mut name = Vec::new();
        actors::put_string(&mut name, user.as_bytes());
        let named = blob.windows(name.len()).any(|window| window == name);
        assert!(!counts || named, "a certificate counts for nobody that it does not name");
    }
}

fn authority() -> &'static countersign_protocol::keys::PublicKey {
    static KEY: std::sync::OnceLock<countersign_protocol::keys::PublicKey> = std::sync::OnceLock::new();
    KEY.get_or_init(|| actors::authority().public_key().clone())
}

fn seeds() -> Vec<Vec<u8>> {
    let inside = |users: &[&str]| [b"s", actors::certificate_inside(users).as_slice()].concat();
    vec![
        inside(&["alice"]),
        inside(&[]),
        inside(&["bob", "root", "alice"]),
        [b"r", actors::certificate().as_slice()].concat(),
    ]
}
