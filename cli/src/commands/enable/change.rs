//! Making a change that is taken back unless somebody confirms it.

use std::path::Path;

use super::places::Places;
use super::plan::Plan;
use super::record::{Record, lock};
use super::{files, guard, log, moment::Moment, rollback, session, sshd};
use crate::output::{Exit, Failure, Outcome};

/// Saves, sets the clock, writes. After an error everything is as it was.
pub(super) fn carry_out(places: &Places, etc: &Path, plan: &Plan, within: u64) -> Outcome<Record> {
    let refused = |text: String| Failure::new(Exit::Refused, text);
    let Some(_lock) = lock(places)? else {
        return Err(refused("another countersign enable or disable is at work: try again".to_owned()));
    };
    if places.record().exists() {
        return Err(refused(
            "an earlier change waits: countersign confirm, or countersign rollback".to_owned(),
        ));
    }
    for edit in &plan.edits {
        if files::read(&edit.path)? != edit.old {
            return Err(refused(format!("{} was changed meanwhile: try again", edit.path.display())));
        }
    }
    let session = session::audit_session();
    let mut record =
        Record::begin(places, plan.services.clone(), plan.new.clone(), &plan.edits, within, session)?;
    if let Err(failure) = guard::start(places, etc, &record) {
        Record::end(places).map_err(|error| Failure::broken(places.record().display(), error))?;
        return Err(failure);
    }
    log::notice(&format!(
        "{} is turned on, and off in {within} s unless it is confirmed",
        plan.services.join(", ")
    ));
    match write(places, plan, &mut record) {
        Ok(()) => Ok(record),
        Err(failure) => {
            let note = rollback::take_back(places, &failure.message)?;
            let end = if note.failed() { rollback::words(&note) } else { "Nothing was changed".to_owned() };
            Err(Failure::new(failure.exit, format!("{}. {}", failure.message, end.trim_end())))
        }
    }
}

fn write(places: &Places, plan: &Plan, record: &mut Record) -> Outcome {
    let broken = |path: &Path, error: std::io::Error| Failure::broken(path.display(), error);
    for edit in &plan.edits {
        // Stopped and gone on after the two minutes, this must not write any more.
        if !places.record().exists() {
            return Err(Failure::new(Exit::Refused, "it was taken back meanwhile"));
        }
        files::replace_or_make(&edit.path, &edit.new, edit.mode)
            .map_err(|error| broken(&edit.path, error))?;
    }
    if plan.edits.iter().any(|edit| edit.path == places.drop_in()) {
        sshd::effective(places)?;
        sshd::reload(places)?;
    }
    // From the last change on: whoever came in before has come by the old lines.
    record.finished = Some(Moment::now()?);
    record.write(places)?;
    // What was taken back once is of no interest any more.
    files::remove(&places.note()).map_err(|error| broken(&places.note(), error))
}
