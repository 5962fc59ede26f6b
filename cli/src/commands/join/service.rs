//! The daemon, running with the configuration as it is now.

use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Exit, Failure, Outcome};
use countersign_protocol::manage::{Call, NOT_CONNECTED_YET, Status};
use countersign_protocol::text::escape;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// There where systemd is process 1.
const SYSTEMD: &str = "/run/systemd/system";
const SYSTEMCTL: &str = "/usr/bin/systemctl";
const SERVICE: &str = "countersignd.service";
/// What has to run, and start with the machine.
const UNITS: [&str; 3] = ["countersignd-pam.socket", "countersignd-self.socket", SERVICE];
/// How long the daemon may take to read its configuration.
const READ: Duration = Duration::from_secs(10);
/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(100);

/// Starts the daemon, or has it read its configuration anew where that has changed, and waits until it uses
/// this server. Says what it did.
///
/// # Errors
/// When it does not run, or does not take the configuration.
pub(crate) fn bring_up(
    run: &Path,
    server: &str,
    changed: bool,
    say: &mut dyn FnMut(&str) -> Outcome,
) -> Outcome<Status> {
    let managed = Path::new(SYSTEMD).is_dir();
    if managed && !UNITS.iter().all(|unit| is("is-enabled", unit) && is("is-active", unit)) {
        systemctl(&[&["enable", "--quiet", "--now"], UNITS.as_slice()].concat())?;
        say("countersignd runs, and starts with this machine.")?;
    }
    let uses = |status: &Status| status.server == server && status.config_faults.is_empty();
    if changed || !uses(&status(run)?) {
        if managed { systemctl(&["reload", SERVICE])? } else { hang_up(run)? }
    }
    let end = Instant::now() + READ;
    loop {
        let status = status(run)?;
        if uses(&status) {
            return Ok(status);
        }
        if Instant::now() > end {
            let why = match status.config_faults.first() {
                Some(fault) => format!("the daemon does not take its configuration: {}", escape(fault)),
                None => {
                    "the daemon does not use the new configuration: systemctl restart countersignd".to_owned()
                }
            };
            return Err(Failure::new(Exit::Broken, why));
        }
        std::thread::sleep(TICK);
    }
}

/// How the daemon is.
///
/// # Errors
/// When it does not run.
pub(crate) fn status(run: &Path) -> Outcome<Status> {
    ManageClient::connect(run)?.call(&Call::Status {}, SHORT)
}

/// Waits until the daemon has tried to connect once; a host that has joined is connected then.
///
/// # Errors
/// When it does not run.
pub(crate) fn tried(run: &Path) -> Outcome<Status> {
    wait(run, |status| status.trouble.as_deref() != Some(NOT_CONNECTED_YET), &mut |_| ())
}

/// Waits until the daemon is connected; tells `tick` how long it still waits.
///
/// # Errors
/// When it does not run, or why it is not connected.
pub(crate) fn connected(run: &Path, tick: &mut dyn FnMut(Duration)) -> Outcome<Status> {
    let status = wait(run, |status| status.connected, tick)?;
    match status.connected {
        true => Ok(status),
        false => {
            let why = status.trouble.as_deref().unwrap_or("no reason is known");
            let text =
                format!("{} is not reached: {}; see countersign status", escape(&status.server), escape(why));
            Err(Failure::new(Exit::Unreachable, text))
        }
    }
}

fn wait(run: &Path, is_over: impl Fn(&Status) -> bool, tick: &mut dyn FnMut(Duration)) -> Outcome<Status> {
    let end = Instant::now() + CONNECT;
    loop {
        let status = status(run)?;
        let left = end.saturating_duration_since(Instant::now());
        if status.connected || is_over(&status) || left.is_zero() {
            return Ok(status);
        }
        tick(left);
        std::thread::sleep(TICK);
    }
}

/// Whether systemctl says so of a unit.
fn is(what: &str, unit: &str) -> bool {
    let mut asked = Command::new(SYSTEMCTL);
    asked.args([what, "--quiet", unit]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

fn systemctl(words: &[&str]) -> Outcome {
    let done = Command::new(SYSTEMCTL).args(words).stdin(Stdio::null()).output();
    let why = match done {
        Ok(done) if done.status.success() => return Ok(()),
        Ok(done) => String::from_utf8_lossy(&done.stderr).lines().next().unwrap_or("it failed").to_owned(),
        Err(e) => e.to_string(),
    };
    let text = format!("systemctl {}: {}; see journalctl -u countersignd", words.join(" "), escape(&why));
    Err(Failure::new(Exit::Broken, text))
}

/// Where nobody manages services: what `systemctl reload` would do.
fn hang_up(run: &Path) -> Outcome {
    let pid = ManageClient::connect(run)?.daemon()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.trim_end() != "countersignd" {
        let text = "the daemon has to read its configuration anew: restart countersignd, then run this again";
        return Err(Failure::new(Exit::Broken, text));
    }
    kill(Pid::from_raw(pid), Signal::SIGHUP)
        .map_err(|e| Failure::broken("countersignd cannot be told to reload", e))
}
