//! What is valid and still not what anybody means: rules that can never match, that let in without a
//! person, that no service reaches.

use crate::patterns::Patterns;
use crate::{Config, Factor, Rule, Then, When};

/// Something about a policy that its author should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The rule's name.
    pub rule: String,
    /// What kind of thing it is.
    pub kind: Kind,
    /// What it is and what to do, one line.
    pub text: String,
}

/// What kind of thing is said of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No login can ever meet it.
    Never,
    /// It lets people in whom nobody has approved.
    Opens,
    /// Its services do not ask us.
    Unreached,
    /// The people whom it names are not there, or too few.
    People,
    /// Something in it has no effect.
    Idle,
}

impl Kind {
    /// One word for programs and for the beginning of a line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Opens => "opens",
            Self::Unreached => "unreached",
            Self::People => "people",
            Self::Idle => "idle",
        }
    }
}

/// Everything that is to be said of a policy. `services` are the PAM services that ask us, where that is known.
#[must_use]
pub fn check(config: &Config, services: Option<&[String]>) -> Vec<Advice> {
    let mut advice = Vec::new();
    for (number, rule) in config.rules.iter().enumerate() {
        let say = |kind, text: String| Advice { rule: rule.name.clone(), kind, text };
        let before = config.rules.get(..number).unwrap_or_default();
        if let Some(first) = before.iter().find(|first| covers(&first.when, &rule.when)) {
            let text =
                format!("\"{}\" above it meets all that this one would: put this one first", first.name);
            advice.push(say(Kind::Never, text));
        } else if let Some(why) = contradiction(&rule.when) {
            advice.push(say(Kind::Never, why.to_owned()));
        }
        advice.extend(opens(rule).into_iter().chain(alone(rule)).map(|text| say(Kind::Opens, text)));
        advice.extend(idle(rule).map(|text| say(Kind::Idle, text)));
        if let (Some(asked), Some(services)) = (&rule.when.service, services)
            && !services.iter().any(|service| asked.match_name(service))
        {
            let text = "no PAM service of this host that asks countersign is one of its services".to_owned();
            advice.push(say(Kind::Unreached, text));
        }
    }
    advice.extend(opens(&config.default).into_iter().chain(alone(&config.default)).map(|text| Advice {
        rule: "default".to_owned(),
        kind: Kind::Opens,
        text,
    }));
    advice.extend(idle(&config.default).map(|text| Advice {
        rule: "default".to_owned(),
        kind: Kind::Idle,
        text,
    }));
    advice
}

/// What a rule says to no effect.
fn idle(rule: &Rule) -> Option<String> {
    let asks = matches!(rule.then, Then::Approve | Then::Observe);
    if asks && rule.approvals.is_some() && rule.lease.is_some() {
        let text =
            "a \"lease\" is the word of the login's own person: whom \"approvals\" names is asked each time";
        return Some(text.to_owned());
    }
    (asks && rule.leases_offline() && rule.lease.is_none()).then(|| {
        "\"offline\" lists \"lease\", and no phone may grant one: say how long, as in lease = \"8h\""
            .to_owned()
    })
}

/// What is open about a rule.
fn opens(rule: &Rule) -> Option<String> {
    let when = &rule.when;
    match rule.then {
        Then::Approve if rule.allow_until.is_some() => Some(
            "while the server is away its users get in with nothing beside their password: whoever can cut this \
             machine off its network brings that about"
                .to_owned(),
        ),
        Then::Deny if when.command.is_some() => Some(
            "a command line is its caller's own word: whoever is refused by it can write another one".to_owned(),
        ),
        Then::Approve | Then::Deny => None,
        Then::Observe if when.is_anything() => {
            Some("it only observes, and so lets everybody pass; for a roll-out, not to stay".to_owned())
        }
        Then::Skip if when.is_anything() => Some("it lets everybody pass unasked".to_owned()),
        Then::Skip | Then::Observe if when.command.is_some() => Some(
            "a command line is its caller's own word: whoever is let pass by it can run another command".to_owned(),
        ),
        // What the other side chooses by itself is no condition.
        Then::Skip | Then::Observe if is_free(when) => Some(
            "whoever logs in chooses all of its conditions; add user, group, network or ssh_key".to_owned(),
        ),
        Then::Skip | Then::Observe => None,
    }
}

/// What lets one person do alone what several should.
fn alone(rule: &Rule) -> Option<String> {
    let approvals = rule.approvals.as_ref().filter(|approvals| approvals.needed > 1)?;
    let asks = matches!(rule.then, Then::Approve | Then::Observe);
    let is_typed = |factor: &Factor| *factor != Factor::Lease;
    (asks && rule.codes.iter().chain(&rule.offline).any(is_typed)).then(|| {
        let needed = approvals.needed;
        format!(
            "what its \"codes\" or \"offline\" take, one person types in place of {needed} people's approvals"
        )
    })
}

/// Whether a rule asks nothing that only some people can bring along.
fn is_free(when: &When) -> bool {
    let narrow = when.user.as_ref().is_some_and(|users| !users.is_all())
        || when.group.is_some()
        || when.network.is_some()
        || when.ssh_key.is_some()
        || when.ssh_key_type.is_some()
        || when.remote == Some(false)
        || when.new_source == Some(false)
        || when.service.as_ref().is_some_and(|services| services.names().is_some());
    !narrow
}

/// Why no login can meet these conditions together.
fn contradiction(when: &When) -> Option<&'static str> {
    let is_sshd = |services: &Patterns| services.match_name("sshd");
    if (when.ssh_key.is_some() || when.ssh_key_type.is_some())
        && when.service.as_ref().is_some_and(|services| !is_sshd(services))
    {
        return Some("only sshd says which key it has accepted: its services have to include sshd");
    }
    if when.network.is_some() && when.remote == Some(false) {
        return Some("what comes from a network is remote: take \"network\" or \"remote = false\" away");
    }
    None
}

/// Whether every login that meets `b` certainly meets `a`.
fn covers(a: &When, b: &When) -> bool {
    let names = |a: &Option<Patterns>, b: &Option<Patterns>| match (a, b) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(a), Some(b)) => {
            a == b || b.names().is_some_and(|names| names.iter().all(|name| a.match_name(name)))
        }
    };
    fn same<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
        a.is_none() || a == b
    }
    names(&a.service, &b.service)
        && names(&a.user, &b.user)
        && names(&a.requester, &b.requester)
        && names(&a.host, &b.host)
        && names(&a.terminal, &b.terminal)
        && names(&a.ssh_key, &b.ssh_key)
        && names(&a.ssh_key_type, &b.ssh_key_type)
        && names(&a.command, &b.command)
        && same(&a.stage, &b.stage)
        && same(&a.remote, &b.remote)
        && same(&a.group, &b.group)
        && same(&a.network, &b.network)
        && same(&a.new_source, &b.new_source)
        && (a.hours.is_empty() || a.hours == b.hours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    fn advice(rules: &str, services: Option<&[&str]>) -> Vec<(String, &'static str)> {
        let config = read(&format!("server = \"https://push.example.com\"\n{rules}")).unwrap();
        let services = services.map(|list| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        check(&config, services.as_deref()).into_iter().map(|one| (one.rule, one.kind.word())).collect()
    }

    fn rule(name: &str, when: &str, then: &str) -> String {
        format!("[[rule]]\nname = \"{name}\"\nwhen = {{ {when} }}\nthen = \"{then}\"\n")
    }

    #[test]
    fn a_policy_as_it_should_be_needs_no_advice() {
        let rules = [
            rule("backup", "user = \"backup\", service = \"sshd\"", "skip"),
            rule("office", "service = \"sshd\", network = \"10.0.0.0/8\"", "skip"),
            rule("cron", "service = \"cron\"", "skip"),
            rule("all ssh", "service = \"sshd\"", "approve"),
        ];
        assert_eq!(advice(&rules.concat(), Some(&["sshd", "cron"])), []);
    }

    #[test]
    fn a_rule_behind_one_that_meets_more_never_matches() {
        for (first, second) in [
            ("service = \"sshd\"", "service = \"sshd\", user = \"alice\""),
            ("user = \"a*\"", "user = [\"alice\", \"anna\"]"),
            ("", "service = \"sudo\""),
            ("hours = \"07:00-19:00\"", "hours = \"07:00-19:00\", remote = true"),
        ] {
            let rules = rule("first", first, "approve") + &rule("second", second, "deny");
            assert_eq!(advice(&rules, None), [("second".to_owned(), "never")], "{second}");
        }
        for (first, second) in [
            ("service = \"sshd\", user = \"alice\"", "service = \"sshd\""),
            ("user = [\"*\", \"!alice\"]", "user = [\"alice\", \"bob\"]"),
            ("user = \"a*\"", "user = \"al*\""),
            ("network = \"10.0.0.0/8\"", "network = \"10.1.0.0/16\""),
        ] {
            let rules = rule("first", first, "approve") + &rule("second", second, "deny");
            assert_eq!(advice(&rules, None), [], "{second}");
        }
    }

    #[test]
    fn conditions_that_exclude_each_other_are_found() {
        for when in
            ["ssh_key_type = \"sk-*\", service = \"sudo\"", "network = \"10.0.0.0/8\", remote = false"]
        {
            assert_eq!(advice(&rule("x", when, "approve"), None), [("x".to_owned(), "never")], "{when}");
        }
    }

    #[test]
    fn what_lets_everybody_pass_is_said() {
        for rules in [
            rule("x", "", "skip"),
            rule("x", "", "observe"),
            rule("x", "command = \"*ls*\"", "skip"),
            rule("x", "user = \"*\", stage = \"session\"", "skip"),
        ] {
            assert_eq!(advice(&rules, None), [("x".to_owned(), "opens")], "{rules}");
        }
        assert_eq!(advice("[default]\nthen = \"skip\"\n", None), [("default".to_owned(), "opens")]);
    }

    #[test]
    fn what_opens_without_a_server_is_said() {
        let rules = rule("x", "user = \"alice\", remote = false", "approve")
            + "offline = [{ allow_until = 2027-03-01 }]\n";
        assert_eq!(advice(&rules, None), [("x".to_owned(), "opens")]);
    }

    #[test]
    fn a_lease_that_nobody_may_grant_is_found() {
        let offline = "offline = [\"lease\"]\n";
        assert_eq!(advice(&format!("[default]\n{offline}"), None), [("default".to_owned(), "idle")]);
        let rules = rule("x", "service = \"sshd\"", "approve");
        assert_eq!(advice(&format!("{rules}{offline}"), None), [("x".to_owned(), "idle")]);
        assert_eq!(advice(&format!("{rules}{offline}[default]\nlease = \"1h\"\n"), None), []);
        let several = "lease = \"1h\"\napprovals = { from = [\"bob\"], needed = 1 }\n";
        assert_eq!(advice(&format!("{rules}{several}"), None), [("x".to_owned(), "idle")]);
        // What asks nobody needs none.
        assert_eq!(advice(&format!("{}{offline}", rule("x", "user = \"a\"", "skip")), None), []);
    }

    #[test]
    fn a_rule_for_services_that_do_not_ask_is_found() {
        let rules = rule("x", "service = [\"sshdd\", \"su*\"]", "deny");
        assert_eq!(advice(&rules, Some(&["sshd", "login"])), [("x".to_owned(), "unreached")]);
        assert_eq!(advice(&rules, Some(&["sudo"])), []);
    }
}
