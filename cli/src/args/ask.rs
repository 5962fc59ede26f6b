//! The command line of `ask`.

use clap::{Args, ValueHint};
use countersign_protocol::login::{Action, MAX_ACTION, MAX_ORIGIN};
use countersign_protocol::message::MAX_DETAIL;
use std::ffi::OsString;
use std::path::PathBuf;

/// Arguments of `ask`.
#[derive(Debug, Args)]
#[command(after_help = "\
A phone shows NAME, TEXT, LIST and COMMAND; whoever has it approves or denies. What comes of it is the exit code, and
COMMAND is run only after an approval, without a shell; its exit code then is the one of this. It is a gate for what
calls it, and no wall against root, who can leave it out.

Whose phone: for root that of who is logged in behind it, or of --user; for everybody else their own. The policy decides
as for a login of the service \"ask\", and may look at `action` and `origin`. The code that the phone shows is typed on
the terminal, whatever standard input is; without a terminal the policy's `without_prompt` decides. Ctrl-C withdraws it.

With --json every line is an object, its `event` one of message, prompt, verdict; COMMAND's output follows.

Exit codes: 0 approved (or the policy does not ask), 1 denied, expired or busy, 2 usage, 3 daemon or server unreachable,
4 not permitted, 5 misconfigured or broken")]
pub struct Ask {
    /// What shall be done: letters, digits, ".", "_" and "-", at most 64, such as deploy.web
    #[arg(long, value_name = "NAME", value_parser = action)]
    pub action: String,
    /// The same in words, for the phone: at most 300 bytes
    #[arg(long, value_name = "TEXT", value_parser = detail)]
    pub detail: Option<String>,
    /// What it is done to, a line for each thing: at most 256 KiB of UTF-8; `-` reads standard input
    #[arg(long, value_name = "LIST", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Ask this user's phone (root only)
    #[arg(long, value_hint = ValueHint::Username)]
    pub user: Option<String>,
    /// Where it comes from, for the policy; may be given up to 16 times
    #[arg(long, value_parser = origin)]
    pub origin: Vec<String>,
    /// Without a terminal say only what goes wrong: cron mails the rest
    #[arg(long)]
    pub quiet: bool,
    /// What to run once it is approved
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

fn action(text: &str) -> Result<String, String> {
    let how =
        || format!("write 1 to {MAX_ACTION} letters, digits, \".\", \"_\" and \"-\", such as deploy.web");
    Action::is_name(text).then(|| text.to_owned()).ok_or_else(how)
}

fn detail(text: &str) -> Result<String, String> {
    (text.len() <= MAX_DETAIL).then(|| text.to_owned()).ok_or_else(|| format!("at most {MAX_DETAIL} bytes"))
}

fn origin(text: &str) -> Result<String, String> {
    let how = || format!("write 1 to {MAX_ORIGIN} bytes without control characters");
    Action::is_origin(text).then(|| text.to_owned()).ok_or_else(how)
}

#[cfg(test)]
mod tests {
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn parse(rest: &[&str]) -> Option<super::Ask> {
        match Cli::try_parse_from(["countersign", "ask"].iter().chain(rest)).ok()?.command {
            Command::Ask(ask) => Some(ask),
            _ => None,
        }
    }

    #[test]
    fn a_command_stands_behind_two_dashes_and_keeps_its_options() {
        let ask = parse(&["--action", "deploy.web", "--", "make", "--json", "-j2"]).unwrap();
        assert_eq!(ask.command, ["make", "--json", "-j2"]);
        assert!(parse(&["--action", "deploy.web", "make"]).is_none());
        assert!(parse(&["--", "make"]).is_none(), "an action is needed");
    }

    #[test]
    fn what_the_daemon_would_not_take_is_wrong_usage() {
        for (option, good, bad) in [
            ("--action", "apt.install", "apt install"),
            ("--detail", "hello 2.10-3", &*"d".repeat(301)),
            ("--origin", "Debian", ""),
        ] {
            let with = |value: &str| parse(&["--action", "a", option, value]);
            let alone = |value: &str| parse(&[option, value]);
            let parsed = |value| if option == "--action" { alone(value) } else { with(value) };
            assert!(parsed(good).is_some() && parsed(bad).is_none(), "{option}");
        }
    }
}
