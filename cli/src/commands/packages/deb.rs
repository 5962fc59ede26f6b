//! What a Debian package says of itself. apt does not compare that with the repository's list, from which it has name and
//! version, and dpkg goes by what is inside: a list could call any package `hello`, or Countersign's own.

use super::transaction::{Change, Transaction, word};
use crate::output::{Exit, Failure, Outcome};
use countersign_protocol::text::escape;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

const DPKG_DEB: &str = "/usr/bin/dpkg-deb";
/// Most bytes that are read of what dpkg-deb says.
const MAX_SAID: u64 = 4096;

/// Whether each file is the package that apt takes it for.
///
/// # Errors
/// Names the first one that is not, or that cannot be read.
pub(super) fn check(transaction: &Transaction) -> Outcome {
    for change in &transaction.changes {
        if let Some(file) = &change.file {
            check_one(change, file)?;
        }
    }
    Ok(())
}

fn check_one(change: &Change, file: &Path) -> Outcome {
    let place = || escape(&file.to_string_lossy()).into_owned();
    let said = fields(file).map_err(|why| Failure::broken(place(), why))?;
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

fn fields(file: &Path) -> Result<String, String> {
    let why = |e: std::io::Error| format!("{DPKG_DEB}: {e}");
    let mut command = Command::new(DPKG_DEB);
    command.arg("--field").arg(file).args(["Package", "Version", "Architecture"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(why)?;
    let mut said = String::new();
    let read = child.stdout.take().map_or(Ok(0), |out| out.take(MAX_SAID).read_to_string(&mut said));
    let status = child.wait().map_err(why)?;
    read.map_err(why)?;
    if status.success() { Ok(said) } else { Err("it is not a Debian package".to_owned()) }
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
        assert!(fields(&file).is_err());
    }
}
