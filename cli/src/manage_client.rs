//! The daemon's Unix sockets, from the command's side.

use crate::output::{Exit, Failure, Outcome};
use crate::units;
use countersign_protocol::frame::{self, Reply};
use countersign_protocol::manage::error;
use countersign_protocol::text::escape;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest time for an answer that needs nobody but the daemon and its server.
pub const SHORT: Duration = Duration::from_secs(20);
/// How often a wait looks up to redraw.
const TICK: Duration = Duration::from_millis(500);

/// Whether a wait goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It does.
    On,
    /// The person does not want to wait any longer.
    Off,
}

/// A connection to the daemon. One call is out at a time; dropping it withdraws what is open.
#[derive(Debug)]
pub struct ManageClient {
    stream: UnixStream,
    /// Bytes after the last frame.
    rest: Vec<u8>,
}

impl AsFd for ManageClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl ManageClient {
    /// Connects to the socket for root, or to the one for everybody else.
    ///
    /// # Errors
    /// When the daemon does not listen or the caller may not connect.
    pub fn connect(run: &Path) -> Outcome<Self> {
        let name = if nix::unistd::geteuid().is_root() { "pam.sock" } else { "self.sock" };
        let path = run.join(name);
        let stream = UnixStream::connect(&path).map_err(|e| match e.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure::new(
                Exit::Unreachable,
                format!("the daemon is not running ({}): {}", path.display(), units::nobody_listens()),
            ),
            ErrorKind::PermissionDenied => Failure::new(
                Exit::NotPermitted,
                format!("{}: permission denied: run this as root", path.display()),
            ),
            _ => Failure::new(Exit::Unreachable, format!("{}: {e}", path.display())),
        })?;
        let broken = |e| Failure::broken(path.display(), e);
        stream.set_read_timeout(Some(TICK)).map_err(broken)?;
        stream.set_write_timeout(Some(SHORT)).map_err(broken)?;
        Ok(Self { stream, rest: Vec::new() })
    }

    /// The daemon's process: it was the one to listen.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn daemon(&self) -> Outcome<i32> {
        let peer = getsockopt(&self.stream, PeerCredentials);
        peer.map(|peer| peer.pid()).map_err(|e| Failure::broken("the daemon's process", e))
    }

    /// Calls and waits for the answer at most `wait`.
    ///
    /// # Errors
    /// What the daemon says, or that it does not answer.
    pub fn call<T: DeserializeOwned>(&mut self, call: &impl Serialize, wait: Duration) -> Outcome<T> {
        self.call_with(call, wait, &mut |_| Wait::On)?
            .ok_or_else(|| Failure::new(Exit::Broken, "a wait was broken off that cannot be"))
    }

    /// The same, and tells `tick` about twice a second how much time is left. Nothing when that does not
    /// want to wait any longer; then the connection is of no more use.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_with<T: DeserializeOwned>(
        &mut self,
        call: &impl Serialize,
        wait: Duration,
        tick: &mut dyn FnMut(Duration) -> Wait,
    ) -> Outcome<Option<T>> {
        let bytes = frame::encode(call).map_err(|e| Failure::new(Exit::Usage, format!("too long: {e}")))?;
        match self.stream.write_all(&bytes) {
            // A daemon that has closed already may have said why.
            Err(e) if e.kind() != ErrorKind::BrokenPipe => return Err(gone(&e)),
            _ => (),
        }
        self.frame(wait, tick)?.map(|bytes| understand(&bytes)).transpose()
    }

    /// What the daemon says without having been called, once [`AsFd::as_fd`] is readable.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn hear<T: DeserializeOwned>(&mut self) -> Outcome<T> {
        let bytes = self.frame(SHORT, &mut |_| Wait::On)?;
        understand(&bytes.unwrap_or_default())
    }

    fn frame(&mut self, wait: Duration, tick: &mut dyn FnMut(Duration) -> Wait) -> Outcome<Option<Vec<u8>>> {
        let end = Instant::now() + wait;
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.rest.iter().position(|b| *b == frame::END) {
                let mut bytes: Vec<u8> = self.rest.drain(..=at).collect();
                bytes.pop();
                return Ok(Some(bytes));
            }
            if self.rest.len() > frame::MAX_FRAME {
                return Err(Failure::new(Exit::Broken, "the daemon's answer is too long: see its log"));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = format!("the daemon does not answer: {}", units::nobody_answers());
                return Err(Failure::new(Exit::Unreachable, text));
            }
            if tick(left) == Wait::Off {
                return Ok(None);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(gone(&ErrorKind::UnexpectedEof.into())),
                Ok(n) => self.rest.extend(buffer.iter().take(n)),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => (),
                Err(e) => return Err(gone(&e)),
            }
        }
    }
}

fn understand<T: DeserializeOwned>(bytes: &[u8]) -> Outcome<T> {
    match frame::decode(bytes) {
        Ok(Reply::Parameters { parameters }) => Ok(parameters),
        Ok(Reply::Error { error, parameters }) => {
            Err(Failure::new(exit_of(&error), escape(&parameters.message).into_owned()))
        }
        Err(e) => Err(Failure::new(
            Exit::Broken,
            format!("the daemon's answer is not understood ({e}): are both of the same version?"),
        )),
    }
}

fn gone(e: &std::io::Error) -> Failure {
    let text = format!("the daemon closed the connection ({e}): {}", units::nobody_answers());
    Failure::new(Exit::Unreachable, text)
}

fn exit_of(name: &str) -> Exit {
    match name {
        error::NOT_PERMITTED => Exit::NotPermitted,
        error::REFUSED | error::NOT_FOUND => Exit::Refused,
        error::UNREACHABLE => Exit::Unreachable,
        _ => Exit::Broken,
    }
}
