//! `countersign-server`: a relay between hosts and the devices that approve.
//!
//! It is trusted with delivery only: it forwards what it cannot read, believes nothing that it is
//! told, and may forget every message at any time.
//!
//! [`serve`] starts it and [`cli`] is its command line; [`routes`] are the calls, behind [`gate`] (connections), [`tokens`] and [`limits`].
//! [`messages`], [`lists`] and [`mailboxes`] hold what it forgets, [`streams`] and [`poll`] hand it on, [`push`] rings;
//! [`store`] holds what it remembers: hosts, devices, subscriptions. [`tls`] and [`acme`] are its certificates, [`web`] is the
//! app that it serves.
#![forbid(unsafe_code)]

#[cfg(all(feature = "fuzzing", not(debug_assertions)))]
compile_error!("the feature \"fuzzing\" opens what is private: no build that may be shipped has it");

mod acme;
mod app;
mod challenges;
mod cli;
mod config;
mod directory;
mod envelope;
mod extract;
mod gate;
mod invite;
mod keeper;
mod limits;
mod lists;
mod mailboxes;
mod messages;
mod metrics;
mod pem;
mod poll;
mod problem;
mod push;
mod registry;
mod routes;
mod serve;
mod store;
mod streams;
mod tls;
mod tokens;
mod web;

#[cfg(test)]
#[path = "../../tests/manual/page.rs"]
mod manual_page;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

/// Runs the command line.
#[must_use]
pub fn main() -> std::process::ExitCode {
    cli::run()
}
