//! `countersign pair USER`: the terminal's side of a pairing.

mod ring;
mod show;

use super::read_line;
use crate::manage_client::{ManageClient, SHORT, Wait};
use crate::output::{Exit, Failure, Outcome, Output};
use countersign_protocol::manage::{
    Call, Device, PairingAnswered, PairingChecked, PairingOpened, PairingStep,
};
use countersign_protocol::message::CODE_DIGITS;
use countersign_protocol::text::escape;
use serde_json::json;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use zeroize::Zeroizing;

pub(super) fn run(mut daemon: ManageClient, user: &str, rings: bool, out: Output) -> Outcome<ExitCode> {
    let device = pair(&mut daemon, user, rings, out)?;
    if !out.json {
        let user = escape(&device.user);
        out.lines(&format!(
            "Next: codes for the day that the device is gone: countersign codes {user} --recovery\n\
             and a second device: countersign pair {user}"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Pairs one device, and rings it.
pub(super) fn pair(daemon: &mut ManageClient, user: &str, rings: bool, out: Output) -> Outcome<Device> {
    let opened = open(daemon, user, out)?;
    let status = show::ticket(user, &opened, out)?;
    let answered = wait_for_phone(daemon, &opened, &status, out)?;
    let device = match check_codes(daemon, answered.tries, out)? {
        PairingChecked::Paired(device) => device,
        PairingChecked::Wrong { .. } => {
            return Err(Failure::new(Exit::Refused, "three wrong codes: nothing was paired; start again"));
        }
    };
    say_paired(&device, out)?;
    if rings {
        ring::ring(daemon, out)?;
    }
    Ok(device)
}

/// Opens the pairing. A user who is not root has it approved on a paired device first.
fn open(daemon: &mut ManageClient, user: &str, out: Output) -> Outcome<PairingOpened> {
    let mut step: PairingStep = daemon.call(&Call::Pair { user: user.to_owned() }, SHORT)?;
    let mut before: Option<u8> = None;
    loop {
        let (tries, expires_in) = match step {
            PairingStep::Opened(opened) => return Ok(opened),
            PairingStep::Approve { tries, expires_in } => (tries, expires_in),
        };
        if out.json {
            out.object(&json!({ "event": "approve", "tries": tries, "expires_in": expires_in }))?;
        }
        let prompt = match before {
            None => "Approve on a device that is paired already, then type its code: ".to_owned(),
            Some(before) if tries < before => format!("That is not the code, {tries} more. Code: "),
            Some(_) => "Approved. Type the code that the device shows: ".to_owned(),
        };
        before = Some(tries);
        let code = ask_code(&prompt, true, out)?
            .ok_or_else(|| Failure::new(Exit::Refused, "no code was typed: nothing was paired"))?;
        let wait = Duration::from_secs(expires_in.into()) + SHORT;
        step = daemon.call(&Call::PairApprove { code }, wait)?;
    }
}

fn wait_for_phone(
    daemon: &mut ManageClient,
    opened: &PairingOpened,
    status: &show::Status,
    out: Output,
) -> Outcome<PairingAnswered> {
    let mut tick = |left: Duration| {
        status.draw(left.saturating_sub(SHORT));
        Wait::On
    };
    // The daemon says itself that nobody came; the rest is for a daemon that hangs.
    let wait = Duration::from_secs(opened.expires_in.into()) + SHORT;
    let answered = daemon.call_with::<PairingAnswered>(&Call::PairWait {}, wait, &mut tick);
    status.clear(out)?;
    let no_answer = || Failure::new(Exit::Refused, "nobody waits for a device any more");
    let answered = answered?.ok_or_else(no_answer)?;
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
        let code = ask_code("Type the pairing code that it shows: ", false, out)?
            .ok_or_else(|| Failure::new(Exit::Refused, "no pairing code was typed: nothing was paired"))?;
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

/// Six digits, or nothing at the end of input; an empty line where that means something.
fn ask_code(prompt: &str, may_be_empty: bool, out: Output) -> Outcome<Option<Zeroizing<String>>> {
    loop {
        if std::io::stdin().is_terminal() {
            // The prompt stays off standard output, which may be read by a program.
            eprint!("{prompt}");
        }
        let Some(line) = read_line()? else { return Ok(None) };
        let code: Zeroizing<String> =
            Zeroizing::new(line.chars().filter(|c| !matches!(c, ' ' | '-')).collect());
        let is_code = code.len() == CODE_DIGITS && code.bytes().all(|b| b.is_ascii_digit());
        if is_code || (may_be_empty && code.is_empty()) {
            return Ok(Some(code));
        }
        // A slip of the finger shall not cost a try.
        out.remark(&format!("The code has {CODE_DIGITS} digits."));
    }
}

fn say_paired(device: &Device, out: Output) -> Outcome {
    if out.json {
        return out.object(&json!({ "event": "paired", "device": device }));
    }
    let (user, name) = (escape(&device.user), escape(&device.name));
    out.lines(&format!("Paired: {name} may approve for {user} from now on."))
}
