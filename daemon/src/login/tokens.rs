//! Single-use tokens that carry a grant from sshd's `auth` stage to its `session` stage, so that
//! nobody is asked twice.

use std::collections::HashMap;
use std::time::Duration;

use countersign_policy::Approvals;
use countersign_protocol::{digest, random};
use zeroize::Zeroizing;

/// How long a token waits for its session.
pub(super) const LIFE: Duration = Duration::from_secs(60);
/// How soon after its token a session mostly comes.
const SESSION_FOLLOWS: Duration = Duration::from_secs(2);
/// Most tokens that are kept; with more, the oldest is forgotten and its session asks again.
pub(super) const MOST: usize = 4096;

/// What a token was given for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// The login's id in the audit.
    pub login: String,
    /// PAM_USER.
    pub user: String,
    /// PAM_SERVICE.
    pub service: String,
    /// The people whom its rule wanted.
    pub approvals: Option<Approvals>,
}

/// The tokens that are out. Only their digests are kept.
#[derive(Default)]
pub(super) struct Tokens {
    out: HashMap<[u8; 32], (Grant, Duration)>,
}

impl Tokens {
    /// Makes a token; `now` is the boot clock.
    pub(super) fn issue(&mut self, grant: Grant, now: Duration) -> Zeroizing<String> {
        self.out.retain(|_, (_, until)| *until > now);
        if self.out.len() >= MOST
            && let Some(oldest) = self.out.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| *key)
        {
            self.out.remove(&oldest);
        }
        let token = Zeroizing::new(hex(&random::bytes::<32>()));
        self.out.insert(digest::sha256(token.as_bytes()), (grant, now + LIFE));
        token
    }

    /// Whether one was given out so lately that its session is still to come.
    pub(super) fn any_fresh(&self, now: Duration) -> bool {
        self.out.values().any(|(_, until)| *until + SESSION_FOLLOWS > now + LIFE)
    }

    /// Takes a token back: its grant if it is out, not too old, and was given for this user and
    /// service. Whatever the answer, the token is spent.
    pub(super) fn redeem(&mut self, token: &str, user: &str, service: &str, now: Duration) -> Option<Grant> {
        // Looked up by digest: what the comparison takes says nothing of a token.
        let (grant, until) = self.out.remove(&digest::sha256(token.as_bytes()))?;
        (until > now && grant.user == user && grant.service == service).then_some(grant)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        Grant { login: "1".into(), user: "alice".into(), service: "sshd".into(), approvals: None }
    }

    #[test]
    fn a_token_is_good_once_and_for_its_login_only() {
        let now = Duration::from_secs(100);
        let mut tokens = Tokens::default();
        let token = tokens.issue(grant(), now);
        assert_eq!(tokens.redeem(&token, "alice", "sshd", now), Some(grant()));
        assert_eq!(tokens.redeem(&token, "alice", "sshd", now), None, "spent");

        let token = tokens.issue(grant(), now);
        assert_eq!(tokens.redeem(&token, "root", "sshd", now), None);
        assert_eq!(tokens.redeem(&token, "alice", "sshd", now), None, "spent by the wrong try");

        let token = tokens.issue(grant(), now);
        assert_eq!(tokens.redeem(&token, "alice", "sudo", now), None);
        let token = tokens.issue(grant(), now);
        assert_eq!(tokens.redeem(&token, "alice", "sshd", now + LIFE), None, "too old");
        assert_eq!(tokens.redeem("", "alice", "sshd", now), None);
    }

    #[test]
    fn a_session_comes_soon_after_its_token_or_not_at_all() {
        let (mut tokens, now) = (Tokens::default(), Duration::from_secs(100));
        assert!(!tokens.any_fresh(now));
        let token = tokens.issue(grant(), now);
        assert!(tokens.any_fresh(now));
        assert!(!tokens.any_fresh(now + SESSION_FOLLOWS));
        tokens.redeem(&token, "alice", "sshd", now);
        assert!(!tokens.any_fresh(now));
    }

    #[test]
    fn tokens_do_not_pile_up() {
        let mut tokens = Tokens::default();
        for second in 0..(MOST as u64 + 10) {
            tokens.issue(grant(), Duration::from_millis(second));
        }
        assert_eq!(tokens.out.len(), MOST);
        tokens.issue(grant(), LIFE * 3);
        assert_eq!(tokens.out.len(), 1);
    }
}
