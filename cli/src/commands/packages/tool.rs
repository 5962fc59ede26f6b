//! A program of dpkg's or apt's, heard for a bounded time.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// One that runs. It is ended where this is dropped.
pub(super) struct Tool {
    name: String,
    child: Child,
    out: ChildStdout,
    within: Duration,
    end: Instant,
}

impl Tool {
    /// Starts it; it may take until `within` from now, whatever it does.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(command: &mut Command, within: Duration) -> io::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let out = child.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
        Ok(Self { name, child, out, within, end: Instant::now() + within })
    }

    /// All that it says, until it closes its output; it is ended then. How it ends says nothing that this does not.
    ///
    /// # Errors
    /// When it takes too long, or says more than `most` bytes, or what is no text.
    pub(super) fn text(mut self, most: u64) -> io::Result<String> {
        let mut text = String::new();
        (&mut self).take(most + 1).read_to_string(&mut text)?;
        if text.len() as u64 > most {
            return Err(io::Error::other(format!("{} says more than {most} bytes", self.name)));
        }
        Ok(text)
    }

    /// The time that is left to it.
    fn left(&self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let text = format!("{} did not end within {} s", self.name, self.within.as_secs());
            return Err(io::Error::new(ErrorKind::TimedOut, text));
        }
        Ok(left)
    }
}

impl Read for Tool {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = PollTimeout::try_from(self.left()?).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.out.as_fd(), PollFlags::POLLIN)], left) {
                Ok(0) | Err(nix::Error::EINTR) => {}
                Ok(_) => return self.out.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn shell(script: &str, within: Duration) -> Tool {
        Tool::start(Command::new("sh").args(["-c", script]), within).unwrap()
    }

    #[test]
    fn what_it_says_is_heard() {
        assert_eq!(shell("echo x; sleep 0.05; echo y", LONG).text(100).unwrap(), "x\ny\n");
        assert_eq!(shell("exit 1", LONG).text(100).unwrap(), "");
        // It says no more, and does not end by itself.
        assert_eq!(shell("echo x; exec sleep 60 >&-", LONG).text(100).unwrap(), "x\n");
        assert!(Tool::start(&mut Command::new("/no/such/program"), LONG).is_err());
    }

    #[test]
    fn what_hangs_is_ended_and_said() {
        // Silent, and never silent.
        for script in ["exec sleep 60", "while :; do echo x; done"] {
            let tool = shell(script, Duration::from_millis(50));
            let error = tool.text(1 << 30).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{script}");
            assert!(error.to_string().contains("sh did not end within"), "{error}");
        }
        // What says too much is left in the middle of it.
        let error = shell("exec yes", LONG).text(100).unwrap_err();
        assert!(error.to_string().contains("more than 100 bytes"), "{error}");
    }
}
