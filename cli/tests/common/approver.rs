//! The approver as a program sees it.

use super::{Agent, SOON};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The built `countersign approve --plain --json`.
pub(crate) struct Approver {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    seen: Vec<Value>,
    /// How many of them were waited for.
    taken: usize,
}

impl Approver {
    pub(crate) fn start(home: &Path, args: &[&str]) -> Self {
        Self::start_with(home, args, None)
    }

    pub(crate) fn start_with(home: &Path, args: &[&str], agent: Option<&Agent>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["approve", "--plain", "--json", "--home"])
            .arg(home)
            .args(args)
            .env_remove("SSH_AUTH_SOCK")
            .envs(agent.map(|agent| ("SSH_AUTH_SOCK", &agent.socket)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let _ = tell.send(serde_json::from_str(&line.unwrap()).unwrap());
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines, seen: Vec::new(), taken: 0 }
    }

    pub(crate) fn said(&self) -> String {
        self.seen.iter().map(|v| format!("{v}\n")).collect()
    }

    /// The next event of that kind, after the last that was waited for.
    pub(crate) fn wait(&mut self, kind: &str) -> Value {
        let end = Instant::now() + SOON;
        loop {
            if let Some(at) = self.seen.iter().skip(self.taken).position(|v| v["event"] == kind) {
                self.taken += at + 1;
                return self.seen[self.taken - 1].clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(value) => self.seen.push(value),
                Err(_) => panic!("no {kind} came:\n{}", self.said()),
            }
        }
    }

    /// Whether an event of that kind ever came, up to now.
    pub(crate) fn saw(&mut self, kind: &str) -> bool {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().any(|v| v["event"] == kind)
    }

    pub(crate) fn line(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end; gives its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let end = Instant::now() + SOON;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Approver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
