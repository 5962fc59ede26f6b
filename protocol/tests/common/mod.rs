//! A folder with `ssh-keygen` in it, for tests that compare with the original.
#![allow(dead_code, reason = "each test file uses a part")]

use countersign_protocol::keys::{PublicKey, Signer, SigningKey};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

pub(crate) struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs `ssh-keygen` in the folder.
    pub(crate) fn ssh_keygen(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new("ssh-keygen")
            .args(args)
            .current_dir(self.dir.path())
            .env("TZ", "UTC")
            .env("SSH_AUTH_SOCK", "/nonexistent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ssh-keygen is installed");
        // It may refuse before it reads.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// Runs `ssh-keygen`, which has to succeed.
    pub(crate) fn ok(&self, args: &[&str], input: &[u8]) -> String {
        let output = self.ssh_keygen(args, input);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A new key pair by `ssh-keygen`, in `name` and `name.pub`.
    pub(crate) fn key(&self, name: &str, kind: &str) -> SigningKey {
        loop {
            self.ok(&["-q", "-t", kind, "-N", "", "-C", name, "-f", name], b"");
            match SigningKey::from_openssh(&self.read(name), None) {
                // One in a few hundred has a number that begins with a zero byte, which OpenSSH leaves out and ssh-key
                // does not take. Nobody's keys of that kind are read but here: hosts and approvers make Ed25519 ones.
                Err(error) if kind == "ecdsa" && error.to_string().contains("length") => {
                    fs::remove_file(self.path(name)).unwrap();
                }
                key => return key.unwrap(),
            }
        }
    }

    /// A key pair of ours, as files.
    pub(crate) fn put_key(&self, name: &str, key: &SigningKey) {
        use std::os::unix::fs::PermissionsExt;
        self.write(name, key.to_openssh("ours").unwrap().as_bytes());
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        self.write(&format!("{name}.pub"), key.public_key().to_line());
    }

    pub(crate) fn public(&self, name: &str) -> PublicKey {
        PublicKey::from_openssh(&self.read(&format!("{name}.pub"))).unwrap()
    }

    /// Whether `ssh-keygen -Y verify` accepts.
    pub(crate) fn verifies(
        &self,
        user: &str,
        namespace: &str,
        signature: &str,
        data: &[u8],
        more: &[&str],
    ) -> bool {
        self.write("signature", signature);
        let mut args = vec!["-Y", "verify", "-f", "allowed", "-I", user, "-n", namespace, "-s", "signature"];
        args.extend_from_slice(more);
        self.ssh_keygen(&args, data).status.success()
    }
}
