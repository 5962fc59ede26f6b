//! Bearer tokens. Kept as hashes, in memory only, ten minutes each.

use crate::directory::{KeyId, Peer, Role};
use base64ct::{Base64UrlUnpadded, Encoding};
use countersign_protocol::api::TOKEN_LIFE;
use countersign_protocol::{digest, random};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most tokens that one key holds; a further one ends the oldest.
const MAX_PER_PEER: usize = 8;
/// Characters of a token.
const LENGTH: usize = 43;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) peer: Peer,
    pub(crate) id: KeyId,
    pub(crate) role: Role,
}

#[derive(Default)]
struct State {
    by_hash: HashMap<[u8; 32], (Caller, Instant)>,
    /// Oldest first.
    by_peer: HashMap<Peer, VecDeque<[u8; 32]>>,
}

/// All tokens that are good now.
#[derive(Default)]
pub(crate) struct Tokens {
    state: Mutex<State>,
}

impl Tokens {
    /// A new token.
    pub(crate) fn give(&self, caller: Caller, now: Instant) -> String {
        let token = Base64UrlUnpadded::encode_string(&random::bytes::<32>());
        let hash = digest::sha256(token.as_bytes());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { by_hash, by_peer } = &mut *state;
        let held = by_peer.entry(caller.peer).or_default();
        if held.len() >= MAX_PER_PEER
            && let Some(oldest) = held.pop_front()
        {
            by_hash.remove(&oldest);
        }
        held.push_back(hash);
        by_hash.insert(hash, (caller, now + Duration::from_secs(u64::from(TOKEN_LIFE))));
        token
    }

    /// Whose token it is.
    pub(crate) fn find(&self, token: &str, now: Instant) -> Option<Caller> {
        if token.len() != LENGTH {
            return None;
        }
        // Looked up by hash: how long that takes says nothing about the tokens that are good.
        let hash = digest::sha256(token.as_bytes());
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.by_hash.get(&hash).filter(|(_, until)| *until > now).map(|(caller, _)| *caller)
    }

    /// Ends all tokens of a key.
    pub(crate) fn end(&self, peer: Peer) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for hash in state.by_peer.remove(&peer).unwrap_or_default() {
            state.by_hash.remove(&hash);
        }
    }

    /// Forgets what has expired.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { by_hash, by_peer } = &mut *state;
        by_hash.retain(|_, (_, until)| *until > now);
        by_peer.retain(|_, held| {
            held.retain(|hash| by_hash.contains_key(hash));
            !held.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(number: u32) -> Caller {
        Caller { peer: Peer::for_test(number), id: KeyId([7; 32]), role: Role::Host }
    }

    #[test]
    fn a_token_is_good_for_its_time_and_only_as_given() {
        let tokens = Tokens::default();
        let now = Instant::now();
        let token = tokens.give(caller(1), now);
        assert_eq!(token.len(), LENGTH);
        assert_eq!(tokens.find(&token, now), Some(caller(1)));
        assert_eq!(tokens.find(&token, now + Duration::from_secs(599)), Some(caller(1)));
        assert_eq!(tokens.find(&token, now + Duration::from_secs(600)), None);
        assert_eq!(tokens.find(&token[1..], now), None);
        assert_eq!(tokens.find(&format!("{token} "), now), None);
        assert_eq!(tokens.find(&"A".repeat(LENGTH), now), None);
    }

    #[test]
    fn one_key_cannot_fill_the_memory() {
        let tokens = Tokens::default();
        let now = Instant::now();
        let first = tokens.give(caller(1), now);
        let other = tokens.give(caller(2), now);
        for _ in 0..MAX_PER_PEER {
            tokens.give(caller(1), now);
        }
        assert_eq!(tokens.find(&first, now), None);
        assert_eq!(tokens.find(&other, now), Some(caller(2)));
        assert_eq!(tokens.state.lock().unwrap().by_hash.len(), MAX_PER_PEER + 1);
    }

    #[test]
    fn ended_and_expired_tokens_leave_nothing() {
        let tokens = Tokens::default();
        let now = Instant::now();
        let (one, two) = (tokens.give(caller(1), now), tokens.give(caller(2), now));
        tokens.end(Peer::for_test(1));
        assert_eq!(tokens.find(&one, now), None);
        assert!(tokens.find(&two, now).is_some());
        tokens.sweep(now + Duration::from_secs(600));
        let state = tokens.state.lock().unwrap();
        assert!(state.by_hash.is_empty() && state.by_peer.is_empty());
    }
}
