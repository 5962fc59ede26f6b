//! `countersign test-login USER --service S`: what the PAM module says to the daemon, said here.

use super::read_line;
use crate::manage_client::ManageClient;
use crate::output::{Exit, Failure, Outcome, Output};
use countersign_protocol::login::{self, Begin, Call, Continue, FIRST_REPLY_MS, Stage, Step, Verdict};
use countersign_protocol::text::escape;
use nix::sys::signal::{SigSet, Signal};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

pub(super) fn run(daemon: &mut ManageClient, user: &str, service: &str, out: Output) -> Outcome<ExitCode> {
    say_when_interrupted(out)?;
    conclude(&play(daemon, user, service, out)?, out)
}

/// Goes through a login to its end.
pub(super) fn play(daemon: &mut ManageClient, user: &str, service: &str, out: Output) -> Outcome<Verdict> {
    let begin = Begin {
        version: login::VERSION,
        stage: Stage::Auth,
        service: service.to_owned(),
        user: user.to_owned(),
        remote_host: None,
        remote_user: None,
        terminal: nix::unistd::ttyname(std::io::stdin()).ok().map(|p| p.to_string_lossy().into_owned()),
        ssh_auth_info: None,
        command_line: Some("countersign test-login".to_owned()),
        peer: None,
        session: None,
        silent: false,
        token: None,
        passwordless: false,
        action: None,
    };
    let mut step: Step = daemon.call(&Call::Begin(Box::new(begin)), Duration::from_millis(FIRST_REPLY_MS))?;
    loop {
        let (carried_out, deadline_ms) = match step {
            Step::Verdict(verdict) => return Ok(verdict),
            Step::Wait { deadline_ms } => (Continue::default(), deadline_ms),
            Step::Say { text, deadline_ms, .. } => {
                out.remark(&escape(&text));
                (Continue::default(), deadline_ms)
            }
            Step::Ask { text, deadline_ms } => (ask(&text)?, deadline_ms),
        };
        step = daemon.call(&Call::Continue(carried_out), Duration::from_millis(deadline_ms))?;
    }
}

/// Ctrl-C ends the program, and the end of its connection withdraws the login; here it is said.
fn say_when_interrupted(out: Output) -> Outcome {
    let broken = |e: &dyn std::fmt::Display| Failure::broken("signals", e);
    let interrupt = SigSet::from(Signal::SIGINT);
    interrupt.thread_block().map_err(|e| broken(&e))?;
    let wait = move || {
        if interrupt.wait().is_ok() {
            // The terminal has drawn ^C behind the prompt.
            eprintln!();
            let withdrawn = Verdict { outcome: login::Outcome::Withdrawn, text: None, token: None };
            let _ = conclude(&withdrawn, out);
            std::process::exit(Exit::Refused as i32);
        }
    };
    std::thread::Builder::new().spawn(wait).map_err(|e| broken(&e))?;
    Ok(())
}

fn ask(text: &str) -> Outcome<Continue> {
    eprint!("{}", escape(text));
    let answer = read_line()?;
    if !std::io::stdin().is_terminal() {
        // Nobody typed the end of the line.
        eprintln!();
    }
    Ok(Continue { cannot_ask: answer.is_none(), answer })
}

/// How a login ended, in words that follow "Login".
pub(super) fn words(outcome: login::Outcome) -> &'static str {
    use login::Outcome as Ended;
    match outcome {
        Ended::Granted => "granted",
        Ended::Ignored => {
            "let through, whatever a phone says: the policy observes or skips it, or lets pass who has no device"
        }
        Ended::Denied => "denied",
        Ended::Expired => "expired: nobody decided in time",
        Ended::Withdrawn => "withdrawn",
        Ended::Unreachable => "refused: the push server cannot be reached",
        Ended::Busy => {
            "refused for now: too many wait or failed, or one was reported (countersign unblock lists what holds)"
        }
        Ended::Misconfigured => "refused: the configuration is unusable, see countersign status",
        Ended::Fault => "refused: something broke, see journalctl -u countersignd",
    }
}

fn conclude(verdict: &Verdict, out: Output) -> Outcome<ExitCode> {
    use login::Outcome as Ended;
    let words = words(verdict.outcome);
    // The grant's token is the session stage's alone.
    let object = serde_json::json!({ "outcome": verdict.outcome, "text": verdict.text });
    out.either(&object, || {
        let text = verdict.text.as_deref().map(|t| format!("{}\n", escape(t))).unwrap_or_default();
        format!("{text}Login {words}.")
    })?;
    Ok(match verdict.outcome {
        Ended::Granted | Ended::Ignored => ExitCode::SUCCESS,
        Ended::Denied | Ended::Expired | Ended::Withdrawn | Ended::Busy => code(Exit::Refused),
        Ended::Unreachable => code(Exit::Unreachable),
        Ended::Misconfigured | Ended::Fault => code(Exit::Broken),
    })
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}
