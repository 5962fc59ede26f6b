//! Taking a change back: by hand, by itself when nobody confirms it, and at the next boot.
//!
//! It needs nothing but the record and the files: no daemon, no server, no policy. A file that is as it was written gets
//! back what it was. Where somebody has edited it since, only our lines go. It can be done again after it was broken off anywhere.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use countersign_files::{Owner, read_trusted};
use serde::{Deserialize, Serialize};

use super::places::Places;
use super::record::{Changed, Now, Record, lock};
use super::{enabled, files, guard, log, marks, moment::Moment, sshd};
use crate::output::{Exit, Failure, Outcome, Output};

/// Why a change is taken back by itself.
pub(super) const UNCONFIRMED: &str = "nobody confirmed it in time";
/// Longest note.
const MAX_NOTE: usize = 64 * 1024;

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::commands) struct Note {
    /// Why.
    pub(super) why: String,
    /// When, in seconds since 1970.
    pub(super) at: u64,
    pub(super) services: Vec<String>,
    pub(super) files: Vec<Undone>,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Undone {
    pub(super) path: PathBuf,
    pub(super) how: How,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum How {
    /// It is what it was before.
    Restored,
    /// It was not changed yet.
    Untouched,
    /// Somebody had edited it: our lines are out, the rest stays.
    LinesTaken,
    /// Somebody had edited it, and there is nothing of ours in it.
    LeftAsEdited,
    /// Somebody has taken it away, and so it stays.
    Gone,
    /// It could not be: why.
    Failed(String),
}

/// `countersign rollback`.
pub(in crate::commands) fn run(places: &Places, why: &str, out: Output) -> Outcome<ExitCode> {
    let lock = lock(places)?;
    if !places.record().exists() {
        out.either(&serde_json::json!({ "rolled_back": null }), || {
            "No change waits: nothing was done.".to_owned()
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let note = take_back(places, why)?;
    drop(lock);
    out.either(&serde_json::json!({ "rolled_back": note }), || words(&note))?;
    Ok(if note.failed() { ExitCode::from(Exit::Broken as u8) } else { ExitCode::SUCCESS })
}

impl Note {
    pub(super) fn failed(&self) -> bool {
        self.files.iter().any(|file| matches!(file.how, How::Failed(_)))
    }
}

/// Takes back what waits. The record goes when nothing is left to do.
pub(super) fn take_back(places: &Places, why: &str) -> Outcome<Note> {
    let at = Moment::now().map_or(0, |now| now.unix);
    let mut note = Note { why: why.to_owned(), at, ..Note::default() };
    match Record::read(places) {
        Ok(Some(record)) => {
            note.services = record.services.clone();
            note.files = record.files.iter().map(|file| undone(places, file)).collect();
            forget(places, &record.new, &mut note);
        }
        Ok(None) => return Ok(note),
        Err(failure) if failure.exit == Exit::NotPermitted => return Err(failure),
        Err(failure) => {
            log::warning(&format!(
                "the record of the change is unusable ({}): its lines are looked for",
                failure.message
            ));
            by_marks(places, &mut note);
        }
    }
    if note.files.iter().any(|file| file.path == places.drop_in()) {
        // sshd reads what is there now; that it cannot is no reason to keep the change.
        if let Err(failure) = sshd::reload(places) {
            log::warning(&format!("sshd was not told to read its settings again: {}", failure.message));
        }
    }
    let is_failed = note.failed();
    for line in words(&note).lines() {
        if is_failed { log::alert(line) } else { log::warning(line) }
    }
    // Who does it by hand knows; what an earlier try could not take back is taken back now.
    if why == UNCONFIRMED || is_failed {
        keep_note(places, &note);
    } else if last(places).is_some_and(|note| note.failed()) {
        forget_note(places);
    }
    if !is_failed {
        Record::end(places).map_err(|error| Failure::broken(places.record().display(), error))?;
        guard::stop();
    }
    Ok(note)
}

fn undone(places: &Places, file: &Changed) -> Undone {
    let how = undo(places, file).unwrap_or_else(|failure| How::Failed(failure.message));
    Undone { path: file.path.clone(), how }
}

fn undo(places: &Places, file: &Changed) -> Outcome<How> {
    let broken = |error| Failure::broken(file.path.display(), error);
    files::clean(&file.path);
    let bytes = files::look(&file.path)?;
    match file.now(bytes.as_deref()) {
        Now::Before => Ok(How::Untouched),
        Now::Gone => Ok(How::Gone),
        Now::Edited => without_ours(&file.path, &bytes.unwrap_or_default()),
        Now::Written => match file.saved(places) {
            Ok(Some(old)) => files::replace(&file.path, &old)
                .or_else(|error| match file.saved_at(places) {
                    Some(saved) => files::put_back(&saved, &file.path),
                    None => Err(error),
                })
                .map(|()| How::Restored)
                .map_err(broken),
            Ok(None) => files::remove(&file.path).map(|()| How::Restored).map_err(broken),
            // The saved file is damaged, and ours is what was written: our lines are known.
            Err(_) => without_ours(&file.path, &bytes.unwrap_or_default()),
        },
    }
}

fn without_ours(path: &std::path::Path, bytes: &[u8]) -> Outcome<How> {
    let stripped = marks::strip(bytes);
    if stripped.taken == 0 {
        return Ok(How::LeftAsEdited);
    }
    let broken = |error| Failure::broken(path.display(), error);
    files::shorten(path, &stripped.text).map(|()| How::LinesTaken).map_err(broken)
}

/// Without a usable record: our lines go out of every service that is not known to have been on before.
fn by_marks(places: &Places, note: &mut Note) {
    let on = enabled::read(places).unwrap_or_default();
    for name in super::disable::marked(places).difference(&on) {
        let path = places.service(name);
        let how = files::look(&path)
            .and_then(|bytes| without_ours(&path, &bytes.unwrap_or_default()))
            .unwrap_or_else(|failure| How::Failed(failure.message));
        note.services.push(name.clone());
        note.files.push(Undone { path, how });
    }
    if !on.contains("sshd") {
        match sshd::take_drop_in(places) {
            Ok(true) => note.files.push(Undone { path: places.drop_in(), how: How::Restored }),
            Ok(false) => {}
            Err(failure) => {
                note.files.push(Undone { path: places.drop_in(), how: How::Failed(failure.message) });
            }
        }
    }
}

/// A change that was broken off while it was confirmed may have got as far as the list.
fn forget(places: &Places, new: &[String], note: &mut Note) {
    let written = enabled::read(places).and_then(|mut on| {
        let new: BTreeSet<&String> = new.iter().collect();
        on.retain(|name| !new.contains(name));
        enabled::write(places, &on, &[])
    });
    if let Err(failure) = written {
        note.files.push(Undone { path: places.enabled(), how: How::Failed(failure.message) });
    }
}

fn keep_note(places: &Places, note: &Note) {
    let bytes = serde_json::to_vec(note).unwrap_or_default();
    if let Err(error) = countersign_files::replace(&places.note(), &bytes) {
        log::warning(&format!("{}: {error}", places.note().display()));
    }
}

fn forget_note(places: &Places) {
    if let Err(error) = files::remove(&places.note()) {
        log::warning(&format!("{}: {error}", places.note().display()));
    }
}

/// What was taken back last, or could not be, where nothing was turned on since.
pub(super) fn last(places: &Places) -> Option<Note> {
    let text = read_trusted(&places.note(), Owner::own(), MAX_NOTE).ok()?;
    serde_json::from_str(&text).ok()
}

/// For the person at the terminal, and the log.
pub(super) fn words(note: &Note) -> String {
    let done = if note.failed() { "was NOT taken back, or not all of it" } else { "was taken back" };
    let mut text = format!("{} {done}: {}.\n", note.services.join(", "), note.why);
    for Undone { path, how } in &note.files {
        let path = path.display();
        text.push_str(&match how {
            How::Restored => format!("{path} is as it was before.\n"),
            How::Untouched => format!("{path} had not been changed.\n"),
            How::LinesTaken => {
                format!("{path} was edited since: only the lines of countersign enable were taken out.\n")
            }
            How::LeftAsEdited => {
                format!("{path} was edited since, and nothing in it is of countersign enable.\n")
            }
            How::Gone => format!("{path} was taken away since, and stays away.\n"),
            How::Failed(why) => {
                format!("NOT TAKEN BACK: {path}: {why}. Mend that, then: countersign rollback\n")
            }
        });
    }
    text
}
