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
    let parts = [
        ("request", &record.request),
        ("request.sig", &record.request_signature),
        ("decision", &record.decision),
        ("decision.sig", &record.decision_signature),
        ("removal", &record.removal),
        ("removal.sig", &record.removal_signature),
    ];
    if parts.iter().all(|(_, text)| text.is_none()) {
        let text = format!("record {} ({}) carries nothing signed", record.seq, escape(&record.event));
        return Err(Failure::new(Exit::Refused, text));
    }
    match DirBuilder::new().mode(0o700).create(into) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(Failure::broken(into.display(), e)),
        _ => (),
    }
    let mut files = Vec::new();
    for (name, text) in parts {
        if let Some(text) = text {
            let path = into.join(name);
            write(&path, text.as_bytes())?;
            files.push(path.display().to_string());
        }
    }
    let command = command(record, into, paths)?;
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

/// The line that checks the decision, with the file that lists its key if one does.
pub(super) fn command(record: &Record, into: &Path, paths: &[PathBuf]) -> Outcome<Option<String>> {
    let (Some(decision), Some(signature)) = (&record.decision, &record.decision_signature) else {
        return Ok(None);
    };
    let Some(who) = record.approver.as_deref().or(record.user.as_deref()).filter(|who| is_principal(who))
    else {
        return Ok(None);
    };
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
    let body = into.join("decision");
    Ok(Some(format!(
        "ssh-keygen -Y verify -f {} -I {} -n {} -Overify-time={when} -s {} < {}",
        quote(&file.to_string_lossy()),
        quote(who),
        namespace::DECISION,
        quote(&into.join("decision.sig").to_string_lossy()),
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
