//! Whose packages they are, by what apt itself has verified: a package is an origin's when the very file, by its SHA-256, stands in
//! a list of a repository that apt trusts, and that calls itself so. A name and version would fit other files as well.

use super::apt::Settings;
use super::transaction::{Transaction, is_origin};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

const APT_GET: &str = "/usr/bin/apt-get";
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";
/// Most repositories' lists that are looked through.
const MAX_LISTS: usize = 500;
/// Most bytes that are read of what apt says of its lists.
const MAX_TARGETS: u64 = 8 * 1024 * 1024;
/// Most bytes that are read of one list; the largest of Debian's have 60 million.
const MAX_LIST: u64 = 1024 * 1024 * 1024;

/// A list of packages that apt has, and whose it is.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    file: String,
    origin: String,
}

/// Fills in the origins that can be known. What goes wrong leaves them unknown.
pub(super) fn fill(transaction: &mut Transaction, settings: &Settings) {
    let mut wanted: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, change) in transaction.changes.iter().enumerate() {
        if let Some(sha256) = &change.sha256 {
            wanted.entry(sha256.clone()).or_default().push(index);
        }
    }
    let Some(targets) = targets(settings) else { return };
    for list in lists(&targets) {
        if wanted.is_empty() {
            break;
        }
        for index in found_in(&list.file, &mut wanted) {
            transaction.changes[index].origin = Some(list.origin.clone());
        }
    }
}

fn targets(settings: &Settings) -> Option<String> {
    let mut command = Command::new(APT_GET);
    command.args(["indextargets", "Created-By: Packages"]);
    for (name, value) in &settings.places {
        command.arg("-o").arg(format!("{name}={value}"));
    }
    let (mut child, output) = started(&mut command)?;
    let mut text = String::new();
    let read = output.take(MAX_TARGETS).read_to_string(&mut text);
    let succeeded = ended(&mut child);
    (read.is_ok() && succeeded).then_some(text)
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

/// Takes those out of `wanted` that stand in a list. apt's own helper reads it, whichever way it is compressed.
fn found_in(list: &str, wanted: &mut HashMap<String, Vec<usize>>) -> Vec<usize> {
    let Some((mut child, output)) = started(Command::new(APT_HELPER).args(["cat-file", list])) else {
        return Vec::new();
    };
    let found = found(BufReader::new(output.take(MAX_LIST)), wanted);
    // It may be left in the middle, once all were found.
    let _ = child.kill();
    ended(&mut child);
    found
}

fn found(list: impl BufRead, wanted: &mut HashMap<String, Vec<usize>>) -> Vec<usize> {
    let mut found = Vec::new();
    for line in list.split(b'\n') {
        let Ok(line) = line else { break };
        let digest = line.strip_prefix(b"SHA256: ").and_then(|digest| std::str::from_utf8(digest).ok());
        found.extend(digest.and_then(|digest| wanted.remove(digest)).into_iter().flatten());
        if wanted.is_empty() {
            break;
        }
    }
    found
}

fn started(command: &mut Command) -> Option<(Child, ChildStdout)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let output = child.stdout.take()?;
    Some((child, output))
}

fn ended(child: &mut Child) -> bool {
    child.wait().is_ok_and(|status| status.success())
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
        let mut indices = found(list.as_bytes(), &mut wanted);
        indices.sort_unstable();
        assert_eq!(indices, [0, 3]);
        assert_eq!(wanted.into_keys().collect::<Vec<_>>(), [two]);
    }
}
