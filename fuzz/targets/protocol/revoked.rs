//! Files of revoked keys.

use countersign_fuzz::{Target, actors, check};
use countersign_protocol::keys::{PublicKey, Signer};
use countersign_protocol::signers::Revoked;

pub(crate) const TARGET: Target = Target { name: "revoked", run, seeds };

fn run(data: &[u8]) {
    let file = String::from_utf8_lossy(data);
    match Revoked::parse(&file) {
        Ok(revoked) => {
            // Whatever reads as a key here must be one that is revoked, or what was ended would go on.
            for line in file.lines().filter(|line| !line.trim_start().starts_with('#')) {
                if let Ok(key) = PublicKey::from_openssh(line) {
                    assert!(revoked.contains(&key), "{line:?}");
                }
            }
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            faults.iter().for_each(|fault| check::is_inert(&fault.to_string()));
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let device = actors::device().public_key().to_line();
    let p256 = actors::p256().public_key().to_line();
    [
        format!("# lost\n{device} phone\n\n  {p256}\t\r\n"),
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ==\nSHA256:abc".into(),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into(),
    ]
    .map(String::into_bytes)
    .into()
}
