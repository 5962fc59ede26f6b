//! Who could log in until now, and has nothing to approve with.

use std::path::Path;

use countersign_pam_stack::Stage;
use countersign_pam_stack::examine::{BREAK_GLASS, Finding, Severity};
use countersign_policy::{Config, Rule, Situation, Then, Unenrolled};
use countersign_protocol::login;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::unistd::{Group, User};

use super::host::{Account, accounts, accounts_counted, has_password};
use super::{Known, not_seen, program};
use crate::commands::policy::membership;

/// People's numbers begin here on every distribution that is known.
const FIRST_PERSON: u32 = 1000;
/// Nobody's number, and what lies beyond it.
const NOBODY: u32 = 65534;
/// How many are named.
const NAMED: usize = 5;
/// Shells that let nobody in.
const NO_SHELLS: [&str; 3] = ["nologin", "false", "sync"];

pub(super) fn look(known: &Known<'_>, found: &mut Vec<Finding>) {
    let Some(config) = &known.config else { return };
    let Some(devices) = &known.devices else {
        found.push(not_seen("who has no device", "the daemon does not say who has one"));
        return;
    };
    let Ok(shadow) = std::fs::read_to_string("/etc/shadow") else {
        found.push(not_seen("who could log in", "run it as root"));
        return;
    };
    let paired: Vec<String> = devices.devices.iter().map(|device| device.user.clone()).collect();
    let (config, asking) = (config.clone(), known.asking.clone());
    let refused = program::in_time(move || -> Vec<String> {
        let of_people = accounts()
            .into_iter()
            .filter(|account| is_person(account, &shadow) && !paired.contains(&account.name))
            .filter(|account| !in_break_glass(account) && is_refused(&asking, &config, &account.name));
        of_people.map(|account| account.name).collect()
    });
    let Some(refused) = refused else {
        found.push(not_seen("who has no device", "accounts or home folders do not answer in time"));
        return;
    };
    if !refused.is_empty() {
        let named = refused.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = if refused.len() > NAMED { ", …" } else { "" };
        let text = format!(
            "{} can log in but {} no device, and would be refused: {named}{more}",
            accounts_counted(refused.len()),
            if refused.len() == 1 { "has" } else { "have" }
        );
        let next = "countersign pair USER, a rule in the policy, or unenrolled = { skip_until = DATE }";
        found.push(Finding::new(Severity::Advice, "no-device", text, next));
    }
}

fn is_person(account: &Account, shadow: &str) -> bool {
    let shell = account.shell.rsplit('/').next().unwrap_or_default();
    let has_key = || Path::new(&account.home).join(".ssh/authorized_keys").is_file();
    (FIRST_PERSON..NOBODY).contains(&account.uid)
        && !NO_SHELLS.contains(&shell)
        && (has_password(shadow, &account.name) || has_key())
}

fn in_break_glass(account: &Account) -> bool {
    matches!(Group::from_name(BREAK_GLASS), Ok(Some(group)) if group.gid.as_raw() == account.gid || group.mem.contains(&account.name))
}

fn is_refused(asking: &[(String, Stage)], config: &Config, user: &str) -> bool {
    asking.iter().any(|(service, stage)| match rule(config, user, service, *stage) {
        Some(rule) => {
            rule.then == Then::Deny
                || rule.then == Then::Approve
                    && rule.approvals.is_none()
                    && rule.unenrolled == Unenrolled::Deny
        }
        None => false,
    })
}

/// The rule that decides now about a local login.
pub(super) fn rule<'a>(config: &'a Config, user: &str, service: &str, stage: Stage) -> Option<&'a Rule> {
    let account = User::from_name(user).ok()?;
    let groups = membership(account.as_ref(), config.groups()).ok()?;
    let host = config.host_name.clone().unwrap_or_else(|| {
        nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    });
    Some(config.rule_for(&Situation {
        service,
        stage: if stage == Stage::Session { login::Stage::Session } else { login::Stage::Auth },
        user,
        groups,
        requester: None,
        remote: None,
        host: &host,
        terminal: None,
        ssh_key: None,
        command: None,
        new_source: false,
        action: None,
        origins: &[],
        now: Timestamp::now(),
        zone: TimeZone::system(),
    }))
}
