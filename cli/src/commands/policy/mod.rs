//! `countersign policy`: what the administrator's policy means, without a daemon and without a login.

mod explain;
mod named;
mod people;
mod services;

pub(in crate::commands) use explain::membership;

use std::path::Path;
use std::process::ExitCode;

use countersign_files::Owner;
use countersign_policy::{Advice, Config, check, load};
use countersign_protocol::text::escape;
use jiff::Timestamp;
use serde::Serialize;

use crate::args::Policy;
use crate::output::{Exit, Failure, Outcome, Output};

/// What only the daemon can say, as whose user it runs.
const ITS_FILES: &str =
    "Not looked at: the files of \"hook\" and \"server_ca\". A reload does, and countersignd --check.";

/// Runs one of its commands.
pub(super) fn run(command: &Policy, run: &Path, out: Output) -> Outcome<ExitCode> {
    match command {
        Policy::Check { config, pam } => checked(config, pam, run, out),
        Policy::Explain(login) => explain::run(login, run, out),
    }
}

#[derive(Serialize)]
struct Checked<'a> {
    faults: &'a [String],
    advice: Vec<Said<'a>>,
}

#[derive(Serialize)]
struct Said<'a> {
    rule: &'a str,
    kind: &'static str,
    text: &'a str,
}

/// Exits with 5 where the policy has faults, with 1 where there is something to think about.
fn checked(path: &Path, pam: &Path, run: &Path, out: Output) -> Outcome<ExitCode> {
    let config = match load(path, Owner::own()) {
        Ok(config) => config,
        Err(faults) if out.json => {
            out.object(&Checked { faults: &faults.lines, advice: Vec::new() })?;
            return Ok(ExitCode::from(Exit::Broken as u8));
        }
        // Escaped where they are drawn.
        Err(faults) => {
            return Err(Failure::new(
                Exit::Broken,
                format!("this policy is not taken:\n{}", faults.drawings.join("\n")),
            ));
        }
    };
    let services = services::asking(pam);
    let mut advice = check(&config, services.as_deref(), Timestamp::now());
    let names_people = config.rules.iter().chain([&config.default]).any(|rule| rule.approvals.is_some());
    let users = names_people.then(|| people::with_device(run));
    advice.extend(people::advice(&config, users.as_ref().and_then(Option::as_deref))?);
    let said: Vec<Said<'_>> =
        advice.iter().map(|one| Said { rule: &one.rule, kind: one.kind.word(), text: &one.text }).collect();
    let mut not_known = Vec::new();
    if services.is_none() {
        not_known.push("Which PAM services ask countersign is not known: the PAM folder cannot be read.");
    }
    if matches!(users, Some(None)) {
        not_known.push("Who has a device is not known: countersignd does not answer, or not to this user.");
    }
    if config.hook.is_some() || config.server_ca.is_some() {
        not_known.push(ITS_FILES);
    }
    out.either(&Checked { faults: &[], advice: said }, || words(&config, &advice, &not_known))?;
    Ok(if advice.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Exit::Refused as u8) })
}

fn words(config: &Config, advice: &[Advice], not_known: &[&str]) -> String {
    let mut text: String = advice
        .iter()
        .map(|one| format!("{} \"{}\": {}\n", one.kind.word(), escape(&one.rule), escape(&one.text)))
        .collect();
    let rules = match config.rules.len() {
        1 => "1 rule and the default".to_owned(),
        number => format!("{number} rules and the default"),
    };
    let found = match advice.len() {
        0 => "nothing to think about".to_owned(),
        1 => "1 thing to think about".to_owned(),
        number => format!("{number} things to think about"),
    };
    text.push_str(&format!("{rules}: no faults, {found}\n"));
    for line in not_known {
        text.push_str(&format!("{line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_looked_at_stands_below_the_sum() {
        let config = countersign_policy::read("server = \"https://push.example.com\"\n").unwrap();
        let text = words(&config, &[], &[ITS_FILES]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["0 rules and the default: no faults, nothing to think about", ITS_FILES]);
    }
}
