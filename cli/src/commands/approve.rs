//! `countersign approve`: the native approver.

use super::{challenge, read_line};
use crate::approver::pair::{self, pair};
use crate::approver::run::{Face, nothing_paired, watch};
use crate::approver::store::{Device, Store};
use crate::approver::terminal::{Terminal, ask_passphrase};
use crate::args::Approve;
use crate::output::{Exit, Failure, Outcome, Output};
use countersign_protocol::message::Answer;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Longest file of certificates.
const MAX_CA: u64 = 256 * 1024;

pub(super) fn run(args: &Approve, out: Output) -> Outcome<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::broken("cannot start", e))?;
    let result = runtime.block_on(approve(args, out));
    // A thread that reads the terminal never comes back.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

async fn approve(args: &Approve, out: Output) -> Outcome {
    let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let plain = args.plain || out.json || !has_terminal;
    let home = args.home.clone().map_or_else(default_home, Ok)?;
    let mut store = Store::open(&home)?;
    let found = store.device(args.agent.as_deref(), &passphrase)?;
    let device = match (found, &args.pair) {
        (Some(device), None) => device,
        (Some(device), Some(_)) if args.name.as_ref().is_none_or(|n| *n == device.card.card.name) => device,
        (Some(device), Some(_)) => {
            let text = format!(
                "this approver has the name {} already: leave --name away, or choose another --home",
                countersign_protocol::text::escape(&device.card.card.name)
            );
            return Err(Failure::new(Exit::Usage, text));
        }
        (None, None) => return Err(nothing_paired()),
        (None, Some(_)) => create(&mut store, args)?,
    };
    if let Some(link) = &args.pair {
        let agrees = |question: &str| agrees(question, out);
        let face = pair::Face { out, is_terminal: !plain, agrees: &agrees };
        let ca = args.server_ca.as_deref().map(read_ca).transpose()?;
        let invitation = pair::Invitation { text: link, server: args.server.as_deref(), ca };
        pair(&mut store, &device, invitation, &face).await?;
    }
    if let Some(challenge) = &args.challenge {
        return challenge::run(challenge, &store, &device, &|question| agrees(question, out), out);
    }
    if store.servers().is_empty() {
        return Err(nothing_paired());
    }
    let auto = match (args.auto_approve_everything_for_tests, args.auto_deny_everything_for_tests) {
        (true, _) => Some(Answer::Approve),
        (_, true) => Some(Answer::Deny),
        _ => None,
    };
    if auto.is_some() {
        out.remark("WARNING: every request is answered at once and unseen. This is for tests only.");
    }
    let face = match plain {
        true if args.notify && !args.plain && !out.json => Face::Log(out),
        true => Face::Lines(out),
        false => Face::Screen(Terminal::open()?),
    };
    watch(store, device, face, auto, args.notify).await
}

fn create(store: &mut Store, args: &Approve) -> Outcome<Device> {
    let name = args.name.clone().unwrap_or_else(|| {
        let host = nix::unistd::gethostname().map(|n| n.to_string_lossy().into_owned());
        host.unwrap_or_else(|_| "approver".to_owned())
    });
    store.create(&name, args.agent.as_deref())
}

fn default_home() -> Outcome<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("countersign"))
        .ok_or_else(|| {
            Failure::new(Exit::Usage, "HOME is not set: say where to keep the keys with --home DIR")
        })
}

fn read_ca(path: &Path) -> Outcome<String> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_CA).read_to_string(&mut text))
        .map_err(|e| Failure::new(Exit::Usage, format!("{}: {e}", path.display())))?;
    Ok(text)
}

fn agrees(question: &str, out: Output) -> Outcome<bool> {
    out.remark(question);
    eprint!("Type yes to go on: ");
    Ok(read_line()?.is_some_and(|line| line.trim().eq_ignore_ascii_case("yes")))
}

fn passphrase(place: &str) -> Outcome<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        let text = format!(
            "{place}: it has a passphrase and there is no terminal to ask on: use ssh-agent and --agent"
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    ask_passphrase(&format!("Passphrase for {place}: "))?
        .ok_or_else(|| Failure::new(Exit::Refused, format!("{place}: no passphrase was typed")))
}
