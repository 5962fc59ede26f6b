//! What is on, what waits, and what went wrong: `countersign enable` by itself, and what `countersign status` says of it.

use std::path::Path;
use std::process::ExitCode;

use countersign_protocol::text::escape;
use serde_json::json;

use super::moment::{Moment, boot};
use super::places::Places;
use super::record::Record;
use super::{enabled, files, restore, rollback};
use crate::output::{Exit, Outcome, Output, date, time};

/// How many seconds after its time a change may be in taking back.
const LATE: u64 = 15;

/// `countersign enable` without services.
pub(super) fn run(places: &Places, out: Output) -> Outcome<ExitCode> {
    let on = enabled::read(places)?;
    let pending = Record::read(places).ok().flatten();
    let troubles = troubles_at(places);
    let object = json!({
        "on": on,
        "pending": pending.as_ref().map(|one| json!({ "services": one.services, "rolls_back_at": one.began.unix + one.within })),
        "troubles": troubles,
    });
    out.either(&object, || {
        let mut text = match on.is_empty() {
            true if pending.is_some() => String::new(),
            true => "Nothing is on: countersign enable SERVICE\n".to_owned(),
            false => format!("On: {}\n", on.iter().cloned().collect::<Vec<_>>().join(", ")),
        };
        troubles.iter().for_each(|line| text.push_str(&format!("{}\n", escape(line))));
        text
    })?;
    Ok(if troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Exit::Refused as u8) })
}

/// What somebody should know: a line each. Only what the caller may read is in it.
pub(in crate::commands) fn troubles(etc: &Path) -> Vec<String> {
    troubles_at(&Places::of(etc))
}

/// Whether a change still waits that should have been taken back by now.
fn is_overdue(record: &Record) -> bool {
    let end = record.began.since_boot.saturating_add(record.within.saturating_add(LATE).saturating_mul(1000));
    let is_late = Moment::now().is_ok_and(|now| now.since_boot > end);
    // Before anybody can log in it is taken back at each boot.
    is_late || boot().is_ok_and(|boot| boot != record.boot)
}

fn troubles_at(places: &Places) -> Vec<String> {
    let mut lines = Vec::new();
    match Record::read(places) {
        Ok(Some(record)) if is_overdue(&record) => lines.push(format!(
            "NOT TAKEN BACK: {}, which nobody has confirmed and which should have been at {}: countersign rollback does it, or says why it cannot.",
            record.services.join(", "),
            time(record.began.unix + record.within)
        )),
        Ok(Some(record)) => lines.push(format!(
            "Waiting to be confirmed: {}, from a new login (sudo countersign confirm); at {} it is taken back.",
            record.services.join(", "),
            time(record.began.unix + record.within)
        )),
        // Who is not root is not told.
        Err(failure) if failure.exit != Exit::NotPermitted => {
            lines.push(format!("{}. countersign rollback puts things right.", failure.message));
        }
        _ => {}
    }
    if let Some(note) = rollback::last(places) {
        lines.push(format!("{}: {}", date(note.at), rollback::words(&note).trim_end().replace('\n', " ")));
    }
    for name in enabled::read(places).unwrap_or_default() {
        let path = places.service(&name);
        let is_whole = match files::read(&path) {
            Ok(Some(bytes)) => restore::is_whole(places, &name, &bytes),
            Ok(None) => false,
            // Not for everybody to read.
            Err(_) => true,
        };
        if !is_whole {
            lines.push(format!(
                "{name} DOES NOT ASK: the lines of countersign enable are not in {}: countersign enable {name}",
                path.display()
            ));
        }
    }
    lines
}
