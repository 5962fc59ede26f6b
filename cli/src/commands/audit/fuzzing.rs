//! The ways of `countersign audit` without its printing.

use super::{extract, show, verify};
use crate::output::Outcome;
use std::path::{Path, PathBuf};

/// Verifies a log; gives the digest of its last line.
pub(crate) fn verified(file: &Path, approvers: &[PathBuf]) -> Outcome<String> {
    verify::check(file, None, approvers, None).map(|checked| checked.head)
}

/// What is shown of a log, as a list and record by record, and the lines that would check its decisions.
pub(crate) fn shown(file: &Path, approvers: &[PathBuf]) -> Outcome<Vec<String>> {
    let wanted = show::Wanted { seq: None, last: None, user: None };
    let records = show::records(file, &wanted)?;
    let mut texts = vec![show::listed(&records)];
    for record in &records {
        texts.push(show::in_full(record));
        texts.extend(extract::command(record, Path::new("/out"), approvers)?);
    }
    Ok(texts)
}
