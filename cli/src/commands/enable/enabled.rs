//! The list of the services that are on: a name a line. A package's trigger reads it to put lines back that an upgrade took.

use std::collections::{BTreeMap, BTreeSet};

use countersign_files::{FileFault, Owner, read_trusted};

use countersign_protocol::digest::{is_hex, sha256_hex};

use super::places::Places;
use super::{files, marks};
use crate::output::{Failure, Outcome};

/// Longest list.
const MAX_LIST: usize = 64 * 1024;
/// Between a name and the digest of its file without our lines.
const BASE: &str = "  # without our lines: ";
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

/// For each service whose file is known without our lines: its digest then. A file that is just that had them taken out by hand;
/// one that an upgrade brought is another.
pub(super) fn bases(places: &Places) -> BTreeMap<String, String> {
    let text = read_trusted(&places.enabled(), Owner::own(), MAX_LIST).unwrap_or_default();
    text.lines().filter_map(base).collect()
}

fn base(line: &str) -> Option<(String, String)> {
    let (name, digest) = line.split_once(BASE)?;
    is_hex(digest.trim(), 64).then(|| (name.trim().to_owned(), digest.trim().to_owned()))
}

/// Writes the list, where it is another one. The files of the services in `fresh` are looked at anew.
pub(super) fn write(places: &Places, names: &BTreeSet<String>, fresh: &[String]) -> Outcome {
    let path = places.enabled();
    let broken = |error| Failure::broken(path.display(), error);
    if names.is_empty() {
        return files::remove(&path).map_err(broken);
    }
    let mut bases = bases(places);
    for name in fresh {
        let bytes = files::look(&places.service(name))?.unwrap_or_default();
        bases.insert(name.clone(), sha256_hex(&marks::strip(&bytes).text));
    }
    let line = |name: &String| match bases.get(name) {
        Some(digest) => format!("{name}{BASE}{digest}\n"),
        None => format!("{name}\n"),
    };
    let text = format!("{HEAD}{}", names.iter().map(line).collect::<String>()).into_bytes();
    if files::look(&path).is_ok_and(|old| old.as_ref() == Some(&text)) {
        return Ok(());
    }
    files::replace(&path, &text).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_the_digest_of_its_file_behind_it() {
        let digest = "4f".repeat(32);
        let text = format!("# head\nsshd{BASE}{digest}\n\nsudo\n../x\nsu{BASE}4f\n");
        assert_eq!(names(&text).into_iter().collect::<Vec<_>>(), ["sshd", "su", "sudo"]);
        assert_eq!(text.lines().filter_map(base).collect::<Vec<_>>(), [("sshd".to_owned(), digest)]);
    }
}
