//! Fuzzes the parsers of what runs on a host.
#![no_main]

#[path = "../targets/host/mod.rs"]
mod targets;

countersign_fuzz::program!(targets::TARGETS);
