//! Parsers of what runs on a host: daemon, module, command, and their client of the server.

mod agent_answers;
mod approver_inbox;
mod approver_letter;
mod audit_log;
mod daemon_config;
mod daemon_connection;
mod daemon_facts;
mod daemon_state;
mod manage_answers;
mod module_login;
mod relay_answers;
mod relay_stream;

use countersign_fuzz::Target;

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    agent_answers::TARGET,
    approver_inbox::TARGET,
    approver_letter::TARGET,
    audit_log::TARGET,
    daemon_config::TARGET,
    daemon_connection::TARGET,
    daemon_facts::TARGET,
    daemon_state::TARGET,
    manage_answers::TARGET,
    module_login::TARGET,
    relay_answers::TARGET,
    relay_stream::TARGET,
];
