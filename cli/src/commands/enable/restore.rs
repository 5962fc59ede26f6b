//! Putting lines back that an upgrade took out of a service that is on. A package's trigger runs it: it says nothing but to the
//! log, and never fails.

use countersign_protocol::digest::sha256_hex;

use super::places::Places;
use super::record::lock;
use super::{enabled, files, log, marks, place, plan, sshd};
use crate::output::{Exit, Failure, Outcome};

pub(super) fn run(places: &Places, module: &str) {
    let on = match enabled::read(places) {
        Ok(on) if on.is_empty() => return,
        Ok(on) => on,
        Err(failure) => {
            return log::warning(&format!("which services are on is not known: {}", failure.message));
        }
    };
    // Lines whose module is not there, or has no policy, let nobody pass.
    if let Err(failure) = plan::is_installed(module) {
        return log::warning(&format!("nothing is put back: {}", failure.message));
    }
    if !places.policy().exists() {
        return log::warning(&format!("nothing is put back: there is no {}", places.policy().display()));
    }
    // A change that waits will be confirmed or taken back first; both know what to do with an edited file.
    match lock(places) {
        Ok(Some(_lock)) if !places.record().exists() => {
            for name in &on {
                match service(places, name, module) {
                    Ok(true) => log::notice(&format!(
                        "{name}: the lines of countersign enable are back after an upgrade"
                    )),
                    Ok(false) => {}
                    Err(failure) => {
                        log::warning(&format!("{name} DOES NOT ASK ANY MORE: {}", failure.message))
                    }
                }
            }
            if on.contains("sshd")
                && let Err(failure) = settings(places)
            {
                log::warning(&format!("sshd: {}", failure.message));
            }
        }
        Ok(_) => log::notice("nothing is put back while a change waits to be confirmed"),
        Err(failure) => log::warning(&failure.message),
    }
}

/// Whether the lines of all its stages are there, or come from another service's.
pub(super) fn is_whole(places: &Places, name: &str, bytes: &[u8]) -> bool {
    plan::stages(name).iter().all(|stage| marks::has(bytes, stage.name()))
        || marks::strip(bytes).taken == 0
            && plan::asks(&plan::folders(places), name)
            && plan::stages(name).len() == 1
}

fn service(places: &Places, name: &str, module: &str) -> Outcome<bool> {
    let path = places.service(name);
    let Some(old) = files::read(&path)? else {
        return Err(Failure::broken(path.display(), "it is not there"));
    };
    if is_whole(places, name, &old) {
        return Ok(false);
    }
    let refused = |why: &str| {
        let text = format!(
            "{}: {why}: countersign enable {name} puts them back, countersign disable {name} ends it",
            path.display()
        );
        Err(Failure::new(Exit::Refused, text))
    };
    // An upgrade brings a file without a trace of ours. Whoever has taken our lines out by hand has had a reason.
    if String::from_utf8_lossy(&old).contains("countersign") {
        return refused("somebody has edited our lines");
    }
    if enabled::bases(places).get(name) == Some(&sha256_hex(&old)) {
        return refused("somebody has taken our lines out, and nothing else has changed");
    }
    let placed = place::place(&plan::folders(places), name, &old, module, plan::stages(name))?;
    files::replace(&path, &placed.text).map_err(|error| Failure::broken(path.display(), error))?;
    let on = enabled::read(places)?;
    enabled::write(places, &on, &[name.to_owned()])?;
    Ok(true)
}

fn settings(places: &Places) -> Outcome {
    if let Some(edit) = sshd::edit(places)? {
        files::replace(&edit.path, &edit.new).map_err(|error| Failure::broken(edit.path.display(), error))?;
        sshd::effective(places)?;
        sshd::reload(places)?;
    }
    Ok(())
}
