//! What systemd knows of the daemon's units, where nobody answers: why, and what to do.

use std::path::Path;
use std::time::Duration;

use countersign_protocol::text::escape;

use crate::commands::program;

/// Systemd is process 1 where this is: sd_booted(3).
const BOOTED: &str = "/run/systemd/system";
const SERVICE: &str = "countersignd.service";
const SOCKETS: [&str; 2] = ["countersignd-pam.socket", "countersignd-self.socket"];
/// How long systemctl may take.
const WITHIN: Duration = Duration::from_secs(5);
/// Where the reason stands why the service does not run.
const LOG: &str = "journalctl -u countersignd -n 20";

/// One of the units, as `systemctl show` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unit {
    name: String,
    /// `loaded`, `masked`, `not-found`, …
    load: String,
    /// `active`, `inactive`, `failed`, `activating`, …
    active: String,
    /// Why it has failed, as `exit-code`.
    result: String,
}

/// Why nobody listens on the sockets, and what to do, in a line.
pub(crate) fn nobody_listens() -> String {
    match units() {
        Some(units) => words(&units),
        None => format!("countersignd --user countersign, or where systemd runs: {}", start()),
    }
}

/// The same where the sockets are open and nobody answers.
pub(crate) fn nobody_answers() -> String {
    let status = "systemctl status countersignd".to_owned();
    match units() {
        Some(units) if units.iter().any(|unit| !unit.is_well()) => words(&units),
        _ => status,
    }
}

impl Unit {
    fn is_well(&self) -> bool {
        self.load == "loaded" && self.active == "active"
    }
}

fn units() -> Option<Vec<Unit>> {
    if !Path::new(BOOTED).is_dir() {
        return None;
    }
    let show = ["show", "--property=Id,LoadState,ActiveState,Result", SERVICE, SOCKETS[0], SOCKETS[1]];
    let shown = program::run("systemctl", &show, WITHIN).ok().filter(|ended| ended.is_success)?;
    Some(read(&shown.out))
}

/// Units in blocks of `NAME=VALUE`, with an empty line between two.
fn read(shown: &str) -> Vec<Unit> {
    let blocks = shown.split("\n\n").filter(|block| !block.trim().is_empty());
    let unit = |block: &str| {
        let value = |name: &str| {
            let found = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            escape(found.unwrap_or("unknown").trim()).into_owned()
        };
        Unit {
            name: value("Id"),
            load: value("LoadState"),
            active: value("ActiveState"),
            result: value("Result"),
        }
    };
    blocks.map(unit).collect()
}

/// The first thing that has to be done.
fn words(units: &[Unit]) -> String {
    let those = |is: &dyn Fn(&Unit) -> bool| -> Vec<&Unit> { units.iter().filter(|unit| is(unit)).collect() };
    let names = |units: &[&Unit]| units.iter().map(|unit| unit.name.as_str()).collect::<Vec<_>>().join(" ");
    let missing = those(&|unit| unit.load == "not-found");
    if !missing.is_empty() {
        return format!(
            "{} not there: install the package that has countersignd anew",
            are(&names(&missing))
        );
    }
    let masked = those(&|unit| unit.load == "masked");
    if !masked.is_empty() {
        let names = names(&masked);
        return format!("{} masked: systemctl unmask {names}; then {}", are(&names), start());
    }
    if let Some(faulty) = units.iter().find(|unit| unit.load != "loaded") {
        return format!("{} is not taken ({}): systemctl status {0}", faulty.name, faulty.load);
    }
    if let Some(failed) = units.iter().find(|unit| unit.active == "failed") {
        let log =
            if failed.name == SERVICE { LOG.to_owned() } else { format!("systemctl status {}", failed.name) };
        return format!("{} has failed ({}): {log} says why; then {}", failed.name, failed.result, start());
    }
    let sockets = those(&|unit| unit.name != SERVICE && unit.active != "active");
    if !sockets.is_empty() {
        return format!("{} not active: {}", are(&names(&sockets)), start());
    }
    if let Some(service) = units.iter().find(|unit| unit.name == SERVICE && unit.active == "activating") {
        return format!("{} begins again and again, or has not got far yet: {LOG}", service.name);
    }
    format!("systemctl restart {} {SERVICE}", SOCKETS.join(" "))
}

fn are(names: &str) -> String {
    format!("{names} {}", if names.contains(' ') { "are" } else { "is" })
}

fn start() -> String {
    format!("systemctl start {} {SERVICE}", SOCKETS.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: [&str; 3] = ["loaded active success"; 3];

    fn said(states: [&str; 3]) -> String {
        let names = [SERVICE, SOCKETS[0], SOCKETS[1]];
        let blocks: Vec<String> = names
            .iter()
            .zip(states)
            .map(|(name, state)| {
                let mut words = state.split(' ');
                let mut word = || words.next().unwrap();
                format!("Result={2}\nId={name}\nLoadState={0}\nActiveState={1}\n", word(), word(), word())
            })
            .collect();
        words(&read(&blocks.join("\n")))
    }

    #[test]
    fn each_cause_has_its_next_step() {
        let well = "loaded active success";
        let stopped = "loaded inactive success";
        for (states, expected) in [
            (["not-found inactive success", well, well], "countersignd.service is not there: install"),
            (
                ["masked inactive success", well, well],
                "countersignd.service is masked: systemctl unmask countersignd.service; then systemctl start ",
            ),
            (
                [stopped, "masked inactive success", "masked inactive success"],
                "countersignd-pam.socket countersignd-self.socket are masked: systemctl unmask countersignd-pam.socket countersignd-self.socket; then ",
            ),
            (
                ["bad-setting inactive success", well, well],
                "countersignd.service is not taken (bad-setting): systemctl status countersignd.service",
            ),
            (
                ["loaded failed exit-code", well, well],
                "countersignd.service has failed (exit-code): journalctl -u countersignd -n 20 says why; then systemctl start countersignd-pam.socket",
            ),
            (
                [stopped, "loaded failed resources", well],
                "countersignd-pam.socket has failed (resources): systemctl status countersignd-pam.socket says why",
            ),
            (
                [stopped, stopped, stopped],
                "countersignd-pam.socket countersignd-self.socket are not active: systemctl start countersignd-pam.socket countersignd-self.socket countersignd.service",
            ),
            (["loaded activating exit-code", well, well], "countersignd.service begins again and again"),
            (WELL, "systemctl restart countersignd-pam.socket countersignd-self.socket countersignd.service"),
        ] {
            let said = said(states);
            assert!(said.starts_with(expected), "{states:?}: {said}");
            assert_eq!(said.lines().count(), 1);
        }
    }

    #[test]
    fn what_is_not_said_is_not_taken_for_well() {
        let unit = &read("Id=countersignd.service\nLoadState=loa\x1bded\n")[0];
        assert!(!unit.is_well() && !unit.load.contains('\x1b'), "{unit:?}");
        assert_eq!(unit.active, "unknown");
        assert_eq!(read("\n\n"), []);
    }
}
