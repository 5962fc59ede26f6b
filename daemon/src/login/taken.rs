//! The decisions that a request has brought: whose approvals there are, and whose code was typed.

use subtle::{Choice, ConstantTimeEq};

use crate::verify::Verified;

/// What was decided about a request so far.
#[derive(Default)]
pub(super) struct Taken {
    approvals: Vec<Approval>,
    /// The no that ended it.
    refusal: Option<Verified>,
}

struct Approval {
    decision: Verified,
    is_typed: bool,
}

impl Taken {
    /// Takes an approval; `false` where that person has approved already, by whatever device, or this key has
    /// spoken for anybody.
    pub(super) fn approve(&mut self, decision: Verified) -> bool {
        let is_known = self.approvals.iter().any(|known| {
            known.decision.person == decision.person || known.decision.signed.key == decision.signed.key
        });
        if !is_known {
            self.approvals.push(Approval { decision, is_typed: false });
        }
        !is_known
    }

    pub(super) fn refuse(&mut self, decision: Verified) {
        self.refusal = Some(decision);
    }

    /// How many people have approved.
    pub(super) fn people(&self) -> usize {
        self.approvals.len()
    }

    /// How many codes were typed.
    pub(super) fn typed(&self) -> usize {
        self.approvals.iter().filter(|approval| approval.is_typed).count()
    }

    /// Whether this is the code of an approval whose code was not typed yet. All are looked at.
    pub(super) fn shows(&self, typed: &str) -> bool {
        self.found(typed).is_some()
    }

    /// Takes a typed code; `false` where it is nobody's.
    pub(super) fn take_code(&mut self, typed: &str) -> bool {
        let found = self.found(typed).and_then(|at| self.approvals.get_mut(at));
        found.map(|approval| approval.is_typed = true).is_some()
    }

    fn found(&self, typed: &str) -> Option<usize> {
        let mut found = None;
        for (at, approval) in self.approvals.iter().enumerate() {
            let code = approval.decision.decision.code.as_deref().unwrap_or_default();
            let is_right = code.as_bytes().ct_eq(typed.as_bytes()) & Choice::from(u8::from(!code.is_empty()));
            if bool::from(is_right) && !approval.is_typed && found.is_none() {
                found = Some(at);
            }
        }
        found
    }

    /// The approvals that let somebody in: where codes are wanted, those whose code was typed.
    pub(super) fn counting(&self, with_codes: bool, needed: usize) -> Vec<Verified> {
        let count = self.approvals.iter().filter(|approval| approval.is_typed || !with_codes);
        count.take(needed).map(|approval| approval.decision.clone()).collect()
    }

    /// Notes by which of the host's certificates a person's approval counts.
    pub(super) fn counts_by(&mut self, person: &str, certificate: Option<String>) {
        let mut approvals = self.approvals.iter_mut();
        if let Some(approval) = approvals.find(|approval| approval.decision.person == person) {
            approval.decision.certificate = certificate;
        }
    }

    /// For the audit, the weightiest first: a no, the approvals whose code was typed, the others.
    pub(super) fn evidence(&self) -> Vec<Verified> {
        let of = |typed| self.approvals.iter().filter(move |approval| approval.is_typed == typed);
        let approvals = of(true).chain(of(false)).map(|approval| &approval.decision);
        self.refusal.iter().chain(approvals).cloned().collect()
    }
}
