//! The connection to countersignd: checks before trust, frames, deadlines, and a watch on what may
//! call the login off meanwhile.

use crate::story::opens;
use countersign_protocol::frame::{self, END, FrameError, MAX_FRAME, Reply};
use countersign_protocol::login::{Call, FIRST_REPLY_MS, Step};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, getsockopt, recv, send, socket, sockopt,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Longest wait for one reply, whatever the daemon asks for: longer than any request lives.
const MAX_WAIT: Duration = Duration::from_secs(15 * 60);
/// How often to try again while the listener's queue is full.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of a reply that are read at first.
const CHUNK: usize = 1024;
/// Signals that end a waiting login when the host process has blocked them, as sudo does. Others do
/// what the host has set up for them.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGHUP];

/// Why there is no step from the daemon. Each of them refuses; `NobodyListens` alone can be told to
/// make the module stand aside.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("nobody listens on {0}")]
    NobodyListens(String),
    #[error("{0}")]
    Untrusted(String),
    #[error("no reply in time")]
    Silent,
    #[error("the daemon closed the connection before its verdict")]
    Ended,
    #[error("the daemon sent {0}")]
    Garbled(String),
    #[error("the daemon refused the call: {name}: {message}")]
    Error { name: String, message: String },
    #[error("{0}")]
    Withdrawn(&'static str),
    #[error("the call is {0}")]
    Unsendable(FrameError),
    #[error("cannot {0}: {1}")]
    System(&'static str, Errno),
}

/// The daemon, as the story sees it.
pub(crate) trait Daemon {
    /// Makes a call and waits for the step that answers it.
    fn call(&mut self, call: &Call) -> Result<Step, Lost>;
}

/// How long the next reply may take.
enum Limit {
    Until(Instant),
    AfterSending(Duration),
}

/// A connection to the daemon. Dropping it withdraws a login that has no verdict yet.
pub(crate) struct Connection {
    socket: OwnedFd,
    watch: Watch,
    limit: Limit,
}

/// Connects to the daemon. `client` is the socket of the person's own connection, if there is one.
pub(crate) fn connect(path: &Path, client: Option<OwnedFd>) -> Result<Connection, Lost> {
    let deadline = Instant::now() + Duration::from_millis(FIRST_REPLY_MS);
    check_place(path)?;
    let watch = Watch::new(client)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .map_err(|errno| Lost::System("make a socket", errno))?;
    let socket = above_stdio(socket).map_err(|errno| Lost::System("make a socket", errno))?;
    let address = UnixAddr::new(path).map_err(|errno| Lost::System("use the socket's path", errno))?;
    loop {
        match nix::sys::socket::connect(socket.as_raw_fd(), &address) {
            Ok(()) => break,
            Err(Errno::EAGAIN) => watch.pause(QUEUE_FULL_PAUSE, deadline)?,
            Err(Errno::EINTR) => {}
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => return Err(nobody(path)),
            Err(errno) => return Err(Lost::System("connect to the daemon", errno)),
        }
    }
    let listener = getsockopt(&socket, sockopt::PeerCredentials)
        .map_err(|errno| Lost::System("learn who listens", errno))?;
    if listener.uid() != 0 {
        let what = format!("{}: uid {} listens on it, not root", path.display(), listener.uid());
        return Err(Lost::Untrusted(what));
    }
    Ok(Connection { socket, watch, limit: Limit::Until(deadline) })
}

fn nobody(path: &Path) -> Lost {
    Lost::NobodyListens(path.display().to_string())
}

/// Whether the socket is root's, in a place where only root can put things. The daemon need not be root:
/// whoever has bound the socket, it or systemd, was.
fn check_place(path: &Path) -> Result<(), Lost> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let place = look(directory, path)?;
    let untrusted = |at: &Path, what: &str| Lost::Untrusted(format!("{}: {what}", at.display()));
    if !place.is_dir() {
        return Err(untrusted(directory, "not a directory (a symbolic link is not followed)"));
    }
    if place.uid() != 0 {
        return Err(untrusted(directory, "has to belong to root"));
    }
    if place.mode() & 0o022 != 0 {
        return Err(untrusted(directory, "has to be writable by root alone (chmod go-w)"));
    }
    let inode = look(path, path)?;
    if !inode.file_type().is_socket() {
        return Err(untrusted(path, "not a socket"));
    }
    if inode.uid() != 0 {
        return Err(untrusted(path, &format!("belongs to uid {}, not to root", inode.uid())));
    }
    Ok(())
}

fn look(at: &Path, socket: &Path) -> Result<std::fs::Metadata, Lost> {
    std::fs::symlink_metadata(at).map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => nobody(socket),
        errno => Lost::System("look at the daemon's socket", errno.unwrap_or(Errno::EIO)),
    })
}

/// Moves a descriptor away from 0, 1 and 2: if the host has closed those, it may still print there.
fn above_stdio(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    // try_clone takes the lowest number from 3 on.
    fd.try_clone().map_err(|error| error.raw_os_error().map_or(Errno::EMFILE, Errno::from_raw))
}

impl Daemon for Connection {
    fn call(&mut self, call: &Call) -> Result<Step, Lost> {
        self.watch.check()?;
        let deadline = match self.limit {
            Limit::Until(deadline) => deadline,
            Limit::AfterSending(wait) => Instant::now() + wait,
        };
        match self.send(call, deadline) {
            Err(Lost::Ended) => return self.last_word(deadline),
            sent => sent?,
        }
        let step = self.receive(deadline)?;
        self.limit = match &step {
            Step::Say { deadline_ms, .. } | Step::Wait { deadline_ms } => {
                Limit::Until(Instant::now() + wait(*deadline_ms))
            }
            // The person takes as long as the application allows; the daemon's time starts after that.
            Step::Ask { deadline_ms, .. } => Limit::AfterSending(wait(*deadline_ms)),
            Step::Verdict(_) => Limit::AfterSending(Duration::ZERO),
        };
        Ok(step)
    }
}

fn wait(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds).min(MAX_WAIT)
}

impl Connection {
    /// Over a socket whose far end is known.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn over(socket: OwnedFd) -> Result<Self, Lost> {
        let deadline = Instant::now() + Duration::from_millis(FIRST_REPLY_MS);
        Ok(Self { socket, watch: Watch::new(None)?, limit: Limit::Until(deadline) })
    }

    fn send(&self, call: &Call, deadline: Instant) -> Result<(), Lost> {
        let bytes = Zeroizing::new(frame::encode(call).map_err(Lost::Unsendable)?);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match send(self.socket.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.watch.ready(self.socket.as_fd(), PollFlags::POLLOUT, deadline)?,
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(Lost::Ended),
                Err(errno) => return Err(Lost::System("send to the daemon", errno)),
            }
        }
        Ok(())
    }

    /// Why the daemon has closed before it was asked: that there are too many connections, or that a person was
    /// refused who took too long to acknowledge it. Only a refusal can be that.
    fn last_word(&self, deadline: Instant) -> Result<Step, Lost> {
        match self.receive(deadline) {
            Err(refused @ Lost::Error { .. }) => Err(refused),
            Ok(Step::Verdict(verdict)) if !opens(verdict.outcome) => Ok(Step::Verdict(verdict)),
            _ => Err(Lost::Ended),
        }
    }

    fn receive(&self, deadline: Instant) -> Result<Step, Lost> {
        // Replies are short, and what is read into is wiped: it grows with what comes. Room for one byte more
        // than the longest frame with its NUL shows that it is too long.
        let mut buffer = Zeroizing::new(vec![0; CHUNK]);
        let mut filled = 0;
        loop {
            self.watch.ready(self.socket.as_fd(), PollFlags::POLLIN, deadline)?;
            if filled == buffer.len() {
                if filled > MAX_FRAME {
                    return Err(Lost::Garbled(FrameError::TooLong.to_string()));
                }
                // Not by growing in place, which could leave a copy behind.
                let length = (2 * filled).min(MAX_FRAME + 1);
                let mut larger = Zeroizing::new(Vec::with_capacity(length));
                larger.extend_from_slice(&buffer);
                larger.resize(length, 0);
                buffer = larger;
            }
            let room = buffer.get_mut(filled..).unwrap_or_default();
            match recv(self.socket.as_raw_fd(), room, MsgFlags::empty()) {
                Ok(0) | Err(Errno::ECONNRESET) => return Err(Lost::Ended),
                Ok(count) => filled += count,
                Err(Errno::EINTR | Errno::EAGAIN) => continue,
                Err(errno) => return Err(Lost::System("hear from the daemon", errno)),
            }
            let bytes = buffer.get(..filled).unwrap_or_default();
            if let Some(end) = bytes.iter().position(|byte| *byte == END) {
                let (json, after) = bytes.split_at(end);
                if after != [END] {
                    return Err(Lost::Garbled("more than the reply to the one call".to_owned()));
                }
                return step(json);
            }
        }
    }
}

/// The step in a reply's JSON.
fn step(json: &[u8]) -> Result<Step, Lost> {
    let garbled = |error: FrameError| Lost::Garbled(error.to_string());
    match frame::decode::<Reply<Step>>(json).map_err(garbled)? {
        Reply::Error { error, parameters } => Err(Lost::Error { name: error, message: parameters.message }),
        Reply::Parameters { parameters } => Ok(parameters),
    }
}

/// What may call a login off while a call is out.
struct Watch {
    client: Option<OwnedFd>,
    /// Never read: the signal stays pending for the host, which finds it when it unblocks it.
    signals: Option<OwnedFd>,
}

impl Watch {
    fn new(client: Option<OwnedFd>) -> Result<Self, Lost> {
        let failed = |errno| Lost::System("watch for signals", errno);
        let blocked = SigSet::thread_get_mask().map_err(failed)?;
        let mut watched = SigSet::empty();
        let mut any = false;
        for signal in ENDING.into_iter().filter(|signal| blocked.contains(*signal)) {
            watched.add(signal);
            any = true;
        }
        let signals = if any {
            let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
            let signals = SignalFd::with_flags(&watched, flags).map_err(failed)?;
            Some(above_stdio(OwnedFd::from(signals)).map_err(failed)?)
        } else {
            None
        };
        Ok(Self { client, signals })
    }

    /// Waits until the descriptor is ready.
    fn ready(&self, fd: BorrowedFd<'_>, events: PollFlags, deadline: Instant) -> Result<(), Lost> {
        loop {
            if self.poll(Some(PollFd::new(fd, events)), deadline)? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Lost::Silent);
            }
        }
    }

    /// Waits a little; an error once the deadline has passed.
    fn pause(&self, pause: Duration, deadline: Instant) -> Result<(), Lost> {
        let now = Instant::now();
        if now >= deadline {
            return Err(Lost::Silent);
        }
        self.poll(None, deadline.min(now + pause)).map(drop)
    }

    /// An error if the login has been called off by now.
    fn check(&self) -> Result<(), Lost> {
        if self.client.is_none() && self.signals.is_none() {
            return Ok(());
        }
        self.poll(None, Instant::now()).map(drop)
    }

    /// One poll: whether `main` is ready. What calls the login off goes first.
    fn poll(&self, main: Option<PollFd<'_>>, until: Instant) -> Result<bool, Lost> {
        let hang_up = PollFlags::from_bits_retain(libc::POLLRDHUP);
        let mut fds = Vec::with_capacity(3);
        fds.extend(self.client.as_ref().map(|fd| PollFd::new(fd.as_fd(), hang_up)));
        fds.extend(self.signals.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        fds.extend(main);
        let timeout = until.saturating_duration_since(Instant::now());
        // Rounded up, so that the last poll does not turn into many short ones.
        let timeout = if timeout.is_zero() { timeout } else { timeout + Duration::from_millis(1) };
        match poll(&mut fds, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX)) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(false),
            Err(errno) => return Err(Lost::System("wait for the daemon", errno)),
        }
        // None stands for bits that nix does not know, POLLRDHUP among them.
        let mut fired = fds.iter().map(|fd| fd.any() != Some(false));
        if self.client.is_some() && fired.next() == Some(true) {
            return Err(Lost::Withdrawn("the client hung up"));
        }
        if self.signals.is_some() && fired.next() == Some(true) {
            return Err(Lost::Withdrawn("a signal came"));
        }
        Ok(fired.next() == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::login::{Continue, Outcome, Verdict};
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_daemon_that_closes_unasked_is_heard_when_it_refuses_and_only_then() {
        let refused = br#"{"error":"org.countersign.Busy","parameters":{"message":"too many at once"}}"#;
        let granted = br#"{"parameters":{"step":"verdict","outcome":"granted"}}"#;
        let ignored = br#"{"parameters":{"step":"verdict","outcome":"ignored"}}"#;
        let prompt = br#"{"parameters":{"step":"ask","text":"Code: ","deadline_ms":5}}"#;
        for (said, is_heard) in
            [(&refused[..], true), (granted, false), (ignored, false), (prompt, false), (b"", false)]
        {
            let lost = closed_after(said).unwrap_err();
            assert_eq!(matches!(lost, Lost::Error { .. }), is_heard, "{lost}");
            assert!(is_heard || matches!(lost, Lost::Ended), "{lost}");
        }
        // To a person who did not press Enter for so long that the daemon went on without it.
        let denied = br#"{"parameters":{"step":"verdict","outcome":"denied","text":"Denied on the phone."}}"#;
        let text = Some("Denied on the phone.".to_owned());
        let verdict = Verdict { outcome: Outcome::Denied, text, token: None };
        assert_eq!(closed_after(denied).unwrap(), Step::Verdict(verdict));
    }

    /// What a call brings to a daemon that has said this and closed.
    fn closed_after(said: &[u8]) -> Result<Step, Lost> {
        let (own, mut daemon) = UnixStream::pair().unwrap();
        daemon.write_all(said).unwrap();
        daemon.write_all(&[END]).unwrap();
        drop(daemon);
        let limit = Limit::AfterSending(Duration::from_secs(1));
        let mut connection = Connection { socket: own.into(), watch: Watch::new(None).unwrap(), limit };
        connection.call(&Call::Continue(Continue::default()))
    }

    #[test]
    fn replies_are_steps_errors_or_garbage() {
        let granted = br#"{"parameters":{"step":"verdict","outcome":"granted"}}"#;
        let verdict = Verdict { outcome: Outcome::Granted, text: None, token: None };
        assert_eq!(step(granted).unwrap(), Step::Verdict(verdict));
        let error = br#"{"error":"org.countersign.Login.BadCall","parameters":{"message":"no"}}"#;
        assert!(matches!(step(error), Err(Lost::Error { .. })));
        for garbage in [
            &br#"{"error":"x","parameters":{"step":"verdict","outcome":"granted"}}"#[..],
            br#"{"parameters":{"step":"verdict","outcome":"welcome"}}"#,
            br#"{"parameters":{"step":"verdict"}}"#,
            br#"{"parameters":{"step":"dance"}}"#,
            br#"{"parameters":{"step":"wait","deadline_ms":-1}}"#,
            br#"{"step":"verdict","outcome":"granted"}"#,
            b"granted",
            b"",
            b"\xff\xfe",
        ] {
            assert!(matches!(step(garbage), Err(Lost::Garbled(_))), "{}", garbage.escape_ascii());
        }
    }

    #[test]
    fn waits_have_a_limit() {
        assert_eq!(wait(u64::MAX), MAX_WAIT);
        assert_eq!(wait(5), Duration::from_millis(5));
    }
}
