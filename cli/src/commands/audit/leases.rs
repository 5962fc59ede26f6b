//! Logins that a lease has let in: each holds the request and the decision of an earlier one.

use countersign_protocol::audit::{Evidence, Record};
use countersign_protocol::message::Answer;
use std::collections::HashMap;

/// Seconds that a record may be written after the lease was looked at.
const WRITTEN_AFTER: u64 = 30;

/// The leases that the log itself shows as granted, by their requests' digests, and how often each was used.
#[derive(Default)]
pub(super) struct Leases {
    used: HashMap<String, u32>,
}

impl Leases {
    /// Takes note of what a record grants, and checks what it used.
    pub(super) fn check(&mut self, record: &Record, evidence: &Evidence) -> Result<(), String> {
        let is_used = record.factor.as_deref() == Some("lease");
        let (Some(request), Some(decision)) = (&evidence.request, &evidence.decision) else {
            return if is_used {
                Err("a lease let in, and its request or decision is missing".into())
            } else {
                Ok(())
            };
        };
        let (request, decision) = (&request.message, &decision.message);
        let Some(lease) = decision.lease.as_ref().filter(|_| decision.decision == Answer::Approve) else {
            return if is_used { Err("its decision grants no lease".into()) } else { Ok(()) };
        };
        if !is_used {
            if record.outcome.as_deref() == Some("granted") && record.factor.as_deref() == Some("device") {
                self.used.insert(decision.request.clone(), 0);
            }
            return Ok(());
        }
        let Some(used) = self.used.get_mut(&decision.request) else {
            return Err("no record before it shows its lease as granted".into());
        };
        *used += 1;
        let address = request.remote.as_ref().map(|remote| &remote.address);
        if record.service.as_ref() != Some(&request.service)
            || lease.scope != request.service
            || record.remote.as_ref() != address
        {
            return Err("its lease is for another service, or from elsewhere".into());
        }
        let Some(most) = request.lease_max else { return Err("no lease was offered".into()) };
        let until = lease.until.min(request.issued_at.saturating_add(most.into()));
        if record.at_ms / 1000 > until.saturating_add(WRITTEN_AFTER) {
            return Err("its lease had ended".into());
        }
        match request.lease_uses {
            Some(most) if *used > most => {
                Err(format!("its lease was good for {most} logins, and this is one more"))
            }
            _ => Ok(()),
        }
    }
}
