//! Fuzzes the parsers of the server.
#![no_main]

#[path = "../targets/server/mod.rs"]
mod targets;

countersign_fuzz::program!(targets::TARGETS);
