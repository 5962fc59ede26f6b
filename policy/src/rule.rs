//! What a rule does with the logins that meet its conditions.

use std::time::Duration;

use countersign_protocol::login::ASK_SERVICE;

use super::approvals::Approvals;
use super::when::{Situation, Unmet, When};
use super::{Confirm, MAX_WAIT, MAX_WAIT_IN_GRACE};

/// What happens to a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// For logs and the audit.
    pub name: String,
    /// Which logins it is for; the default is for all that no other rule is for.
    pub when: When,
    /// What to do.
    pub then: Then,
    /// What the person does beside approving.
    pub confirm: Confirm,
    /// What to do where nothing can be asked at the terminal.
    pub without_prompt: WithoutPrompt,
    /// How long to wait; ask [`Rule::wait_for`].
    pub wait: Duration,
    /// Factors that may be typed at any time.
    pub codes: Vec<Factor>,
    /// Factors that may be typed in addition when the server is unreachable.
    pub offline: Vec<Factor>,
    /// Named local users are let in without any factor while the server is unreachable, until that moment
    /// (seconds since 1970).
    pub allow_until: Option<u64>,
    /// What a phone may grant beside an approval: that nobody is asked for a while.
    pub lease: Option<Lease>,
    /// What happens to a user without any device.
    pub unenrolled: Unenrolled,
    /// Whose phone is asked when somebody becomes another user.
    pub ask: Ask,
    /// Whose approvals are needed; without it the one of whom `ask` means.
    pub approvals: Option<Approvals>,
    /// Where the service's line says that no password goes before it, an approval with its code is enough. Only in a
    /// rule that names services of seats and whom it is for, and with nothing weaker beside it.
    pub passwordless: bool,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Ask.
    Approve,
    /// Ask, but let PAM go on whatever comes of it.
    Observe,
    /// Ask nobody, let PAM go on.
    Skip,
    /// Refuse.
    Deny,
}

/// What to do where nothing can be asked: the session stage, sshd's `password` method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutPrompt {
    /// An approval is enough.
    Tap,
    /// Refuse.
    Refuse,
}

/// What happens to a user without any device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unenrolled {
    /// Refused.
    Deny,
    /// Not asked until that moment (seconds since 1970), refused from then on.
    SkipUntil(u64),
}

/// Whose phone is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The user who is logged in as.
    User,
    /// For su and sudo to root the one who typed the command.
    Caller,
}

/// The ceiling of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// How long.
    pub up_to: Duration,
    /// How often; without it they are not counted.
    pub uses: Option<u32>,
}

/// What takes the place of the phone's six digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    /// A recovery code, or one that was made to be used once within some time.
    Recovery,
    /// The eight digits that the phone makes out of the QR code on the terminal, or out of a request that it
    /// cannot answer.
    PhoneCode,
    /// An authenticator's six digits (RFC 6238).
    Totp,
    /// A lease that a phone has granted: nothing is typed. Only while the server is unreachable.
    Lease,
}

impl Rule {
    /// The first condition that a login does not meet; `None` when it meets all. Where the rule lets people in unasked,
    /// a group of exceptions that nobody knows excepts everybody: it may be misspelt, or its directory away.
    #[must_use]
    pub fn unmet(&self, login: &Situation<'_>) -> Option<Unmet> {
        self.when.unmet(login).or_else(|| {
            let opens = matches!(self.then, Then::Skip | Then::Observe);
            let unknown = self.when.group.as_ref().filter(|_| opens)?.unknown_exception(&login.groups)?;
            Some(Unmet { key: "group", found: format!("not known: there is no group {unknown}") })
        })
    }

    /// The ceiling of a lease; none where people are named, who are asked each time.
    #[must_use]
    pub fn leases(&self) -> Option<Lease> {
        self.lease.filter(|_| self.approvals.is_none())
    }

    /// Whether a lease still lets in while the server is unreachable.
    #[must_use]
    pub fn leases_offline(&self) -> bool {
        self.offline.contains(&Factor::Lease)
    }

    /// How long this service may wait: up to ten minutes for sudo, su, polkit and `countersign ask`; all others
    /// may be under a login grace time and wait at most two minutes.
    #[must_use]
    pub fn wait_for(&self, service: &str) -> Duration {
        let patient = matches!(service, "sudo" | "sudo-i" | "su" | "su-l" | "polkit-1" | ASK_SERVICE);
        self.wait.min(if patient { MAX_WAIT } else { MAX_WAIT_IN_GRACE })
    }
}
