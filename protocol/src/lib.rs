//! What the parts of Countersign say to each other.
//!
//! Messages, the bytes that are signed, OpenSSH signatures, sealing and pairing: pure functions
//! and types, no I/O. `docs/protocol.md` describes the same for people; `protocol/vectors/` holds
//! test vectors for a second implementation.
//!
//! On a host: [`login`] between module and daemon, [`manage`] between command and daemon, both in [`frame`]s. Across the relay:
//! [`message`]s that are [`signed`] as [`sshsig`] says and sealed by [`seal`], [`list`]s beside them, [`pairing`] before them, and
//! [`api`], the relay's own calls. Who counts is in [`keys`], [`card`], [`certificate`] and [`signers`]; [`audit`] is what remains.
//! [`text`] escapes what others have written.
//!
//! Without the `crypto` feature only what the PAM module needs is left: [`login`] and [`text`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod frame;
pub mod login;
#[cfg(feature = "crypto")]
pub mod manage;
pub mod text;

#[cfg(feature = "crypto")]
pub mod api;
#[cfg(feature = "crypto")]
pub mod audit;
#[cfg(feature = "crypto")]
pub mod auth;
#[cfg(feature = "crypto")]
mod calendar;
#[cfg(feature = "crypto")]
pub mod card;
#[cfg(feature = "crypto")]
pub mod certificate;
#[cfg(feature = "crypto")]
pub mod digest;
#[cfg(feature = "crypto")]
pub mod keys;
#[cfg(feature = "crypto")]
pub mod list;
#[cfg(feature = "crypto")]
pub mod message;
#[cfg(feature = "crypto")]
pub mod notice;
#[cfg(feature = "crypto")]
pub mod pairing;
#[cfg(feature = "crypto")]
pub mod pattern;
#[cfg(feature = "crypto")]
pub mod phone_code;
#[cfg(feature = "crypto")]
pub mod random;
#[cfg(feature = "crypto")]
pub mod seal;
#[cfg(feature = "crypto")]
pub mod signed;
#[cfg(feature = "crypto")]
pub mod signers;
#[cfg(feature = "crypto")]
pub mod sshsig;
#[cfg(all(test, feature = "crypto"))]
mod vectors;
#[cfg(feature = "crypto")]
mod wire;
