//! What the inbox holds, tells and wants done.

use countersign_protocol::message::{Answer, ClosedOutcome, DeviceEvent, Kind, Notice, Request, Sealed};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How far the clocks may be apart before it is said.
const CLOCKS_APART: u64 = 30;

/// Leases to choose from, below what the host lets be granted.
const LEASES: [u32; 3] = [900, 3600, 14_400];

/// Two clocks: one that is never set, for waiting, and the calendar's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a monotonic clock.
    pub ms: u64,
    /// Seconds since 1970.
    pub unix: u64,
}

/// A request is named by its host's key and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The host's key id.
    pub host: String,
    /// The request's id.
    pub id: String,
}

/// A request whose signature was verified, and what is known about it from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The request.
    pub request: Request,
    /// SHA-256 of its bytes in hex.
    pub digest: String,
    /// Key id of the host that signed it.
    pub host: String,
    /// The name that the host had when it was paired.
    pub host_name: String,
    /// Origin of the server that it came through.
    pub server: String,
    /// For whom this device approves there.
    #[serde(default)]
    pub users: Vec<String>,
}

impl Verified {
    /// Its name in the inbox.
    #[must_use]
    pub fn key(&self) -> Key {
        Key { host: self.host.clone(), id: self.request.id.clone() }
    }

    /// Who wants in, where that is nobody for whom this device approves: one of those who are asked is its owner.
    #[must_use]
    pub fn somebody_else(&self) -> Option<&str> {
        let who = self.request.requester.as_deref().unwrap_or(&self.request.user);
        let is_own = self.users.iter().any(|user| user == who || *user == self.request.user);
        (!is_own && !self.users.is_empty() && self.request.kind != Kind::Test).then_some(who)
    }
}

/// How far an open request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The person is asked.
    Asking,
    /// The answer is being signed.
    Signing(Answer),
    /// The answer is sent until the host's `closed` comes.
    Decided {
        /// The answer.
        answer: Answer,
        /// The code to type at the terminal.
        code: Option<Zeroizing<String>>,
        /// What is sent.
        sealed: Box<Sealed>,
        /// Whether the server has it.
        delivered: bool,
        /// How often it was sent.
        sent: usize,
        /// When it is sent again, by the monotonic clock.
        again_at: u64,
    },
}

/// What is known here of a request's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// The request has none.
    None,
    /// It is under way, after so many tries.
    Coming(usize),
    /// It has not come, or is not the one that was signed.
    Missing {
        /// Which of the two, in words.
        why: String,
        /// How often it was tried.
        tried: usize,
        /// When it is tried again, by the monotonic clock.
        again_at: u64,
    },
    /// All of it, as it was signed.
    There(Arc<str>),
}

/// An open request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The request.
    pub verified: Verified,
    /// How far it is.
    pub phase: Phase,
    /// The approval that is being taken back; it stands until that is signed.
    pub standing: Option<Phase>,
    /// Its list, without which it is not approved.
    pub listed: Listed,
    /// Seconds of the lease that goes with an approval; 0 is none.
    pub lease: u32,
    /// Its end by the monotonic clock.
    pub ends_at: u64,
    /// Seconds that the host's clock is ahead of ours, if it is worth a word.
    pub clock_apart: Option<i64>,
}

impl Item {
    /// A request that comes now. Its life is counted by its host's clock, but not for longer than
    /// `expires_in` when that clock is ahead of ours.
    #[must_use]
    pub fn new(verified: Verified, now: Now) -> Self {
        let Request { issued_at, expires_in, .. } = verified.request;
        let ahead = i64::try_from(issued_at).unwrap_or(i64::MAX).saturating_sub_unsigned(now.unix);
        let left = issued_at.saturating_add(expires_in.into()).saturating_sub(now.unix);
        let left = left.min(expires_in.into());
        let listed = if verified.request.list.is_some() { Listed::Coming(0) } else { Listed::None };
        Self {
            verified,
            phase: Phase::Asking,
            standing: None,
            listed,
            lease: 0,
            ends_at: now.ms + left * 1000,
            clock_apart: (ahead.unsigned_abs() > CLOCKS_APART).then_some(ahead),
        }
    }

    /// Whether the person may give this answer now. An approval may be taken back, which the host honours
    /// while nobody is in; a test ring opens nothing.
    #[must_use]
    pub fn takes(&self, answer: Answer) -> bool {
        match self.phase {
            Phase::Asking => answer != Answer::Approve || self.is_listed(),
            Phase::Decided { answer: Answer::Approve, .. } => {
                answer != Answer::Approve && self.verified.request.kind != Kind::Test
            }
            _ => false,
        }
    }

    /// Whether the list that it may have is here.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        matches!(self.listed, Listed::None | Listed::There(_))
    }

    /// Chooses the lease that goes with an approval, never longer than the host lets be granted. False where it
    /// lets none be.
    pub fn choose_lease(&mut self, seconds: u32) -> bool {
        let most = self.verified.request.lease_max.unwrap_or(0);
        self.lease = seconds.min(most);
        most > 0
    }

    /// The next one that is worth offering: none, a quarter of an hour, one hour, four, all that may be granted.
    #[must_use]
    pub fn next_lease(&self) -> u32 {
        let most = self.verified.request.lease_max.unwrap_or(0);
        if self.lease >= most {
            return 0;
        }
        LEASES.into_iter().find(|seconds| *seconds > self.lease).unwrap_or(most).min(most)
    }

    /// The lease that goes with an answer.
    #[must_use]
    pub fn lease_of(&self, answer: Answer) -> Option<u32> {
        Some(self.lease).filter(|seconds| *seconds > 0 && answer == Answer::Approve)
    }

    /// Whole seconds that are left.
    #[must_use]
    pub fn left(&self, now: Now) -> u64 {
        self.ends_at.saturating_sub(now.ms).div_ceil(1000)
    }
}

/// A decision that its host has not closed, as it is kept for the next run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The request.
    pub verified: Verified,
    /// The answer.
    pub answer: Answer,
    /// The code to type at the terminal.
    pub code: Option<Zeroizing<String>>,
    /// What is sent.
    pub sealed: Box<Sealed>,
}

/// A request that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The request.
    pub verified: Verified,
    /// What was answered here.
    pub answer: Option<Answer>,
    /// How the host says that it ended; nothing when its time ran out unheard.
    pub outcome: Option<ClosedOutcome>,
    /// When, seconds since 1970.
    pub at: u64,
}

/// A device came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNews {
    /// The name of the host that says so.
    pub host: String,
    /// All that it says.
    pub notice: Arc<Notice>,
    /// What the person did not know yet.
    pub change: DeviceEvent,
}

/// What happened, for the lines of the plain mode and for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server's stream is open.
    Connected(String),
    /// A server's stream broke: origin and why.
    Disconnected(String, String),
    /// A request came.
    Request(Key),
    /// An answer was signed.
    Decided(Key),
    /// A request's list has come, or the person wants to see the whole of it.
    Listed(Key, Extent),
    /// A request ended.
    Closed(Box<Ended>),
    /// Something that must not happen: somebody cheats, or something is broken.
    Alarm(String),
    /// A device may approve from now on, or no longer.
    Device(Box<DeviceNews>),
    /// Worth knowing.
    Notice(String),
}

/// How much of a list is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The first lines.
    Beginning,
    /// All lines.
    Whole,
}

/// What the loop has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Fetch the list of that request.
    Fetch(Key),
    /// Make, sign and seal a decision.
    Sign(Key, Answer),
    /// Send the decision to that server.
    Send(Key, String, Box<Sealed>),
}
