//! A real server, a host that speaks through the real client, and the real approver.

mod agent;
mod approver;
mod host;
mod screen;
mod server;

pub(crate) use agent::Agent;
pub(crate) use approver::Approver;
pub(crate) use host::FakeHost;
pub(crate) use screen::Screen;
pub(crate) use server::Server;

use std::time::Duration;

/// Longest wait for something that must happen.
const SOON: Duration = Duration::from_secs(20);
