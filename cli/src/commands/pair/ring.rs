//! The test ring after a pairing: a device that does not ring is found out now, and not when somebody
//! cannot log in.

use crate::manage_client::{ManageClient, SHORT, Wait};
use crate::output::{Failure, Outcome, Output};
use countersign_protocol::manage::{Call, RingAnswer, Rung};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

/// How long an answer is waited for; the daemon gives up by itself then.
const WAIT: Duration = Duration::from_secs(30);

const SILENT: &str = "Nobody tapped \"It rang\". Check that the phone has a network and may show notifications of the app, \
                      and try the next login with the app open.";

/// Rings, and says what came of it. Whatever that is, the device is paired.
pub(super) fn ring(daemon: &mut ManageClient, out: Output) -> Outcome {
    if out.json {
        out.object(&json!({ "event": "ringing", "expires_in": WAIT.as_secs() }))?;
    } else {
        out.lines("We just rang this phone: tap \"It rang\" there.")?;
    }
    let mut person = Person::new(out)?;
    let rung = daemon.call_with::<Rung>(&Call::Ring {}, WAIT + SHORT, &mut |left| person.tick(left));
    person.end(out)?;
    let (answer, skipped, trouble) = match rung {
        Ok(Some(Rung { answer })) => (answer, false, None),
        Ok(None) => (None, true, None),
        Err(failure) => (None, false, Some(failure.message)),
    };
    if out.json {
        return out.object(&json!({
            "event": "rung", "answered": answer.is_some(), "answer": answer, "skipped": skipped, "trouble": trouble,
        }));
    }
    out.lines(&match (answer, trouble) {
        (Some(RingAnswer::Rang), _) => "It rang.".to_owned(),
        (Some(RingAnswer::Denied), _) => {
            "It rang, and its person denied: make sure that it is the right phone.".to_owned()
        }
        (None, Some(trouble)) => format!("It could not be rung: {trouble}"),
        (None, None) if skipped => "Not waited for.".to_owned(),
        (None, None) => SILENT.to_owned(),
    })
}

/// Somebody at the terminal, who may not want to wait: Enter or Ctrl-C.
struct Person {
    counting: bool,
    typing: bool,
    interrupt: Option<SignalFd>,
}

impl Person {
    fn new(out: Output) -> Outcome<Self> {
        let (counting, typing) = (out.is_terminal(), std::io::stdin().is_terminal());
        let interrupt = (counting || typing).then(block_interrupt).transpose()?;
        Ok(Self { counting, typing, interrupt })
    }

    fn tick(&mut self, left: Duration) -> Wait {
        if self.counting {
            let mut stdout = std::io::stdout().lock();
            // A countdown that cannot be drawn harms nobody.
            let _ = write!(stdout, "\rWaiting {} s (Enter: go on) ", left.saturating_sub(SHORT).as_secs());
            let _ = stdout.flush();
        }
        if self.interrupted() || (self.typing && typed_line()) { Wait::Off } else { Wait::On }
    }

    fn interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(|signals| matches!(signals.read_signal(), Ok(Some(_))))
    }

    /// Takes the countdown away; Ctrl-C ends the program again.
    fn end(self, out: Output) -> Outcome {
        if self.interrupt.is_some() {
            let mask = SigSet::from_iter([Signal::SIGINT]);
            mask.thread_unblock().map_err(|e| Failure::broken("signals", e))?;
        }
        if self.counting { out.lines("\r\x1b[K") } else { Ok(()) }
    }
}

/// Has Ctrl-C wait to be read, in place of ending the program: the device is paired already.
fn block_interrupt() -> Outcome<SignalFd> {
    let mask = SigSet::from_iter([Signal::SIGINT]);
    let broken = |e| Failure::broken("signals", e);
    mask.thread_block().map_err(broken)?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(broken)
}

/// Whether a line, or the end of input, is there to be read; takes it.
fn typed_line() -> bool {
    let stdin = std::io::stdin();
    let mut found = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    if !matches!(poll(&mut found, PollTimeout::ZERO), Ok(1..)) {
        return false;
    }
    let mut line = String::new();
    // What was typed means nothing; a line that is no text ends the wait as well.
    let _ = std::io::Read::take(stdin.lock(), 1024).read_line(&mut line);
    true
}
