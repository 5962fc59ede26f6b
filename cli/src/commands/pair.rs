//! `countersign pair USER`: the terminal's side of a pairing.

use super::read_line;
use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Exit, Failure, Outcome, Output, minutes};
use crate::qr;
use countersign_protocol::manage::{Call, PairingAnswered, PairingChecked, PairingOpened};
use countersign_protocol::message::CODE_DIGITS;
use countersign_protocol::text::escape;
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;
use zeroize::Zeroizing;

/// A user who is not root is first asked on a device that is already paired.
const ANOTHER_DEVICE: Duration = Duration::from_secs(150);

pub(super) fn run(daemon: &mut ManageClient, user: &str, out: Output) -> Outcome<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        out.remark("Approve this on a device that you have paired already.");
    }
    let opened: PairingOpened = daemon.call(&Call::Pair { user: user.to_owned() }, ANOTHER_DEVICE)?;
    show_link(user, &opened, out)?;
    let answered = wait_for_phone(daemon, &opened, out)?;
    let device = check_codes(daemon, answered.tries, out)?;
    let PairingChecked::Paired(device) = device else {
        return Err(Failure::new(Exit::Refused, "three wrong codes: nothing was paired; start again"));
    };
    if out.json {
        out.object(&json!({ "event": "paired", "device": device }))?;
    } else {
        let (user, name) = (escape(&device.user), escape(&device.name));
        out.lines(&format!(
            "Paired: {name} may approve for {user} from now on.\n\
             Next: codes for the day that the device is gone: countersign codes {user} --recovery\n\
             and a second device: countersign pair {user}"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show_link(user: &str, opened: &PairingOpened, out: Output) -> Outcome {
    if out.json {
        return out
            .object(&json!({ "event": "opened", "link": opened.link, "expires_in": opened.expires_in }));
    }
    let link = escape(&opened.link);
    if !out.is_terminal() {
        return out.lines(&link);
    }
    let (columns, rows) = crossterm::terminal::size().unwrap_or((0, 0));
    // One row stays for the line that says what is waited for.
    let drawn = qr::draw(&opened.link, columns.into(), usize::from(rows).saturating_sub(1));
    let user = escape(user);
    out.lines(&match drawn {
        Some(code) => format!(
            "To approve {user}'s logins, scan the code on a phone, or elsewhere run\n\
             countersign approve --pair '{link}'\n{code}"
        ),
        None => format!(
            "To approve {user}'s logins, open this link on a phone, or elsewhere run\n\
             countersign approve --pair '{link}'\n\
             (A larger window shows a QR code as well.)\n"
        ),
    })
}

fn wait_for_phone(
    daemon: &mut ManageClient,
    opened: &PairingOpened,
    out: Output,
) -> Outcome<PairingAnswered> {
    let counting = out.is_terminal();
    let mut tick = |left: Duration| {
        if counting {
            let mut stdout = std::io::stdout().lock();
            // A countdown that cannot be drawn harms nobody.
            let _ = write!(
                stdout,
                "\rWaiting for the device... {} ",
                minutes(left.saturating_sub(SHORT).as_secs())
            );
            let _ = stdout.flush();
        }
    };
    // The daemon says itself that nobody came; the rest is for a daemon that hangs.
    let wait = Duration::from_secs(opened.expires_in.into()) + SHORT;
    let answered = daemon.call_with::<PairingAnswered>(&Call::PairWait {}, wait, &mut tick);
    if counting {
        out.lines("\r\x1b[K")?;
    }
    let answered = answered?;
    if out.json {
        let PairingAnswered { name, fingerprint, tries } = &answered;
        let event = json!({ "event": "answered", "name": name, "fingerprint": fingerprint, "tries": tries });
        out.object(&event)?;
    } else {
        out.lines(&format!(
            "The device \"{}\" with the key {} answered.",
            escape(&answered.name),
            escape(&answered.fingerprint)
        ))?;
    }
    Ok(answered)
}

/// Asks for the code until it is right or the tries are used up.
fn check_codes(daemon: &mut ManageClient, tries: u8, out: Output) -> Outcome<PairingChecked> {
    let mut tries = tries;
    while tries > 0 {
        let code = ask_code(out)?;
        let checked: PairingChecked = daemon.call(&Call::PairCode { code }, SHORT)?;
        let PairingChecked::Wrong { tries: left } = checked else { return Ok(checked) };
        // Whatever the daemon says, this ends.
        tries = left.min(tries - 1);
        if out.json {
            out.object(&json!({ "event": "wrong", "tries": tries }))?;
        } else if tries > 0 {
            out.lines(&format!("That is not the code; {tries} more."))?;
        }
    }
    Ok(PairingChecked::Wrong { tries: 0 })
}

fn ask_code(out: Output) -> Outcome<Zeroizing<String>> {
    loop {
        if std::io::stdin().is_terminal() {
            // The prompt stays off standard output, which may be read by a program.
            eprint!("Type the pairing code that it shows: ");
        }
        let Some(line) = read_line()? else {
            return Err(Failure::new(Exit::Refused, "no pairing code was typed: nothing was paired"));
        };
        let code: Zeroizing<String> =
            Zeroizing::new(line.chars().filter(|c| !matches!(c, ' ' | '-')).collect());
        if code.len() == CODE_DIGITS && code.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(code);
        }
        // A slip of the finger shall not cost a try.
        out.remark(&format!("The pairing code has {CODE_DIGITS} digits."));
    }
}
