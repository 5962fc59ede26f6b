//! The conditions of a rule, and whether a login meets them.

use std::collections::HashMap;

use countersign_protocol::login::Stage;
use countersign_protocol::message::{Remote, RemoteSource, SshKey};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::hours::Hours;
use super::network::Networks;
use super::patterns::Patterns;

/// What a rule asks of a login; what it does not name may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct When {
    /// PAM services.
    pub service: Option<Patterns>,
    /// The PAM stage.
    pub stage: Option<Stage>,
    /// Canonical names of the accounts that are entered.
    pub user: Option<Patterns>,
    /// Groups of which the account is a member, by their number.
    pub group: Option<Groups>,
    /// Who typed the command.
    pub requester: Option<Patterns>,
    /// Whether the login comes from another machine.
    pub remote: Option<bool>,
    /// Where from.
    pub network: Option<Networks>,
    /// One of these times of the week.
    pub hours: Vec<Hours>,
    /// What this host is called.
    pub host: Option<Patterns>,
    /// The terminal.
    pub terminal: Option<Patterns>,
    /// Fingerprints of the keys that sshd accepted.
    pub ssh_key: Option<Patterns>,
    /// Their types.
    pub ssh_key_type: Option<Patterns>,
    /// The command line, as the person typed it.
    pub command: Option<Patterns>,
    /// Whether the user was ever let in from there.
    pub new_source: Option<bool>,
    /// What is asked for, where that is no login.
    pub action: Option<Patterns>,
    /// Where that comes from: there is an origin, and each is one of these.
    pub origin: Option<Patterns>,
}

/// Some groups, less some others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups {
    /// Member of one of these.
    pub meant: Vec<String>,
    /// Member of none of these.
    pub not: Vec<String>,
}

/// Everything that a rule may ask about.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// PAM service.
    pub service: &'a str,
    /// PAM stage.
    pub stage: Stage,
    /// The account's canonical name.
    pub user: &'a str,
    /// Its groups, where a rule asks for them.
    pub groups: Membership,
    /// Who typed the command.
    pub requester: Option<&'a str>,
    /// Where from, and who says so.
    pub remote: Option<&'a Remote>,
    /// What this host is called.
    pub host: &'a str,
    /// The terminal.
    pub terminal: Option<&'a str>,
    /// The key that sshd accepted.
    pub ssh_key: Option<&'a SshKey>,
    /// The command line.
    pub command: Option<&'a str>,
    /// Whether the user was never let in from there.
    pub new_source: bool,
    /// What is asked for, where that is no login.
    pub action: Option<&'a str>,
    /// Where that comes from.
    pub origins: &'a [String],
    /// Now.
    pub now: Timestamp,
    /// The host's time zone.
    pub zone: TimeZone,
}

/// A user's groups, and what the groups are that rules name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// Numbers of the user's groups.
    pub of_user: Vec<u32>,
    /// Numbers of the groups that rules name, as far as they exist.
    pub named: HashMap<String, u32>,
}

impl Membership {
    fn has(&self, group: &str) -> bool {
        self.named.get(group).is_some_and(|gid| self.of_user.contains(gid))
    }
}

/// A condition that a login does not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// The condition's key.
    pub key: &'static str,
    /// What the login has in its place.
    pub found: String,
}

impl When {
    /// Whether nothing is asked.
    #[must_use]
    pub fn is_anything(&self) -> bool {
        *self == Self::default()
    }

    /// The users who are named, where these are conditions for local logins of named users alone.
    #[must_use]
    pub fn names_local_users(&self) -> Option<&[String]> {
        self.user.as_ref().filter(|_| self.remote == Some(false))?.names()
    }

    /// The first condition that a login does not meet; `None` when it meets all.
    #[must_use]
    pub fn unmet(&self, login: &Situation<'_>) -> Option<Unmet> {
        let no = |key, found: &str| Some(Unmet { key, found: found.to_owned() });
        let nothing = |value: Option<&str>| value.unwrap_or("not known").to_owned();
        let misses = |names: &Option<Patterns>, value: Option<&str>| {
            names.as_ref().is_some_and(|names| !value.is_some_and(|value| names.match_name(value)))
        };
        if misses(&self.service, Some(login.service)) {
            return no("service", login.service);
        }
        if self.stage.is_some_and(|stage| stage != login.stage) {
            return no("stage", stage_name(login.stage));
        }
        if misses(&self.host, Some(login.host)) {
            return no("host", login.host);
        }
        if misses(&self.user, Some(login.user)) {
            return no("user", login.user);
        }
        if let Some(groups) = &self.group
            && !groups.include(&login.groups)
        {
            return no("group", "no member");
        }
        for (key, names, value) in [
            ("requester", &self.requester, login.requester),
            ("terminal", &self.terminal, login.terminal),
            ("ssh_key", &self.ssh_key, login.ssh_key.map(|key| key.fingerprint.as_str())),
            ("ssh_key_type", &self.ssh_key_type, login.ssh_key.map(|key| key.key_type.as_str())),
            ("command", &self.command, login.command),
            ("action", &self.action, login.action),
        ] {
            if misses(names, value) {
                return Some(Unmet { key, found: nothing(value) });
            }
        }
        if let Some(origins) = &self.origin {
            let other = login.origins.iter().find(|origin| !origins.match_name(origin));
            if login.origins.is_empty() || other.is_some() {
                return Some(Unmet { key: "origin", found: nothing(other.map(String::as_str)) });
            }
        }
        if self.remote.is_some_and(|remote| remote != login.remote.is_some()) {
            return no("remote", if login.remote.is_some() { "true" } else { "false" });
        }
        if let Some(networks) = &self.network
            && !login.remote.is_some_and(|remote| {
                remote.source != RemoteSource::None && networks.contain(&remote.address)
            })
        {
            return Some(Unmet { key: "network", found: nothing(login.remote.map(|r| r.address.as_str())) });
        }
        if !self.hours.is_empty() && !self.hours.iter().any(|hours| hours.cover(login.now, &login.zone)) {
            let there = login.now.to_zoned(login.zone.clone());
            return Some(Unmet { key: "hours", found: there.strftime("%a %H:%M %Z").to_string() });
        }
        if self.new_source.is_some_and(|new| new != login.new_source) {
            return no("new_source", if login.new_source { "true" } else { "false" });
        }
        None
    }
}

impl Groups {
    /// One of the exceptions that is no group of this host.
    pub(crate) fn unknown_exception(&self, membership: &Membership) -> Option<&str> {
        self.not.iter().map(String::as_str).find(|group| !membership.named.contains_key(*group))
    }

    fn include(&self, membership: &Membership) -> bool {
        let any = |list: &[String]| list.iter().any(|group| membership.has(group));
        any(&self.meant) && !any(&self.not)
    }
}

/// As it is written in the configuration.
#[must_use]
pub fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Auth => "auth",
        Stage::Session => "session",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, read};

    const SERVER: &str = "server = \"https://push.example.com\"\n";

    fn rules(text: &str) -> Config {
        read(&format!("{SERVER}{text}")).unwrap()
    }

    fn remote(address: &str, source: RemoteSource) -> Remote {
        Remote { address: address.to_owned(), port: None, source }
    }

    /// alice, by ssh with a key, a member of `ops` (100), on a Monday at noon.
    fn login<'a>(remote: Option<&'a Remote>, key: Option<&'a SshKey>) -> Situation<'a> {
        Situation {
            service: "sshd",
            stage: Stage::Session,
            user: "alice",
            groups: Membership {
                of_user: vec![100, 1000],
                named: [("ops".to_owned(), 100), ("staff".to_owned(), 50)].into(),
            },
            requester: None,
            remote,
            host: "db-1",
            terminal: None,
            ssh_key: key,
            command: None,
            new_source: false,
            action: None,
            origins: &[],
            now: "2026-11-23T12:00:00Z".parse().unwrap(),
            zone: TimeZone::UTC,
        }
    }

    #[test]
    fn exceptions_of_a_group_that_is_none_except_everybody_from_being_let_in() {
        for (then, decides) in [("skip", "default"), ("observe", "default"), ("deny", "x"), ("approve", "x")]
        {
            let config = rules(&format!(
                "[[rule]]\nname = \"x\"\nwhen = {{ group = [\"ops\", \"!no-such\"] }}\nthen = \"{then}\"\n"
            ));
            assert_eq!(config.rule_for(&login(None, None)).name, decides, "{then}");
        }
    }

    #[test]
    fn each_condition_is_met_and_missed() {
        let here = remote("10.1.2.3", RemoteSource::Kernel);
        let key = SshKey {
            fingerprint: format!("SHA256:{}", "a".repeat(43)),
            key_type: "sk-ssh-ed25519@openssh.com".to_owned(),
        };
        let login = login(Some(&here), Some(&key));
        let other_key = format!("ssh_key = \"SHA256:{}\"", "b".repeat(43));
        let this_key = format!("ssh_key = [\"SHA256:{}\"]", "a".repeat(43));
        for (met, missed) in [
            ("service = \"ssh*\"", "service = [\"sudo\", \"su\"]"),
            ("stage = \"session\"", "stage = \"auth\""),
            ("user = [\"*\", \"!root\"]", "user = [\"*\", \"!alice\"]"),
            ("group = \"ops\"", "group = \"staff\""),
            ("group = [\"ops\", \"!staff\"]", "group = \"nobody-has-made-it\""),
            ("remote = true", "remote = false"),
            ("network = [\"10.0.0.0/8\", \"::1\"]", "network = [\"10.0.0.0/8\", \"!10.1.0.0/16\"]"),
            ("hours = \"Mon-Fri 07:00-19:00\"", "hours = [\"Sat 00:00-24:00\", \"Mon 13:00-14:00\"]"),
            ("host = \"db-*\"", "host = \"web-*\""),
            (this_key.as_str(), other_key.as_str()),
            ("ssh_key_type = \"sk-*\"", "ssh_key_type = \"ssh-*\""),
            ("new_source = false", "new_source = true"),
            // What is not known matches nothing.
            ("service = \"*\"", "requester = \"*\""),
            ("service = \"*\"", "terminal = \"*\""),
            ("service = \"*\"", "command = \"*\""),
            ("service = \"*\"", "action = \"*\""),
            ("service = \"*\"", "origin = \"*\""),
        ] {
            let decides = |when: &str| {
                let config =
                    rules(&format!("[[rule]]\nname = \"x\"\nwhen = {{ {when} }}\nthen = \"skip\"\n"));
                let rule = config.rule_for(&login).name.clone();
                (rule, config.rules[0].when.unmet(&login))
            };
            assert_eq!(decides(met), ("x".to_owned(), None), "{met}");
            let (rule, unmet) = decides(missed);
            assert_eq!(rule, "default", "{missed}");
            assert!(missed.starts_with(unmet.unwrap().key), "{missed}");
        }
    }

    #[test]
    fn an_action_is_met_by_its_name_and_by_where_all_of_it_comes_from() {
        let origins = |list: &[&str]| list.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>();
        for (when, from, met) in [
            ("action = [\"apt.*\", \"!apt.remove\"]", &["Debian"][..], true),
            ("action = \"apt.install\"", &[], true),
            ("action = \"deploy.*\"", &["Debian"], false),
            ("action = [\"apt.*\", \"!*.install\"]", &["Debian"], false),
            ("origin = \"Debian\"", &["Debian"], true),
            ("origin = [\"Debian*\", \"!Debian-backports\"]", &["Debian", "Debian-Security"], true),
            ("origin = [\"Debian*\", \"!Debian-backports\"]", &["Debian", "Debian-backports"], false),
            // One package from elsewhere is enough, and so is one of which nothing is known.
            ("origin = \"Debian\"", &["Debian", "elsewhere"], false),
            ("origin = \"*\"", &[], false),
        ] {
            let config = rules(&format!("[[rule]]\nname = \"x\"\nwhen = {{ {when} }}\nthen = \"skip\"\n"));
            let from = origins(from);
            let login = Situation {
                service: "ask",
                action: Some("apt.install"),
                origins: &from,
                ..login(None, None)
            };
            assert_eq!(config.rule_for(&login).name == "x", met, "{when} {from:?}");
            let unmet = config.rules[0].when.unmet(&login);
            assert!(unmet.is_none_or(|unmet| when.starts_with(unmet.key)), "{when}");
        }
    }

    #[test]
    fn the_first_rule_that_is_met_decides_and_takes_the_rest_from_the_default() {
        let config = rules(
            "[default]\nwait = \"20s\"\ncodes = []\n\
             [[rule]]\nname = \"a\"\nwhen = { service = \"sudo\" }\nthen = \"deny\"\n\
             [[rule]]\nname = \"b\"\nwhen = { service = \"sshd\" }\nthen = \"observe\"\nconfirm = \"tap\"\n\
             [[rule]]\nname = \"c\"\nthen = \"skip\"\n",
        );
        let rule = config.rule_for(&login(None, None));
        assert_eq!(rule.name, "b");
        assert_eq!((rule.wait.as_secs(), rule.codes.len()), (20, 0));
        assert_eq!(rule.confirm, crate::Confirm::Tap);
        assert!(config.rules[2].when.is_anything());
    }

    #[test]
    fn an_address_that_is_nobodys_word_or_a_name_is_in_no_network() {
        let config = rules("[[rule]]\nname = \"x\"\nwhen = { network = \"0.0.0.0/0\" }\nthen = \"skip\"\n");
        for (address, source, inside) in [
            ("10.1.2.3", RemoteSource::Kernel, true),
            ("10.1.2.3", RemoteSource::Pam, true),
            ("10.1.2.3", RemoteSource::None, false),
            ("trusted.example.com", RemoteSource::Pam, false),
        ] {
            let remote = remote(address, source);
            assert_eq!(config.rule_for(&login(Some(&remote), None)).name == "x", inside, "{address}");
        }
        assert_eq!(config.rule_for(&login(None, None)).name, "default");
    }
}
