//! `countersign completions SHELL`: what a shell needs to complete the command line.

use crate::args::{Cli, Shell};
use crate::output::{Failure, Outcome, Output};
use clap::{Command, CommandFactory};
use clap_complete::Shell as Generator;
use std::process::ExitCode;

pub(super) fn run(shell: Shell, out: Output) -> Outcome<ExitCode> {
    let shell = match shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut shown(&Cli::command()), "countersign", &mut text);
    let text = String::from_utf8(text).map_err(|e| Failure::broken("completions", e))?;
    out.lines(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The same without what is hidden: the generators offer that too, and nobody shall get to an approver that
/// approves by itself with the tab key.
fn shown(command: &Command) -> Command {
    let about = command.get_about().cloned().unwrap_or_default();
    Command::new(command.get_name().to_owned())
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(command.get_version().is_none())
        .about(about)
        .args(command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned())
        .subcommands(command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(shown))
}
