//! What is valid and still not what anybody means: rules that can never match, that let in without a
//! person, that no service reaches.

use countersign_protocol::login::{ASK_SERVICE, Stage};
use jiff::Timestamp;

use crate::describe::{day, is_over, refuses_session};
use crate::patterns::Patterns;
use crate::{Config, Confirm, Factor, Rule, Then, Unenrolled, When, WithoutPrompt, services, stage_name};

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
    /// It only observes.
    Observes,
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
            Self::Observes => "observes",
            Self::Unreached => "unreached",
            Self::People => "people",
            Self::Idle => "idle",
        }
    }
}

/// A PAM service that asks us, and in which stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// Its name.
    pub service: String,
    /// Never empty.
    pub stages: Vec<Stage>,
}

/// Everything that is to be said of a policy. `services` are the PAM services that ask us, where that is known.
#[must_use]
pub fn check(config: &Config, services: Option<&[Asking]>, now: Timestamp) -> Vec<Advice> {
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
        advice.extend(of_itself(rule, config, now));
        advice.extend(
            services.and_then(|all| unreached(&rule.when, all)).map(|text| say(Kind::Unreached, text)),
        );
    }
    advice.extend(of_itself(&config.default, config, now));
    advice
}

/// What is to be said of a rule, or of the default, whatever stands beside it.
fn of_itself(rule: &Rule, config: &Config, now: Timestamp) -> Vec<Advice> {
    let say = |kind, text: String| Advice { rule: rule.name.clone(), kind, text };
    let mut advice: Vec<Advice> =
        opens(rule, now).into_iter().chain(alone(rule)).map(|text| say(Kind::Opens, text)).collect();
    if rule.then == Then::Observe {
        let text = "nobody is refused by it; `countersign audit observed` shows what it would have refused";
        advice.push(say(Kind::Observes, text.to_owned()));
    }
    let idle = [
        leases_idle(rule, config),
        session_idle(rule, config),
        one_field_idle(rule),
        over(rule, config, now),
    ];
    advice.extend(idle.into_iter().flatten().map(|text| say(Kind::Idle, text)));
    advice
}

/// Why no login of this host comes to a rule.
fn unreached(when: &When, services: &[Asking]) -> Option<String> {
    // No PAM service, and always there.
    if when.service.as_ref().is_some_and(|asked| asked.match_name(ASK_SERVICE))
        && when.stage != Some(Stage::Session)
    {
        return None;
    }
    let is_meant = |one: &&Asking| when.service.as_ref().is_none_or(|asked| asked.match_name(&one.service));
    let meant: Vec<&Asking> = services.iter().filter(is_meant).collect();
    if meant.is_empty() && when.service.is_some() {
        return Some("no PAM service of this host that asks countersign is one of its services".to_owned());
    }
    let stage = when.stage.filter(|stage| !meant.iter().any(|one| one.stages.contains(stage)))?;
    Some(format!(
        "none of its PAM services asks countersign in the {0} stage: it takes a line \"{0} …\" with pam_countersign.so in /etc/pam.d, too",
        stage_name(stage)
    ))
}

/// A lease that nobody can grant, or that nobody takes.
fn leases_idle(rule: &Rule, config: &Config) -> Option<String> {
    if asks(rule) && rule.approvals.is_some() && rule.lease.is_some() {
        let text =
            "a \"lease\" is the word of the login's own person: whom \"approvals\" names is asked each time";
        return Some(text.to_owned());
    }
    let services = rule.when.service.as_ref().and_then(Patterns::names);
    let is_ask = services.is_some_and(|names| names.iter().all(|name| *name == ASK_SERVICE));
    // What it has from the default was not written for it.
    let has_lease = rule.lease.is_some() && rule.lease != config.default.lease;
    if asks(rule) && is_ask && (has_lease || rule.leases_offline() && !config.default.leases_offline()) {
        return Some("there are no leases for \"ask\": an action is asked for each time".to_owned());
    }
    (asks(rule) && rule.leases_offline() && rule.lease.is_none()).then(|| {
        "\"offline\" lists \"lease\", and no phone may grant one: say how long, as in lease = \"8h\""
            .to_owned()
    })
}

/// What has no effect where nothing can be typed.
fn session_idle(rule: &Rule, config: &Config) -> Option<String> {
    let stage = rule.when.stage.filter(|stage| *stage == Stage::Session && asks(rule))?;
    if refuses_session(rule, stage) {
        let text = "no phone is asked: the session stage cannot ask for a code, and without_prompt = \"refuse\" \
                    takes nothing less; \"tap\" asks";
        return Some(text.to_owned());
    }
    // What it has from the default, or where that names people from what is built in, was not written for it.
    if rule.approvals.is_none() && config.default.approvals.is_some() {
        return None;
    }
    let typed = |mine: &[Factor], other: &[Factor]| {
        mine != other && mine.iter().any(|factor| *factor != Factor::Lease)
    };
    (typed(&rule.codes, &config.default.codes) || typed(&rule.offline, &config.default.offline)).then(|| {
        "codes that its \"codes\" or \"offline\" list are never taken: the session stage has no prompt to type \
         them at"
            .to_owned()
    })
}

/// A code that is wanted where none can be typed.
fn one_field_idle(rule: &Rule) -> Option<String> {
    let names = rule.when.service.as_ref()?.names()?;
    let wants_code = rule.confirm == Confirm::Code && rule.without_prompt == WithoutPrompt::Refuse;
    let is_none = !names.iter().any(|name| !services::has_one_field(name));
    (asks(rule) && wants_code && is_none).then(|| {
        "no phone is asked: its services have one field, in which no code can be typed, and without_prompt = \"refuse\" \
         takes nothing less; \"tap\" asks"
            .to_owned()
    })
}

/// A day that has come. One that a rule has from the default is told there.
fn over(rule: &Rule, config: &Config, now: Timestamp) -> Option<String> {
    let is_own = std::ptr::eq(rule, &config.default) || rule.unenrolled != config.default.unenrolled;
    match (rule.allow_until, rule.unenrolled) {
        _ if !asks(rule) => None,
        (Some(date), _) if is_over(date, now) => {
            Some(format!("\"allow_until\" {} has come: it lets nobody in any more, take it away", day(date)))
        }
        (_, Unenrolled::SkipUntil(date)) if is_own && is_over(date, now) => Some(format!(
            "\"skip_until\" {} has come: who has no device is refused, as with unenrolled = \"deny\"",
            day(date)
        )),
        _ => None,
    }
}

fn asks(rule: &Rule) -> bool {
    matches!(rule.then, Then::Approve | Then::Observe)
}

/// What is open about a rule.
fn opens(rule: &Rule, now: Timestamp) -> Option<String> {
    let when = &rule.when;
    match rule.then {
        Then::Approve if rule.allow_until.is_some_and(|date| !is_over(date, now)) => Some(
            "while the server is away its users get in with nothing beside their password: whoever can cut this \
             machine off its network brings that about"
                .to_owned(),
        ),
        Then::Deny if when.command.is_some() => Some(
            "a command line is its caller's own word: whoever is refused by it can write another one".to_owned(),
        ),
        Then::Approve | Then::Deny | Then::Observe => None,
        Then::Skip if when.is_anything() => Some("everybody passes without a second factor".to_owned()),
        Then::Skip if when.command.is_some() => Some(
            "a command line is its caller's own word: whoever is let pass by it can run another command".to_owned(),
        ),
        // Neither who it is nor where from: that may be a rule that was forgotten.
        Then::Skip if is_free(when) => Some(
            "everybody who comes to it passes without a second factor; if that is not meant, add user, group, \
             network or ssh_key"
                .to_owned(),
        ),
        Then::Skip => None,
    }
}

/// What lets one person do alone what several should.
fn alone(rule: &Rule) -> Option<String> {
    let approvals = rule.approvals.as_ref().filter(|approvals| approvals.needed > 1)?;
    let is_typed = |factor: &Factor| *factor != Factor::Lease;
    (asks(rule) && rule.codes.iter().chain(&rule.offline).any(is_typed)).then(|| {
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
        || when.action.is_some()
        || when.origin.is_some();
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
    let is_asked = |services: &Patterns| services.match_name(ASK_SERVICE);
    if (when.action.is_some() || when.origin.is_some())
        && (when.service.as_ref().is_some_and(|services| !is_asked(services))
            || when.stage == Some(Stage::Session)
            || when.remote == Some(true))
    {
        return Some(
            "only what `countersign ask` asks for has an \"action\" and an \"origin\": its service is \"ask\", in \
             the auth stage, and never remote",
        );
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
        && names(&a.action, &b.action)
        && names(&a.origin, &b.origin)
        && same(&a.stage, &b.stage)
        && same(&a.remote, &b.remote)
        && same(&a.group, &b.group)
        && same(&a.network, &b.network)
        && same(&a.new_source, &b.new_source)
        && (a.hours.is_empty() || a.hours == b.hours)
}

#[cfg(test)]
mod tests;
