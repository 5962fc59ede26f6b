//! Parsers of the push server.

mod acme_certificate;
mod http_request;
mod push_service;
mod server_config;

use countersign_fuzz::Target;

/// All of them.
pub(crate) const TARGETS: &[Target] =
    &[acme_certificate::TARGET, http_request::TARGET, push_service::TARGET, server_config::TARGET];
