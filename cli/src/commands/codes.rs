//! `countersign codes USER [--recovery]`.

use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Outcome, Output};
use countersign_protocol::manage::{Call, Codes, CodesLeft};
use countersign_protocol::text::escape;
use std::process::ExitCode;
use std::time::Duration;

/// Every code goes through a slow hash.
const HASHING: Duration = Duration::from_secs(60);

/// How many are left.
pub(super) fn left(daemon: &mut ManageClient, user: &str, out: Output) -> Outcome<ExitCode> {
    let found: CodesLeft = daemon.call(&Call::CodesLeft { user: user.to_owned() }, SHORT)?;
    let user = escape(user);
    out.either(&found, || match found.left {
        0 => format!("{user} has no recovery code. Make some: countersign codes {user} --recovery"),
        1 => format!("{user} has one recovery code left. Make new ones: countersign codes {user} --recovery"),
        n => format!("{user} has {n} recovery codes left."),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A new set, shown once.
pub(super) fn new(daemon: &mut ManageClient, user: &str, count: u8, out: Output) -> Outcome<ExitCode> {
    let made: Codes = daemon.call(&Call::NewCodes { user: user.to_owned(), count }, HASHING)?;
    out.either(&made, || {
        let mut text =
            format!("Recovery codes of {}, shown this once; all earlier ones have ended:\n\n", escape(user));
        for code in &made.codes {
            text.push_str(&format!("    {}\n", escape(code)));
        }
        text.push_str(
            "\nEach works once, in place of the phone: type one at the prompt of a login\n\
             (\"Approve on your phone, then type its code:\"). Keep them on paper, away from this machine.\n",
        );
        text
    })?;
    Ok(ExitCode::SUCCESS)
}
