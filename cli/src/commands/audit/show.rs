//! `countersign audit show`.

use super::Lines;
use super::extract::extract;
use crate::output::{Exit, Failure, Outcome, Output, date, table, time};
use countersign_protocol::audit::Record;
use countersign_protocol::text::escape;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Which records.
pub(in crate::commands) struct Wanted<'a> {
    pub(in crate::commands) seq: Option<u64>,
    pub(in crate::commands) last: Option<usize>,
    pub(in crate::commands) user: Option<&'a str>,
}

pub(in crate::commands) fn show(
    file: &Path,
    wanted: &Wanted<'_>,
    into: Option<&Path>,
    approvers: &[PathBuf],
    out: Output,
) -> Outcome<ExitCode> {
    let records = records(file, wanted)?;
    let Some(seq) = wanted.seq else {
        out.either(&serde_json::json!({ "records": records }), || {
            if records.is_empty() { "No records.".to_owned() } else { listed(&records) }
        })?;
        return Ok(ExitCode::SUCCESS);
    };
    let Some(record) = records.front() else {
        return Err(Failure::new(Exit::Refused, format!("{}: there is no record {seq}", file.display())));
    };
    match into {
        Some(into) => extract(record, into, approvers, out)?,
        None => out.either(record, || in_full(record))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn records(file: &Path, wanted: &Wanted<'_>) -> Outcome<VecDeque<Record>> {
    let mut lines = Lines::open(file)?;
    let mut found = VecDeque::new();
    let mut number = 0usize;
    while let Some(line) = lines.next()? {
        number += 1;
        let record: Record = serde_json::from_str(&line).map_err(|_| {
            let text =
                format!("{}: line {number} is not a record: see countersign audit verify", file.display());
            Failure::new(Exit::Broken, text)
        })?;
        let is_wanted = wanted.seq.is_none_or(|seq| record.seq == seq)
            && wanted.user.is_none_or(|user| record.user.as_deref() == Some(user));
        if is_wanted {
            found.push_back(record);
        }
        if wanted.last.is_some_and(|last| found.len() > last) {
            found.pop_front();
        }
    }
    Ok(found)
}

pub(super) fn listed(records: &VecDeque<Record>) -> String {
    let text = |t: &Option<String>| t.clone().unwrap_or_else(|| "-".into());
    let rows: Vec<_> = records
        .iter()
        .map(|r| {
            vec![
                r.seq.to_string(),
                date(r.at_ms / 1000),
                r.event.clone(),
                text(&r.user),
                r.action.iter().fold(text(&r.service), |service, action| format!("{service} {action}")),
                text(&r.remote),
                text(&r.outcome),
                text(&r.factor),
                text(&r.reason),
            ]
        })
        .collect();
    table(&["SEQ", "WHEN", "EVENT", "USER", "SERVICE", "FROM", "OUTCOME", "FACTOR", "REASON"], &rows)
}

pub(super) fn in_full(r: &Record) -> String {
    let at = r.at_ms / 1000;
    let mut lines = vec![
        ("record", r.seq.to_string()),
        ("when", format!("{} ({})", date(at), time(at))),
        ("event", r.event.clone()),
    ];
    let parts = [
        ("user", &r.user),
        ("service", &r.service),
        ("stage", &r.stage),
        ("host", &r.host),
        ("from", &r.remote),
        ("outcome", &r.outcome),
        ("factor", &r.factor),
        ("decided by", &r.approver),
        ("device", &r.device),
        ("action", &r.action),
        ("detail", &r.detail),
        ("origins", &(!r.origins.is_empty()).then(|| r.origins.join(", "))),
        ("list", &r.list),
        ("rule", &r.rule),
        ("reason", &r.reason),
        ("login", &r.login),
        ("request", &r.request),
        ("decision", &r.decision),
        ("removal", &r.removal),
        ("follows", &Some(r.previous.clone())),
    ];
    lines.extend(parts.into_iter().filter_map(|(label, text)| Some((label, text.clone()?))));
    for one in &r.further {
        for (label, text) in
            [("decided by", &one.approver), ("device", &one.device), ("decision", &one.decision)]
        {
            lines.push((label, text.clone()));
        }
    }
    lines.extend(r.certificates.iter().map(|certificate| ("certified", certificate.clone())));
    let mut text: String =
        lines.into_iter().map(|(label, value)| format!("{label:<11}{}\n", escape(&value))).collect();
    if r.decision.is_some() {
        text.push_str(&format!(
            "Check the signature by hand: countersign audit show {} --extract DIR\n",
            r.seq
        ));
    }
    text
}
