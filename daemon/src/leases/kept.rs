//! A lease as it is kept, and what makes it believable at each use.

use std::time::Duration;

use countersign_policy::Lease as Ceiling;
use countersign_protocol::audit::Record;
use countersign_protocol::message::{Answer, Confirm, Request};
use countersign_protocol::signed::{self, MAX_LEASE, SignedMessage};
use serde::{Deserialize, Serialize};

use super::Binding;
use crate::app::App;
use crate::clock;
use crate::verify::{self, Verified};

/// What may be granted with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Whom it would let in.
    pub binding: Binding,
    /// The rule's ceiling.
    pub ceiling: Ceiling,
}

impl Offer {
    /// The longest, in seconds.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        u32::try_from(self.ceiling.up_to.as_secs()).map_or(MAX_LEASE, |seconds| seconds.min(MAX_LEASE))
    }
}

/// A lease: what the host asked and what a device answered, as they were signed, and what neither says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The request's id.
    pub id: String,
    request: String,
    request_signature: String,
    decision: String,
    decision_signature: String,
    /// Key id of the device.
    device: String,
    /// Who granted it.
    pub person: String,
    /// Whom it lets in.
    pub binding: Binding,
    /// The boot that it was granted in.
    pub(super) boot: String,
    /// When the request was made, by the boot clock in milliseconds.
    since: u64,
    /// When it ends, by the same clock.
    pub until: u64,
    /// How often it may be used, where that is counted.
    pub most_uses: Option<u32>,
    /// How often it was.
    pub used: u32,
}

/// A lease that was found good for a login: the audit's evidence.
#[derive(Debug, Clone)]
pub struct Leased {
    person: String,
    request: SignedMessage,
    decision: Verified,
}

impl Leased {
    /// Puts the evidence into a login's record.
    pub(crate) fn tell(&self, record: &mut Record) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        record.approver = Some(self.person.clone());
        record.device = Some(self.decision.fingerprint.clone());
        record.request = Some(text(&self.request.bytes));
        record.request_signature = Some(self.request.signature.clone());
        record.decision = Some(text(&self.decision.bytes));
        record.decision_signature = Some(self.decision.signature.clone());
    }
}

/// What is made of a granted request.
pub(crate) struct Granted<'a> {
    /// The request.
    pub(crate) request: &'a SignedMessage,
    /// Its id.
    pub(crate) id: &'a str,
    /// Whose decision it was.
    pub(crate) person: &'a str,
    /// The decision.
    pub(crate) decision: &'a Verified,
    /// When the request was made, by the boot clock.
    pub(crate) since: Duration,
}

impl Lease {
    /// The lease that a decision grants, never longer than what was offered.
    ///
    /// # Errors
    /// Why it grants none.
    pub(crate) fn new(offer: &Offer, granted: &Granted<'_>, boot: &str) -> Result<Self, String> {
        let lease = granted.decision.decision.lease.as_ref().ok_or("the decision holds no lease")?;
        if lease.scope != offer.binding.service {
            return Err("it is for something else than this service".to_owned());
        }
        // As it was signed, so that this is what every later use reads, too.
        let request: Request = serde_json::from_slice(&granted.request.bytes).map_err(|e| e.to_string())?;
        let seconds = seconds(&request, lease.until).ok_or("it has ended before it began")?;
        let until = granted.since + Duration::from_secs(seconds.into());
        Ok(Self {
            id: granted.id.to_owned(),
            request: text(&granted.request.bytes)?,
            request_signature: granted.request.signature.clone(),
            decision: text(&granted.decision.bytes)?,
            decision_signature: granted.decision.signature.clone(),
            device: granted.decision.device.clone(),
            person: granted.person.to_owned(),
            binding: offer.binding.clone(),
            boot: boot.to_owned(),
            since: millis(granted.since),
            until: millis(until),
            most_uses: offer.ceiling.uses,
            used: 0,
        })
    }

    /// Whether it is over by the boot clock, or of another boot.
    #[must_use]
    pub fn is_over(&self, boot: &str) -> bool {
        let now = millis(clock::boot());
        self.boot != boot || now < self.since || now >= self.until
    }

    /// Seconds that are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.until.saturating_sub(millis(clock::boot())).div_ceil(1000)
    }

    /// How often it may be used under a rule; `None` where that is not counted.
    pub(super) fn most(&self, ceiling: Ceiling) -> Option<u32> {
        match (self.most_uses, ceiling.uses) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether what the rule wants now is no more than what was given then: its ceiling, and a code where only a
    /// tap was asked for.
    pub(super) fn is_enough(&self, ceiling: Ceiling, confirm: Confirm) -> bool {
        let age = millis(clock::boot()).saturating_sub(self.since);
        let asked = serde_json::from_str::<Request>(&self.request).map(|request| request.confirm);
        age < millis(ceiling.up_to)
            && self.most(ceiling).is_none_or(|most| self.used < most)
            && (confirm == Confirm::Tap || asked.is_ok_and(|asked| asked == Confirm::Code))
    }

    /// Verifies everything anew: the host's own signature, the device's, that its key still approves for
    /// the person, that both are about each other and about what the lease is kept for, and the times.
    ///
    /// # Errors
    /// Why it lets nobody in any more.
    pub(super) fn verify(&self, app: &App, boot: &str) -> Result<Leased, String> {
        let request = SignedMessage {
            bytes: self.request.clone().into_bytes(),
            signature: self.request_signature.clone(),
        };
        let asked = signed::verify_message::<Request>(&request.bytes, &request.signature, &app.host.public)
            .map_err(|error| format!("its request: {error}"))?
            .message;
        if asked.id != self.id
            || asked.approvals.needed != 1
            || asked.approvals.from != [self.person.as_str()]
        {
            return Err("its request is another one, or another person's".to_owned());
        }
        if !self.binding.is_of(&asked) {
            return Err("its request is about something else".to_owned());
        }
        let decision = SignedMessage {
            bytes: self.decision.clone().into_bytes(),
            signature: self.decision_signature.clone(),
        };
        let digest = request.digest();
        let decision = verify::kept(app, &self.person, &self.device, &digest, decision)?;
        let lease =
            decision.decision.lease.as_ref().filter(|_| decision.decision.decision == Answer::Approve);
        let lease = lease.ok_or("its decision grants none")?;
        if lease.scope != self.binding.service {
            return Err("it is for something else than this service".to_owned());
        }
        let seconds = seconds(&asked, lease.until).ok_or("it has ended before it began")?;
        if self.until.saturating_sub(self.since) > millis(Duration::from_secs(seconds.into())) {
            return Err("it is kept for longer than it was granted".to_owned());
        }
        if self.most_uses != asked.lease_uses {
            return Err("its uses are not those that were offered".to_owned());
        }
        if self.is_over(boot) {
            return Err("its time is over".to_owned());
        }
        // A second wall: the boot clock is what counts, and a clock that somebody sets back makes nothing longer.
        if clock::unix() >= lease.until.min(asked.issued_at.saturating_add(seconds.into())) {
            return Err("its time is over by the host's clock".to_owned());
        }
        Ok(Leased { person: self.person.clone(), request, decision })
    }
}

/// How long a lease is, from its request on: what the device says, cut to what was offered.
fn seconds(request: &Request, until: u64) -> Option<u32> {
    let most = request.lease_max?.min(MAX_LEASE);
    let wanted = u32::try_from(until.saturating_sub(request.issued_at)).unwrap_or(u32::MAX);
    Some(wanted.min(most)).filter(|seconds| *seconds > 0)
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
