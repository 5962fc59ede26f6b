//! An authority of devices' certificates, made and used with ssh-keygen.

use std::process::Command;

use base64ct::{Base64, Encoding};
use countersign_protocol::certificate::{APPROVER_OPTION, Certificate};
use countersign_protocol::keys::{PublicKey, Signer};
use countersign_protocol::message::Decision;
use countersign_protocol::signed::SignedMessage;
use countersign_protocol::sshsig;
use tempfile::TempDir;

use super::{Lab, TestDevice};
use crate::files;

/// A CA key in a folder of its own.
pub(crate) struct Authority {
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let authority = Self { folder: TempDir::new().unwrap() };
        authority.run(&["-q", "-t", "ed25519", "-N", "", "-C", "devices", "-f", "ca"]);
        authority
    }

    fn run(&self, args: &[&str]) {
        let done = Command::new("ssh-keygen").args(args).current_dir(self.folder.path()).output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Its public key.
    pub(crate) fn key(&self) -> PublicKey {
        PublicKey::from_openssh(&self.read("ca.pub")).unwrap()
    }

    /// A line of an approvers file for it.
    pub(crate) fn line(&self, principals: &str, options: &str) -> String {
        format!("{principals} cert-authority{options} {}\n", self.key().to_line())
    }

    /// The line of a certificate about a device, for an hour unless told otherwise.
    pub(crate) fn certify(&self, device: &TestDevice, more: &[&str]) -> String {
        let option = format!("critical:{APPROVER_OPTION}");
        self.sign(device, &[&["-V", "-1m:+1h", "-O", &option], more].concat())
    }

    /// The same with these arguments alone.
    pub(crate) fn sign(&self, device: &TestDevice, args: &[&str]) -> String {
        std::fs::write(self.folder.path().join("device.pub"), device.key.public_key().to_line()).unwrap();
        let mut all = vec!["-q", "-s", "ca", "-I", "a device"];
        all.extend(args);
        all.push("device.pub");
        self.run(&all);
        self.read("device-cert.pub")
    }
}

impl Lab {
    /// What the administrator has put into a file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        files::replace(&self.app.paths.administrator().join(name), text.as_bytes()).unwrap();
    }
}

impl TestDevice {
    /// Signs with the certificate of this line.
    pub(crate) fn sign_certified(&self, decision: &Decision, certificate: &str) -> SignedMessage {
        let bytes = serde_json::to_vec(decision).unwrap();
        let blob = Base64::decode_vec(certificate.split(' ').nth(1).unwrap()).unwrap();
        let namespace = countersign_protocol::message::namespace::DECISION;
        assert_eq!(Certificate::from_blob(&blob).unwrap().key(), self.key.public_key());
        let signature = sshsig::sign_with_certificate(&self.key, &blob, namespace, &bytes).unwrap();
        SignedMessage { bytes, signature }
    }
}
