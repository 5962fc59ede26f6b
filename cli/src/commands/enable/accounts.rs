//! Who logs in here and could not any more: seen within the last months, without a device, and let in by no rule.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use countersign_files::{Links, open_regular};
use countersign_policy::{Config, Membership, Rule, Situation, Then, Unenrolled};
use countersign_protocol::login::Stage;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::unistd::{Gid, Group, User, getgrouplist, gethostname};
use serde::{Deserialize, Serialize};

use super::{program, wtmp};
use crate::output::{Failure, Outcome};

/// How far back is looked.
const DAYS: u64 = 90;
/// logind's message of a new session.
const NEW_SESSION: &str = "MESSAGE_ID=8d45620c1a4348dbb17410da57c60c66";
/// Longest time for the journal.
const JOURNAL: Duration = Duration::from_secs(30);
/// Whoever is in it is not asked.
pub(super) const BREAK_GLASS: &str = "countersign-breakglass";
/// As much of the passwords' file is read; root stands at its head.
const MAX_SHADOW: u64 = 1024 * 1024;
/// The first number that is a person's, by the usual division.
const FIRST_PERSON: u32 = 1000;

/// What asks root nothing; for root's password it is the phone of who types it.
const ROOT_UNASKED: [&str; 3] = ["sudo", "sudo-i", "polkit-1"];

/// Somebody who could not log in any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LockedOut {
    pub(super) user: String,
    /// To which services.
    pub(super) services: Vec<String>,
}

/// Who logged in, and where that could not be looked up.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) users: BTreeSet<String>,
    pub(super) unread: Vec<String>,
}

/// Who logged in lately.
pub(super) fn seen() -> Seen {
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
    let (mut users, mut unread) = wtmp::users(Path::new("/var/log"), now.saturating_sub(DAYS * 24 * 3600));
    if Path::new("/usr/bin/journalctl").exists() {
        let since = format!("--since=-{DAYS}d");
        let arguments =
            ["--quiet", "--no-pager", "--output=json", "--output-fields=USER_ID", &since, NEW_SESSION];
        match program::run("journalctl", &arguments, JOURNAL) {
            Ok(ended) if ended.is_success || ended.out.is_empty() && ended.said.is_empty() => {
                users.extend(ended.out.lines().filter_map(session));
            }
            _ => unread.push("the journal".to_owned()),
        }
    }
    Seen { users, unread }
}

#[derive(Deserialize)]
struct NewSession {
    #[serde(rename = "USER_ID")]
    user: String,
}

fn session(line: &str) -> Option<String> {
    serde_json::from_str::<NewSession>(line).ok().map(|one| one.user)
}

/// Those of them who could not log in to these services any more. `paired` have a device.
///
/// # Errors
/// When the name service fails.
pub(super) fn locked_out(
    seen: &BTreeSet<String>,
    paired: &BTreeSet<String>,
    config: &Config,
    services: &[String],
) -> Outcome<Vec<LockedOut>> {
    let host = host(config)?;
    let mut found: BTreeMap<String, LockedOut> = BTreeMap::new();
    for name in seen {
        let Some(user) = User::from_name(name).map_err(fault)? else { continue };
        let groups = groups(&user)?;
        // By the name of the account, not as somebody typed it.
        if paired.contains(&user.name) || is_servant(&user) || is_in(BREAK_GLASS, &groups)? {
            continue;
        }
        let membership = membership(config, &groups)?;
        let is_out = |service: &&String| {
            if user.uid.is_root() && ROOT_UNASKED.contains(&service.as_str()) {
                return false;
            }
            let stages = if *service == "sshd" { &[Stage::Auth, Stage::Session][..] } else { &[Stage::Auth] };
            !stages.iter().all(|stage| {
                is_provided_for(config, &situation(&host, &user.name, (service, *stage), membership.clone()))
            })
        };
        let services: Vec<String> = services.iter().filter(is_out).cloned().collect();
        if !services.is_empty() {
            found.insert(user.name.clone(), LockedOut { user: user.name, services });
        }
    }
    Ok(found.into_values().collect())
}

/// Why nobody comes in past us in an emergency, where that is so.
pub(super) fn break_glass() -> Outcome<Option<String>> {
    let known = Group::from_name(BREAK_GLASS).map_err(fault)?;
    Ok(match known {
        None => Some(format!(
            "there is no group {BREAK_GLASS} yet: groupadd --system {BREAK_GLASS}, and put an account into it"
        )),
        Some(group) if group.mem.is_empty() => Some(format!(
            "nobody is in the group {BREAK_GLASS}, for the night without server and phone: gpasswd --add USER {BREAK_GLASS}"
        )),
        Some(_) => None,
    })
}

/// Why nobody could become root any more while the server, the daemon or the phones are away, where that is so: `sudo` or `su` asks
/// for everybody, and root has no password for the console.
///
/// # Errors
/// When the name service fails.
pub(super) fn no_way_to_root(services: &[String], shadow: &Path) -> Outcome<Option<String>> {
    let gives_root = services.iter().any(|name| matches!(name.as_str(), "sudo" | "su"));
    let has_member =
        || Ok(Group::from_name(BREAK_GLASS).map_err(fault)?.is_some_and(|group| !group.mem.is_empty()));
    if !gives_root || root_has_password(shadow) || has_member()? {
        return Ok(None);
    }
    Ok(Some(format!(
        "root has no password, and nobody is in the group {BREAK_GLASS}: without the server, the daemon or a phone nobody \
         could become root. Then: gpasswd --add USER {BREAK_GLASS}"
    )))
}

/// Whether root can log in to the console. Not, where that cannot be read.
fn root_has_password(shadow: &Path) -> bool {
    let Ok(file) = open_regular(shadow, Links::Refused, OpenOptions::new().read(true)) else { return false };
    let lines = BufReader::new(file.take(MAX_SHADOW)).lines().map_while(Result::ok);
    let password =
        lines.filter_map(|line| line.strip_prefix("root:")?.split(':').next().map(str::to_owned)).next();
    password.is_some_and(|hash| !hash.is_empty() && !hash.starts_with(['!', '*']))
}

/// The name of the rule that decides about a login of this account, as far as that is known beforehand.
pub(super) fn rule_for(config: &Config, user: &str, service: &str) -> Outcome<String> {
    let account = User::from_name(user).map_err(fault)?;
    let groups = account.as_ref().map(groups).transpose()?.unwrap_or_default();
    let (host, membership) = (host(config)?, membership(config, &groups)?);
    Ok(config.rule_for(&situation(&host, user, (service, Stage::Auth), membership)).name.clone())
}

fn host(config: &Config) -> Outcome<String> {
    match &config.host_name {
        Some(name) => Ok(name.clone()),
        None => {
            let name = gethostname().map_err(|error| Failure::broken("this host's name", error))?;
            Ok(name.to_string_lossy().into_owned())
        }
    }
}

fn membership(config: &Config, groups: &[Gid]) -> Outcome<Membership> {
    let mut named = HashMap::new();
    for group in config.groups() {
        if let Some(known) = Group::from_name(&group).map_err(fault)? {
            named.insert(group, known.gid.as_raw());
        }
    }
    Ok(Membership { of_user: groups.iter().map(|gid| gid.as_raw()).collect(), named })
}

/// A login of which no more is known.
fn situation<'a>(
    host: &'a str,
    user: &'a str,
    (service, stage): (&'a str, Stage),
    groups: Membership,
) -> Situation<'a> {
    Situation {
        service,
        stage,
        user,
        groups,
        requester: None,
        remote: None,
        host,
        terminal: None,
        ssh_key: None,
        command: None,
        new_source: false,
        action: None,
        origins: &[],
        now: Timestamp::now(),
        zone: TimeZone::system(),
    }
}

/// Whether the policy says something else about this account than that its phone is asked.
fn is_provided_for(config: &Config, situation: &Situation<'_>) -> bool {
    let decides = config.rule_for(situation);
    needs_no_device(decides, situation.now) || config.rules.iter().any(|rule| names(rule, situation))
}

fn needs_no_device(rule: &Rule, now: Timestamp) -> bool {
    let not_yet = match rule.unenrolled {
        Unenrolled::Deny => false,
        Unenrolled::SkipUntil(end) => i64::try_from(end).is_ok_and(|end| now.as_second() < end),
    };
    !matches!(rule.then, Then::Approve) || rule.approvals.is_some() || not_yet
}

/// Whether a rule that lets pass names the account. What else it asks for, an address or a key, is not known beforehand.
fn names(rule: &Rule, situation: &Situation<'_>) -> bool {
    let when = &rule.when;
    let is_stage = when.stage.is_none_or(|stage| stage == situation.stage);
    let is_named = is_stage && when.user.as_ref().is_some_and(|names| names.match_name(situation.user));
    let is_here = when.service.as_ref().is_none_or(|names| names.match_name(situation.service))
        && when.host.as_ref().is_none_or(|names| names.match_name(situation.host));
    is_named && is_here && needs_no_device(rule, situation.now)
}

/// An account of a program, such as a greeter's: it has sessions, and nobody logs in to it.
fn is_servant(user: &User) -> bool {
    let shell = user.shell.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let has_shell = !matches!(shell.as_str(), "nologin" | "false");
    !has_shell && !user.uid.is_root() && user.uid.as_raw() < FIRST_PERSON
}

fn groups(user: &User) -> Outcome<Vec<Gid>> {
    let Ok(name) = CString::new(user.name.as_str()) else { return Ok(Vec::new()) };
    getgrouplist(&name, user.gid).map_err(fault)
}

fn is_in(group: &str, groups: &[Gid]) -> Outcome<bool> {
    Ok(Group::from_name(group).map_err(fault)?.is_some_and(|group| groups.contains(&group.gid)))
}

fn fault(error: nix::Error) -> Failure {
    Failure::broken("the name service", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(policy: &str, paired: &[&str]) -> Vec<LockedOut> {
        let config =
            countersign_policy::read(&format!("server = \"https://push.example.com\"\n{policy}")).unwrap();
        let seen = ["root", "daemon", "no such user here"].map(str::to_owned).into();
        let paired = paired.iter().map(|name| (*name).to_owned()).collect();
        locked_out(&seen, &paired, &config, &["sshd".to_owned(), "login".to_owned()]).unwrap()
    }

    fn root(services: &[&str]) -> Vec<LockedOut> {
        let services = services.iter().map(|name| (*name).to_owned()).collect();
        vec![LockedOut { user: "root".to_owned(), services }]
    }

    #[test]
    fn what_asks_root_nothing_locks_no_root_out() {
        let config = countersign_policy::read("server = \"https://push.example.com\"\n").unwrap();
        let services = ["sudo", "sudo-i", "polkit-1", "login"].map(str::to_owned);
        let found = locked_out(&["root".to_owned()].into(), &BTreeSet::new(), &config, &services).unwrap();
        assert_eq!(found, root(&["login"]));
    }

    #[test]
    fn whoever_has_neither_a_device_nor_a_rule_is_locked_out() {
        assert_eq!(out("", &[]), root(&["sshd", "login"]));
        assert_eq!(out("", &["root"]), []);
        let rule = |when: &str, then: &str| {
            format!("[[rule]]\nname = \"a\"\nwhen = {{ {when} }}\nthen = \"{then}\"\n")
        };
        assert_eq!(out(&rule("user = [\"root\"]", "skip"), &[]), []);
        assert_eq!(out(&rule("service = [\"login\"]", "observe"), &[]), root(&["sshd"]));
        // A rule that names somebody counts though the key is not known here; one for everybody with that key does not.
        let key = "ssh_key = [\"SHA256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]";
        assert_eq!(
            out(&rule(&format!("user = [\"root\"], service = [\"sshd\"], {key}"), "skip"), &[]),
            root(&["login"])
        );
        assert_eq!(out(&rule(key, "skip"), &[]), root(&["sshd", "login"]));
        // A rule for one stage of ssh leaves the other.
        assert_eq!(
            out(&rule("user = [\"root\"], stage = \"session\"", "skip"), &[]),
            root(&["sshd", "login"])
        );
        // To be asked needs a device, whoever is named.
        assert_eq!(out(&rule("user = [\"root\"]", "approve"), &[]), root(&["sshd", "login"]));
        assert_eq!(out("[default]\nthen = \"observe\"\n", &[]), []);
    }

    #[test]
    fn somebody_has_to_be_able_to_become_root() {
        let dir = tempfile::tempdir().unwrap();
        let shadow = dir.path().join("shadow");
        for (hash, has) in
            [("$y$j9T$a$b", true), ("!", false), ("*", false), ("!$y$j9T$a$b", false), ("", false)]
        {
            std::fs::write(&shadow, format!("bin:*:1::::::\nroot:{hash}:20000:0:99999:7:::\n")).unwrap();
            assert_eq!(root_has_password(&shadow), has, "{hash}");
        }
        assert!(!root_has_password(&dir.path().join("none")));
        // ssh alone leaves the console's sudo as it is.
        assert_eq!(no_way_to_root(&["sshd".to_owned()], &dir.path().join("none")).unwrap(), None);
    }

    #[test]
    fn a_line_of_the_journal_names_its_user() {
        let line = r#"{"USER_ID":"alice","__CURSOR":"s=1","_BOOT_ID":"x","__REALTIME_TIMESTAMP":"1"}"#;
        assert_eq!(session(line).as_deref(), Some("alice"));
        assert_eq!(session("{}"), None);
    }
}
