//! The administrator's policy: `countersign.toml`, read once into types.
//!
//! [`read()`] turns text into a [`Config`] or into all its faults, each with its place; [`load()`]
//! does so for a file that has to be root's.
//!
//! A [`Rule`] has conditions ([`When`]), which a login's [`Situation`] meets or does not; [`Config::rule_for`] takes the first rule
//! that does. [`check`](check()) finds what is hardly meant, [`meaning`](meaning()) says a rule in words, [`services`] says what is known of a PAM
//! service by its name.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod approvals;
mod check;
mod describe;
mod fault;
mod hours;
mod load;
mod network;
mod patterns;
mod read;
mod rule;
pub mod services;
mod table;
mod when;

pub use approvals::{Approvals, MAX_NAMES, MOST_NEEDED, Named};
pub use check::{Advice, Asking, Kind, check};
pub use describe::{Meaning, meaning};
pub use fault::Fault;
pub use load::{Faults, Loaded, load, load_with};
pub use read::read;
pub use rule::{Ask, Factor, Lease, Rule, Then, Unenrolled, WithoutPrompt};
pub use when::{Groups, Membership, Situation, Unmet, When, stage_name};

pub use countersign_protocol::message::Confirm;
pub use countersign_protocol::signed::MAX_LEASE_USES;
use std::path::PathBuf;
use std::time::Duration;

/// Longest configuration in bytes.
pub const MAX_CONFIG: usize = 256 * 1024;
/// Longest wait where the service limits the time to log in.
pub const MAX_WAIT_IN_GRACE: Duration = Duration::from_secs(120);
/// Longest wait anywhere.
pub const MAX_WAIT: Duration = Duration::from_secs(600);
/// Shortest wait: less and nobody finds their phone.
pub const MIN_WAIT: Duration = Duration::from_secs(5);

/// How long the server has to have been out of reach before `allow_until` lets anybody in: a moment without it is no
/// outage.
pub const ALLOWED_AFTER: Duration = Duration::from_secs(60);
/// Longest and shortest lease that a phone may be let grant.
pub const LEASE: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(8 * 3600);

/// A program, without a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Absolute.
    pub path: PathBuf,
    /// What follows it.
    pub arguments: Vec<String>,
}

/// A configuration without faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The push server's origin, for example `https://push.example.com`.
    pub server: String,
    /// Certificates (PEM) to trust for the server in place of the system's.
    pub server_ca: Option<PathBuf>,
    /// Where the web app is, when that is not the server.
    pub app: Option<String>,
    /// A table of where addresses are, in MaxMind's DB format.
    pub geoip: Option<PathBuf>,
    /// What phones call this host; without it the system's host name.
    pub host_name: Option<String>,
    /// The administrator's own program, which is told of what somebody should look at.
    pub hook: Option<Hook>,
    /// The first one whose conditions a login meets decides.
    pub rules: Vec<Rule>,
    /// What holds where no other rule matches.
    pub default: Rule,
}

impl Config {
    /// The rule that decides about a login.
    #[must_use]
    pub fn rule_for(&self, login: &Situation<'_>) -> &Rule {
        self.rules.iter().find(|rule| rule.unmet(login).is_none()).unwrap_or(&self.default)
    }

    /// Whether a rule asks who the account is that is entered.
    #[must_use]
    pub fn asks_who(&self) -> bool {
        self.rules.iter().any(|rule| {
            rule.when.user.is_some() || rule.when.group.is_some() || rule.when.new_source.is_some()
        })
    }

    /// The rules by which an approval lets in without a password where this service's line says that none goes before.
    pub fn passwordless(&self, service: &str) -> impl Iterator<Item = &Rule> {
        let meant = move |rule: &&Rule| {
            rule.passwordless
                && rule.when.service.as_ref().is_some_and(|services| services.match_name(service))
        };
        self.rules.iter().filter(meant)
    }

    /// Names of all groups that rules ask about.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        let asked = self.rules.iter().filter_map(|rule| rule.when.group.as_ref());
        let mut groups: Vec<String> =
            asked.flat_map(|one| one.meant.iter().chain(&one.not).cloned()).collect();
        groups.sort();
        groups.dedup();
        groups
    }
}
