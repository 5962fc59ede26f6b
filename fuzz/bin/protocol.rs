//! Fuzzes the protocol's parsers.
#![no_main]

#[path = "../targets/protocol/mod.rs"]
mod targets;

countersign_fuzz::program!(targets::TARGETS);
