//! Whether this process is in a login that began after a change.
//!
//! The session's number does not say so: sudo makes a new one in the old shell, and so does whoever detaches. So the chain
//! of parents is looked at. From this process upwards until the first one that is older than the change, one has to be a login
//! program (sshd's process for this connection, login, a greeter's helper) that runs as root: that is a login that somebody has
//! come through since. A window of an old tmux, a second channel of an old ssh connection, `sudo -i` and what was detached have none.
//! What systemd-logind and the kernel's audit know of the session has to agree, where they know anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::moment::Moment;
use super::program;
use super::record::Record;
use crate::output::{Exit, Failure, Outcome};

/// Programs that let people in. Each of them has a process for one login alone.
const LOGIN_PROGRAMS: [&str; 18] = [
    "dropbear",
    "gdm-session-worker",
    "greetd",
    "in.rlogind",
    "in.telnetd",
    "lightdm",
    "login",
    "lxdm-binary",
    "plasmalogin-helper",
    "sddm-helper",
    "sshd",
    "sshd-session",
    "telnetd",
    "wdm",
    "xdm",
    "xrdp-sesexec",
    "xrdp-sesman",
    "xrdp-sessvc",
];
/// It runs on in the process of the terminal's getty, which may have begun long before.
const LOGIN: &str = "login";
/// Deepest chain of parents that is looked at.
const DEEPEST: usize = 128;
/// The kernel's word for no session.
const UNSET: u32 = u32::MAX;
/// Clock ticks a second in /proc, on every architecture.
const TICKS: u64 = 100;
/// Longest time for loginctl.
const LOGINCTL: Duration = Duration::from_secs(10);
/// What helps in all cases.
const NEXT: &str = "log in anew from a second terminal (with ssh: ssh -S none -t HOST; not in tmux or a desktop's terminal), and run \
                    \"sudo countersign confirm\" there";

/// A process, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    parent: u32,
    /// Milliseconds since the boot.
    began: u64,
    /// What it runs; empty when that cannot be seen.
    program: String,
    is_roots: bool,
}

/// The number of this session for the kernel's audit.
pub(super) fn audit_session() -> Option<u32> {
    fs::read_to_string("/proc/self/sessionid").ok()?.trim().parse().ok().filter(|id| *id != UNSET)
}

/// # Errors
/// Why this login is not newer than the change.
pub(super) fn is_new(record: &Record) -> Outcome {
    let refused = |why: &str| Err(Failure::new(Exit::Refused, format!("{why}: {NEXT}")));
    let Some(finished) = record.finished else {
        return refused("the change was broken off; countersign rollback takes it back");
    };
    if record.audit_session.is_some() && record.audit_session == audit_session() {
        return refused("this is the login in which countersign enable was run, and it shows nothing");
    }
    if let Some(id) = logind_session()
        && logind_began(&id).ok().flatten().is_some_and(|began| began < finished.awake)
    {
        return refused("this login began before the change, and shows nothing");
    }
    match came_in_since(&chain(), finished) {
        true => Ok(()),
        false => refused("this shell belongs to no login that began after the change, and shows nothing"),
    }
}

/// Whether somebody has come through a login program since. The chain begins with this process.
fn came_in_since(chain: &[Process], finished: Moment) -> bool {
    // The start of a process is told in hundredths of a second, rounded down.
    let is_newer = |process: &Process| process.began >= finished.since_boot;
    let new = chain.iter().take_while(|process| is_newer(process)).count();
    let is_login = |process: &Process| process.is_roots && LOGIN_PROGRAMS.contains(&process.program.as_str());
    let between = chain.iter().take(new).skip(1).any(is_login);
    let first_old = chain.get(new);
    between || new > 0 && first_old.is_some_and(|old| is_login(old) && old.program == LOGIN)
}

/// This process and its parents, as far as they can be seen.
fn chain() -> Vec<Process> {
    let mut found = Vec::new();
    let mut id = std::process::id();
    while id > 0 && found.len() < DEEPEST {
        let Some(process) = process(id) else { break };
        id = process.parent;
        found.push(process);
    }
    found
}

fn process(id: u32) -> Option<Process> {
    let folder = Path::new("/proc").join(id.to_string());
    let (parent, began) = stat(&fs::read_to_string(folder.join("stat")).ok()?)?;
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let program = fs::read_link(folder.join("exe")).ok();
    let program =
        program.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    Some(Process {
        parent,
        began,
        // A program that was upgraded while it runs.
        program: program.unwrap_or_default().trim_end_matches(" (deleted)").to_owned(),
        is_roots: uids.split_ascii_whitespace().all(|uid| uid == "0"),
    })
}

/// Parent and start out of /proc/PID/stat. The name in it may hold anything, so it is read from behind.
fn stat(text: &str) -> Option<(u32, u64)> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let began: u64 = fields.get(19)?.parse().ok()?;
    Some((fields.get(1)?.parse().ok()?, began.saturating_mul(1000 / TICKS)))
}

/// The session of systemd-logind that this process is in.
fn logind_session() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().find_map(session_in)
}

fn session_in(line: &str) -> Option<String> {
    line.split('/').find_map(|part| {
        let id = part.strip_prefix("session-")?.strip_suffix(".scope")?;
        let is_one = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_one.then(|| id.to_owned())
    })
}

/// When it began, in milliseconds awake since the boot; `None` when logind does not know it.
fn logind_began(id: &str) -> Outcome<Option<u64>> {
    let shown = program::run("loginctl", &["show-session", id, "--property=TimestampMonotonic"], LOGINCTL)?;
    let values: BTreeMap<&str, &str> = shown.out.lines().filter_map(|line| line.split_once('=')).collect();
    let micros = values.get("TimestampMonotonic").and_then(|value| value.trim().parse::<u64>().ok());
    Ok(micros.filter(|_| shown.is_success).map(|micros| micros / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: u64 = 1_000_000;

    fn at(began: u64, program: &str, is_roots: bool) -> Process {
        Process { parent: 1, began, program: program.to_owned(), is_roots }
    }

    /// Countersign itself first.
    fn is_new(parents: &[(&str, i64, bool)]) -> bool {
        let mut chain = vec![at(CHANGE + 9, "countersign", true)];
        let process = |(program, after, is_roots): &(&str, i64, bool)| {
            at(CHANGE.saturating_add_signed(*after), program, *is_roots)
        };
        chain.extend(parents.iter().map(process));
        came_in_since(&chain, Moment { since_boot: CHANGE, awake: CHANGE, unix: 0 })
    }

    #[test]
    fn a_login_after_the_change_counts() {
        let systemd = ("systemd", -9000, true);
        let sudo = [("sudo", 8, true), ("sudo", 7, true), ("bash", 6, false)];
        for login in [
            // OpenSSH before 9.8, and since.
            vec![("sshd", 5, false), ("sshd", 4, true), ("sshd", -900, true), systemd],
            vec![("sshd-session", 5, false), ("sshd-session", 4, true), ("sshd", -900, true), systemd],
            // root by ssh: no process of the user's own.
            vec![("sshd-session", 4, true), ("sshd", -900, true), systemd],
            // sshd was started anew since; one a connection; a console whose getty waited since the boot; a new tmux.
            vec![("sshd", 5, false), ("sshd", 4, true), ("sshd", 2, true), systemd],
            vec![("sshd", 4, true), systemd],
            vec![("login", -900, true), systemd],
            vec![("login", 4, true), systemd],
            vec![
                ("tmux: server", 4, false),
                ("bash", 3, false),
                ("sshd", 2, true),
                ("sshd", -1, true),
                systemd,
            ],
        ] {
            assert!(is_new(&[&sudo[..], &login].concat()), "{login:?}");
        }
    }

    #[test]
    fn what_belongs_to_an_older_login_does_not_count() {
        let systemd = ("systemd", -9000, true);
        for parents in [
            // The shell that ran enable, by sudo with a terminal of its own.
            vec![("sudo", 8, true), ("sudo", 7, true), ("bash", -6, false), ("sshd", -7, true), systemd],
            // A new window of an old tmux, of root's too; screen.
            vec![("bash", 8, false), ("tmux", -6, false), systemd],
            vec![("bash", 8, true), ("tmux", -6, true), systemd],
            // A new channel of an old ssh connection, a user's and root's.
            vec![("bash", 8, false), ("sshd", -6, false), ("sshd", -7, true), systemd],
            vec![("bash", 8, true), ("sshd-session", -6, true), ("sshd", -7, true), systemd],
            // Detached, or started by systemd or cron.
            vec![systemd],
            vec![("sh", 8, true), systemd],
            vec![("sh", 8, true), ("cron", -6, true), systemd],
            // Somebody's own program of that name.
            vec![("sshd", 8, false), ("bash", -6, false), systemd],
            // A console that was logged in to before.
            vec![("bash", -6, false), ("login", -7, true), systemd],
            vec![],
        ] {
            assert!(!is_new(&parents), "{parents:?}");
        }
        // Being called like one is not enough.
        assert!(!came_in_since(
            &[at(CHANGE + 9, "login", true), at(0, "bash", true)],
            Moment { since_boot: CHANGE, awake: CHANGE, unix: 0 }
        ));
    }

    #[test]
    fn proc_is_read_whatever_a_program_is_called() {
        let rest = "S 77 1 1 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 1 0 12345 1000 10";
        assert_eq!(stat(&format!("5 (a) b) ) {rest}")), Some((77, 123_450)));
        assert_eq!(stat("5 (a"), None);
        let own = process(std::process::id()).unwrap();
        assert!(own.began > 0 && !own.program.is_empty());
        assert!(chain().len() > 1);
    }

    #[test]
    fn logind_names_its_sessions_in_the_control_group() {
        let line = "0::/user.slice/user-1000.slice/session-12.scope";
        assert_eq!(session_in(line).as_deref(), Some("12"));
        for other in
            ["0::/user.slice/user-1000.slice/user@1000.service/app.slice", "0::/session-.scope", "0::/"]
        {
            assert_eq!(session_in(other), None);
        }
    }
}
