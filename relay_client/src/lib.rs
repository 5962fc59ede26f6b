//! Client of the push server's HTTP interface (`countersign_protocol::api`): tokens, the event
//! stream with its long-poll fall-back, and short calls, all on one warm connection.
//!
//! Nothing that comes from the server is believed here. It carries sealed messages; whoever opens
//! them decides what they are worth.
//!
//! [`client`] has the calls; [`call`] makes one, with a token; [`transport`] is the connection below. [`events`] is the stream or its
//! polls, in events that [`sse`] reads; [`error`] says what went wrong and whether the server is away; [`origin`] is who it is.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(all(feature = "fuzzing", not(debug_assertions)))]
compile_error!("the feature \"fuzzing\" opens what is private: no build that may be shipped has it");

mod call;
mod client;
mod error;
mod events;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod origin;
mod sse;
mod transport;

pub use client::{RelayClient, Slot};
pub use error::RelayError;
pub use events::{Event, Events};
pub use transport::Server;
