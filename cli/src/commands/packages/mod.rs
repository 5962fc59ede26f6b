//! `countersign package-hook apt|dnf`: called by the package manager with what it is about to do, right before dpkg or rpm runs.
//!
//! Ends with 0 only when that may happen: it was approved, or the policy does not ask, and the packages' files are still
//! what they were when somebody was asked.

mod apt;
mod deb;
mod dnf;
mod files;
mod origin;
mod place;
mod tool;
mod transaction;

use crate::args::Manager;
use crate::output::{Exit, Failure, Outcome, Output};
use countersign_protocol::text::escape;
use nix::unistd::setsid;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use transaction::Transaction;

/// Most bytes that are read of what a package manager says; 5,000 packages take less than two million.
const MAX_INPUT: usize = 8 * 1024 * 1024;

/// How the command line begins that apt tells for `PackageKit`.
const PACKAGE_KIT: &str = "packagekit ";

pub(super) fn run(manager: Manager, run: &Path, out: Output) -> Outcome<ExitCode> {
    let code = decide(manager, run, out)?;
    if code != 0 {
        out.remark("Countersign: not approved, so nothing was installed or removed.");
    }
    // Not to whom somebody said no, and not where a package is what is wrong.
    if [Exit::Unreachable, Exit::NotPermitted, Exit::Broken].into_iter().any(|exit| exit as u8 == code) {
        out.remark(way_out(manager));
    }
    Ok(ExitCode::from(code))
}

/// For whoever has to mend a machine when nobody can be asked. It tells nothing that root may not do anyway.
fn way_out(manager: Manager) -> &'static str {
    match manager {
        Manager::Apt => {
            "Countersign: \"countersign doctor\" says why. If it cannot wait: rm /etc/apt/apt.conf.d/99countersign, do it, and \
             then ln -s /usr/share/countersign/apt/99countersign /etc/apt/apt.conf.d/"
        }
        Manager::Dnf => {
            "Countersign: \"countersign doctor\" says why. If it cannot wait: do it with dnf --disableplugin=countersign"
        }
    }
}

/// 0 where it may happen, else why not: the exit code of `countersign ask`.
fn decide(manager: Manager, run: &Path, out: Output) -> Outcome<u8> {
    let input = input()?;
    let unclear =
        |fault: String| Failure::new(Exit::Broken, format!("{fault}; nothing was installed or removed"));
    let (mut transaction, settings) = match manager {
        Manager::Apt => {
            let (settings, transaction) = apt::parse(&input).map_err(unclear)?;
            (transaction, Some(settings))
        }
        Manager::Dnf => (dnf::parse(&input).map_err(unclear)?, None),
    };
    if transaction.changes.is_empty() {
        return Ok(0);
    }
    if settings
        .as_ref()
        .and_then(|all| all.command_line.as_deref())
        .is_some_and(|line| line.starts_with(PACKAGE_KIT))
    {
        // Nobody sits at the terminal that it gives apt. Where that cannot be left, the prompt there waits in vain.
        let _ = setsid();
    }
    // What is exchanged from here on is noticed at the end.
    files::digest(&mut transaction)?;
    // Before its name counts for anything.
    if manager == Manager::Apt {
        deb::check(&transaction)?;
    }
    if transaction.is_own() && place::are_roots_alone(&transaction) {
        out.remark("Countersign: these are Countersign's own packages only, so nobody is asked.");
        return Ok(0);
    }
    if let Some(settings) = &settings
        && let Err(why) = origin::fill(&mut transaction, settings)
    {
        out.remark(&format!(
            "Countersign: nobody knows from where these packages come: {}",
            escape(&why.to_string())
        ));
    }
    place::distrust(&mut transaction);
    let status = ask(manager, &transaction, run)?;
    if !status.success() {
        // A signal is no answer either.
        let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
        return Ok(code.unwrap_or(Exit::Refused as u8));
    }
    files::verify(&transaction)?;
    Ok(0)
}

fn input() -> Outcome<Vec<u8>> {
    let mut input = Vec::new();
    let limit = MAX_INPUT as u64 + 1;
    std::io::stdin()
        .lock()
        .take(limit)
        .read_to_end(&mut input)
        .map_err(|e| Failure::broken("standard input", e))?;
    if input.len() > MAX_INPUT {
        let why = format!(
            "more than {MAX_INPUT} bytes about one transaction: do it in parts, with fewer packages at once"
        );
        return Err(Failure::broken("standard input", why));
    }
    Ok(input)
}

/// Asks as any program would, by `countersign ask`: this one has nothing that others have not. Prompts find the terminal by
/// themselves.
fn ask(manager: Manager, transaction: &Transaction, run: &Path) -> Outcome<ExitStatus> {
    let broken = |e: std::io::Error| Failure::broken("countersign ask", e);
    let list = transaction.list()?;
    let mut command = Command::new("/proc/self/exe");
    // For whoever looks with ps(1).
    command.arg0("countersign").arg("--run").arg(run).args([
        "ask",
        "--action",
        &transaction.action(manager.name()),
    ]);
    command.arg(format!("--detail={}", transaction.summary())).args(["--file", "-"]);
    command.args(transaction.origins().iter().map(|origin| format!("--origin={origin}")));
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(broken)?;
    let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(list.as_bytes()));
    let status = child.wait().map_err(broken)?;
    // One that has refused at once reads no list.
    if status.success() {
        written.map_err(broken)?;
    }
    Ok(status)
}
