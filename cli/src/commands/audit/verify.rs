//! `countersign audit verify`: the chain of hashes, and every signature in it.

use super::leases::Leases;
use super::{Lines, approvers, bad, read_text};
use crate::args::Mark;
use crate::output::{Failure, Outcome, Output};
use countersign_protocol::audit::{Chain, ChainFault, Record};
use countersign_protocol::keys::PublicKey;
use countersign_protocol::message::{Request, namespace};
use countersign_protocol::signers::{AllowedSigners, Revoked};
use countersign_protocol::sshsig::Signed;
use countersign_protocol::text::escape;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Longest file of a public key.
const MAX_KEY: usize = 16 * 1024;

pub(in crate::commands) fn verify(
    file: &Path,
    host_key: Option<&Path>,
    approver_files: &[PathBuf],
    has: Option<&Mark>,
    out: Output,
) -> Outcome<ExitCode> {
    let Checked { records, decisions, host_key, head } = check(file, host_key, approver_files, has)?;
    let result = serde_json::json!({
        "valid": true, "records": records, "decisions": decisions, "host_key": host_key, "head": head,
    });
    out.either(&result, || {
        let mut text = format!("Valid: {records} records in one chain, {decisions} signed decisions.\n");
        if let Some(key) = host_key {
            text.push_str(&format!("The requests are signed by {key}: compare with countersign status.\n"));
        }
        text.push_str(&match has {
            Some(mark) => format!("Record {} is the one that was looked for.\n", mark.seq),
            None => format!(
                "The last record is {records}:{head}: that a log was cut at its end shows only by --has, with such a \
                 value from a log that is kept elsewhere.\n"
            ),
        });
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What a log in order says.
pub(super) struct Checked {
    records: u64,
    decisions: u64,
    /// Fingerprint of the key that signed the requests.
    host_key: Option<String>,
    /// Digest of the last line.
    pub(super) head: String,
}

pub(super) fn check(
    file: &Path,
    host_key: Option<&Path>,
    approver_files: &[PathBuf],
    has: Option<&Mark>,
) -> Outcome<Checked> {
    let signers = approvers(approver_files)?.into_iter().map(|(_, signers)| signers).collect();
    let host_key = host_key.map(read_key).transpose()?;
    let mut verifier = Verifier {
        signers,
        host_key,
        paired: HashSet::new(),
        former: HashSet::new(),
        leases: Leases::default(),
        decisions: 0,
    };
    let mut lines = Lines::open(file)?;
    let mut chain = Chain::new();
    let mut number = 0u64;
    while let Some(line) = lines.next()? {
        number += 1;
        let record = chain.follow(&line).map_err(|fault| {
            // A changed line is betrayed by the one after it.
            let at = if fault == ChainFault::Changed { number - 1 } else { number };
            bad(file, at, &fault.to_string())
        })?;
        verifier.check(&record).map_err(|why| bad(file, number, &format!("record {}: {why}", record.seq)))?;
        if let Some(mark) = has
            && mark.seq == record.seq
            && mark.digest != chain.head()
        {
            let why = format!(
                "record {} is another one than was written: its digest is {}",
                mark.seq,
                chain.head()
            );
            return Err(bad(file, number, &why));
        }
    }
    if let Some(mark) = has
        && mark.seq > chain.last()
    {
        let why =
            format!("record {} was written and is gone: the last one here is {}", mark.seq, chain.last());
        return Err(Failure::broken(file.display(), why));
    }
    Ok(Checked {
        records: number,
        decisions: verifier.decisions,
        host_key: verifier.host_key.as_ref().map(PublicKey::fingerprint),
        head: chain.head().to_owned(),
    })
}

fn read_key(path: &Path) -> Outcome<PublicKey> {
    let text = read_text(path, MAX_KEY)?;
    PublicKey::from_openssh(text.trim()).map_err(|e| Failure::broken(path.display(), e))
}

struct Verifier {
    signers: Vec<AllowedSigners>,
    /// The key of all requests: given, or the first one's.
    host_key: Option<PublicKey>,
    /// Users and devices that the log itself shows as paired at this point. A device that was
    /// revoked later is in no approvers file, and its old decisions were good all the same.
    paired: HashSet<(String, String)>,
    /// Those that it shows as removed. A request that they had approved before has ended without them.
    former: HashSet<(String, String)>,
    leases: Leases,
    decisions: u64,
}

impl Verifier {
    fn check(&mut self, record: &Record) -> Result<(), String> {
        // A device that removes itself was paired until now, and one that is paired by itself was not.
        self.check_evidence(record)?;
        if let (Some(user), Some(device)) = (&record.user, &record.device) {
            let pair = (user.clone(), device.clone());
            match record.event.as_str() {
                "paired" => {
                    self.paired.insert(pair);
                }
                "revoked" | "unpaired" => {
                    self.paired.remove(&pair);
                    self.former.insert(pair);
                }
                // It was written down, and then could not be done.
                "revoke-failed" if self.former.remove(&pair) => {
                    self.paired.insert(pair);
                }
                _ => (),
            }
        }
        Ok(())
    }

    fn check_evidence(&mut self, record: &Record) -> Result<(), String> {
        if let (None, Some(request)) = (&self.host_key, &record.request) {
            let request: Request = serde_json::from_str(request)
                .map_err(|e| format!("its request: {}", escape(&e.to_string())))?;
            self.host_key =
                Some(PublicKey::from_line(&request.host.key).map_err(|e| format!("its host key: {e}"))?);
        }
        let Some(host_key) = &self.host_key else {
            // Without any request nothing can be signed.
            if record.decision.is_some() {
                return Err("a decision without a request".into());
            }
            let removal = record.removal_evidence().map_err(|e| e.to_string())?;
            return removal.map_or(Ok(()), |removal| {
                self.check_signer(record, who(record), "removal", &removal.signed, false)
            });
        };
        let evidence = record.evidence(host_key).map_err(|e| e.to_string())?;
        if let Some(removal) = &evidence.removal {
            self.check_signer(record, who(record), "removal", &removal.signed, false)?;
        }
        self.leases.check(record, &evidence)?;
        let or_before = !opened_by_decision(record);
        if let Some(decision) = &evidence.decision {
            self.check_signer(record, who(record), "decision", &decision.signed, or_before)?;
        }
        for (one, decision) in record.further.iter().zip(&evidence.further) {
            self.check_signer(record, &one.approver, "decision", &decision.signed, or_before)?;
        }
        Ok(())
    }

    /// Whether the signer's key was one of the person's then, or had been before where that is enough.
    fn check_signer(
        &mut self,
        record: &Record,
        who: &str,
        what: &str,
        signed: &Signed,
        or_before: bool,
    ) -> Result<(), String> {
        let at = record.at_ms / 1000;
        let listed = self.signers.iter().any(|signers| {
            signers.authorize(who, namespace::DECISION, signed, at, &Revoked::default()).is_ok()
        });
        let device = signed.key.fingerprint();
        let pair = (who.to_owned(), device.clone());
        let known = self.paired.contains(&pair) || (or_before && self.former.contains(&pair));
        if !listed && !known {
            return Err(format!(
                "its {what} is by {device}, which no approvers file lists for {}: \
                 give the file of then with --approvers",
                escape(who)
            ));
        }
        self.decisions += 1;
        Ok(())
    }
}

/// What lets in without anybody's signature.
const TYPED: [&str; 5] = ["recovery", "once", "phone-code", "totp", "allow"];

/// Whose the first decision is.
fn who(record: &Record) -> &str {
    record.approver.as_deref().or(record.user.as_deref()).unwrap_or_default()
}

/// Whether the decision in a record is what let somebody in. Otherwise it is only what had been said, perhaps by a
/// device that was removed before its code was typed; what opened, if anything did, was typed.
fn opened_by_decision(record: &Record) -> bool {
    match record.outcome.as_deref() {
        Some("granted") | None => !record.factor.as_deref().is_some_and(|factor| TYPED.contains(&factor)),
        Some(_) => false,
    }
}
