//! What a Debian package says of itself. apt does not compare that with the repository's list, from which it has name and
//! version, and dpkg goes by what is inside: a list could call any package `hello`, or Countersign's own.

use super::tool::Tool;
use super::transaction::{Change, Transaction, word};
use crate::output::{Exit, Failure, Outcome};
use countersign_protocol::text::escape;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const DPKG_DEB: &str = "/usr/bin/dpkg-deb";
/// Most bytes that are read of what dpkg-deb says.
const MAX_SAID: u64 = 4096;
/// How many are asked about at once.
const AT_ONCE: usize = 8;
/// How long it may take for one package.
const WITHIN: Duration = Duration::from_secs(30);

/// Whether each file is the package that apt takes it for.
///
/// # Errors
/// Names the first one that is not, or that cannot be read.
pub(super) fn check(transaction: &Transaction) -> Outcome {
    let changes: Vec<_> =
        transaction.changes.iter().filter_map(|change| Some((change, change.file.as_deref()?))).collect();
    for some in changes.chunks(AT_ONCE) {
        // All of them start before the first one is heard.
        let asked: Vec<_> = some.iter().map(|(_, file)| ask(file)).collect();
        for ((change, file), asked) in some.iter().zip(asked) {
            check_one(change, file, asked)?;
        }
    }
    Ok(())
}

fn check_one(change: &Change, file: &Path, asked: io::Result<Tool>) -> Outcome {
    let place = || escape(&file.to_string_lossy()).into_owned();
    let said = fields(asked).map_err(|why| Failure::broken(place(), why))?;
    if is_it(change, &said) {
        return Ok(());
    }
    let said: Vec<_> = said.lines().map(escape).collect();
    let new = change.new.as_deref().unwrap_or_default();
    Err(Failure::new(
        Exit::Refused,
        format!(
            "{}: apt takes it for {} {} {}, and the package itself says {}. Nothing was installed; the list of that \
             repository is wrong",
            place(),
            word(&change.name),
            word(new),
            word(&change.architecture),
            said.join(", "),
        ),
    ))
}

fn ask(file: &Path) -> io::Result<Tool> {
    let mut command = Command::new(DPKG_DEB);
    command.arg("--field").arg(file).args(["Package", "Version", "Architecture"]);
    Tool::start(&mut command, WITHIN)
}

fn fields(asked: io::Result<Tool>) -> Result<String, String> {
    let said = asked.and_then(|tool| tool.text(MAX_SAID)).map_err(|error| format!("{DPKG_DEB}: {error}"))?;
    if said.is_empty() { Err("it is not a Debian package".to_owned()) } else { Ok(said) }
}

fn is_it(change: &Change, said: &str) -> bool {
    let expected = format!(
        "Package: {}\nVersion: {}\nArchitecture: {}\n",
        change.name,
        change.new.as_deref().unwrap_or_default(),
        change.architecture
    );
    said == expected
}

#[cfg(test)]
mod tests {
    use super::super::transaction::What;
    use super::*;

    #[test]
    fn a_package_is_what_it_says_itself() {
        let change = Change {
            what: What::Upgrade,
            name: "countersign".into(),
            architecture: "amd64".into(),
            old: Some("1".into()),
            new: Some("1:2".into()),
            file: Some("/c.deb".into()),
            sha256: None,
            origin: None,
        };
        let said = "Package: countersign\nVersion: 1:2\nArchitecture: amd64\n";
        assert!(is_it(&change, said));
        for (from, to) in
            [("countersign", "evil"), ("1:2", "2"), ("amd64", "all"), ("Architecture: amd64\n", "")]
        {
            assert!(!is_it(&change, &said.replace(from, to)), "{to}");
        }
        assert!(!is_it(&Change { new: None, ..change }, said));
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.deb");
        std::fs::write(&file, "!<arch>\n").unwrap();
        assert!(fields(ask(&file)).is_err());
    }
}
