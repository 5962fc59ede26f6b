//! Every text that a person sees at the terminal: plain ASCII, one line, what happened and what to
//! do next.

use countersign_policy::Factor;

/// The first line above a QR code, short enough to stand on one line behind what ssh puts before it.
pub(super) const ABOVE_QR: &str = "Scan this with the Countersign app:";
/// The same while the server is away.
pub(super) const ABOVE_QR_OFFLINE: &str = "The approval server is away. Scan this with the app:";
/// Below a QR code that was asked for.
pub(super) const BELOW_QR: &str = "Approve it in the app, then type its eight digits: ";
/// The code that root has made for a while was right.
pub(super) const ONCE: &str = "Code accepted. It is used up.";
/// Nothing is asked, since the policy says so while the server is away.
pub(super) const ALLOWED: &str =
    "The approval server cannot be reached; let in as the policy allows for now.";
/// The usual prompt.
pub(super) const APPROVE: &str = "Approve on your phone, then type its code: ";
/// After an empty line when nobody had answered, or the server was away.
pub(super) const ASKED_AGAIN: &str = "Asked again. Approve on your phone, then type its code: ";
/// While a tap is waited for.
pub(super) const TAP: &str = "Approve this on your phone.";
/// After an empty line when the phone has approved.
pub(super) const APPROVED: &str = "Approved. Type the code that your phone shows: ";
/// A person said no.
pub(super) const DENIED: &str = "Denied on the phone.";
/// A person said that it was not them.
pub(super) const REPORTED: &str = "Denied on the phone, and reported as not being its owner.";
/// The policy says no.
pub(super) const DENIED_BY_POLICY: &str = "This login is not allowed here.";
/// No password goes before, and no rule lets this person in without one.
pub(super) const NOT_ALONE: &str = "Your phone alone does not let you in here. Ask an administrator.";
/// The same of what is no login.
pub(super) const ACTION_DENIED: &str = "The policy does not allow this here.";
/// Too many wrong codes.
pub(super) const FAILED: &str = "Too many wrong codes. Start again for a new one.";
/// Too many empty lines.
pub(super) const NO_CODE: &str = "No code was typed. Start again when you have it.";
/// Nobody decided, and ringing again is over.
pub(super) const EXPIRED: &str = "Nobody approved in time.";
/// Nobody decided; the person may have the phone rung again.
pub(super) const EXPIRED_ASK: &str = "Nobody approved in time. Press Enter to ring the phone again: ";
/// The configuration is unusable.
pub(super) const MISCONFIGURED: &str =
    "countersign refuses: its configuration has a fault. Ask an administrator (journalctl -u countersignd).";
/// Something broke here.
pub(super) const FAULT: &str =
    "countersign refuses: something broke. Ask an administrator (journalctl -u countersignd).";
/// Too many wait already.
pub(super) const BUSY: &str = "Too many logins wait for approval. Try again in a minute.";
/// Somebody who may has taken the request back.
pub(super) const CANCELLED: &str = "The request was cancelled on this host.";
/// Typed factors failed too often.
pub(super) const BLOCKED: &str = "Too many wrong codes for this account. Try again later.";
/// The person has just denied the same.
pub(super) const COOLING: &str = "Denied on the phone a moment ago. Try again in a minute.";
/// The person has reported the same.
pub(super) const FROM_THERE: &str =
    "Logins from here were reported on the phone and are refused for a day. Ask an administrator.";
/// The daemon is going down.
pub(super) const STOPPING: &str = "The approval service on this machine is stopping. Try again.";
/// Nothing can be asked here, and the policy wants it asked.
pub(super) const CANNOT_ASK: &str =
    "This login cannot ask for a code. An administrator can set KbdInteractiveAuthentication yes.";

/// The same where there is no terminal.
pub(super) const NO_TERMINAL: &str =
    "There is no terminal to type a code at, and the policy wants one (without_prompt).";

/// The same at the session stage, where a key was enough for sshd.
pub(super) const KEY_ALONE: &str = "A key alone is not enough here: log in in a way that can ask for a code.";

/// The same where the program has one field, for the password.
pub(super) const ONE_FIELD: &str =
    "This program cannot ask for a code, and a code is needed: use another one.";
/// What root's programs read where there is no phone to ask; of others nobody is told.
#[must_use]
pub(super) fn nobody_to_ask(person: &str) -> String {
    format!(
        "Nobody can be asked: there is no device for {person}. Pair one, or name who approves: --user, or a rule's approvals."
    )
}

/// The list of an action is not at the server, which is there.
#[must_use]
pub(super) fn list_not_taken(why: &str) -> String {
    format!(
        "The list could not be brought to the approval server ({why}). Try again, or ask for less at once."
    )
}

/// What the log says of an application that cannot ask.
#[must_use]
pub(super) fn cannot_prompt(service: &str) -> &'static str {
    match service {
        "sshd" => "the application cannot ask: for sshd set KbdInteractiveAuthentication yes",
        _ => "the application cannot ask",
    }
}

/// The first prompt when the server cannot be reached, or `None` when nothing is left to type.
#[must_use]
pub(super) fn offline(factors: &[Factor]) -> Option<String> {
    let names = names(factors)?;
    Some(format!("The approval server cannot be reached. {names}, or Enter to try again: "))
}

/// The same below a QR code.
#[must_use]
pub(super) fn below_qr(others: &[Factor]) -> String {
    let mut line = "Type its eight digits".to_owned();
    for factor in others {
        line.push_str(", ");
        line.push_str(if *factor == Factor::Totp { "an " } else { "a " });
        line.push_str(name(*factor));
    }
    format!("{line}, or Enter to try again: ")
}

/// After a wrong code while the server cannot be reached.
#[must_use]
pub(super) fn wrong_offline(tries_left: u8, next: &str) -> String {
    format!("That is not the code, {} left. {next}", tries(tries_left))
}

/// The end when the server cannot be reached.
#[must_use]
pub(super) fn unreachable(why: &str) -> String {
    format!("The approval server cannot be reached ({why}). Try again, or ask an administrator.")
}

/// After a wrong code.
#[must_use]
pub(super) fn wrong(tries_left: u8) -> String {
    format!("That is not the code, {} left. Code: ", tries(tries_left))
}

fn tries(left: u8) -> String {
    if left == 1 { "1 try".to_owned() } else { format!("{left} tries") }
}

/// The reason of an end, for applications that show nothing but prompts.
#[must_use]
pub(super) fn acknowledge(reason: &str) -> String {
    format!("{reason} Press Enter: ")
}

fn names(factors: &[Factor]) -> Option<String> {
    let names: Vec<&str> =
        factors.iter().filter(|factor| **factor != Factor::Lease).map(|factor| name(*factor)).collect();
    let mut line = names.join(" or ");
    line.get_mut(..1)?.make_ascii_uppercase();
    Some(line)
}

fn name(factor: Factor) -> &'static str {
    match factor {
        Factor::Recovery => "recovery code",
        Factor::PhoneCode => "phone code",
        Factor::Totp => "authenticator code",
        // Nothing is typed.
        Factor::Lease => "lease",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_for_sshd_is_given_for_sshd() {
        assert!(cannot_prompt("sshd").ends_with("KbdInteractiveAuthentication yes"));
        assert!(!cannot_prompt("polkit-1").contains("sshd"));
    }
    use countersign_protocol::login::MAX_TEXT;

    #[test]
    fn texts_are_short_plain_ascii() {
        let texts = [
            APPROVE,
            TAP,
            APPROVED,
            DENIED,
            REPORTED,
            DENIED_BY_POLICY,
            FAILED,
            NO_CODE,
            EXPIRED,
            EXPIRED_ASK,
            MISCONFIGURED,
            FAULT,
            BUSY,
            CANCELLED,
            BLOCKED,
            COOLING,
            FROM_THERE,
            STOPPING,
            CANNOT_ASK,
            KEY_ALONE,
            ONE_FIELD,
            NO_TERMINAL,
            ACTION_DENIED,
            ABOVE_QR,
            ABOVE_QR_OFFLINE,
            BELOW_QR,
            ALLOWED,
            ONCE,
        ];
        let made = [
            offline(&[Factor::Recovery]).unwrap_or_default(),
            unreachable("connection refused"),
            below_qr(&[Factor::Recovery, Factor::Totp]),
            wrong_offline(
                1,
                &offline(&[Factor::Recovery, Factor::PhoneCode, Factor::Totp]).unwrap_or_default(),
            ),
            wrong(2),
            wrong(1),
            acknowledge(DENIED),
            nobody_to_ask("root"),
        ];
        for text in texts.iter().map(|t| (*t).to_owned()).chain(made) {
            assert!(!text.is_empty() && text.len() <= MAX_TEXT / 2, "{text}");
            assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b)), "{text}");
        }
    }

    #[test]
    fn no_factor_no_prompt() {
        assert_eq!(offline(&[]), None);
        assert_eq!(
            offline(&[Factor::Recovery]).as_deref(),
            Some("The approval server cannot be reached. Recovery code, or Enter to try again: ")
        );
    }
}
