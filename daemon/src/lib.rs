//! countersignd: asks a person's phone before a login on this host is let in.
//!
//! [`run`] starts and ends the daemon; [`listen`] hands each connection to the login's story or to
//! [`manage`]. Everything runs on one thread; only file syncs, slow hashes and user look-ups run
//! beside it. Every path starts refused.
//!
//! [`login`] is the story, from the first call to the verdict; [`verify`] says which decision counts, by [`approvers`], [`devices`]
//! and [`person`]. [`relay`] speaks with the server, [`pairing`], [`notices`] and [`removal`] with devices. What may let in
//! beside a decision is in [`leases`], [`recovery`], [`totp`] and [`budget`]; what is held against anybody in [`fatigue`]; what
//! happened in [`audit`], [`log`] and [`events`]. [`app`] holds all of it together.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(all(feature = "fuzzing", not(debug_assertions)))]
compile_error!("the feature \"fuzzing\" opens what is private: no build that may be shipped has it");

pub mod app;
pub mod approvers;
pub mod args;
pub mod audit;
pub mod budget;
pub mod caller;
pub mod clock;
pub mod connection;
pub mod devices;
pub mod events;
pub mod farewell;
pub mod fatigue;
pub mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod geoip;
pub mod hook;
pub mod host_key;
pub mod leases;
pub mod listen;
pub mod log;
pub mod login;
pub mod manage;
pub mod notices;
pub mod pairing;
pub mod person;
pub mod places;
pub mod polkit;
pub mod privileges;
pub mod recovery;
pub mod relay;
pub mod removal;
mod revoke;
pub mod run;
pub mod service_manager;
pub mod sockets;
pub mod sources;
pub mod totp;
pub mod verify;

#[cfg(test)]
mod testing;
