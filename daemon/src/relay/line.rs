//! What the connection needs of its server: that it takes a post, and tells what comes.

use std::sync::Arc;

use countersign_protocol::api::{Post, Posted};
use countersign_relay_client::{Event, Events, RelayClient, RelayError};

#[cfg(test)]
use crate::testing::simulated::{Simulated, SimulatedEvents};
#[cfg(test)]
use std::rc::Rc;

/// The way to the server.
pub(super) enum Line {
    Server(Arc<RelayClient>),
    /// One without a network and without a clock of its own, for thousands of stories a second.
    #[cfg(test)]
    Simulated(Rc<Simulated>),
}

/// What comes down it.
#[cfg_attr(test, expect(clippy::large_enum_variant, reason = "the small one is of tests alone"))]
pub(super) enum Incoming {
    Server(Events),
    #[cfg(test)]
    Simulated(SimulatedEvents),
}

impl Line {
    pub(super) async fn post(&self, post: &Post) -> Result<Posted, RelayError> {
        match self {
            Self::Server(client) => client.post(post).await,
            #[cfg(test)]
            Self::Simulated(server) => server.post(post).await,
        }
    }

    /// Brings a request's list.
    pub(super) async fn put_list(&self, id: &str, sealed: &[u8], ttl: u32) -> Result<(), RelayError> {
        match self {
            Self::Server(client) => client.put_list(id, sealed, ttl).await,
            #[cfg(test)]
            Self::Simulated(server) => server.put_list(id, sealed).await,
        }
    }

    /// Finds out whether the server is there, with a small call.
    pub(super) async fn greet(&self) -> Result<(), RelayError> {
        match self {
            Self::Server(client) => client.greet().await,
            #[cfg(test)]
            Self::Simulated(server) => server.greet(),
        }
    }

    pub(super) async fn events(&self) -> Result<Incoming, RelayError> {
        match self {
            Self::Server(client) => client.events().await.map(Incoming::Server),
            #[cfg(test)]
            Self::Simulated(server) => server.events().await.map(Incoming::Simulated),
        }
    }
}

impl Line {
    /// Makes the next call take another connection.
    pub(super) fn forget_connection(&self) {
        match self {
            Self::Server(client) => client.forget_connection(),
            #[cfg(test)]
            Self::Simulated(_) => {}
        }
    }

    /// The number of the connection that the next call takes.
    pub(super) fn connection(&self) -> u64 {
        match self {
            Self::Server(client) => client.connection(),
            #[cfg(test)]
            Self::Simulated(_) => 0,
        }
    }
}

impl Incoming {
    /// Whether something comes every second while a login waits.
    pub(super) fn shows_life(&self) -> bool {
        match self {
            Self::Server(events) => !events.is_polling(),
            #[cfg(test)]
            Self::Simulated(_) => false,
        }
    }

    /// The next event. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> Result<Event, RelayError> {
        match self {
            Self::Server(events) => events.next().await,
            #[cfg(test)]
            Self::Simulated(events) => events.next().await,
        }
    }
}
