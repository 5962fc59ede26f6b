//! The built daemon, in a folder of its own.

mod config;
mod manage;
mod process;
mod support;
