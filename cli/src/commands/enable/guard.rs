//! Who takes a change back when nobody confirms it: systemd's timer, or where systemd is not there a process of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::moment::Moment;
use super::places::Places;
use super::program;
use super::record::Record;
use super::{log, rollback};
use crate::output::{Exit, Failure, Outcome};

/// How long a change waits to be confirmed. It stands in the timer, too.
pub(super) const WITHIN: u64 = 120;
/// Systemd is process 1 where this is: sd_booted(3).
const BOOTED: &str = "/run/systemd/system";
const TIMER: &str = "countersign-rollback.timer";
const SERVICE: &str = "countersign-rollback.service";
/// How often the process looks whether the change still waits.
const LOOK: Duration = Duration::from_millis(250);
/// How often the process tries, where something cannot be taken back (a full disk), and how long it waits in between.
const TRIES: u32 = 20;
const AGAIN: Duration = Duration::from_secs(30);
/// Longest time for systemctl.
const SYSTEMCTL: Duration = Duration::from_secs(20);

/// Who will do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// systemd; also at the next boot.
    Systemd,
    /// A process; it does not survive a reboot.
    Process,
}

pub(super) fn kind() -> Guard {
    if Path::new(BOOTED).is_dir() { Guard::Systemd } else { Guard::Process }
}

/// Whether the units are there that will do it, also after a reboot. Before anything is changed.
pub(super) fn ready() -> Outcome {
    if kind() == Guard::Process {
        return Ok(());
    }
    let known = program::run("systemctl", &["cat", TIMER, SERVICE], SYSTEMCTL)?;
    if !known.is_success {
        let text = format!(
            "{TIMER} and {SERVICE} are not installed, so that nothing would take the change back: install the package \
             countersign anew, then: systemctl daemon-reload"
        );
        return Err(Failure::new(Exit::Broken, text));
    }
    if !program::run("systemctl", &["is-enabled", "--quiet", SERVICE], SYSTEMCTL)?.is_success {
        let enabled = program::run("systemctl", &["enable", "--quiet", SERVICE], SYSTEMCTL)?;
        if !enabled.is_success {
            let text = format!(
                "{SERVICE} is not enabled, so that a reboot would keep the change: systemctl enable {SERVICE}"
            );
            return Err(Failure::new(Exit::Broken, text));
        }
    }
    Ok(())
}

/// Sets the clock for the change whose record is there.
pub(super) fn start(places: &Places, etc: &Path, record: &Record) -> Outcome {
    match kind() {
        Guard::Systemd => {
            let started = program::run("systemctl", &["restart", TIMER], SYSTEMCTL)?;
            if started.is_success {
                return Ok(());
            }
            Err(Failure::new(Exit::Broken, format!("{TIMER} does not start: {}", started.said)))
        }
        Guard::Process => process(places, etc, record),
    }
}

/// A copy of this program in a session of its own, which the end of this one does not end.
fn process(places: &Places, etc: &Path, record: &Record) -> Outcome {
    let broken =
        |error: &dyn std::fmt::Display| Failure::broken("the process that takes the change back", error);
    let program = std::env::current_exe().map_err(|error| broken(&error))?;
    let mut child = Command::new(program)
        .args(["rollback", "--guard"])
        .arg("--etc")
        .arg(etc)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| broken(&error))?;
    // It says a line once nothing here can end it, or ends without.
    let mut line = String::new();
    let out = child
        .stdout
        .take()
        .map(|out| std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line));
    match out {
        Some(Ok(_)) if line.trim() == record.began.since_boot.to_string() => Ok(()),
        _ => {
            let _ = child.kill();
            let _ = child.wait();
            Err(broken(&format!("it did not start; {} was not changed", places.pam().display())))
        }
    }
}

/// What that process does: it waits, and takes the change back unless it is confirmed or taken back before.
pub(super) fn watch(places: &Places) -> Outcome {
    nix::unistd::setsid().map_err(|error| Failure::broken("setsid", error))?;
    let broken = |why: &str| Failure::new(Exit::Broken, why.to_owned());
    let record = Record::read(places)?.ok_or_else(|| broken("no change waits"))?;
    {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", record.began.since_boot)
            .and_then(|()| out.flush())
            .map_err(|error| Failure::broken("standard output", error))?;
    }
    let end = record.began.since_boot.saturating_add(record.within.saturating_mul(1000));
    let is_ours = |found: &Record| found.began == record.began;
    loop {
        match Record::read(places) {
            Ok(found) if !found.as_ref().is_some_and(is_ours) => return Ok(()),
            _ if Moment::now()?.since_boot >= end => break,
            _ => std::thread::sleep(LOOK),
        }
    }
    for _ in 0..TRIES {
        let lock = super::record::lock(places)?;
        // It may have been confirmed while the lock was waited for. A record that cannot be read was not.
        if !Record::read(places).map_or(true, |found| found.as_ref().is_some_and(is_ours)) {
            return Ok(());
        }
        match rollback::take_back(places, rollback::UNCONFIRMED) {
            Ok(note) if !note.failed() => return Ok(()),
            // It has told the log which file.
            Ok(_) => {}
            Err(failure) => log::alert(&format!("the change could not be taken back: {}", failure.message)),
        }
        drop(lock);
        std::thread::sleep(AGAIN);
    }
    Err(broken("the change could not be taken back"))
}

/// The change was confirmed or taken back. The process sees that by itself.
pub(super) fn stop() {
    if kind() == Guard::Systemd {
        // A timer that goes off later finds no record, and does nothing.
        let _ = program::run("systemctl", &["--no-block", "stop", TIMER], SYSTEMCTL);
    }
}
