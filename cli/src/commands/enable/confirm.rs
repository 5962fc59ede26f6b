//! Keeping a change, from a login that began since.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use countersign_files::{Links, open_regular};
use countersign_protocol::audit;
use serde_json::json;

use super::places::Places;
use super::record::{Record, lock};
use super::{enabled, files, guard, log, moment, restore, rollback, session};
use crate::args::Confirm;
use crate::output::{Exit, Failure, Outcome, Output};

/// How much of the audit's end is looked at.
const MAX_TAIL: u64 = 8 << 20;
/// So many seconds too late it is taken back here, as nobody else has done it.
const OVERDUE: u64 = 10;

pub(super) fn run(places: &Places, args: &Confirm, out: Output) -> Outcome<ExitCode> {
    let refused = |text: String| Failure::new(Exit::Refused, text);
    let Some(_lock) = lock(places)? else {
        return Err(refused("another countersign enable or disable is at work: try again".to_owned()));
    };
    let Some(record) = Record::read(places)? else {
        return Err(refused(match rollback::last(places) {
            Some(note) => format!(
                "nothing waits to be confirmed: {}",
                rollback::words(&note).lines().next().unwrap_or_default()
            ),
            None => "nothing waits to be confirmed".to_owned(),
        }));
    };
    if is_overdue(&record)? {
        let note = rollback::take_back(places, rollback::UNCONFIRMED)?;
        return Err(refused(format!("it is too late. {}", rollback::words(&note).trim_end())));
    }
    session::is_new(&record)?;
    let passed = passed(&args.audit, &record, since(&record)?);
    // Who still comes in by ssh can mend the rest.
    let needs_ssh = record.services.iter().any(|name| name == "sshd") && !passed.contains("sshd");
    if (passed.is_empty() || needs_ssh) && !args.untested {
        let by = if needs_ssh { "sshd".to_owned() } else { record.services.join(" or ") };
        return Err(refused(format!(
            "nobody was let in by {by} since the change: log in that way first. --untested keeps it all the same"
        )));
    }
    for name in &record.services {
        let path = places.service(name);
        if !files::look(&path)?.is_some_and(|bytes| restore::is_whole(places, name, &bytes)) {
            let text = format!(
                "{} was edited and does not ask any more: countersign rollback, then begin anew",
                path.display()
            );
            return Err(refused(text));
        }
    }
    let mut on = enabled::read(places)?;
    on.extend(record.services.iter().cloned());
    enabled::write(places, &on, &record.services)?;
    Record::end(places).map_err(|error| Failure::broken(places.record().display(), error))?;
    guard::stop();
    log::notice(&format!("{} is on: confirmed", record.services.join(", ")));
    let untested: Vec<&String> = record.services.iter().filter(|name| !passed.contains(*name)).collect();
    out.either(&json!({ "confirmed": record.services, "untested": untested }), || {
        let verb = if record.services.len() == 1 { "asks" } else { "ask" };
        let mut text = format!("Confirmed: {} {verb} from now on.\n", record.services.join(", "));
        if !untested.is_empty() {
            let names: Vec<&str> = untested.iter().map(|name| name.as_str()).collect();
            text.push_str(&format!(
                "Nobody has come in by {} yet: try it while you have this shell.\n",
                names.join(", ")
            ));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

fn is_overdue(record: &Record) -> Outcome<bool> {
    let end = record.began.since_boot.saturating_add((record.within + OVERDUE).saturating_mul(1000));
    Ok(record.boot != moment::boot()? || moment::Moment::now()?.since_boot > end)
}

/// When the change was made, in milliseconds since 1970. To the millisecond: the approval that `enable` asks for as a test comes
/// within the same second, and is no login.
fn since(record: &Record) -> Outcome<u64> {
    let Some(finished) = record.finished else { return Ok(u64::MAX) };
    let ago = moment::Moment::now()?.since_boot.saturating_sub(finished.since_boot);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Ok(u64::try_from(now).unwrap_or(u64::MAX).saturating_sub(ago))
}

/// Those of the services by which somebody was let in since then, as the audit has it.
fn passed(log: &Path, record: &Record, since: u64) -> BTreeSet<String> {
    let text = tail(log).unwrap_or_default();
    let records = text.lines().filter_map(|line| serde_json::from_str::<audit::Record>(line).ok());
    let is_in = |one: &audit::Record| {
        one.at_ms >= since && matches!(one.outcome.as_deref(), Some("granted" | "ignored"))
    };
    records
        .filter(is_in)
        .filter_map(|one| one.service)
        .filter_map(|name| changed_as(&name, &record.services).map(str::to_owned))
        .collect()
}

/// The changed service whose lines such a login passes: `su -` comes as su-l, whose file includes that of su.
fn changed_as<'a>(name: &'a str, services: &[String]) -> Option<&'a str> {
    let plain = ["-l", "-i"].iter().find_map(|login| name.strip_suffix(login));
    [Some(name), plain].into_iter().flatten().find(|name| services.iter().any(|service| service == name))
}

fn tail(path: &Path) -> Option<String> {
    let mut file = open_regular(path, Links::Refused, OpenOptions::new().read(true)).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn su_with_a_dash_passes_the_lines_of_su() {
        let services = ["su".to_owned(), "sshd".to_owned()];
        assert_eq!(changed_as("su-l", &services), Some("su"));
        assert_eq!(changed_as("sshd", &services), Some("sshd"));
        for other in ["sudo", "sudo-i", "login", "-l", ""] {
            assert_eq!(changed_as(other, &services), None, "{other}");
        }
        let both = ["su".to_owned(), "su-l".to_owned()];
        assert_eq!(changed_as("su-l", &both), Some("su-l"));
    }
}
