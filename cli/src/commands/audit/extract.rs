//! `countersign audit show SEQ --extract DIR`: what ssh-keygen needs to check a record.

use super::approvers;
use crate::output::{Exit, Failure, Outcome, Output};
use countersign_protocol::audit::Record;
use countersign_protocol::message::Decision;
use countersign_protocol::message::namespace;
use countersign_protocol::signed::verify_unpinned;
use countersign_protocol::signers::Revoked;
use countersign_protocol::text::{escape, is_principal};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(super) fn extract(record: &Record, into: &Path, paths: &[PathBuf], out: Output) -> Outcome {
    let mut parts: Vec<(String, &str)> = [
        ("request", &record.request),
        ("request.sig", &record.request_signature),
        ("decision", &record.decision),
        ("decision.sig", &record.decision_signature),
        ("removal", &record.removal),
        ("removal.sig", &record.removal_signature),
    ]
    .into_iter()
    .filter_map(|(name, text)| Some((name.to_owned(), text.as_deref()?)))
    .collect();
    for (number, one) in (2..).zip(&record.further) {
        parts.push((format!("decision-{number}"), &one.decision));
        parts.push((format!("decision-{number}.sig"), &one.decision_signature));
    }
    for (number, certificate) in (1..).zip(&record.certificates) {
        parts.push((format!("certificate-{number}.pub"), certificate));
    }
    if parts.is_empty() {
        let text = format!("record {} ({}) carries nothing signed", record.seq, escape(&record.event));
        return Err(Failure::new(Exit::Refused, text));
    }
    match DirBuilder::new().mode(0o700).create(into) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(Failure::broken(into.display(), e)),
        _ => (),
    }
    let mut files = Vec::new();
    for (name, text) in parts {
        let path = into.join(name);
        write(&path, text.as_bytes())?;
        files.push(path.display().to_string());
    }
    let command = commands(record, into, paths)?;
    out.either(&serde_json::json!({ "files": files, "command": command }), || {
        let mut text = format!("Written: {}\n", files.join(" "));
        match &command {
            Some(command) => text.push_str(&format!("Check the decision by hand:\n{command}\n")),
            None => text.push_str("The record holds no decision to check.\n"),
        }
        text
    })
}

/// Never through a link and never over something: this may run as root in a shared directory.
fn write(path: &Path, bytes: &[u8]) -> Outcome {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| {
            match e.kind() {
                ErrorKind::AlreadyExists => Failure::new(
                    Exit::Refused,
                    format!("{} is there already: choose an empty directory", path.display()),
                ),
                ErrorKind::PermissionDenied => {
                    Failure::new(Exit::NotPermitted, format!("{}: {e}", path.display()))
                }
                _ => Failure::broken(path.display(), e),
            }
        })?;
    file.write_all(bytes).map_err(|e| Failure::broken(path.display(), e))
}

/// The lines that check all decisions.
pub(super) fn commands(record: &Record, into: &Path, paths: &[PathBuf]) -> Outcome<Option<String>> {
    let mut lines = Vec::from_iter(command(record, into, paths)?);
    for (number, one) in (2..).zip(&record.further) {
        let name = format!("decision-{number}");
        let decision = (name.as_str(), one.decision.as_str(), one.decision_signature.as_str());
        lines.extend(line(record, decision, &one.approver, into, paths)?);
    }
    Ok((!lines.is_empty()).then(|| lines.join("\n")))
}

/// The line that checks the decision, with the file that lists its key if one does.
pub(super) fn command(record: &Record, into: &Path, paths: &[PathBuf]) -> Outcome<Option<String>> {
    let (Some(decision), Some(signature)) = (&record.decision, &record.decision_signature) else {
        return Ok(None);
    };
    let Some(who) = record.approver.as_deref().or(record.user.as_deref()).filter(|who| is_principal(who))
    else {
        return Ok(None);
    };
    line(record, ("decision", decision, signature), who, into, paths)
}

/// The same for one of its decisions, in the file of that name.
fn line(
    record: &Record,
    (name, decision, signature): (&str, &str, &str),
    who: &str,
    into: &Path,
    paths: &[PathBuf],
) -> Outcome<Option<String>> {
    if !is_principal(who) {
        return Ok(None);
    }
    let at = record.at_ms / 1000;
    let signed = verify_unpinned::<Decision>(decision.as_bytes(), signature).map(|v| v.signed);
    let listing = approvers(paths)?.into_iter().find_map(|(path, signers)| {
        let signed = signed.as_ref().ok()?;
        signers.authorize(who, namespace::DECISION, signed, at, &Revoked::default()).ok()?;
        Some(path)
    });
    let Some(file) = listing.as_ref().or(paths.last()) else { return Ok(None) };
    let when = jiff::Timestamp::from_second(at.try_into().unwrap_or(i64::MAX))
        .map_err(|e| Failure::broken(format!("record {}", record.seq), e))?
        .strftime("%Y%m%d%H%M%SZ");
    let body = into.join(name);
    Ok(Some(format!(
        "ssh-keygen -Y verify -f {} -I {} -n {} -Overify-time={when} -s {} < {}",
        quote(&file.to_string_lossy()),
        quote(who),
        namespace::DECISION,
        quote(&into.join(format!("{name}.sig")).to_string_lossy()),
        quote(&body.to_string_lossy()),
    )))
}

/// Quotes a word for a shell where it needs it.
fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-@".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
