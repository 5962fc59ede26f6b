//! Whose packages they are, by what apt itself has verified: a package is an origin's when the very file, by its SHA-256, stands in
//! a list of a repository that apt trusts, and that calls itself so. A name and version would fit other files as well.

use super::apt::Settings;
use super::tool::Tool;
use super::transaction::{Transaction, is_origin};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};
use std::process::Command;
use std::time::{Duration, Instant};

const APT_GET: &str = "/usr/bin/apt-get";
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";
/// Most repositories' lists that are looked through.
const MAX_LISTS: usize = 500;
/// Most bytes that are read of what apt says of its lists.
const MAX_TARGETS: u64 = 8 * 1024 * 1024;
/// Most bytes that are read of one list; the largest of Debian's have 60 million.
const MAX_LIST: u64 = 1024 * 1024 * 1024;
/// How long apt's tools may take together.
const WITHIN: Duration = Duration::from_secs(60);

/// A list of packages that apt has, and whose it is.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    file: String,
    origin: String,
}

/// Fills in the origins that can be known. What goes wrong leaves them unknown.
///
/// # Errors
/// What took too long, or could not be started: then nobody knows why no rule takes them.
pub(super) fn fill(transaction: &mut Transaction, settings: &Settings) -> io::Result<()> {
    let end = Instant::now() + WITHIN;
    let mut wanted: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, change) in transaction.changes.iter().enumerate() {
        if let Some(sha256) = &change.sha256 {
            wanted.entry(sha256.clone()).or_default().push(index);
        }
    }
    let mut command = Command::new(APT_GET);
    command.args(["indextargets", "Created-By: Packages"]);
    for (name, value) in &settings.places {
        command.arg("-o").arg(format!("{name}={value}"));
    }
    let targets = Tool::start(&mut command, WITHIN)?.text(MAX_TARGETS)?;
    for list in lists(&targets) {
        if wanted.is_empty() {
            break;
        }
        for index in found_in(&list.file, &mut wanted, end)? {
            transaction.changes[index].origin = Some(list.origin.clone());
        }
    }
    Ok(())
}

/// The lists of repositories that apt trusts and that have a name.
fn lists(targets: &str) -> Vec<Listed> {
    let field = |stanza: &str, name: &str| {
        stanza.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.trim().to_owned()))
    };
    let listed = |stanza: &str| {
        let origin = field(stanza, "Origin").filter(|origin| is_origin(origin))?;
        (field(stanza, "Trusted")? == "yes").then_some(())?;
        Some(Listed { file: field(stanza, "Filename")?, origin })
    };
    targets.split("\n\n").filter_map(listed).take(MAX_LISTS).collect()
}

/// Takes those out of `wanted` that stand in a list. apt's own helper reads it, whichever way it is compressed; it is
/// left in the middle once all were found.
fn found_in(list: &str, wanted: &mut HashMap<String, Vec<usize>>, end: Instant) -> io::Result<Vec<usize>> {
    let within = end.saturating_duration_since(Instant::now());
    let tool = Tool::start(Command::new(APT_HELPER).args(["cat-file", list]), within)?;
    found(BufReader::new(tool.take(MAX_LIST)), wanted)
}

fn found(list: impl BufRead, wanted: &mut HashMap<String, Vec<usize>>) -> io::Result<Vec<usize>> {
    let mut found = Vec::new();
    for line in list.split(b'\n') {
        let line = line?;
        let digest = line.strip_prefix(b"SHA256: ").and_then(|digest| std::str::from_utf8(digest).ok());
        found.extend(digest.and_then(|digest| wanted.remove(digest)).into_iter().flatten());
        if wanted.is_empty() {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lists_of_trusted_repositories_with_a_name_count() {
        let stanza = |origin: &str, trusted: &str, file: &str| {
            format!("MetaKey: Packages\nFilename: {file}\nOrigin: {origin}\nTrusted: {trusted}\nSite: x\n")
        };
        let all = [
            stanza("Debian", "yes", "/a"),
            stanza("Debian", "no", "/b"),
            stanza("", "yes", "/c"),
            stanza("Deb\u{202e}ian", "yes", "/d"),
            "Filename: /e\nTrusted: yes\n".to_owned(),
            "Filename: /f\nOrigin: Lab\n".to_owned(),
        ];
        let debian = Listed { file: "/a".into(), origin: "Debian".into() };
        assert_eq!(lists(&all.join("\n")), [debian]);
    }

    #[test]
    fn files_are_found_by_their_digest_alone() {
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let mut wanted = HashMap::from([(one.clone(), vec![0, 3]), (two.clone(), vec![1])]);
        let list = format!(
            "Package: a\nSHA256: {one}\n\nPackage: b\nDescription: SHA256: {two}\n SHA256: {two}\n\u{0}"
        );
        let mut indices = found(list.as_bytes(), &mut wanted).unwrap();
        indices.sort_unstable();
        assert_eq!(indices, [0, 3]);
        assert_eq!(wanted.into_keys().collect::<Vec<_>>(), [two]);
    }
}
