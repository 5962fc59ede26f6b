//! The audit log: JSON lines, each of which holds the digest of the line before, with the signed
//! request and decision inside, so that `ssh-keygen` can check them years later.
//!
//! The chain shows edits, removals and another order, but for the end of the file: whoever can write
//! it can cut or change the last line. Keep [`Chain::head`] elsewhere (syslog does) to see that, too.

use crate::certificate::Certificate;
use crate::digest;
use crate::keys::PublicKey;
use crate::message::{Answer, Decision, Removal, Request};
use crate::signed::{self, MessageError, Verified};
use crate::text;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Version of the records.
pub const VERSION: u32 = 1;
/// Longest line in bytes.
pub const MAX_LINE: usize = 64 * 1024;
/// What stands behind a login's reason where there was nobody to ask.
pub const NO_DEVICE: &str = "(there is no device to ask)";
/// What the first record has as its previous digest.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One line. `version`, `seq` and `previous` are set by [`Chain::append`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// Counted from 1, without gaps.
    pub seq: u64,
    /// SHA-256 in hex of the line before, without its newline.
    pub previous: String,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What happened, for example `login`, `paired`, `revoked`.
    pub event: String,
    /// The login's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The PAM service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `auth` or `session`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// This host's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// By which factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<String>,
    /// Whose device decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<String>,
    /// Fingerprint of the deciding device's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What was asked for, where that was no login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The same in words, as the phones were told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Where it came from, as whoever asked has said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// SHA-256 in hex of the list that belongs to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// The policy's rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The request's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Armored SSHSIG over them, by the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_signature: Option<String>,
    /// The decision's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Armored SSHSIG over them, by the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_signature: Option<String>,
    /// The other people's decisions, where several have decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Further>,
    /// Certificates that the host has found beside signatures without one, by which those approvals counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// The bytes of the removal by which one device ended another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<String>,
    /// Armored SSHSIG over them, by the device that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal_signature: Option<String>,
}

/// One more person's decision about a record's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Further {
    /// Whose device decided.
    pub approver: String,
    /// Fingerprint of its key.
    pub device: String,
    /// The decision's bytes.
    pub decision: String,
    /// Armored SSHSIG over them, by the device.
    pub decision_signature: String,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// Over [`MAX_LINE`].
    #[error("it is longer than {MAX_LINE} bytes")]
    TooLong,
    /// Not a record.
    #[error("it is not a record: {0}")]
    Malformed(String),
    /// Of another version.
    #[error("it is of version {0}")]
    Version(u32),
    /// Records before the first line are gone.
    #[error("the file begins at record {0}: earlier ones are in another file, or were removed")]
    Start(u64),
    /// Records are missing, doubled or out of order.
    #[error("it is record {found} where {expected} belongs: lines were removed, doubled or moved")]
    Sequence {
        /// The number that belongs here.
        expected: u64,
        /// The number that stands here.
        found: u64,
    },
    /// The record before has the highest number that there is.
    #[error("nothing can follow the highest record number")]
    Last,
    /// The next line holds another digest of it.
    #[error("it was changed after it was written: the line after it has its digest")]
    Changed,
    /// The first line does not follow what it should follow.
    #[error("it does not follow the record that should be before it")]
    Unlinked,
}

/// Where a file stops being believable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct BadLine {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: ChainFault,
}

/// The end of a chain: what the next record has to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    last: u64,
    head: String,
}

impl Default for Chain {
    fn default() -> Self {
        Self { last: 0, head: NOTHING.into() }
    }
}

impl Chain {
    /// Before the first record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// After a given line: to go on where a file ends, or to verify one that follows another.
    ///
    /// # Errors
    /// [`ChainFault`] when the line is not a record.
    pub fn after(line: &str) -> Result<Self, ChainFault> {
        let record = read(line)?;
        Ok(Self { last: record.seq, head: digest::sha256_hex(line.as_bytes()) })
    }

    /// Number of the last record.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Digest of the last line in hex.
    #[must_use]
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Numbers and links a record, and gives its line without a newline.
    ///
    /// # Errors
    /// [`ChainFault::TooLong`] or [`ChainFault::Last`]; the chain is then as before.
    pub fn append(&mut self, mut record: Record) -> Result<String, ChainFault> {
        record.version = VERSION;
        record.seq = self.last.checked_add(1).ok_or(ChainFault::Last)?;
        record.previous.clone_from(&self.head);
        let line = serde_json::to_string(&record).map_err(|e| ChainFault::Malformed(e.to_string()))?;
        // The file is looked at with other tools, too.
        let line = text::escape_json(&line).into_owned();
        if line.len() > MAX_LINE {
            return Err(ChainFault::TooLong);
        }
        self.last = record.seq;
        self.head = digest::sha256_hex(line.as_bytes());
        Ok(line)
    }

    /// Takes the next line if it follows.
    ///
    /// # Errors
    /// [`ChainFault`]; the chain is then as before. [`ChainFault::Changed`] speaks of the line
    /// before this one.
    pub fn follow(&mut self, line: &str) -> Result<Record, ChainFault> {
        let record = read(line)?;
        let expected = self.last.checked_add(1).ok_or(ChainFault::Last)?;
        if record.seq != expected {
            return Err(if self.last == 0 {
                ChainFault::Start(record.seq)
            } else {
                ChainFault::Sequence { expected, found: record.seq }
            });
        }
        if record.previous != self.head {
            return Err(if self.last == 0 { ChainFault::Unlinked } else { ChainFault::Changed });
        }
        self.last = record.seq;
        self.head = digest::sha256_hex(line.as_bytes());
        Ok(record)
    }
}

/// Verifies lines that follow `chain`, and gives the chain's new end.
///
/// # Errors
/// The first bad line.
pub fn verify<'a>(chain: Chain, lines: impl IntoIterator<Item = &'a str>) -> Result<Chain, BadLine> {
    let mut chain = chain;
    for (i, line) in lines.into_iter().enumerate() {
        if let Err(fault) = chain.follow(line) {
            return Err(match (fault, i) {
                (ChainFault::Changed, 0) => BadLine { line: 1, fault: ChainFault::Unlinked },
                (ChainFault::Changed, _) => BadLine { line: i, fault: ChainFault::Changed },
                (fault, _) => BadLine { line: i + 1, fault },
            });
        }
    }
    Ok(chain)
}

fn read(line: &str) -> Result<Record, ChainFault> {
    if line.len() > MAX_LINE {
        return Err(ChainFault::TooLong);
    }
    let record: Record = serde_json::from_str(line)
        .map_err(|e| ChainFault::Malformed(text::escape(&e.to_string()).into_owned()))?;
    if record.version == VERSION { Ok(record) } else { Err(ChainFault::Version(record.version)) }
}

/// What a record proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The request, signed by the host.
    pub request: Option<Verified<Request>>,
    /// The decision over exactly that request, signed by the device. Whether the device might
    /// approve then is for [`crate::signers::AllowedSigners::authorize`] and the lines of then.
    pub decision: Option<Verified<Decision>>,
    /// The other people's, in the record's order.
    pub further: Vec<Verified<Decision>>,
    /// The removal of exactly the record's device, signed by another one or by itself. Whether that
    /// might remove it then is the same question.
    pub removal: Option<Verified<Removal>>,
}

/// Why a record proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceFault {
    /// A message without signature, a signature without message, or a decision without request.
    #[error("a signed message of the record is incomplete")]
    Incomplete,
    /// The request is not the host's.
    #[error("the request: {0}")]
    Request(MessageError),
    /// The decision's signature is wrong.
    #[error("the decision: {0}")]
    Decision(MessageError),
    /// The removal's signature is wrong.
    #[error("the removal: {0}")]
    Removal(MessageError),
    /// They do not belong together.
    #[error("the decision is about another request")]
    OtherRequest,
    /// The record says something else than its messages.
    #[error("the record names another {0} than its signed messages")]
    Mismatch(&'static str),
    /// One person, or one key, stands there as two.
    #[error("one person's decisions, or one key's, stand for several people's")]
    Twice,
    /// It stands there for a decision, and says nothing about it.
    #[error("a certificate beside the decisions {0}")]
    Certificate(String),
    /// Fewer have approved than the request wanted.
    #[error("it lets somebody in by {found} approvals, and its request needs {needed}")]
    TooFew {
        /// How many people it asks for.
        needed: u8,
        /// How many have approved.
        found: usize,
    },
}

impl Record {
    /// Verifies the signed messages inside, against the host's key.
    ///
    /// # Errors
    /// [`EvidenceFault`] says what does not hold.
    pub fn evidence(&self, host_key: &PublicKey) -> Result<Evidence, EvidenceFault> {
        let request = match (&self.request, &self.request_signature) {
            (Some(bytes), Some(signature)) => Some(
                signed::verify_message::<Request>(bytes.as_bytes(), signature, host_key)
                    .map_err(EvidenceFault::Request)?,
            ),
            (None, None) => None,
            _ => return Err(EvidenceFault::Incomplete),
        };
        let decision = match (&self.decision, &self.decision_signature) {
            (Some(bytes), Some(signature)) => Some(
                signed::verify_unpinned::<Decision>(bytes.as_bytes(), signature)
                    .map_err(EvidenceFault::Decision)?,
            ),
            (None, None) => None,
            _ => return Err(EvidenceFault::Incomplete),
        };
        let further = self.further_evidence()?;
        let removal = self.removal_evidence()?;
        if let Some(request) = &request {
            let message = &request.message;
            if message.host.key != host_key.to_line() {
                return Err(EvidenceFault::Mismatch("host key"));
            }
            if self.user.as_ref().is_some_and(|user| *user != message.user) {
                return Err(EvidenceFault::Mismatch("user"));
            }
            if self.service.as_ref().is_some_and(|service| *service != message.service) {
                return Err(EvidenceFault::Mismatch("service"));
            }
            if self.action.as_ref().is_some_and(|action| message.action.as_ref() != Some(action)) {
                return Err(EvidenceFault::Mismatch("action"));
            }
            if self.detail.as_ref().is_some_and(|detail| message.detail.as_ref() != Some(detail)) {
                return Err(EvidenceFault::Mismatch("detail"));
            }
            let list = message.list.as_ref().map(|list| &list.sha256);
            if self.list.as_ref().is_some_and(|sha256| list != Some(sha256)) {
                return Err(EvidenceFault::Mismatch("list"));
            }
        }
        if let Some(decision) = &decision {
            let bytes = self.request.as_ref().ok_or(EvidenceFault::Incomplete)?;
            if decision.message.request != digest::sha256_hex(bytes.as_bytes()) {
                return Err(EvidenceFault::OtherRequest);
            }
            if self.device.as_ref().is_some_and(|device| *device != decision.signed.key.fingerprint()) {
                return Err(EvidenceFault::Mismatch("device"));
            }
        }
        self.check_people(request.as_ref(), decision.as_ref(), &further)?;
        self.check_certificates(decision.as_ref(), &further)?;
        Ok(Evidence { request, decision, further, removal })
    }

    /// Verifies the other people's decisions, each about exactly the record's request.
    fn further_evidence(&self) -> Result<Vec<Verified<Decision>>, EvidenceFault> {
        if !self.further.is_empty() && self.decision.is_none() {
            return Err(EvidenceFault::Incomplete);
        }
        let bytes = self.request.as_deref().unwrap_or_default().as_bytes();
        let digest = digest::sha256_hex(bytes);
        let verify = |one: &Further| {
            let decision =
                signed::verify_unpinned::<Decision>(one.decision.as_bytes(), &one.decision_signature)
                    .map_err(EvidenceFault::Decision)?;
            if decision.message.request != digest {
                return Err(EvidenceFault::OtherRequest);
            }
            if one.device != decision.signed.key.fingerprint() {
                return Err(EvidenceFault::Mismatch("device"));
            }
            Ok(decision)
        };
        self.further.iter().map(verify).collect()
    }

    /// Each person and each key once; and where approvals let somebody in, as many as the request wants.
    fn check_people(
        &self,
        request: Option<&Verified<Request>>,
        decision: Option<&Verified<Decision>>,
        further: &[Verified<Decision>],
    ) -> Result<(), EvidenceFault> {
        let (Some(request), Some(decision)) = (request, decision) else { return Ok(()) };
        let all = || std::iter::once(decision).chain(further);
        let approvals = all().filter(|one| one.message.decision == Answer::Approve);
        let who = self.approver.as_ref().or(self.user.as_ref());
        let names: HashSet<&str> = who
            .into_iter()
            .map(String::as_str)
            .chain(self.further.iter().map(|one| one.approver.as_str()))
            .collect();
        let keys: HashSet<String> = all().map(|one| one.signed.key.fingerprint()).collect();
        // Whoever has approved may have denied afterwards: then nobody was let in.
        let is_granted = self.outcome.as_deref() == Some("granted")
            && matches!(self.factor.as_deref(), None | Some("device"));
        if is_granted {
            let people = 1 + further.len();
            if !further.is_empty() && (names.len() < people || keys.len() < people) {
                return Err(EvidenceFault::Twice);
            }
            let (needed, found) = (request.message.approvals.needed, approvals.count());
            if found < usize::from(needed) {
                return Err(EvidenceFault::TooFew { needed, found });
            }
        }
        Ok(())
    }

    /// Each is about a key that has decided here, and names whose that is.
    fn check_certificates(
        &self,
        decision: Option<&Verified<Decision>>,
        further: &[Verified<Decision>],
    ) -> Result<(), EvidenceFault> {
        let first = decision.zip(self.approver.as_ref().or(self.user.as_ref()));
        let others = further.iter().zip(self.further.iter().map(|one| &one.approver));
        let decided: Vec<_> = first.into_iter().chain(others).collect();
        for line in &self.certificates {
            let certificate = Certificate::from_openssh(line)
                .map_err(|error| EvidenceFault::Certificate(format!("is none: {error}")))?;
            let is_its = |(decision, who): &(&Verified<Decision>, &String)| {
                decision.signed.key == *certificate.key() && certificate.principals().contains(who)
            };
            if !decided.iter().any(is_its) {
                return Err(EvidenceFault::Certificate("is of nobody who has decided".into()));
            }
        }
        Ok(())
    }

    /// Verifies the removal inside, if there is one.
    ///
    /// # Errors
    /// [`EvidenceFault`] says what does not hold.
    pub fn removal_evidence(&self) -> Result<Option<Verified<Removal>>, EvidenceFault> {
        let removal = match (&self.removal, &self.removal_signature) {
            (Some(bytes), Some(signature)) => signed::verify_unpinned::<Removal>(bytes.as_bytes(), signature)
                .map_err(EvidenceFault::Removal)?,
            (None, None) => return Ok(None),
            _ => return Err(EvidenceFault::Incomplete),
        };
        // A key id is the fingerprint in the alphabet of URLs.
        let gone = format!("SHA256:{}", removal.message.device.replace('-', "+").replace('_', "/"));
        if self.device.as_ref() != Some(&gone) {
            return Err(EvidenceFault::Mismatch("device"));
        }
        Ok(Some(removal))
    }
}
