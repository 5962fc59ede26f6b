//! `countersign`: pair phones, approve logins, inspect and verify.
//!
//! The administrator's and the user's command. All but `approve` and `audit` talk to the daemon
//! over its Unix sockets ([`manage_client`]); `approve` is an approver of its own, of equal rank
//! with a phone ([`approver`]); `audit` only reads files.
//!
//! [`args`] is the command line and [`commands`] has a module for each command; [`output`] is how they speak and end. [`dbus`] is the
//! service on the system bus, whose calls are the daemon's; [`bus`] and [`units`] are what the command asks of buses and
//! of systemd.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done, approved, valid |
//! | 1 | refused, denied, expired, not found |
//! | 2 | wrong usage |
//! | 3 | the daemon or the push server cannot be reached |
//! | 4 | not permitted |
//! | 5 | something is broken, or a verification failed |
//!
//! Errors are one line on standard error that says what to do; standard output holds results only.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(all(feature = "fuzzing", not(debug_assertions)))]
compile_error!("the feature \"fuzzing\" opens what is private: no build that may be shipped has it");

pub mod approver;
pub mod args;
mod bus;
mod commands;
mod dbus;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod manage_client;
pub mod output;
pub mod qr;
mod units;

use args::Cli;
use clap::Parser;
use output::Output;
use std::process::ExitCode;

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Output { json: cli.json };
    commands::run(&cli, out).unwrap_or_else(|failure| out.fail(&failure))
}
