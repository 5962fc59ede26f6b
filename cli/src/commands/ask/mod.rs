//! `countersign ask`: may this be done? The PAM module's part, played for scripts, jobs and hooks.
//!
//! What it says is its exit code, and that is all: whoever calls it has to heed it.

mod list;
mod terminal;
mod who;

use crate::args::Ask;
use crate::manage_client::ManageClient;
use crate::output::{Exit, Failure, Outcome, Output};
use countersign_protocol::login::{
    self, Action, Begin, Call, Continue, FIRST_REPLY_MS, MAX_COMMAND, Stage, Step, Verdict,
};
use countersign_protocol::text::{clip, escape};
use list::Parts;
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use terminal::{Terminal, Typed};

/// What a shell's exit code is for a command that it does not find, and for one that it cannot run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;
/// What stands at the end of a command line that is told in part.
const MORE: &str = "…";

/// Asks, and becomes the command where that is approved. SIGINT and SIGTERM end it as any other program, and the
/// end of its connection withdraws the request.
pub(super) fn run(ask: &Ask, run: &Path, out: Output) -> Outcome<ExitCode> {
    let list = ask.file.as_deref().map(list::read).transpose()?;
    let terminal = Terminal::open();
    let begin = begin(ask, list.as_deref(), terminal.as_ref())?;
    let mut daemon = ManageClient::connect(run)?;
    let says = Says { terminal, quiet: ask.quiet, out };
    let verdict = play(&mut daemon, begin, list.as_deref().unwrap_or_default(), says)?;
    // What is over must not hold the daemon up for as long as the command runs.
    drop(daemon);
    if out.json {
        // The grant's token is the session stage's alone.
        out.object(&json!({ "event": "verdict", "outcome": verdict.outcome, "text": verdict.text }))?;
    }
    conclude(&verdict, out)?;
    match ask.command.split_first() {
        None => Ok(ExitCode::SUCCESS),
        Some((program, arguments)) => Ok(become_command(program, arguments, out)),
    }
}

fn begin(ask: &Ask, list: Option<&str>, terminal: Option<&Terminal>) -> Outcome<Begin> {
    let who = who::who(ask.user.as_deref())?;
    if ask.origin.len() > login::MAX_ORIGINS {
        let text = format!("there are more than {} origins", login::MAX_ORIGINS);
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(Begin {
        version: login::VERSION,
        stage: Stage::Auth,
        service: login::ASK_SERVICE.to_owned(),
        user: who.user,
        remote_host: None,
        remote_user: who.requester,
        terminal: terminal.map(|terminal| terminal.name().to_owned()),
        ssh_auth_info: None,
        command_line: command_line(&ask.command),
        peer: None,
        session: None,
        silent: false,
        token: None,
        passwordless: false,
        action: Some(Action {
            name: ask.action.clone(),
            detail: ask.detail.clone(),
            origins: ask.origin.clone(),
            list: list.map(|list| u32::try_from(list.len()).unwrap_or(u32::MAX)),
        }),
    })
}

/// What runs once it is approved, for the phone: as a shell would read it, so that `rm "a b"` is not taken for `rm a b`;
/// and with a mark at its end where that is not all of it.
fn command_line(command: &[OsString]) -> Option<String> {
    let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
    let line = words.join(" ");
    match line.len() {
        0 => None,
        1..=MAX_COMMAND => Some(line),
        _ => Some(format!("{}{MORE}", clip(&line, MAX_COMMAND - MORE.len()))),
    }
}

/// A word in quotes, unless it needs none; what is no text by its bytes.
fn quoted(word: &OsStr) -> String {
    let Some(word) = word.to_str() else { return format!("$'{}'", word.as_bytes().escape_ascii()) };
    let is_plain = |c: char| c.is_alphanumeric() || "_@%+=:,./-".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Where what is said while it waits is shown.
struct Says {
    terminal: Option<Terminal>,
    /// Whether nobody wants to read it where there is no terminal.
    quiet: bool,
    out: Output,
}

/// Goes through it to its end.
fn play(daemon: &mut ManageClient, begin: Begin, list: &str, mut says: Says) -> Outcome<Verdict> {
    let mut parts = Parts::of(list);
    let mut step: Step = daemon.call(&Call::Begin(Box::new(begin)), Duration::from_millis(FIRST_REPLY_MS))?;
    loop {
        let (carried_out, deadline_ms) = match step {
            Step::Verdict(verdict) => return Ok(verdict),
            Step::Wait { deadline_ms } => {
                let answer = parts.next().map(|part| part.to_owned().into());
                (Continue { answer, cannot_ask: false }, deadline_ms)
            }
            Step::Say { text, deadline_ms, .. } => {
                says.message(&text)?;
                (Continue::default(), deadline_ms)
            }
            Step::Ask { text, deadline_ms } => {
                let answer = match says.prompt(&text, Duration::from_millis(deadline_ms), daemon.as_fd())? {
                    Typed::Line(line) => Some(line),
                    Typed::Nothing => None,
                    Typed::Moot => {
                        step = daemon.hear()?;
                        continue;
                    }
                };
                (Continue { cannot_ask: answer.is_none(), answer }, deadline_ms)
            }
        };
        step = daemon.call(&Call::Continue(carried_out), Duration::from_millis(deadline_ms))?;
    }
}

impl Says {
    /// Says something where a person sees it: standard output is the command's, or a hook's.
    fn message(&mut self, text: &str) -> Outcome {
        if self.out.json {
            self.out.object(&json!({ "event": "message", "text": text }))?;
        }
        match &mut self.terminal {
            Some(terminal) => terminal.say(&escape(text)),
            None if self.quiet => {}
            None => self.out.remark(&escape(text)),
        }
        Ok(())
    }

    /// Prompts; nothing where nobody can type.
    fn prompt(&mut self, text: &str, deadline: Duration, daemon: BorrowedFd<'_>) -> Outcome<Typed> {
        let Some(terminal) = &mut self.terminal else { return Ok(Typed::Nothing) };
        if self.out.json {
            self.out.object(&json!({ "event": "prompt", "text": text }))?;
        }
        terminal.ask(&escape(text), deadline, daemon)
    }
}

/// # Errors
/// Unless it may be done.
fn conclude(verdict: &Verdict, out: Output) -> Outcome {
    use login::Outcome as Ended;
    let (exit, words) = match verdict.outcome {
        Ended::Granted | Ended::Ignored => {
            // What a typed code has used up.
            verdict.text.iter().for_each(|text| out.remark(&escape(text)));
            return Ok(());
        }
        Ended::Denied => (Exit::Refused, "denied"),
        Ended::Expired => (Exit::Refused, "nobody decided in time"),
        Ended::Withdrawn => (Exit::Refused, "withdrawn"),
        Ended::Busy => (Exit::Refused, "refused for now: too many wait or failed, try again later"),
        Ended::Unreachable => (Exit::Unreachable, "the push server cannot be reached"),
        Ended::Misconfigured => (Exit::Broken, "the configuration is unusable: see countersign status"),
        Ended::Fault => (Exit::Broken, "something broke: see journalctl -u countersignd"),
    };
    Err(Failure::new(
        exit,
        verdict.text.as_deref().map_or_else(|| words.into(), |text| escape(text).into_owned()),
    ))
}

/// Comes back only where the command cannot be run.
fn become_command(program: &OsString, arguments: &[OsString], out: Output) -> ExitCode {
    let error = Command::new(program).args(arguments).exec();
    out.remark(&format!("countersign: {}: {error}", escape(&program.to_string_lossy())));
    ExitCode::from(if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(outcome: login::Outcome) -> Outcome {
        conclude(&Verdict { outcome, text: None, token: None }, Output { json: false })
    }

    #[test]
    fn nothing_but_a_grant_or_a_policy_that_does_not_ask_lets_the_command_run() {
        use login::Outcome as Ended;
        for outcome in [Ended::Granted, Ended::Ignored] {
            assert_eq!(ended(outcome), Ok(()));
        }
        for (outcome, exit) in [
            (Ended::Denied, Exit::Refused),
            (Ended::Expired, Exit::Refused),
            (Ended::Withdrawn, Exit::Refused),
            (Ended::Busy, Exit::Refused),
            (Ended::Unreachable, Exit::Unreachable),
            (Ended::Misconfigured, Exit::Broken),
            (Ended::Fault, Exit::Broken),
        ] {
            assert_eq!(ended(outcome).unwrap_err().exit, exit, "{outcome:?}");
        }
    }

    #[test]
    fn the_command_is_told_as_a_shell_reads_it_as_far_as_it_fits() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(command_line(&[]), None);
        for (told, line) in [
            (&["rm", "-r", "a b", ""][..], "rm -r 'a b' ''"),
            (&["rm", "-r", "a", "b"], "rm -r a b"),
            (&["sh", "-c", "echo it's; $x"], r"sh -c 'echo it'\''s; $x'"),
            (&["größe", "--to=/srv/a_b,c", "\n"], "größe --to=/srv/a_b,c '\n'"),
        ] {
            assert_eq!(command_line(&words(told)).as_deref(), Some(line));
        }
        let no_text = OsStr::from_bytes(b"it's \xff").to_owned();
        assert_eq!(command_line(&[no_text]).as_deref(), Some(r"$'it\'s \xff'"));
        let long = |word: &str| command_line(&words(&[word])).unwrap();
        let whole = "a".repeat(MAX_COMMAND);
        assert_eq!(long(&whole), whole);
        for word in ["a".repeat(MAX_COMMAND + 1), "é".repeat(2000)] {
            let line = long(&word);
            assert!(line.len() <= MAX_COMMAND && line.len() > MAX_COMMAND - 5 && line.ends_with("…"));
        }
    }
}
