//! What a record proves by the signed messages in it.

use super::{Further, Record};
use crate::certificate::Certificate;
use crate::digest;
use crate::keys::PublicKey;
use crate::message::{Answer, Decision, Removal, Request};
use crate::signed::{self, MessageError, Verified};
use std::collections::HashSet;

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
