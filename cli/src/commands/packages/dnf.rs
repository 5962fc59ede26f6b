//! What the dnf plugin says: a JSON object on a line for each package.

use super::transaction::{Change, MAX_CHANGES, MAX_FIELD, Transaction, What, is_origin};
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    what: What,
    name: String,
    architecture: String,
    old: Option<String>,
    new: Option<String>,
    file: Option<PathBuf>,
    /// The repository's id: the administrator's own name for it.
    repository: Option<String>,
}

/// Reads it all.
///
/// # Errors
/// What is wrong, and in which line.
pub(super) fn parse(input: &[u8]) -> Result<Transaction, String> {
    let text = std::str::from_utf8(input).map_err(|_| "what the dnf plugin said is no UTF-8 text")?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("what the dnf plugin said ends within a line".to_owned());
    }
    let mut changes = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let at =
            |fault: &dyn std::fmt::Display| format!("line {number} of what the dnf plugin said: {fault}");
        let line: Line = serde_json::from_str(line).map_err(|e| at(&e))?;
        changes.push(change(line).map_err(|e| at(&e))?);
        if changes.len() > MAX_CHANGES {
            return Err(format!("more than {MAX_CHANGES} packages at once: do it in parts"));
        }
    }
    Ok(Transaction::new(changes, None))
}

fn change(line: Line) -> Result<Change, &'static str> {
    let texts = [Some(&line.name), Some(&line.architecture), line.old.as_ref(), line.new.as_ref()];
    if texts.into_iter().flatten().any(|text| text.is_empty() || text.len() > MAX_FIELD) {
        return Err("a field is empty or too long");
    }
    let unpacks = !matches!(line.what, What::Remove | What::Configure);
    if unpacks != line.file.is_some() || line.file.as_ref().is_some_and(|file| !file.is_absolute()) {
        return Err(
            "its file has to be there, with a whole path, where something is unpacked, and only there",
        );
    }
    Ok(Change {
        what: line.what,
        name: line.name,
        architecture: line.architecture,
        old: line.old,
        new: line.new,
        file: line.file,
        sha256: None,
        origin: line.repository.filter(|id| is_origin(id)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugins_lines_are_understood() {
        let text = concat!(
            r#"{"what":"upgrade","name":"a","architecture":"noarch","old":"1-1","new":"2-1","file":"/a.rpm","repository":"lab"}"#,
            "\n",
            r#"{"what":"remove","name":"b","architecture":"noarch","old":"1-1"}"#,
            "\n"
        );
        let transaction = parse(text.as_bytes()).unwrap();
        let [remove, upgrade] = transaction.changes.as_slice() else { panic!("{transaction:?}") };
        assert_eq!((remove.what, remove.name.as_str(), upgrade.what), (What::Remove, "b", What::Upgrade));
        assert_eq!(transaction.origins(), ["lab"]);
        assert!(parse(b"").unwrap().changes.is_empty());
    }

    #[test]
    fn whatever_is_not_understood_is_refused() {
        let install = |rest: &str| {
            format!(r#"{{"what":"install","name":"a","architecture":"x","new":"1"{rest}}}"#) + "\n"
        };
        assert!(parse(install(r#","file":"/a.rpm""#).as_bytes()).is_ok());
        for bad in [
            install(""),
            install(r#","file":"a.rpm""#),
            install(r#","file":"/a.rpm","more":1"#),
            install(r#","file":"/a.rpm""#).trim_end().to_owned(),
            install(r#","file":"/a.rpm""#).replace("install", "obsolete"),
            install(r#","file":"/a.rpm""#).replace(r#""a""#, r#""""#),
            install(r#","file":"/a.rpm""#).replace(r#""a""#, &format!("\"{}\"", "a".repeat(MAX_FIELD + 1))),
            "\n".to_owned(),
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let many = install(r#","file":"/a.rpm""#).repeat(MAX_CHANGES + 1);
        assert!(parse(many.as_bytes()).unwrap_err().contains("do it in parts"));
    }
}
