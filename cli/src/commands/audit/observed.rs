//! `countersign audit observed`: what an observing policy would have done, before it is made to do it.

use super::show::records;
use crate::output::{Outcome, Output, table};
use countersign_protocol::audit::{NO_DEVICE, Record};
use countersign_protocol::text::escape;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Wanted;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Observed {
    logins: usize,
    rows: Vec<Row>,
    without_device: BTreeSet<String>,
}

/// One user at one service.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Row {
    user: String,
    service: String,
    let_in: usize,
    refused: usize,
    /// The commonest reason of a refusal.
    why: Option<String>,
}

/// Prints it; all that the log holds, or the last days of it.
pub(in crate::commands) fn observed(file: &Path, days: Option<u32>, out: Output) -> Outcome<ExitCode> {
    let records = records(file, &Wanted { seq: None, last: None, user: None })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    let since = days.map_or(0, |days| now.saturating_sub(u64::from(days) * DAY_MS));
    let observed = count(records.iter().filter(|record| record.at_ms >= since));
    out.either(&observed, || words(&observed))?;
    Ok(ExitCode::SUCCESS)
}

fn count<'r>(records: impl Iterator<Item = &'r Record>) -> Observed {
    let mut observed = Observed::default();
    let mut rows: BTreeMap<(String, String), (Row, BTreeMap<String, usize>)> = BTreeMap::new();
    for record in records.filter(|record| record.event == "observed") {
        observed.logins += 1;
        let text = |field: &Option<String>| field.clone().unwrap_or_else(|| "-".to_owned());
        let (user, service, reason) = (text(&record.user), text(&record.service), text(&record.reason));
        let (row, reasons) = rows.entry((user.clone(), service.clone())).or_default();
        (row.user, row.service) = (user, service);
        match record.outcome.as_deref() {
            Some("granted" | "ignored") => row.let_in += 1,
            _ => {
                row.refused += 1;
                *reasons.entry(reason.clone()).or_default() += 1;
            }
        }
        if reason.contains(NO_DEVICE) {
            observed.without_device.insert(row.user.clone());
        }
    }
    observed.rows = rows
        .into_values()
        .map(|(row, reasons)| Row {
            why: reasons.into_iter().max_by_key(|(_, number)| *number).map(|(why, _)| why),
            ..row
        })
        .collect();
    observed
}

fn words(observed: &Observed) -> String {
    if observed.logins == 0 {
        return "No login was observed. Those are that a rule with then = \"observe\" in the policy decides, once each is over."
            .to_owned();
    }
    let rows: Vec<_> = observed
        .rows
        .iter()
        .map(|row| {
            let why = row.why.clone().unwrap_or_else(|| "-".to_owned());
            vec![row.user.clone(), row.service.clone(), row.let_in.to_string(), row.refused.to_string(), why]
        })
        .collect();
    let mut text = table(&["USER", "SERVICE", "WOULD PASS", "WOULD BE REFUSED", "MOSTLY BECAUSE"], &rows);
    let refused: usize = observed.rows.iter().map(|row| row.refused).sum();
    let logins = match observed.logins {
        1 => "1 login was".to_owned(),
        n => format!("{n} logins were"),
    };
    text.push_str(&format!(
        "\n{logins} let pass and observed; with then = \"approve\" {refused} of them would have been refused.\n"
    ));
    if !observed.without_device.is_empty() {
        let users: Vec<_> = observed.without_device.iter().map(|user| escape(user)).collect();
        text.push_str(&format!("Without a device, so pair one first: {}\n", users.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(event: &str, user: &str, outcome: &str, reason: &str) -> Record {
        let text = |text: &str| Some(text.to_owned());
        Record {
            event: event.to_owned(),
            user: text(user),
            service: text("sshd"),
            outcome: text(outcome),
            reason: text(reason),
            ..Record::default()
        }
    }

    #[test]
    fn it_says_who_would_have_been_refused_and_why() {
        let records = [
            record("observed", "alice", "granted", "approved"),
            record("observed", "alice", "expired", "nobody decided in time"),
            record("observed", "alice", "denied", "denied"),
            record("observed", "alice", "denied", "denied"),
            record("observed", "bob", "expired", &format!("nobody decided in time {NO_DEVICE}")),
            record("login", "carol", "denied", "denied"),
        ];
        let observed = count(records.iter());
        assert_eq!((observed.logins, observed.rows.len()), (5, 2));
        let alice = &observed.rows[0];
        assert_eq!((alice.let_in, alice.refused, alice.why.as_deref()), (1, 3, Some("denied")));
        let text = words(&observed);
        assert!(
            text.contains("5 logins were let pass") && text.contains("4 of them would have been"),
            "{text}"
        );
        assert!(text.ends_with("pair one first: bob\n"), "{text}");
        // The policy's reference prints this one.
        let printed: String = text
            .lines()
            .map(|line| if line.is_empty() { "\n".into() } else { format!("    {line}\n") })
            .collect();
        assert!(include_str!("../../../../docs/policy.md").contains(&printed), "{printed}");

        let one = words(&count(records.iter().take(1)));
        assert!(one.contains("\n1 login was let pass") && one.contains(" 0 of them would"), "{one}");
    }

    #[test]
    fn without_observing_it_says_what_is_needed() {
        assert!(words(&count(std::iter::empty())).contains("then = \"observe\""));
    }
}
