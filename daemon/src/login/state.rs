//! The life of a request as a table: which event is allowed in which state, and where it leads.
//!
//! Everything that happens to a request goes through [`next`]. What the table does not list does
//! not happen, so that a late, repeated or invented message cannot move a login anywhere.

/// Where a request is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Made and signed; the server has not said yet that it holds it.
    New,
    /// The server holds it.
    Posted,
    /// The server cannot be reached. The request stays open: an answer may still come.
    Unreachable,
    /// A person approved; the code has not been typed yet.
    Approved,
    /// Let in by an approval. An end.
    Granted,
    /// Let in by a factor that was typed. An end.
    Otherwise,
    /// A person said no. An end.
    Denied,
    /// A person said that it was not them. An end.
    Reported,
    /// The time was over. An end, but for a factor: whoever has to look for their codes needs longer.
    Expired,
    /// Wrong codes were typed too often. An end.
    Failed,
    /// The asking side went away, or it was taken back. An end.
    Withdrawn,
    /// Another request stands in for this one. An end.
    Replaced,
}

/// What can happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The server says that it holds the request.
    Acknowledged,
    /// Posting failed, or the connection broke.
    Lost,
    /// A verified decision: approve.
    Approve,
    /// A verified decision: deny. Or the device that has approved may no longer do so.
    Deny,
    /// A verified decision: this was not me.
    Report,
    /// The approval is all that is needed, or its code was typed.
    Confirmed,
    /// A factor that the policy allows was typed.
    Factor,
    /// The last try was wrong.
    TooManyTries,
    /// The deadline passed.
    Deadline,
    /// The asking side went away, or somebody who may has taken the request back.
    HangUp,
    /// Another request takes its place.
    Replace,
}

impl State {
    /// Whether it is over. Nothing more can happen, but that a factor is typed after the time.
    #[must_use]
    pub fn is_end(self) -> bool {
        !matches!(self, Self::New | Self::Posted | Self::Unreachable | Self::Approved)
    }
}

/// The state after an event, or `None` where the event means nothing.
///
/// A denial that comes after an approval but before the code was typed wins: nobody is in yet, and
/// the person has just said that nobody should be.
#[must_use]
pub fn next(state: State, event: Event) -> Option<State> {
    use Event as E;
    use State as S;
    Some(match (state, event) {
        (S::New | S::Unreachable, E::Acknowledged) => S::Posted,
        (S::New | S::Posted, E::Lost) => S::Unreachable,
        // An answer is worth the same however it found its way.
        (S::New | S::Posted | S::Unreachable, E::Approve) => S::Approved,
        (S::New | S::Posted | S::Unreachable | S::Approved, E::Deny) => S::Denied,
        (S::New | S::Posted | S::Unreachable | S::Approved, E::Report) => S::Reported,
        (S::Approved, E::Confirmed) => S::Granted,
        (S::New | S::Posted | S::Unreachable | S::Approved | S::Expired, E::Factor) => S::Otherwise,
        (S::New | S::Posted | S::Unreachable | S::Approved, E::TooManyTries) => S::Failed,
        (S::New | S::Posted | S::Unreachable | S::Approved, E::Deadline) => S::Expired,
        (S::New | S::Posted | S::Unreachable | S::Approved, E::HangUp) => S::Withdrawn,
        (S::New | S::Posted | S::Unreachable | S::Approved, E::Replace) => S::Replaced,
        _ => return None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::login) const STATES: [State; 12] = [
        State::New,
        State::Posted,
        State::Unreachable,
        State::Approved,
        State::Granted,
        State::Otherwise,
        State::Denied,
        State::Reported,
        State::Expired,
        State::Failed,
        State::Withdrawn,
        State::Replaced,
    ];
    pub(in crate::login) const EVENTS: [Event; 11] = [
        Event::Acknowledged,
        Event::Lost,
        Event::Approve,
        Event::Deny,
        Event::Report,
        Event::Confirmed,
        Event::Factor,
        Event::TooManyTries,
        Event::Deadline,
        Event::HangUp,
        Event::Replace,
    ];

    #[test]
    fn an_end_is_an_end_but_for_a_factor_after_the_time() {
        for state in STATES.into_iter().filter(|s| s.is_end()) {
            for event in EVENTS {
                let after = match (state, event) {
                    (State::Expired, Event::Factor) => Some(State::Otherwise),
                    _ => None,
                };
                assert_eq!(next(state, event), after, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn granted_has_one_door() {
        for state in STATES {
            for event in EVENTS {
                if next(state, event) == Some(State::Granted) {
                    assert_eq!((state, event), (State::Approved, Event::Confirmed));
                }
                if next(state, event) == Some(State::Otherwise) {
                    assert_eq!(event, Event::Factor);
                }
                if next(state, event) == Some(State::Approved) {
                    assert_eq!(event, Event::Approve);
                }
            }
        }
    }

    #[test]
    fn every_open_request_can_end_at_its_deadline_and_by_hanging_up() {
        for state in STATES.into_iter().filter(|s| !s.is_end()) {
            assert_eq!(next(state, Event::Deadline), Some(State::Expired));
            assert_eq!(next(state, Event::HangUp), Some(State::Withdrawn));
        }
    }

    #[test]
    fn every_open_request_can_be_replaced() {
        // One that cannot is taken for one that has ended.
        for state in STATES.into_iter().filter(|s| !s.is_end()) {
            assert_eq!(next(state, Event::Replace), Some(State::Replaced));
        }
    }

    #[test]
    fn a_denial_before_the_code_wins() {
        assert_eq!(next(State::Approved, Event::Deny), Some(State::Denied));
        assert_eq!(next(State::Approved, Event::Report), Some(State::Reported));
    }
}
