//! The approver as a person sees it.

use super::SOON;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// `countersign approve` on a terminal of 80 by 24, with `script` holding its far end.
pub(crate) struct Screen {
    child: Child,
    stdin: ChildStdin,
    bytes: Receiver<Vec<u8>>,
    pub(crate) seen: String,
}

impl Screen {
    pub(crate) fn start(home: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_countersign");
        let line = format!("stty rows 24 cols 80; exec '{program}' approve --home '{}'", home.display());
        let mut child = Command::new("script")
            .args(["-qfec", &line, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, bytes) = channel();
        let mut stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                let _ = tell.send(buffer[..n].to_vec());
            }
        });
        let stdin = child.stdin.take().unwrap();
        Self { child, stdin, bytes, seen: String::new() }
    }

    /// Waits until a text was drawn; what came before it is forgotten.
    pub(crate) fn wait(&mut self, text: &str) {
        let end = Instant::now() + SOON;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at);
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} was not drawn:\n{:?}", self.seen),
            }
        }
    }

    pub(crate) fn press(&mut self, key: &str) {
        self.stdin.write_all(key.as_bytes()).unwrap();
        self.stdin.flush().unwrap();
    }

    pub(crate) fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
