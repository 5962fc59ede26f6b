//! `countersign policy explain`: which rule decides about a login, why none before it, and what happens.

use std::collections::HashMap;
use std::ffi::CString;
use std::path::Path;
use std::process::ExitCode;

use countersign_files::Owner;
use countersign_policy::{Config, Membership, Rule, Situation, load, meaning};
use countersign_protocol::login::Stage;
use countersign_protocol::message::{Remote, RemoteSource, SshKey};
use countersign_protocol::text::escape;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use nix::unistd::{Gid, Group, User, getgrouplist, gethostname};
use serde::Serialize;

use super::{named, people};
use crate::args::Explain;
use crate::output::{Exit, Failure, Outcome, Output, date};

#[derive(Serialize)]
struct Explained<'a> {
    rule: &'a str,
    /// By this host's clock.
    at: String,
    /// Whether it matters: some rule has hours.
    #[serde(skip)]
    is_timed: bool,
    passed_over: Vec<PassedOver<'a>>,
    online: Vec<String>,
    offline: Vec<String>,
}

#[derive(Serialize)]
struct PassedOver<'a> {
    rule: &'a str,
    condition: &'static str,
    found: String,
}

pub(super) fn run(login: &Explain, run: &Path, out: Output) -> Outcome<ExitCode> {
    let config = load(&login.config, Owner::own()).map_err(|faults| {
        Failure::new(Exit::Broken, format!("this policy is not taken:\n{}", faults.drawings.join("\n")))
    })?;
    let host = host(login, &config)?;
    let account = User::from_name(&login.user).map_err(fault)?;
    let is_root = account.as_ref().map_or(login.user == "root", |account| account.uid.is_root());
    let groups = membership(account.as_ref(), config.groups())?;
    named::check(login)?;
    let remote = login.from.as_ref().map(|address| Remote {
        address: address.clone(),
        port: None,
        source: RemoteSource::Kernel,
    });
    let key = (login.key.is_some() || login.key_type.is_some()).then(|| SshKey {
        fingerprint: login.key.clone().unwrap_or_default(),
        key_type: login.key_type.clone().unwrap_or_default(),
    });
    let stage = if login.session { Stage::Session } else { Stage::Auth };
    let situation = Situation {
        service: &login.service,
        stage,
        user: &login.user,
        groups,
        requester: login.requester.as_deref(),
        remote: remote.as_ref(),
        host: &host,
        terminal: login.terminal.as_deref(),
        ssh_key: key.as_ref(),
        command: login.command.as_deref(),
        new_source: login.new_source,
        action: login.action.as_deref(),
        origins: &login.origin,
        now: moment(login.at.as_deref())?,
        zone: TimeZone::system(),
    };

    let rule = config.rule_for(&situation);
    let mut meaning = meaning(rule, &situation, is_root);
    if let (Some(approvals), Some(users)) = (&rule.approvals, people::with_device(run)) {
        let have = people::named(approvals, &users)?;
        let line = meaning.online.iter().position(|line| line.contains("have to approve"));
        meaning.online.insert(line.map_or(0, |line| line + 1), people::counted(&have));
    }
    let explained = Explained {
        rule: &rule.name,
        at: date(u64::try_from(situation.now.as_second()).unwrap_or_default()),
        is_timed: config.rules.iter().any(|rule| !rule.when.hours.is_empty()),
        passed_over: passed_over(&config, rule, &situation, account.is_some()),
        online: meaning.online,
        offline: meaning.offline,
    };
    out.either(&explained, || words(&explained))?;
    Ok(ExitCode::SUCCESS)
}

fn passed_over<'a>(
    config: &'a Config,
    rule: &Rule,
    login: &Situation<'_>,
    is_known: bool,
) -> Vec<PassedOver<'a>> {
    let before = config.rules.iter().take_while(|other| other.name != rule.name);
    before
        .filter_map(|other| {
            let unmet = other.unmet(login)?;
            let found = match unmet.key {
                "group" if !is_known => "not known: this host has no such user".to_owned(),
                _ => unmet.found,
            };
            Some(PassedOver { rule: &other.name, condition: unmet.key, found })
        })
        .collect()
}

fn words(explained: &Explained<'_>) -> String {
    let at = if explained.is_timed { format!(", at {}", explained.at) } else { String::new() };
    let mut text = format!("\"{}\" decides{at}.\n", escape(explained.rule));
    for over in &explained.passed_over {
        let (rule, condition) = (escape(over.rule), over.condition);
        text.push_str(&format!("  not \"{rule}\": {condition} is {}\n", escape(&over.found)));
    }
    for (when, lines) in
        [("While the server can be reached", &explained.online), ("While it cannot", &explained.offline)]
    {
        text.push_str(&format!("{when}:\n"));
        for line in lines {
            text.push_str(&format!("  {}\n", escape(line)));
        }
    }
    text
}

fn host(login: &Explain, config: &Config) -> Outcome<String> {
    if let Some(name) = login.host.as_ref().or(config.host_name.as_ref()) {
        return Ok(name.clone());
    }
    let name = gethostname().map_err(|error| Failure::broken("this host's name", error))?;
    Ok(name.to_string_lossy().into_owned())
}

/// What the name service says of a user and of the groups that rules name.
pub(in crate::commands) fn membership(account: Option<&User>, groups: Vec<String>) -> Outcome<Membership> {
    let mut named = HashMap::new();
    for group in groups {
        if let Some(known) = Group::from_name(&group).map_err(fault)? {
            named.insert(group, known.gid.as_raw());
        }
    }
    let of_user = match account.map(|account| (account, CString::new(account.name.as_str()))) {
        Some((account, Ok(name))) => getgrouplist(&name, account.gid).map_err(fault)?,
        _ => Vec::new(),
    };
    Ok(Membership { of_user: of_user.into_iter().map(Gid::as_raw).collect(), named })
}

fn fault(error: nix::Error) -> Failure {
    Failure::broken("the name service", error)
}

/// Now, or a time of this host's clock.
fn moment(at: Option<&str>) -> Outcome<Timestamp> {
    let Some(text) = at else { return Ok(Timestamp::now()) };
    let usage =
        || Failure::new(Exit::Usage, format!("\"{}\" is no time; write \"2026-11-23 08:30\"", escape(text)));
    let civil: DateTime = text.parse().map_err(|_| usage())?;
    Ok(civil.to_zoned(TimeZone::system()).map_err(|_| usage())?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_this_hosts() {
        assert!(moment(Some("2026-11-23 08:30")).is_ok());
        for bad in ["", "tomorrow", "08:30", "2026-13-01 00:00"] {
            assert_eq!(moment(Some(bad)).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn what_is_not_known_to_the_name_service_is_in_no_group() {
        let groups = membership(None, vec!["root".to_owned(), "no such group".to_owned()]).unwrap();
        assert_eq!(groups.of_user, Vec::<u32>::new());
        assert_eq!(groups.named, HashMap::from([("root".to_owned(), 0)]));
    }

    #[test]
    fn the_words_name_the_rule_and_why_not_the_others() {
        let explained = Explained {
            rule: "b\x1b",
            at: "2026-11-23 08:30".into(),
            is_timed: true,
            passed_over: vec![PassedOver { rule: "a", condition: "user", found: "al\nice".into() }],
            online: vec!["let pass".into()],
            offline: vec!["refused".into()],
        };
        let text = words(&explained);
        assert!(text.starts_with("\"b\\u{1b}\" decides, at 2026-11-23 08:30.\n"), "{text}");
        assert!(text.contains("  not \"a\": user is al\\u{a}ice\n"), "{text}");
        assert!(text.contains("While it cannot:\n  refused\n"), "{text}");
    }
}
