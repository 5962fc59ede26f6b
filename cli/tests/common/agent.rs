//! A real ssh-agent.

use super::SOON;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// OpenSSH's agent with a new key.
pub(crate) struct Agent {
    child: Child,
    pub(crate) socket: PathBuf,
    pub(crate) key: PathBuf,
}

impl Agent {
    pub(crate) fn start(dir: &Path) -> Self {
        let (socket, key) = (dir.join("agent"), dir.join("agent_key"));
        let child =
            Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + SOON;
        while !socket.exists() {
            assert!(Instant::now() < end, "ssh-agent does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let agent = Self { child, socket, key };
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&agent.key).status();
        assert!(made.unwrap().success());
        let added =
            Command::new("ssh-add").arg("-q").arg(&agent.key).env("SSH_AUTH_SOCK", &agent.socket).status();
        assert!(added.unwrap().success());
        std::fs::remove_file(&agent.key).unwrap();
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
