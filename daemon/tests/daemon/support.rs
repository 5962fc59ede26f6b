//! Starts daemons and talks to them.

use countersign_protocol::frame::{self, Reply};
use countersign_protocol::{login, manage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub(crate) const GOOD: &str = "server = \"http://127.0.0.1:1\"\n";
/// How long a test waits for what has to come, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with etc, lib and run for a daemon.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    notify: UnixDatagram,
}

pub(crate) struct Daemon<'a> {
    pub(crate) child: Child,
    place: &'a Place,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Another user has to get through, too.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        std::fs::set_permissions(folder.path().join("notify"), PermissionsExt::from_mode(0o777)).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { folder, notify }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.path("etc/countersign.toml"), text).unwrap();
    }

    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersignd"));
        for (option, value) in [("--config", "etc/countersign.toml"), ("--state", "lib"), ("--run", "run")] {
            command.arg(option).arg(self.path(value));
        }
        command.args(more).env("NOTIFY_SOCKET", self.path("notify")).env_remove("JOURNAL_STREAM");
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Starts a daemon, and comes back when it says that it is ready.
    pub(crate) fn start(&self, more: &[&str]) -> Daemon<'_> {
        self.start_with(more, &[] as &[(&str, &str)])
    }

    pub(crate) fn start_with(
        &self,
        more: &[&str],
        variables: &[(impl AsRef<OsStr>, impl AsRef<OsStr>)],
    ) -> Daemon<'_> {
        let mut command = self.command(more);
        for (key, value) in variables {
            command.env(key, value);
        }
        let mut daemon = Daemon { child: command.spawn().unwrap(), place: self };
        if let Err(told) = self.hear("READY=1") {
            panic!("READY=1 was not told, but {told:?}; it said: {}", daemon.last_words());
        }
        daemon
    }

    /// Starts one that must not run: its exit status and what it says.
    pub(crate) fn fails(&self, more: &[&str]) -> (ExitStatus, String) {
        let output = self.command(more).output().unwrap();
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Waits until systemd would have been told this.
    pub(crate) fn told(&self, wanted: &str) {
        if let Err(told) = self.hear(wanted) {
            panic!("{wanted} was not told, but {told:?}");
        }
    }

    /// The same; what it was told instead.
    fn hear(&self, wanted: &str) -> Result<(), Vec<String>> {
        let (mut buffer, mut told) = ([0; 4096], Vec::new());
        loop {
            let length = match self.notify.recv(&mut buffer) {
                Ok(length) => length,
                // A wait with a time limit is not taken up again by the kernel, whatever has disturbed it.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    told.push(error.to_string());
                    return Err(told);
                }
            };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.lines().any(|line| line == wanted) {
                return Ok(());
            }
            told.push(text);
        }
    }

    pub(crate) fn root(&self) -> Peer {
        Peer::connect(&self.path("run/pam.sock"))
    }

    pub(crate) fn everybody(&self) -> Peer {
        Peer::connect(&self.path("run/self.sock"))
    }
}

impl Daemon<'_> {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    pub(crate) fn reload(&self) {
        self.signal(Signal::SIGHUP);
        self.place.told("READY=1");
    }

    /// Ends it as systemd does: how it ended, how long that took, and all it said.
    pub(crate) fn end(mut self) -> (ExitStatus, Duration, String) {
        let before = Instant::now();
        self.signal(Signal::SIGTERM);
        let status = self.child.wait().unwrap();
        let took = before.elapsed();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status, took, said)
    }

    /// Waits until it ends by itself: how it ended, and all it said.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status, said)
    }

    /// Dies with what it was doing.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it for good: all it said.
    fn last_words(&mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }

    /// A line of `/proc/PID/status`.
    pub(crate) fn status(&self, key: &str) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client on one of the sockets.
pub(crate) struct Peer(BufReader<UnixStream>);

impl Peer {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        match self.0.get_mut().write_all(bytes) {
            // A daemon that refuses a connection says so and closes without reading: its answer is there.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.unwrap(),
        }
    }

    /// The next frame's JSON; empty when the daemon has closed.
    pub(crate) fn frame(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is what a daemon leaves that closes before it has read all.
        let _ = self.0.read_until(frame::END, &mut bytes);
        bytes.pop();
        bytes
    }

    pub(crate) fn call<T: DeserializeOwned>(&mut self, call: &impl Serialize) -> Reply<T> {
        self.send(&frame::encode(call).unwrap());
        let frame = self.frame();
        serde_json::from_slice(&frame).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&frame)))
    }

    pub(crate) fn manage<T: DeserializeOwned>(&mut self, call: &manage::Call) -> Result<T, String> {
        match self.call(call) {
            Reply::Parameters { parameters } => Ok(parameters),
            Reply::Error { error, parameters } => Err(format!("{error}: {}", parameters.message)),
        }
    }

    /// Begins a login of root: the first step.
    pub(crate) fn login(&mut self) -> login::Step {
        let begin = login::Begin {
            version: login::VERSION,
            stage: login::Stage::Auth,
            service: "sshd".into(),
            user: "root".into(),
            remote_host: None,
            remote_user: None,
            terminal: None,
            ssh_auth_info: None,
            command_line: None,
            peer: None,
            session: None,
            silent: false,
            token: None,
            passwordless: false,
            action: None,
        };
        match self.call(&login::Call::Begin(Box::new(begin))) {
            Reply::Parameters { parameters } => parameters,
            Reply::Error { parameters, .. } => panic!("{}", parameters.message),
        }
    }
}
