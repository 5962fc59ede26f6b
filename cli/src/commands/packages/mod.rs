//! `countersign package-hook apt|dnf`: called by the package manager with what it is about to do, right before dpkg or rpm runs.
//!
//! Ends with 0 only when that may happen: it was approved, or the policy does not ask, and the packages' files are still
//! what they were when somebody was asked.

mod apt;
mod deb;
mod dnf;
mod files;
mod origin;
mod transaction;

use crate::args::Manager;
use crate::output::{Exit, Failure, Outcome, Output};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use transaction::Transaction;

/// Most bytes that are read of what a package manager says; 5,000 packages take less than two million.
const MAX_INPUT: usize = 8 * 1024 * 1024;

pub(super) fn run(manager: Manager, run: &Path, out: Output) -> Outcome<ExitCode> {
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
        return Ok(ExitCode::SUCCESS);
    }
    // Before its name counts for anything.
    if manager == Manager::Apt {
        deb::check(&transaction)?;
    }
    if transaction.is_own() {
        out.remark("Countersign: these are Countersign's own packages only, so nobody is asked.");
        return Ok(ExitCode::SUCCESS);
    }
    files::digest(&mut transaction)?;
    if let Some(settings) = &settings {
        origin::fill(&mut transaction, settings);
    }
    let status = ask(manager, &transaction, run)?;
    if !status.success() {
        out.remark("Countersign: not approved, so nothing was installed or removed.");
        // A signal is no answer either.
        let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
        return Ok(ExitCode::from(code.unwrap_or(Exit::Broken as u8)));
    }
    files::verify(&transaction)?;
    Ok(ExitCode::SUCCESS)
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
    command.arg("--run").arg(run).args(["ask", "--action", &transaction.action(manager.name())]);
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
