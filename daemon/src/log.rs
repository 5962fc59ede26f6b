//! What administrators read: syslog's AUTHPRIV, and standard error.
//!
//! Text from outside is escaped here, so no caller can forget it.

use crate::caller::Caller;
use crate::clock;
use countersign_protocol::text::escape;
use nix::sys::stat::fstat;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

/// Most lines in a [`SPAN`] that one user who is not root can cause by calls that are none.
const MOST_OF_A_USER: u32 = 5;
/// The time over which they are counted.
const SPAN: Duration = Duration::from_secs(60);
/// Lines at once that the server can cause, and as many that all users can who are not root.
const MOST_AT_ONCE: u32 = 60;
/// How long it takes until they can cause one more.
const ONE_MORE: Duration = Duration::from_secs(10);

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Somebody should look at this.
    Warning,
    /// Worth keeping.
    Notice,
    /// Ordinary.
    Info,
}

/// The daemon's log. A line that cannot be written is dropped: the audit file is what must hold.
#[derive(Clone)]
pub struct Log {
    syslog: Rc<RefCell<Option<Logger<LoggerBackend, Formatter3164>>>>,
    path: PathBuf,
    /// Users who caused lines lately: since when, and how many.
    caused: Rc<RefCell<HashMap<u32, (Duration, u32)>>>,
    /// What all of them have, who can have thousands of numbers.
    users: Rc<RefCell<Bucket>>,
    /// What the server has caused lately.
    server: Rc<RefCell<Bucket>>,
    /// Lines left out since the log was full.
    unread: Rc<Cell<u64>>,
    /// False when standard error ends in the same journal as syslog.
    stderr_too: bool,
}

impl Log {
    /// A log to `/dev/log` where there is one, and to standard error.
    #[must_use]
    pub fn open() -> Self {
        // The journal reads /dev/log, too: everything would stand in it twice.
        Self::to("/dev/log", !stderr_is_the_journal())
    }

    /// A log to another socket.
    #[must_use]
    pub fn to(path: impl Into<PathBuf>, stderr_too: bool) -> Self {
        let log = Self {
            syslog: Rc::default(),
            path: path.into(),
            caused: Rc::default(),
            users: Rc::default(),
            server: Rc::default(),
            unread: Rc::default(),
            stderr_too,
        };
        log.connect();
        log
    }

    /// Something does not work.
    pub fn error(&self, text: &str) {
        self.line(Level::Error, text, &[]);
    }

    /// Somebody should look at this.
    pub fn warning(&self, text: &str) {
        self.line(Level::Warning, text, &[]);
    }

    /// A warning that any user can cause at will. Who causes many must not fill the disk, nor make a
    /// journal that counts lines drop everybody else's.
    pub fn caller_warning(&self, caller: &Caller, text: &str) {
        if caller.root_socket {
            return self.warning(text);
        }
        let now = clock::boot();
        let count = {
            let mut caused = self.caused.borrow_mut();
            caused.retain(|_, (began, _)| now < *began + SPAN);
            if caused.get(&caller.uid).is_some_and(|(_, count)| *count >= MOST_OF_A_USER) {
                return;
            }
            let Some(left_out) = self.users.borrow_mut().take(now) else { return };
            if left_out > 0 {
                self.warning(&format!("{left_out} lines that users have caused were left out"));
            }
            let (_, count) = caused.entry(caller.uid).or_insert((now, 0));
            *count += 1;
            *count
        };
        if count < MOST_OF_A_USER {
            return self.warning(text);
        }
        let rest = format!("what more such lines user {} causes within a minute is left out", caller.uid);
        self.warning(&format!("{text}; {rest}"));
    }

    /// A line that the server can cause at will, and so whoever has taken it over: it must not fill the disk.
    pub fn server(&self, level: Level, text: &str) {
        let Some(left_out) = self.server.borrow_mut().take(clock::boot()) else { return };
        if left_out > 0 {
            self.warning(&format!("{left_out} lines that the server has caused were left out"));
        }
        self.line(level, text, &[]);
    }

    /// Worth keeping.
    pub fn notice(&self, text: &str) {
        self.line(Level::Notice, text, &[]);
    }

    /// Ordinary.
    pub fn info(&self, text: &str) {
        self.line(Level::Info, text, &[]);
    }

    /// One line: a text, then `key=value` pairs. Values with spaces or quotes stand in quotes.
    pub fn line(&self, level: Level, text: &str, pairs: &[(&str, &str)]) {
        let unread = self.unread.get();
        if unread > 0 {
            let text = format!("{unread} lines were left out because the log was not read");
            if !matches!(self.send(Level::Warning, &text), Sent::Full) {
                self.unread.set(0);
            }
        }
        let line = render(text, pairs);
        let mut sent = self.send(level, &line);
        if sent == Sent::Gone && self.connect() {
            sent = self.send(level, &line);
        }
        if sent == Sent::Full {
            self.unread.set(self.unread.get().saturating_add(1));
        }
        // Never in place of a log that is full: under systemd standard error has the same reader, and waits for it.
        if self.stderr_too || sent == Sent::Gone {
            tell(&format!("countersignd: {line}"));
        }
    }

    /// Several lines with a caret, for a person who starts the daemon at a terminal. Already escaped.
    pub fn drawing(&self, drawings: &[String]) {
        if self.stderr_too {
            for drawing in drawings {
                tell(drawing);
            }
        }
    }

    fn send(&self, level: Level, line: &str) -> Sent {
        let mut syslog = self.syslog.borrow_mut();
        let Some(logger) = syslog.as_mut() else { return Sent::Gone };
        let sent = match level {
            Level::Error => logger.err(line),
            Level::Warning => logger.warning(line),
            Level::Notice => logger.notice(line),
            Level::Info => logger.info(line),
        };
        match sent {
            Ok(()) => Sent::Taken,
            Err(syslog::Error::Write(error) | syslog::Error::Io(error))
                if error.kind() == io::ErrorKind::WouldBlock =>
            {
                Sent::Full
            }
            Err(_) => Sent::Gone,
        }
    }

    /// Never blocks: a log that is not read must not stop logins.
    fn connect(&self) -> bool {
        let connected = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.connect(&self.path)?;
            Ok(socket)
        });
        let formatter = Formatter3164 {
            facility: Facility::LOG_AUTHPRIV,
            hostname: None,
            process: "countersignd".into(),
            pid: std::process::id(),
        };
        *self.syslog.borrow_mut() =
            connected.ok().map(|socket| Logger::new(LoggerBackend::Unix(socket), formatter));
        self.syslog.borrow().is_some()
    }
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// It is in the log.
    Taken,
    /// The log is not read, and holds no more.
    Full,
    /// There is no log.
    Gone,
}

/// Lines that may be written at once, of which one comes back every now and then.
#[derive(Default)]
struct Bucket {
    taken: u32,
    /// Up to when what came back is counted. Boot clock.
    counted: Duration,
    left_out: u64,
}

impl Bucket {
    /// Takes a line: how many were left out before it; `None` when it is left out, too.
    fn take(&mut self, now: Duration) -> Option<u64> {
        let back = u32::try_from(now.saturating_sub(self.counted).as_secs() / ONE_MORE.as_secs());
        let back = back.unwrap_or(u32::MAX);
        self.counted = if back < self.taken { self.counted + ONE_MORE * back } else { now };
        self.taken = self.taken.saturating_sub(back);
        if self.taken == MOST_AT_ONCE {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.taken += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Whether standard error is the very stream that systemd names in this variable; a program that was
/// started from a service may have inherited it.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(data) = fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", data.st_dev, data.st_ino)
}

/// Unlike `eprintln!`, outlives a reader that has gone.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn render(text: &str, pairs: &[(&str, &str)]) -> String {
    let mut line = escape(text).into_owned();
    for (key, value) in pairs {
        let value = escape(value);
        // Writing to a String cannot fail.
        let _ = if value.is_empty() || value.contains([' ', '"', '=']) {
            write!(line, " {key}=\"{}\"", value.replace('"', "\\\""))
        } else {
            write!(line, " {key}={value}")
        };
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_stands_in_it() {
        let line =
            render("granted\nroot", &[("user", "a b"), ("tty", "pts/1"), ("x", "\u{1b}]0;\" y"), ("z", "")]);
        assert_eq!(line, "granted\\u{a}root user=\"a b\" tty=pts/1 x=\"\\u{1b}]0;\\\" y\" z=\"\"");
    }

    #[test]
    fn a_user_can_cause_a_few_lines_and_root_as_many_as_it_takes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let syslog = UnixDatagram::bind(&path).unwrap();
        syslog.set_nonblocking(true).unwrap();
        let log = Log::to(&path, false);
        let caller = |uid, root_socket| Caller { uid, gid: uid, pid: None, root_socket };
        let told = |caller: &Caller| {
            // Also by a clone: the count is the log's.
            (0..8).for_each(|_| log.clone().caller_warning(caller, "no call"));
            let mut buffer = [0; 1000];
            std::iter::from_fn(|| syslog.recv(&mut buffer).ok()).count()
        };
        assert_eq!(told(&caller(1000, false)), MOST_OF_A_USER as usize);
        assert_eq!(told(&caller(1000, false)), 0);
        assert_eq!(told(&caller(1001, false)), MOST_OF_A_USER as usize);
        assert_eq!(told(&caller(0, true)), 8);
    }

    #[test]
    fn many_users_can_cause_no_more_lines_than_a_few() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let syslog = UnixDatagram::bind(&path).unwrap();
        syslog.set_nonblocking(true).unwrap();
        let log = Log::to(&path, false);
        let mut buffer = [0; 1000];
        let mut told = || {
            let length = syslog.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        };
        let mut lines = 0;
        let caller = |uid| Caller { uid, gid: uid, pid: None, root_socket: false };
        for uid in 100_000..103_000 {
            log.caller_warning(&caller(uid), "no call");
            lines += std::iter::from_fn(&mut told).count();
        }
        assert_eq!(lines, MOST_AT_ONCE as usize);
        assert_eq!(log.caused.borrow().len(), lines, "nor can they fill the memory");
        log.users.borrow_mut().counted -= ONE_MORE;
        log.caller_warning(&caller(1000), "no call");
        assert!(told().is_some_and(|line| line.ends_with("2940 lines that users have caused were left out")));
        assert!(told().is_some_and(|line| line.ends_with("no call")));
    }

    #[test]
    fn what_the_server_causes_has_a_bound_and_what_is_left_out_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let syslog = UnixDatagram::bind(&path).unwrap();
        syslog.set_nonblocking(true).unwrap();
        let log = Log::to(&path, false);
        let mut buffer = [0; 1000];
        let mut told = || {
            let length = syslog.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        };
        let mut lines = 0;
        for _ in 0..1000 {
            log.clone().server(Level::Warning, "rubbish");
            lines += std::iter::from_fn(&mut told).count();
        }
        assert_eq!(lines, MOST_AT_ONCE as usize);
        // Others are heard all the same.
        log.warning("disk full");
        assert!(told().is_some_and(|line| line.ends_with("disk full")));
        log.server.borrow_mut().counted -= ONE_MORE * 2;
        log.server(Level::Notice, "well again");
        assert!(
            told().is_some_and(|line| line.contains("940 lines that the server has caused were left out"))
        );
        assert!(told().is_some_and(|line| line.ends_with("well again")));
    }

    #[test]
    fn a_bucket_fills_again_with_time_and_not_beyond_its_rim() {
        let (mut bucket, start) = (Bucket::default(), Duration::from_secs(1000));
        let mut taken = |at| (0..200).filter(|_| bucket.take(at).is_some()).count();
        assert_eq!(taken(start), MOST_AT_ONCE as usize);
        assert_eq!(taken(start + ONE_MORE / 2), 0);
        assert_eq!(taken(start + ONE_MORE), 1);
        assert_eq!(taken(start + ONE_MORE * 5 / 2), 1);
        assert_eq!(taken(start + ONE_MORE * 3), 1, "what had begun to come back is not lost");
        assert_eq!(taken(start + ONE_MORE * 1000), MOST_AT_ONCE as usize);
    }

    #[test]
    fn a_log_that_nobody_reads_stops_nobody_and_says_later_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let syslog = UnixDatagram::bind(&path).unwrap();
        let log = Log::to(&path, false);
        // More than a socket's queue holds.
        (0..2_000).for_each(|_| log.warning("x"));
        assert!(log.unread.get() > 0);
        syslog.set_nonblocking(true).unwrap();
        let mut buffer = [0; 256];
        while syslog.recv(&mut buffer).is_ok() {}
        let left_out = log.unread.get();
        log.warning("y");
        let length = syslog.recv(&mut buffer).unwrap();
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(
            said.ends_with(&format!("{left_out} lines were left out because the log was not read")),
            "{said}"
        );
        assert_eq!(log.unread.get(), 0);
    }

    #[test]
    fn lines_reach_syslog_as_authpriv_also_after_it_was_restarted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::to(&path, false);
        let read = |socket: &UnixDatagram| {
            let mut buffer = [0; 1000];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        for round in ["first", "second"] {
            let syslog = UnixDatagram::bind(&path).unwrap();
            log.line(Level::Notice, round, &[("user", "alice")]);
            let line = read(&syslog);
            assert!(line.starts_with("<85>"), "{line}"); // authpriv.notice
            assert!(
                line.contains(" countersignd[") && line.ends_with(&format!("{round} user=alice")),
                "{line}"
            );
            drop(syslog);
            std::fs::remove_file(&path).unwrap();
        }
    }
}
