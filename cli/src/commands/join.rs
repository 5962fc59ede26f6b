//! `countersign join --token T`.

use super::read_line;
use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Exit, Failure, Outcome, Output};
use countersign_protocol::manage::{Call, Joined};
use countersign_protocol::text::escape;
use std::process::ExitCode;
use zeroize::Zeroizing;

pub(super) fn run(daemon: impl Fn() -> Outcome<ManageClient>, token: &str, out: Output) -> Outcome<ExitCode> {
    let token =
        if token == "-" { read_line()?.unwrap_or_default() } else { Zeroizing::new(token.to_owned()) };
    let token = Zeroizing::new(token.trim().to_owned());
    if token.is_empty() {
        let text = "no token was given: make one on the server with countersign-server token";
        return Err(Failure::new(Exit::Usage, text));
    }
    let joined: Joined = daemon()?.call(&Call::Join { token }, SHORT)?;
    out.either(&joined, || {
        format!(
            "This host is known to {} with the key {}.\nNext: countersign pair USER",
            escape(&joined.server),
            escape(&joined.host_key)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
