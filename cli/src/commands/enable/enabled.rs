//! The list of the services that are on: a name a line. A package's trigger reads it to put lines back that an upgrade took.

use std::collections::BTreeSet;

use countersign_files::{FileFault, Owner, read_trusted};

use super::places::Places;
use crate::output::{Failure, Outcome};

/// Longest list.
const MAX_LIST: usize = 64 * 1024;
const HEAD: &str = "# Services that countersign enable has put its lines into, and will again where an upgrade takes them out.\n# \
                    countersign disable SERVICE takes one out.\n";

/// Their names.
pub(super) fn read(places: &Places) -> Outcome<BTreeSet<String>> {
    let path = places.enabled();
    match read_trusted(&path, Owner::own(), MAX_LIST) {
        Ok(text) => Ok(names(&text)),
        Err(FileFault::Missing) => Ok(BTreeSet::new()),
        Err(fault) => Err(Failure::broken(path.display(), fault)),
    }
}

fn names(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| super::services::is_name(line)).map(str::to_owned).collect()
}

/// Writes the list, where it is another one.
pub(super) fn write(places: &Places, names: &BTreeSet<String>) -> Outcome {
    let path = places.enabled();
    if read(places).is_ok_and(|old| old == *names) {
        return Ok(());
    }
    let broken = |error| Failure::broken(path.display(), error);
    if names.is_empty() {
        return super::files::remove(&path).map_err(broken);
    }
    let list: String = names.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
    super::files::replace(&path, format!("{HEAD}{list}").as_bytes()).map_err(broken)
}
