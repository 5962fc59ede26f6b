//! What a rule means, in words for an administrator.

use std::time::Duration;

use countersign_protocol::login::Stage;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::{ALLOWED_AFTER, Approvals, Ask, Confirm, Factor, Lease, Rule, Then, Unenrolled, WithoutPrompt};

/// What happens to a login, while the server can be reached and while it cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// While the server can be reached.
    pub online: Vec<String>,
    /// While it cannot.
    pub offline: Vec<String>,
}

/// What a rule means for a login of this service and stage.
#[must_use]
pub fn meaning(rule: &Rule, service: &str, stage: Stage) -> Meaning {
    let (mut online, mut offline) = match rule.then {
        Then::Skip => return always("let pass: nobody is asked"),
        Then::Deny => return always("refused: nobody is asked"),
        Then::Approve | Then::Observe => (asked(rule, service, stage), unreachable(rule, stage)),
    };
    if rule.then == Then::Observe {
        for lines in [&mut online, &mut offline] {
            lines.push("whatever comes of it: it is written down, and PAM goes on".to_owned());
        }
    }
    Meaning { online, offline }
}

fn always(text: &str) -> Meaning {
    Meaning { online: vec![text.to_owned()], offline: vec![text.to_owned()] }
}

fn asked(rule: &Rule, service: &str, stage: Stage) -> Vec<String> {
    let whose = match rule.ask {
        Ask::User => "the user's phone is asked (for su and sudo to root the caller's)",
        Ask::Caller => "the caller's phone is asked",
    };
    let seconds = rule.wait_for(service).as_secs();
    let mut lines = vec![match &rule.approvals {
        None => format!("{whose}, for {seconds} s"),
        Some(approvals) => {
            let (needed, from) = (approvals.needed, approvals.names().join(", "));
            format!(
                "{needed} different people of {from} have to approve: all their phones are asked, for {seconds} s"
            )
        }
    }];
    let principals: Vec<String> =
        rule.approvals.iter().flat_map(Approvals::principals).map(|name| format!("\"{name}\"")).collect();
    if !principals.is_empty() {
        lines.push(format!(
            "by a principal: whose device has a certificate with {} beside their name, when they approve and when it is over",
            principals.join(" or ")
        ));
    }
    let tap = "approving it is enough";
    lines.push(match (stage, rule.confirm, rule.without_prompt) {
        (Stage::Session, _, WithoutPrompt::Refuse) => "refused: this stage cannot ask for a code".to_owned(),
        (Stage::Session, _, WithoutPrompt::Tap) | (Stage::Auth, Confirm::Tap, _) => tap.to_owned(),
        (Stage::Auth, Confirm::Code, WithoutPrompt::Tap) => {
            format!("the code that it shows is typed at the prompt; where nothing can be asked {tap}")
        }
        (Stage::Auth, Confirm::Code, WithoutPrompt::Refuse) => {
            "the code that it shows is typed at the prompt; where nothing can be asked it is refused"
                .to_owned()
        }
    });
    if stage == Stage::Auth && !rule.codes.is_empty() {
        lines.push(format!("also taken at the prompt: {}", words(&rule.codes)));
    }
    lines.extend(rule.leases().map(granted));
    lines.push(match rule.unenrolled {
        _ if rule.approvals.is_some() => {
            "where too few of them have a device it is refused, after the same prompts".to_owned()
        }
        Unenrolled::Deny => "who has no device is refused, after the same prompts".to_owned(),
        Unenrolled::SkipUntil(date) => format!("who never had a device is let pass until {}", day(date)),
    });
    lines
}

fn unreachable(rule: &Rule, stage: Stage) -> Vec<String> {
    let mut factors = rule.codes.clone();
    factors.extend(rule.offline.iter().copied().filter(|factor| !rule.codes.contains(factor)));
    factors.retain(|factor| *factor != Factor::Lease);
    let line = match stage {
        Stage::Auth if !factors.is_empty() => format!("taken at the prompt: {}", words(&factors)),
        Stage::Auth => "refused, within 3 s, with the reason".to_owned(),
        Stage::Session => "refused, within 3 s, with the reason: this stage cannot ask".to_owned(),
    };
    let allowed = rule.allow_until.map(|date| {
        format!(
            "a login at the machine itself is let in without anything until {}, once the server has been away for {} s",
            day(date),
            ALLOWED_AFTER.as_secs()
        )
    });
    let lease = rule.leases().map(|_| match rule.leases_offline() {
        true => "a lease that was granted before lets in, unasked".to_owned(),
        false => "a lease is not taken".to_owned(),
    });
    allowed.into_iter().chain(lease).chain([line]).collect()
}

/// What a phone may grant beside an approval.
fn granted(lease: Lease) -> String {
    let uses = lease.uses.map(|uses| format!(", for {uses} logins at most")).unwrap_or_default();
    format!(
        "the phone may grant a lease with it, of up to {}{uses}: as long as it holds nobody is asked again",
        length(lease.up_to)
    )
}

fn length(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds => format!("{} min", seconds / 60),
    }
}

fn words(factors: &[Factor]) -> String {
    let words: Vec<&str> = factors
        .iter()
        .map(|factor| match factor {
            Factor::Recovery => "a recovery code",
            Factor::PhoneCode => "the eight digits that the phone makes out of the QR code shown",
            Factor::Totp => "an authenticator's six digits",
            Factor::Lease => "a lease",
        })
        .collect();
    words.join(", ")
}

fn day(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| "a day far off".to_owned(), |at| at.to_zoned(TimeZone::UTC).date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    fn of(text: &str, service: &str, stage: Stage) -> Meaning {
        let config = read(&format!("server = \"https://push.example.com\"\n[default]\n{text}")).unwrap();
        meaning(&config.default, service, stage)
    }

    #[test]
    fn the_default_is_told_as_it_is() {
        let meaning = of("", "sshd", Stage::Auth);
        assert_eq!(
            meaning.online,
            [
                "the user's phone is asked (for su and sudo to root the caller's), for 60 s",
                "the code that it shows is typed at the prompt; where nothing can be asked approving it is enough",
                "also taken at the prompt: a recovery code",
                "who has no device is refused, after the same prompts",
            ]
        );
        assert_eq!(meaning.offline, ["taken at the prompt: a recovery code"]);
        let session = of("", "sshd", Stage::Session);
        assert_eq!(session.online[1], "approving it is enough");
        assert!(session.offline[0].starts_with("refused"));
    }

    #[test]
    fn what_asks_nobody_says_so_and_observing_says_that_it_lets_pass() {
        for (text, begins) in [("then = \"skip\"", "let pass"), ("then = \"deny\"", "refused")] {
            let meaning = of(text, "sudo", Stage::Auth);
            assert_eq!(meaning.online, meaning.offline);
            assert!(meaning.online[0].starts_with(begins));
        }
        let observed = of("then = \"observe\"\ncodes = []\n", "sudo", Stage::Auth);
        for lines in [observed.online, observed.offline] {
            assert!(lines.last().unwrap().ends_with("PAM goes on"), "{lines:?}");
        }
    }

    #[test]
    fn a_lease_is_told_for_both() {
        let with = |text: &str| of(&format!("codes = []\n{text}\n"), "sshd", Stage::Session);
        let meaning = with("lease = { up_to = \"90m\", uses = 20 }\noffline = [\"lease\"]");
        assert!(meaning.online[2].contains("of up to 90 min, for 20 logins at most"), "{meaning:?}");
        assert_eq!(meaning.offline[0], "a lease that was granted before lets in, unasked");
        let meaning = with("lease = \"8h\"");
        assert!(meaning.online[2].contains("of up to 8 h:"), "{meaning:?}");
        assert_eq!(meaning.offline[0], "a lease is not taken");
        assert!(with("offline = [\"lease\"]").offline[0].starts_with("refused"));
    }

    #[test]
    fn a_date_and_a_wait_are_those_that_hold() {
        let meaning = of("wait = \"10m\"\nunenrolled = { skip_until = 2027-03-01 }\n", "sshd", Stage::Auth);
        assert!(meaning.online[0].ends_with("for 120 s"), "{meaning:?}");
        assert!(meaning.online[3].ends_with("until 2027-03-01"), "{meaning:?}");
        assert!(of("wait = \"10m\"", "sudo", Stage::Auth).online[0].ends_with("for 600 s"));
    }
}
