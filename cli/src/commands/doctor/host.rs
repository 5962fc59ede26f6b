//! The host around PAM: daemon, server, break-glass, clock, units, files.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use countersign_files::{Owner, read_trusted};
use countersign_pam_stack::Stage;
use countersign_pam_stack::examine::{BREAK_GLASS, Finding, Severity};
use countersign_policy::Rule;
use nix::unistd::{Group, User};

use super::ssh::TYPING;
use super::{Known, counted, not_seen, program};

/// Where the administrator's files are.
const SETTINGS: &str = "/etc/countersign";
/// Where the daemon's are.
const STATE: &str = "/var/lib/countersign";
/// Units that have to start with the machine.
const UNITS: [&str; 3] = ["countersignd-pam.socket", "countersignd-self.socket", "countersignd.service"];
/// Most members of the break-glass group that are named.
const MAX_NAMED: usize = 20;
/// What logs in at consoles, its settings, the most that is read of them, and its limit in seconds where they say none.
const CONSOLE: &str = "login";
const LOGIN_DEFS: &str = "/etc/login.defs";
const MAX_LOGIN_DEFS: usize = 256 * 1024;
const LOGIN_TIMEOUT: u64 = 60;
/// Where it is said whether an account's password is locked.
const SHADOW: &str = "/etc/shadow";

pub(super) fn look(known: &Known<'_>, run: &Path, found: &mut Vec<Finding>, notes: &mut Vec<String>) {
    daemon(known, found);
    break_glass(found, notes);
    notes.extend(console(known));
    sockets(known, run, found);
    files(found);
    if Path::new("/run/systemd/system").is_dir() {
        units(found);
        clock(found);
    } else {
        found.push(not_seen("units and clock", "systemd does not run here"));
    }
}

fn daemon(known: &Known<'_>, found: &mut Vec<Finding>) {
    let Some(status) = &known.status else { return };
    let lock_out = |kind, text, next: &str| Finding::new(Severity::WouldLockOut, kind, text, next);
    if let Some(fault) = status.config_faults.first().filter(|_| known.config.is_some()) {
        let line = fault.lines().next().unwrap_or_default();
        let text = format!("the daemon has not taken the policy that is there now: {line}");
        found.push(lock_out("reload", text, "systemctl reload countersignd"));
    }
    if status.config_changed && status.config_faults.is_empty() {
        let text = "the daemon goes by the policy of before: its files have changed since it read them";
        found.push(lock_out("not-in-force", text.to_owned(), "systemctl reload countersignd"));
    }
    if let Some(fault) = status.approver_faults.first() {
        let text = format!("a file of approvers or revoked keys is not taken: {fault}");
        found.push(lock_out("approvers", text, "correct it; countersign status lists all faults"));
    }
    if !status.server.is_empty() && !status.connected {
        let why = status.trouble.as_deref().unwrap_or("no reason is known yet");
        let text = format!("the server cannot be reached, and phones do not ring: {why}");
        found.push(lock_out("server", text, "countersign status, and look at the server"));
    }
    if status.devices == 0 {
        let text = "nobody has a device: whoever is asked is refused".to_owned();
        found.push(lock_out("no-devices", text, "countersign pair USER"));
    }
}

/// What `login` leaves of the time that the policy gives.
fn console(known: &Known<'_>) -> Option<String> {
    let config = known.config.as_ref().filter(|_| known.asks_in(CONSOLE, Stage::Auth))?;
    let is_its = |rule: &&Rule| rule.when.service.as_ref().is_none_or(|names| names.match_name(CONSOLE));
    let rules = config.rules.iter().filter(is_its).chain([&config.default]);
    let wait = rules.map(|rule| rule.wait_for(CONSOLE).as_secs()).max()?;
    let limit =
        login_timeout(&read_trusted(Path::new(LOGIN_DEFS), Owner::own(), MAX_LOGIN_DEFS).unwrap_or_default());
    (limit != 0 && limit < wait + TYPING).then(|| {
        format!(
            "login ends {limit} s after a name was typed, though the policy waits {wait} s for the phone (LOGIN_TIMEOUT in {LOGIN_DEFS})"
        )
    })
}

/// Seconds; 0 is no limit.
fn login_timeout(text: &str) -> u64 {
    let mut words = text.lines().map(str::split_ascii_whitespace);
    let found = words
        .find_map(|mut line| (line.next() == Some("LOGIN_TIMEOUT")).then(|| line.next()?.parse().ok())?);
    found.unwrap_or(LOGIN_TIMEOUT)
}

/// Who is in the group, and who of them can log in; nothing: there is no such group.
type Members = Option<(Vec<String>, bool)>;

fn members() -> nix::Result<Members> {
    let Some(group) = Group::from_name(BREAK_GLASS)? else { return Ok(None) };
    let primary = accounts().into_iter().filter(|account| account.gid == group.gid.as_raw());
    let mut members: Vec<String> = group.mem.into_iter().chain(primary.map(|account| account.name)).collect();
    members.sort();
    members.dedup();
    let shadow = std::fs::read_to_string(SHADOW).ok();
    let can = |name: &String| {
        matches!(User::from_name(name), Ok(Some(_)))
            && shadow.as_deref().is_none_or(|shadow| has_password(shadow, name))
    };
    let is_any = members.iter().any(can);
    Ok(Some((members, is_any)))
}

/// The group exists and somebody is in it who can log in.
fn break_glass(found: &mut Vec<Finding>, notes: &mut Vec<String>) {
    let seen = match program::in_time(members) {
        None => return found.push(not_seen("the break-glass group", "accounts do not answer in time")),
        Some(Err(error)) => return found.push(not_seen("the break-glass group", error.to_string())),
        Some(Ok(seen)) => seen,
    };
    if let Some((members, _)) = seen.as_ref().filter(|(members, _)| !members.is_empty()) {
        let more = members.len().checked_sub(MAX_NAMED).filter(|more| *more > 0);
        notes.push(format!(
            "never asked, as members of {BREAK_GLASS}: {}{}.",
            members.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", "),
            more.map(|more| format!(" and {more} more")).unwrap_or_default()
        ));
    }
    let why = match seen {
        Some((_, true)) => return,
        None => format!("there is no group {BREAK_GLASS}"),
        Some((members, false)) if members.is_empty() => format!("nobody is in the group {BREAK_GLASS}"),
        Some(_) => format!("nobody in the group {BREAK_GLASS} has a password to log in with"),
    };
    let text =
        format!("{why}: when daemon and policy fail, nobody gets in but by a console that is not asked");
    let next = format!(
        "groupadd --system {BREAK_GLASS}, then put an account with a long password, kept in a safe, into it: adduser ACCOUNT {BREAK_GLASS}"
    );
    found.push(Finding::new(Severity::WouldLockOut, "break-glass-group", text, next));
}

/// Whether an account has a password that is not locked; yes where that is not written here.
pub(super) fn has_password(shadow: &str, name: &str) -> bool {
    let mut lines = shadow.lines().filter_map(|line| line.split_once(':'));
    match lines.find(|(account, _)| *account == name) {
        Some((_, rest)) => {
            let hash = rest.split(':').next().unwrap_or_default();
            !hash.is_empty() && !hash.starts_with(['!', '*'])
        }
        None => true,
    }
}

/// One account of the host's own file.
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
    pub(super) shell: String,
}

/// Most accounts that are looked at.
const MAX_ACCOUNTS: usize = 20_000;

/// Those of /etc/passwd; a directory's are not listed.
pub(super) fn accounts() -> Vec<Account> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let read = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, shell] = fields[..] else { return None };
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        Some(Account { name: name.to_owned(), uid, gid, home: home.to_owned(), shell: shell.to_owned() })
    };
    text.lines().take(MAX_ACCOUNTS).filter_map(read).collect()
}

fn sockets(known: &Known<'_>, run: &Path, found: &mut Vec<Finding>) {
    for (name, mode) in [("pam.sock", 0o600), ("self.sock", 0o666)] {
        let path = run.join(name);
        let Ok(data) = std::fs::symlink_metadata(&path) else {
            if known.status.is_none() {
                // It was said that the daemon does not answer.
                continue;
            }
            let text = "the daemon's socket is not there: whoever is asked is refused";
            let next = "systemctl enable --now countersignd-pam.socket countersignd-self.socket";
            found.push(Finding::new(Severity::WouldLockOut, "socket", text, next).in_file(path.display()));
            continue;
        };
        let own = data.mode() & 0o777;
        if !data.file_type().is_socket() || data.uid() != 0 || own & !mode != 0 {
            let text = format!(
                "the daemon's socket should be root's with mode {mode:04o}, and is user {}'s with {own:04o}",
                data.uid()
            );
            let next = "systemctl restart countersignd-pam.socket countersignd-self.socket";
            found.push(Finding::new(Severity::WouldOpen, "socket-mode", text, next).in_file(path.display()));
        }
    }
}

fn files(found: &mut Vec<Finding>) {
    let mut checked =
        |path: &str, is_bad: fn(u32, u32) -> bool, text: &str, next: &str| match std::fs::symlink_metadata(
            path,
        ) {
            Ok(data) if is_bad(data.uid(), data.mode() & 0o7777) => {
                let text = format!("{text} (user {}, mode {:04o})", data.uid(), data.mode() & 0o7777);
                found.push(Finding::new(Severity::WouldOpen, "file-mode", text, next).in_file(path));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => found.push(not_seen(path, error.to_string())),
        };
    for name in ["", "/countersign.toml", "/countersign.toml.d", "/approvers", "/revoked", "/enabled"] {
        checked(
            &format!("{SETTINGS}{name}"),
            |uid, mode| uid != 0 || mode & 0o022 != 0,
            "others than root can change it",
            &format!("chown root {SETTINGS}{name}; chmod go-w {SETTINGS}{name}"),
        );
    }
    checked(
        STATE,
        |_, mode| mode & 0o077 != 0,
        "others can look at the daemon's keys",
        &format!("chmod 700 {STATE}"),
    );
    for name in ["host_key", "approvers", "devices.json"] {
        let path = format!("{STATE}/{name}");
        checked(
            &path,
            |_, mode| mode & 0o077 != 0,
            "others can read or change it",
            &format!("chmod 600 {path}"),
        );
    }
}

fn units(found: &mut Vec<Finding>) {
    let missing: Vec<&str> = UNITS
        .into_iter()
        .filter(|unit| {
            !matches!(
                program::output("systemctl", &["is-enabled", unit]).as_deref().map(str::trim),
                Ok("enabled" | "static" | "indirect" | "alias" | "enabled-runtime")
            )
        })
        .collect();
    if !missing.is_empty() {
        let text = format!(
            "{} not start with the machine: {}",
            if missing.len() == 1 { "a unit does" } else { "units do" },
            missing.join(", ")
        );
        let next = format!("systemctl enable --now {}", missing.join(" "));
        found.push(Finding::new(Severity::WouldLockOut, "units", text, next));
    }
}

fn clock(found: &mut Vec<Finding>) {
    match program::output("timedatectl", &["show", "-p", "NTPSynchronized", "--value"]) {
        Ok(text) if text.trim() == "no" => {
            let text = "the clock is not synchronised: an authenticator's codes and leases fail when it is minutes off";
            found.push(Finding::new(
                Severity::Advice,
                "clock",
                text,
                "timedatectl set-ntp true, or install chrony",
            ));
        }
        Ok(_) => {}
        Err(why) => found.push(not_seen("whether the clock is right", why)),
    }
}

/// "3 accounts".
pub(super) fn accounts_counted(number: usize) -> String {
    counted(number, "account")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_has_a_limit_of_its_own() {
        assert_eq!(login_timeout("# LOGIN_TIMEOUT 5\nUMASK\t022\nLOGIN_TIMEOUT\t\t90\n"), 90);
        assert_eq!(login_timeout("LOGIN_TIMEOUT 0\n"), 0);
        for said in ["", "LOGIN_TIMEOUT", "LOGIN_TIMEOUT soon", "LOGIN_TIMEOUTS 5"] {
            assert_eq!(login_timeout(said), LOGIN_TIMEOUT, "{said}");
        }
    }

    #[test]
    fn a_locked_password_is_none() {
        let shadow = "a:$y$x:1::\nb:!$y$x:1::\nc:*:1::\nd::1::\n";
        let has: Vec<bool> = ["a", "b", "c", "d", "elsewhere"].map(|name| has_password(shadow, name)).into();
        assert_eq!(has, [true, false, false, false, true]);
    }
}
