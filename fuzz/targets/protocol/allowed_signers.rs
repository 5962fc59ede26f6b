//! Files of approvers, and whom they let approve.

use countersign_fuzz::actors::{self, NOW};
use countersign_fuzz::{Target, check};
use countersign_protocol::keys::Signer;
use countersign_protocol::message::namespace::{DECISION, REQUEST};
use countersign_protocol::signers::{AllowedSigners, Certificates, MAX_FAULTS, Revoked};
use countersign_protocol::sshsig::{self, Signed};
use std::sync::OnceLock;

pub(crate) const TARGET: Target = Target { name: "allowed_signers", run, seeds };

fn run(data: &[u8]) {
    let file = String::from_utf8_lossy(data);
    // The file of certificates has the same lines, and none of these on them.
    for fault in Certificates::parse(&file).err().into_iter().flatten() {
        check::is_inert(&fault.to_string());
    }
    let allowed = match AllowedSigners::parse(&file) {
        Ok(allowed) => allowed,
        Err(faults) => {
            assert!((1..=MAX_FAULTS).contains(&faults.len()));
            for fault in faults {
                check::is_inert(&fault.to_string());
                assert!((1..=file.lines().count().max(1)).contains(&fault.line));
            }
            return;
        }
    };
    assert!(allowed.len() <= file.lines().count());
    let revoked = Revoked::parse(&actors::device().public_key().to_line()).expect("a key");
    for (signed, key) in signatures() {
        for user in ["alice", "root", "*", ""] {
            let counts =
                |namespace, at| allowed.authorize(user, namespace, signed, at, &Revoked::default()).is_ok();
            let listed = file.contains(key.as_str());
            assert!(listed || !counts(DECISION, NOW), "a key that is not there counts");
            assert!(user != "*" && !user.is_empty() || !counts(DECISION, NOW), "no name is a pattern");
            // Nothing that is not there can be wanted; with times it may have been otherwise before.
            if !file.contains("namespaces") && !file.to_ascii_lowercase().contains("namespaces") {
                assert_eq!(counts(DECISION, NOW), counts(REQUEST, NOW));
            }
            assert!(allowed.authorize(user, DECISION, signed, NOW, &revoked).is_err(), "revoked is revoked");
        }
    }
}

/// Signatures of the device, with and without a certificate, and what of a file they need: the base64 of a key.
fn signatures() -> &'static [(Signed, String); 2] {
    static SIGNATURES: OnceLock<[(Signed, String); 2]> = OnceLock::new();
    SIGNATURES.get_or_init(|| {
        let verified =
            |armored: String| sshsig::verify(&armored, DECISION, b"x").expect("signed a moment ago");
        let device = actors::device();
        let plain = sshsig::sign(&device, DECISION, b"x").expect("signed");
        let certified = sshsig::sign_with_certificate(&device, &actors::certificate(), DECISION, b"x");
        let encoded =
            |line: String| line.split(' ').nth(1).unwrap_or_default().trim_end_matches('=').to_owned();
        [
            (verified(plain), encoded(device.public_key().to_line())),
            (verified(certified.expect("signed")), encoded(actors::authority().public_key().to_line())),
        ]
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let device = actors::device().public_key().to_line();
    let authority = actors::authority().public_key().to_line();
    [
        actors::approvers(),
        format!("# two\n\nalice,bob {device} phone\r\n* cert-authority,namespaces=\"decision@*\" {authority}\n"),
        format!("\"al*,!root\" valid-after=\"20200101Z\",valid-before=\"20991231235959Z\" {device}"),
        format!("alice NAMESPACES=\"a\\\"b,!x,?\",valid-before=\"202001010000Z\" {device}"),
        format!("alice namespaces=\"x\",no-such=\"\" {device}\nbob\nalice {} x", actors::p256().public_key().to_line()),
        "alice sk-ssh-ed25519@openssh.com AAAA\nalice cert-authority ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ==".into(),
    ]
    .map(String::into_bytes)
    .into()
}
