//! The terminal that a person sits at, whatever standard input and output are: those may be a hook's pipes.

use crate::output::{Exit, Failure, Outcome};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, tcflush};
use nix::unistd::ttyname;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The terminal of this session of processes, under whatever name.
const TERMINAL: &str = "/dev/tty";
/// Longest line that is read, in bytes.
const MAX_LINE: usize = 1024;
/// How long a recovery code may be looked for once the request is over.
const SEARCH_TIME: Duration = Duration::from_secs(120);

/// What came of a prompt.
pub(super) enum Typed {
    /// A line, without its end.
    Line(Zeroizing<String>),
    /// The terminal is gone, the person ends the input, or types nothing in time.
    Nothing,
    /// The daemon speaks first: there is nothing to type any more.
    Moot,
}

/// An open terminal.
pub(super) struct Terminal {
    file: File,
    name: String,
}

impl Terminal {
    /// The one that this program was started at, if any.
    pub(super) fn open() -> Option<Self> {
        let file = OpenOptions::new().read(true).write(true).open(TERMINAL).ok()?;
        let names = [ttyname(stdin()), ttyname(stdout()), ttyname(stderr())];
        let name = names.into_iter().find_map(Result::ok);
        let name = name.map_or_else(|| TERMINAL.to_owned(), |path| path.to_string_lossy().into_owned());
        Some(Self { file, name })
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Shows a line.
    pub(super) fn say(&mut self, line: &str) {
        // A terminal that is gone shows nothing; the next prompt will notice.
        let _ = writeln!(self.file, "{line}");
    }

    /// Prompts, and reads a line until `daemon` has something to say. `deadline` is how long the request may still be open.
    ///
    /// # Errors
    /// When more than a line is typed.
    pub(super) fn ask(&mut self, prompt: &str, deadline: Duration, daemon: BorrowedFd<'_>) -> Outcome<Typed> {
        let end = Instant::now() + deadline + SEARCH_TIME;
        if write!(self.file, "{prompt}").is_err() {
            return Ok(Typed::Nothing);
        }
        let (typed, said) = self.wait(end, daemon)?;
        if !typed {
            // What was typed by halves is nothing for the shell behind, and what follows stands on a line of its own.
            let _ = tcflush(&self.file, FlushArg::TCIFLUSH);
            self.say("");
            return Ok(if said { Typed::Moot } else { Typed::Nothing });
        }
        let mut line = Zeroizing::new([0; MAX_LINE]);
        // A line at once, as terminals give them.
        let read = self.file.read(line.as_mut_slice()).unwrap_or_default();
        let typed = line.get(..read).unwrap_or_default();
        if typed.is_empty() {
            self.say("");
            return Ok(Typed::Nothing);
        }
        if read == MAX_LINE {
            return Err(Failure::new(Exit::Usage, "the line is too long"));
        }
        let text = String::from_utf8_lossy(typed);
        Ok(Typed::Line(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned())))
    }

    /// Whether there is a line, and whether the daemon has said something; neither when the time is over.
    fn wait(&self, end: Instant, daemon: BorrowedFd<'_>) -> Outcome<(bool, bool)> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok((false, false));
            }
            let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut both = [self.file.as_fd(), daemon].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut both, wait) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => {
                    let [line, said] = both.map(|fd| fd.any() != Some(false));
                    return Ok((line, said));
                }
                Err(error) => return Err(Failure::broken(TERMINAL, error)),
            }
        }
    }
}
