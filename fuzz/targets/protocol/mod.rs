//! Parsers of `countersign-protocol`.

mod allowed_signers;
mod api;
mod audit_chain;
mod audit_record;
mod auth;
mod card;
mod certificate;
mod pairing_host;
mod pairing_phone;
mod phone_code;
mod private_key;
mod public_key;
mod revoked;
mod seal_inside;
mod sealed;
mod signed_message;
mod socket_messages;
mod sshsig;
mod text;
mod ticket;

use countersign_fuzz::Target;

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    allowed_signers::TARGET,
    api::TARGET,
    audit_chain::TARGET,
    audit_record::TARGET,
    auth::TARGET,
    card::TARGET,
    certificate::TARGET,
    pairing_host::TARGET,
    pairing_phone::TARGET,
    phone_code::TARGET,
    private_key::TARGET,
    public_key::TARGET,
    revoked::TARGET,
    seal_inside::TARGET,
    sealed::TARGET,
    signed_message::TARGET,
    socket_messages::TARGET,
    sshsig::TARGET,
    text::TARGET,
    ticket::TARGET,
];
