//! sshd's own settings: what Countersign needs of them, as a file of its own beside the others.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::guard::{Guard, kind};
use super::places::Places;
use super::record::Edit;
use super::{files, program};
use crate::output::{Exit, Failure, Outcome};

/// First line of the file that is ours.
const HEAD: &str = "# countersign: written by countersign enable sshd, removed by countersign disable sshd.";
/// What has to hold: without PAM nobody is asked, and only this method can show a prompt.
const NEEDED: [&str; 2] = ["UsePAM", PROMPT];
const PROMPT: &str = "KbdInteractiveAuthentication";
/// Where it is: not in everybody's path.
const PROGRAMS: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
/// What systemd calls it: Debian, others.
const UNITS: [&str; 2] = ["ssh.service", "sshd.service"];
/// Longest time for one of its programs.
const WITHIN: Duration = Duration::from_secs(15);

/// What there is to write, so that the settings hold; `None`: they do, or there is no sshd.
pub(super) fn edit(places: &Places) -> Outcome<Option<Edit>> {
    let Some(missing) = missing(places)?.filter(|missing| !missing.is_empty()) else { return Ok(None) };
    let path = places.drop_in();
    let old = files::read(&path)?;
    if old.as_deref().is_some_and(|old| !is_ours(old)) {
        let text = format!(
            "{} is there and not by countersign enable: write {} there yourself",
            path.display(),
            listed(&missing)
        );
        return Err(Failure::new(Exit::Refused, text));
    }
    if !path.parent().is_some_and(Path::is_dir) {
        return Err(by_hand(places, &missing, "this sshd has no folder for further settings"));
    }
    let lines: String = NEEDED
        .iter()
        .filter(|name| missing.contains(*name) || missing.contains(&PROMPT))
        .map(|name| format!("{name} yes\n"))
        .collect();
    let new = format!("{HEAD}\n{lines}").into_bytes();
    if old.as_ref() == Some(&new) {
        return Err(by_hand(places, &missing, "another setting wins over the one in its own file"));
    }
    Ok(Some(Edit { path, old, new, mode: files::PRIVATE }))
}

/// # Errors
/// Where the settings that are on the disk now do not hold, or sshd would not start with them.
pub(super) fn effective(places: &Places) -> Outcome {
    match missing(places)? {
        Some(missing) if !missing.is_empty() => Err(by_hand(
            places,
            &missing,
            "sshd does not take what stands in sshd_config.d, or takes something that stands before it",
        )),
        _ => Ok(()),
    }
}

fn by_hand(places: &Places, missing: &[&str], why: &str) -> Failure {
    let path = places.sshd_config();
    let text = format!(
        "{why}: write {} near the top of {}, above every line that says otherwise (the first one counts), then try again",
        listed(missing),
        path.display()
    );
    Failure::new(Exit::Refused, text)
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name} yes\"")).collect::<Vec<_>>().join(" and ")
}

/// Which settings do not hold; `None`: there is no sshd.
fn missing(places: &Places) -> Outcome<Option<Vec<&'static str>>> {
    let Some(sshd) = PROGRAMS.iter().find(|path| Path::new(path).exists()) else { return Ok(None) };
    let config = places.sshd_config();
    if !config.exists() {
        return Ok(None);
    }
    // It wants its folder, which a boot makes, and refuses to say anything without.
    let _ = fs::DirBuilder::new().mode(0o755).create("/run/sshd");
    let shown = program::run(sshd, &["-T", "-f", &config.to_string_lossy()], WITHIN)?;
    if !shown.is_success {
        let text = format!(
            "sshd does not take its settings as they are ({}): mend {}",
            shown.said,
            config.display()
        );
        return Err(Failure::new(Exit::Broken, text));
    }
    let has = |name: &str, value: &str| {
        shown.out.lines().any(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next().is_some_and(|word| word.eq_ignore_ascii_case(name)) && words.next() == Some(value)
        })
    };
    let service = shown
        .out
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| name.eq_ignore_ascii_case("pamservicename"));
    if let Some((_, service)) = service.filter(|(_, service)| service.trim() != "sshd") {
        let text = format!(
            "sshd uses the PAM service {service} and not sshd: take PAMServiceName out of {}, or ask in that service by hand",
            config.display()
        );
        return Err(Failure::new(Exit::Refused, text));
    }
    // Where only keys are taken a prompt would let passwords in: there the session stage asks.
    let keys_alone = has("PasswordAuthentication", "no") && has("KbdInteractiveAuthentication", "no");
    let needed = NEEDED.into_iter().filter(|name| !(keys_alone && *name == PROMPT));
    Ok(Some(needed.filter(|name| !has(name, "yes")).collect()))
}

/// Whether a file is as `enable` wrote it.
pub(super) fn is_ours(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    lines.next() == Some(HEAD) && lines.all(|line| NEEDED.iter().any(|name| line == format!("{name} yes")))
}

/// Takes our file away, unless somebody has edited it; says whether.
pub(super) fn take_drop_in(places: &Places) -> Outcome<bool> {
    let path = places.drop_in();
    match files::read(&path)? {
        Some(bytes) if is_ours(&bytes) => {
            files::remove(&path).map(|()| true).map_err(|error| Failure::broken(path.display(), error))
        }
        _ => Ok(false),
    }
}

/// Tells a running sshd to read its settings again. Logins that are open stay.
pub(super) fn reload(places: &Places) -> Outcome {
    if kind() == Guard::Process {
        return hang_up(places);
    }
    for unit in UNITS {
        if program::run("systemctl", &["is-active", "--quiet", unit], WITHIN)?.is_success {
            let done = program::run("systemctl", &["reload", unit], WITHIN)?;
            if !done.is_success {
                return Err(Failure::new(Exit::Broken, format!("systemctl reload {unit}: {}", done.said)));
            }
            return Ok(());
        }
    }
    Ok(())
}

/// Without systemd: the process that its own file names, if that is an sshd of root's.
fn hang_up(places: &Places) -> Outcome {
    let Some(sshd) = PROGRAMS.iter().find(|path| Path::new(path).exists()) else { return Ok(()) };
    let config = places.sshd_config();
    let shown = program::run(sshd, &["-T", "-f", &config.to_string_lossy()], WITHIN)?;
    let file = shown.out.lines().find_map(|line| line.strip_prefix("pidfile ")).unwrap_or("/run/sshd.pid");
    let Some(id) = fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i32>().ok()) else {
        return Ok(());
    };
    let program = fs::read_link(PathBuf::from(format!("/proc/{id}/exe"))).ok();
    let is_sshd = program
        .as_deref()
        .and_then(Path::file_name)
        .is_some_and(|name| name.to_string_lossy().trim_end_matches(" (deleted)") == "sshd");
    if is_sshd && id > 1 {
        kill(Pid::from_raw(id), Signal::SIGHUP).map_err(|error| Failure::broken("sshd", error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_is_as_it_was_written_is_ours() {
        let ours = format!("{HEAD}\nUsePAM yes\nKbdInteractiveAuthentication yes\n");
        assert!(is_ours(ours.as_bytes()));
        for other in
            ["", "UsePAM yes\n", &format!("{ours}Port 2222\n"), &ours.replace("UsePAM yes", "UsePAM no")]
        {
            assert!(!is_ours(other.as_bytes()), "{other}");
        }
    }
}
