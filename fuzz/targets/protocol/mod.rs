//! Parsers of `countersign-protocol`.

mod sshsig;
mod text;

use countersign_fuzz::Target;

/// All of them.
pub(crate) const TARGETS: &[Target] = &[text::TARGET, sshsig::TARGET];
