//! Turning services off: exactly the marked lines go. It needs no daemon, and nothing that it does can lock anybody out.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::places::Places;
use super::plan::VENDOR;
use super::record::lock;
use super::{enabled, files, log, marks, rollback, services, sshd};
use crate::args::Disable;
use crate::output::{Exit, Failure, Outcome, Output};

/// Most files of the folder that are looked at.
const MAX_SERVICES: usize = 4096;

#[derive(Default)]
struct Done {
    changed: Vec<String>,
    said: Vec<String>,
    by_hand: Vec<String>,
    failed: Vec<String>,
}

pub(super) fn run(places: &Places, args: &Disable, out: Output) -> Outcome<ExitCode> {
    let mut done = Done::default();
    for name in &args.services {
        if !services::is_name(name) {
            return Err(Failure::new(
                Exit::Usage,
                "a service has the name of a file in /etc/pam.d: sshd, sudo, su, login",
            ));
        }
    }
    // Whoever takes lines out goes on though another one does not end.
    let _lock = lock(places)?;
    if !args.dry_run && places.record().exists() {
        let note = rollback::take_back(places, "countersign disable was run before it was confirmed")?;
        done.changed.extend(note.services.clone());
        done.said.extend(rollback::words(&note).lines().map(str::to_owned));
    }
    let names = wanted(places, args);
    if !args.dry_run {
        // First the list: what is no longer on it is not put back.
        let mut on = enabled::read(places).unwrap_or_default();
        on.retain(|name| !names.contains(name));
        if let Err(failure) = enabled::write(places, &on, &[]) {
            done.failed.push(failure.message);
        }
    }
    for name in &names {
        // One that cannot be changed keeps nobody from the others.
        if let Err(failure) = take_out(places, name, args.dry_run, &mut done) {
            done.failed.push(failure.message);
        }
    }
    if !args.dry_run && !enabled::read(places)?.contains("sshd") && (args.all || names.contains("sshd")) {
        settings(places, &mut done)?;
    }
    if args.all {
        done.by_hand = by_hand(places);
    }
    if !args.dry_run && !done.changed.is_empty() {
        log::notice(&format!("{} is off", done.changed.join(", ")));
    }
    let object = json!({
        "changed": done.changed, "remarks": done.said, "by_hand": done.by_hand, "failed": done.failed,
        "dry_run": args.dry_run,
    });
    out.either(&object, || words(&done, args))?;
    if !done.failed.is_empty() {
        return Err(Failure::new(Exit::Broken, done.failed.join("; ")));
    }
    Ok(if done.by_hand.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Exit::Refused as u8) })
}

/// Those that were named with what goes with them, or all that have our marks.
fn wanted(places: &Places, args: &Disable) -> BTreeSet<String> {
    if args.all {
        let mut names = marked(places);
        names.extend(enabled::read(places).unwrap_or_default());
        return names;
    }
    let on = enabled::read(places).unwrap_or_default();
    let companions = args.services.iter().filter_map(|name| services::companion(name)).map(str::to_owned);
    let companions = companions.filter(|name| on.contains(name));
    args.services.iter().cloned().chain(companions).collect()
}

fn take_out(places: &Places, name: &str, is_dry: bool, done: &mut Done) -> Outcome {
    let path = places.service(name);
    let Some(bytes) = files::look(&path)? else {
        done.said.push(format!("{} is not there.", path.display()));
        return Ok(());
    };
    let stripped = marks::strip(&bytes);
    for line in &stripped.kept {
        done.said.push(format!("{}: left as somebody else's: {line}", path.display()));
    }
    for line in marks::by_hand(&bytes) {
        done.said.push(format!(
            "{}:{line} calls {}, written by hand: it stays.",
            path.display(),
            marks::MODULE
        ));
    }
    if stripped.taken == 0 {
        return Ok(());
    }
    if !is_dry {
        files::shorten(&path, &stripped.text).map_err(|error| Failure::broken(path.display(), error))?;
    }
    let vendor = Path::new(VENDOR).join(name);
    if files::look(&vendor).is_ok_and(|vendors| vendors.is_some_and(|text| text == stripped.text)) {
        done.said.push(format!(
            "{} is a copy of {} now: remove it, and that one is read again.",
            path.display(),
            vendor.display()
        ));
    }
    done.changed.push(name.to_owned());
    Ok(())
}

/// sshd's file of ours, when sshd asks no longer.
fn settings(places: &Places, done: &mut Done) -> Outcome {
    let path = places.drop_in();
    if sshd::take_drop_in(places)? {
        done.said.push(format!("{} is removed.", path.display()));
        if let Err(failure) = sshd::reload(places) {
            done.said.push(format!("sshd was not told: {}", failure.message));
        }
    } else if path.exists() {
        done.said.push(format!("{} was edited, and stays.", path.display()));
    }
    Ok(())
}

fn words(done: &Done, args: &Disable) -> String {
    let mut text: String = done
        .said
        .iter()
        .flat_map(|line| [countersign_protocol::text::escape(line).into_owned(), "\n".to_owned()])
        .collect();
    text.push_str(&match (done.changed.is_empty(), args.dry_run) {
        (true, _) => "No lines of countersign enable are there: nothing was changed.\n".to_owned(),
        (false, true) => format!("Would take the lines out of: {}\n", done.changed.join(", ")),
        (false, false) => format!("Off: {}\n", done.changed.join(", ")),
    });
    if !done.by_hand.is_empty() {
        text.push_str(
            "These lines were written by hand and remain. Without the module PAM lets nobody pass them:\n",
        );
        done.by_hand.iter().for_each(|place| text.push_str(&format!("  {place}\n")));
        text.push_str(
            "Take each out together with the line above it that lets countersign-breakglass pass: alone that one leads past the\n\
             next line, which may be the password's. Where these stand in place of others, put those in again.\n",
        );
    }
    text
}

/// The services that have our marks.
pub(super) fn marked(places: &Places) -> BTreeSet<String> {
    all(places).into_iter().filter(|(_, bytes)| marks::strip(bytes).taken > 0).map(|(name, _)| name).collect()
}

/// Where lines by hand call our module.
fn by_hand(places: &Places) -> Vec<String> {
    let found = all(places).into_iter().flat_map(|(name, bytes)| {
        let path = places.service(&name);
        marks::by_hand(&bytes).into_iter().map(move |line| format!("{}:{line}", path.display()))
    });
    found.collect()
}

fn all(places: &Places) -> Vec<(String, Vec<u8>)> {
    let entries =
        std::fs::read_dir(places.pam()).into_iter().flatten().take(MAX_SERVICES).filter_map(Result::ok);
    let mut found: Vec<(String, Vec<u8>)> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| services::is_name(name) && !name.contains(".dpkg-") && !name.ends_with(".rpmsave"))
        .filter_map(|name| Some((name.clone(), files::look(&places.service(&name)).ok()??)))
        .collect();
    found.sort();
    found
}
