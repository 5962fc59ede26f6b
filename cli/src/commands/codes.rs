//! `countersign codes USER [--recovery | --totp | --once TIME --reason TEXT]`.

use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Outcome, Output, date};
use crate::qr;
use countersign_protocol::manage::{Authenticator, Call, Codes, CodesLeft, OnceCode};
use countersign_protocol::text::escape;
use std::process::ExitCode;
use std::time::Duration;

/// Room for the QR code of a secret: who has less sees its link.
const WIDE: usize = 80;
const HIGH: usize = 24;
/// Every code goes through a slow hash.
const HASHING: Duration = Duration::from_secs(60);

/// How many are left.
pub(super) fn left(daemon: &mut ManageClient, user: &str, out: Output) -> Outcome<ExitCode> {
    let found: CodesLeft = daemon.call(&Call::CodesLeft { user: user.to_owned() }, SHORT)?;
    out.either(&found, || words(user, &found))?;
    Ok(ExitCode::SUCCESS)
}

fn words(user: &str, found: &CodesLeft) -> String {
    let user = escape(user);
    let mut text = match found.left {
        0 => format!("{user} has no recovery code. Make some: countersign codes {user} --recovery"),
        1 => format!("{user} has one recovery code left. Make new ones: countersign codes {user} --recovery"),
        n => format!("{user} has {n} recovery codes left."),
    };
    if found.totp {
        text.push_str("\nThere is an authenticator's secret.");
    }
    if let Some(until) = found.once_until {
        text.push_str(&format!("\nA code that root has made opens once, until {}.", date(until)));
    }
    text
}

/// A new set, shown once.
pub(super) fn new(daemon: &mut ManageClient, user: &str, count: u8, out: Output) -> Outcome<ExitCode> {
    let made = make(daemon, user, count)?;
    out.either(&made, || shown(user, &made))?;
    Ok(ExitCode::SUCCESS)
}

/// Has a new set made.
pub(super) fn make(daemon: &mut ManageClient, user: &str, count: u8) -> Outcome<Codes> {
    daemon.call(&Call::NewCodes { user: user.to_owned(), count }, HASHING)
}

/// A new set, as a person keeps it.
pub(super) fn shown(user: &str, made: &Codes) -> String {
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
}

/// One that opens once within some time.
pub(super) fn once(
    daemon: &mut ManageClient,
    user: &str,
    seconds: u32,
    reason: &str,
    out: Output,
) -> Outcome<ExitCode> {
    let call = Call::NewOnce { user: user.to_owned(), seconds, reason: reason.to_owned() };
    let made: OnceCode = daemon.call(&call, HASHING)?;
    out.either(&made, || {
        format!(
            "A code for {}, shown this once; an earlier one has ended:\n\n    {}\n\n\
             It works once, until {}, where the policy takes recovery codes. The audit says who made it and why.\n",
            escape(user),
            escape(&made.code),
            date(made.ends_at)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A new secret for an authenticator, shown once.
pub(super) fn authenticator(daemon: &mut ManageClient, user: &str, out: Output) -> Outcome<ExitCode> {
    let made: Authenticator = daemon.call(&Call::NewAuthenticator { user: user.to_owned() }, SHORT)?;
    out.either(&made, || {
        let drawn = match out.is_terminal() {
            true => qr::draw(&made.link, WIDE, HIGH).map(|drawn| drawn + "\n").unwrap_or_default(),
            false => String::new(),
        };
        format!(
            "{drawn}Scan this with an authenticator app, or type its secret there; an earlier one has ended, and \
             this one\nis not shown again:\n\n    {}\n    {}\n\n\
             Its six digits are taken at the prompt of a login where the policy lists \"totp\".\n",
            escape(&made.secret),
            escape(&made.link)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_code_is_told() {
        let all = words("alice", &CodesLeft { left: 2, totp: true, once_until: Some(1_800_000_000) });
        assert!(all.contains("2 recovery codes") && all.contains("authenticator"), "{all}");
        assert!(all.contains("opens once, until 2027-01-15"), "{all}");
        let none = words("alice", &CodesLeft { left: 0, totp: false, once_until: None });
        assert!(none.ends_with("countersign codes alice --recovery"), "{none}");
    }
}
