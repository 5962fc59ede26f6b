use super::*;
use crate::approver::testing::Dir;
use countersign_protocol::message::namespace;
use countersign_protocol::sshsig;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

/// OpenSSH's own agent, ended with it.
struct Agent {
    child: Child,
    dir: Dir,
}

impl Agent {
    fn start() -> Self {
        let dir = Dir::new();
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(dir.path().join("sock"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..100 {
            if dir.path().join("sock").exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// A new key in the agent; gives the path of its public half.
    fn add(&self, name: &str, kind: &[&str]) -> PathBuf {
        let file = self.dir.path().join(name);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-C", name, "-t"])
            .args(kind)
            .arg("-f")
            .arg(&file)
            .status()
            .unwrap();
        assert!(made.success());
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(&file)
            .env("SSH_AUTH_SOCK", self.socket())
            .status()
            .unwrap();
        assert!(added.success());
        file.with_extension("pub")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn keys_of_both_types_sign_what_verifies() {
    let agent = Agent::start();
    agent.add("rsa", &["rsa", "-b", "2048"]);
    for kind in [&["ed25519"][..], &["ecdsa", "-b", "256"]] {
        let file = agent.add(kind[0], kind);
        let by_file = AgentKey::find(&agent.socket(), file.to_str().unwrap()).unwrap();
        let by_print = AgentKey::find(&agent.socket(), &by_file.public_key().fingerprint()).unwrap();
        let signature = sshsig::sign(&by_print, namespace::DECISION, b"yes").unwrap();
        let signed = sshsig::verify(&signature, namespace::DECISION, b"yes").unwrap();
        assert_eq!(&signed.key, by_file.public_key());
    }
}

#[test]
fn a_key_that_is_not_there_or_not_accepted_is_said() {
    let agent = Agent::start();
    let rsa = agent.add("rsa", &["rsa", "-b", "2048"]);
    assert!(AgentKey::find(&agent.socket(), rsa.to_str().unwrap()).is_err());
    let missing = AgentKey::find(&agent.socket(), "SHA256:nothing").unwrap_err();
    assert!(missing.message.contains("ssh-add"), "{missing:?}");
    let nowhere = AgentKey::find(Path::new("/nonexistent/sock"), "SHA256:x").unwrap_err();
    assert_eq!(nowhere.exit, Exit::Unreachable);
}

#[test]
fn a_removed_key_fails_plainly() {
    let agent = Agent::start();
    let file = agent.add("k", &["ed25519"]);
    let key = AgentKey::find(&agent.socket(), file.to_str().unwrap()).unwrap();
    let removed = Command::new("ssh-add")
        .args(["-q", "-D"])
        .env("SSH_AUTH_SOCK", agent.socket())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(removed.success());
    assert!(key.sign(b"x").unwrap_err().to_string().contains("refused to sign"));
}

/// An agent that answers every call with these bytes.
fn liar(answer: &'static [u8]) -> (Dir, PathBuf) {
    let dir = Dir::new();
    let socket = dir.path().join("sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
        }
    });
    (dir, socket)
}

#[test]
fn damaged_and_oversized_answers_are_refused() {
    for answer in [
        &b"\xff\xff\xff\xff\x0c"[..],
        b"\0\0\0\0",
        b"\0\0\0\x01\x05",
        b"\0\0\0\x05\x0c\xff\xff\xff\xff",
        b"\0\0\0\x09\x0c\0\0\0\x01\0\0\xff\xff",
        b"\0\0\0\x05\x0c\0",
        b"",
    ] {
        let (_dir, socket) = liar(answer);
        assert!(identities(&socket).is_err(), "{answer:?}");
    }
}

#[test]
fn a_signature_by_another_key_is_found_out() {
    let agent = Agent::start();
    let file = agent.add("k", &["ed25519"]);
    let mut key = AgentKey::find(&agent.socket(), file.to_str().unwrap()).unwrap();
    let (_dir, socket) = liar(b"\0\0\0\x09\x0e\0\0\0\x04abcd");
    key.socket = socket;
    assert!(key.sign(b"x").unwrap_err().to_string().contains("not valid"));
}
