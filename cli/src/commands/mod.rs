//! One file a command. Each gives its exit code, or why it failed.

mod approve;
mod ask;
pub(crate) mod audit;
mod challenge;
mod codes;
mod completions;
mod devices;
pub(crate) mod doctor;
mod enable;
mod join;
mod leases;
mod packages;
mod pair;
mod policy;
mod polkit_asks;
mod requests;
mod revoke;
mod setup;
mod status;
mod test_login;
mod unblock;

pub(crate) use enable::program;

use crate::args::{Audit, Cli, Command};
use crate::manage_client::ManageClient;
use crate::output::{Exit, Failure, Outcome, Output};
use std::io::BufRead;
use std::process::ExitCode;
use std::time::Duration;
use zeroize::Zeroizing;

/// Runs what the command line says.
pub(crate) fn run(cli: &Cli, out: Output) -> Outcome<ExitCode> {
    let daemon = || ManageClient::connect(&cli.run);
    match &cli.command {
        Command::Pair { user, no_ring } => pair::run(daemon()?, user, !no_ring, out),
        Command::Join(join) => join::run(join, &cli.run, out),
        Command::Setup(setup) => setup::run(setup, &cli.run, out),
        Command::Approve(args) => approve::run(args, out),
        Command::Ask(args) => ask::run(args, &cli.run, out),
        Command::Devices { user } => devices::run(&mut daemon()?, user.as_deref(), out),
        Command::Revoke { user, device } => revoke::run(&mut daemon()?, user, device, out),
        Command::Codes { user, once: Some(seconds), reason, .. } => {
            codes::once(&mut daemon()?, user, *seconds, reason.as_deref().unwrap_or_default(), out)
        }
        Command::Codes { user, totp: true, .. } => codes::authenticator(&mut daemon()?, user, out),
        Command::Codes { user, recovery: false, .. } => codes::left(&mut daemon()?, user, out),
        Command::Codes { user, recovery: true, count, .. } => codes::new(&mut daemon()?, user, *count, out),
        Command::Leases { user, end } => leases::run(&mut daemon()?, user.as_deref(), end.as_deref(), out),
        Command::Requests { user, cancel } => {
            requests::run(&mut daemon()?, user.as_deref(), cancel.as_deref(), out)
        }
        Command::DbusService { idle } => crate::dbus::run(&cli.run, Duration::from_secs(*idle)),
        Command::Unblock { user, source, all } => {
            unblock::run(&mut daemon()?, user.as_deref(), source.as_deref(), *all, out)
        }
        Command::Status => status::run(daemon, out),
        Command::Enable(args) => enable::run(args, &cli.run, out),
        Command::Disable(args) => enable::disable(args, out),
        Command::Confirm(args) => enable::confirm(args, out),
        Command::Rollback(args) => enable::rollback(args, out),
        Command::TestLogin { user, service } => test_login::run(&mut daemon()?, user, service, out),
        Command::Audit(Audit::Show { seq, extract, last, user, file, approvers }) => {
            let wanted = audit::Wanted { seq: *seq, last: *last, user: user.as_deref() };
            audit::show(file, &wanted, extract.as_deref(), approvers, out)
        }
        Command::Audit(Audit::Verify { file, host_key, approvers, has }) => {
            audit::verify(file, host_key.as_deref(), approvers, has.as_ref(), out)
        }
        Command::Audit(Audit::Observed { days, file }) => audit::observed(file, *days, out),
        Command::Doctor(args) => doctor::run(args, &cli.run, out),
        Command::Policy(command) => policy::run(command, &cli.run, out),
        Command::PolkitAsks { subject, action, text } => polkit_asks::run(&cli.run, subject, action, text),
        Command::PackageHook { manager } => packages::run(*manager, &cli.run, out),
        Command::Completions { shell } => completions::run(*shell, out),
    }
}

/// Longest line that is read from a person.
const MAX_LINE: u64 = 1024;

/// One line from standard input without its end; nothing at the end of input.
fn read_line() -> Outcome<Option<Zeroizing<String>>> {
    let mut line = Zeroizing::new(String::with_capacity(128));
    let mut input = std::io::Read::take(std::io::stdin().lock(), MAX_LINE);
    let n = input.read_line(&mut line).map_err(|e| Failure::broken("standard input", e))?;
    if n == 0 {
        return Ok(None);
    }
    if n as u64 == MAX_LINE && !line.ends_with('\n') {
        return Err(Failure::new(Exit::Usage, "the line is too long"));
    }
    Ok(Some(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned())))
}
