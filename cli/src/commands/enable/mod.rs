//! `countersign enable`, `disable`, `confirm` and `rollback`: turning it on without being able to lock the machine.
//!
//! A change is planned ([`plan`]), shown, tested and then written ([`change`]): first what was there is saved together with a
//! record of the change ([`record`]), then somebody is set to take it back ([`guard`]), then the files are written. Until a login
//! that began since confirms it ([`mod@confirm`], [`session`]), whatever happens leads back ([`mod@rollback`]).

mod accounts;
mod change;
mod confirm;
mod disable;
mod enabled;
mod files;
mod guard;
mod list;
mod log;
mod marks;
mod moment;
mod place;
mod places;
mod plan;
pub(crate) mod program;
mod record;
mod restore;
mod rollback;
mod services;
mod session;
mod sshd;
mod steps;
mod wtmp;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use countersign_files::Owner;
use countersign_policy::{Config, load};
use countersign_protocol::login::Outcome as Ended;
use countersign_protocol::manage::{Call, Devices};
use countersign_protocol::text::escape;
use nix::unistd::{Uid, User, geteuid};

use super::{read_line, test_login};
use crate::args::{Confirm, Disable, Enable, Rollback};
use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Exit, Failure, Outcome, Output, time};
use accounts::LockedOut;
use places::Places;
use plan::Plan;
use record::Record;

pub(super) use list::troubles;

/// `countersign enable`.
pub(super) fn run(args: &Enable, run: &Path, out: Output) -> Outcome<ExitCode> {
    steps::die_at(args.lab.die_at);
    let places = Places::of(&args.lab.etc);
    if args.restore {
        restore::run(&places, &args.module);
        return Ok(ExitCode::SUCCESS);
    }
    if args.services.is_empty() {
        return list::run(&places, out);
    }
    needs_root()?;
    if !args.dry_run && places.record().exists() {
        let text = "an earlier change waits: countersign confirm from a new login keeps it, countersign rollback takes it back";
        return Err(Failure::new(Exit::Refused, text));
    }
    if !args.dry_run && !places.policy().exists() {
        let text = format!(
            "{} is not there: this host is set up first, with countersign setup",
            places.policy().display()
        );
        return Err(Failure::new(Exit::Broken, text));
    }
    let plan = Plan::of(&places, &args.services, &args.module)?;
    if plan.edits.is_empty() {
        return nothing_to_do(&places, &plan, args.dry_run, out);
    }
    if !args.dry_run {
        guard::ready()?;
        if args.within.is_some() && guard::kind() == guard::Guard::Systemd {
            return Err(Failure::new(
                Exit::Usage,
                "--within is for machines without systemd: here the timer says it",
            ));
        }
    }
    let seen = accounts::seen();
    if !seen.unread.is_empty() {
        out.remark(&format!("Who logged in before is not known from {}.", escape(&seen.unread.join(", "))));
    }
    let known = daemon_knows(&places, run);
    let locked_out = match &known {
        Ok((paired, config)) => accounts::locked_out(&seen.users, paired, config, &plan.services)?,
        Err(_) => Vec::new(),
    };
    if !out.json {
        out.lines(&plan.words())?;
        out.lines(&out_words(&locked_out))?;
    }
    if args.dry_run {
        if let Err(failure) = &known {
            out.remark(&format!("Who would be locked out is not known: {}", failure.message));
        }
        return shown(&plan, known.is_ok().then_some(&locked_out[..]), out);
    }
    let (paired, config) = known?;
    agreed(args, &plan, &locked_out, out)?;
    if !args.no_test {
        test(args, &plan, (&paired, &config), run, out)?;
    }
    let record = change::carry_out(&places, &args.lab.etc, &plan, args.within.unwrap_or(guard::WITHIN))?;
    done(&record, &plan, &locked_out, out)
}

/// `countersign disable`.
pub(super) fn disable(args: &Disable, out: Output) -> Outcome<ExitCode> {
    steps::die_at(args.lab.die_at);
    needs_root()?;
    disable::run(&Places::of(&args.lab.etc), args, out)
}

/// `countersign confirm`.
pub(super) fn confirm(args: &Confirm, out: Output) -> Outcome<ExitCode> {
    steps::die_at(args.lab.die_at);
    needs_root()?;
    confirm::run(&Places::of(&args.lab.etc), args, out)
}

/// `countersign rollback`.
pub(super) fn rollback(args: &Rollback, out: Output) -> Outcome<ExitCode> {
    steps::die_at(args.lab.die_at);
    needs_root()?;
    let places = Places::of(&args.lab.etc);
    if args.guard {
        guard::watch(&places)?;
        return Ok(ExitCode::SUCCESS);
    }
    let why = match args.boot {
        true => rollback::UNCONFIRMED,
        false => "somebody ran countersign rollback",
    };
    rollback::run(&places, why, out).inspect_err(|failure| {
        // Nobody looks at a terminal then, and what was turned on stays on.
        if args.boot {
            log::alert(&format!(
                "a change that nobody confirmed could not be taken back: {}",
                failure.message
            ));
        }
    })
}

/// The services that are on.
pub(super) fn on() -> Outcome<BTreeSet<String>> {
    enabled::read(&Places::of(Path::new("/etc")))
}

fn needs_root() -> Outcome {
    match geteuid().is_root() {
        true => Ok(()),
        false => Err(Failure::new(Exit::NotPermitted, "run this as root, with sudo")),
    }
}

/// Who has a device, and the policy.
fn daemon_knows(places: &Places, run: &Path) -> Outcome<(BTreeSet<String>, Config)> {
    let devices: Devices = ManageClient::connect(run)?.call(&Call::Devices { user: None }, SHORT)?;
    let config = load(&places.policy(), Owner::own()).map_err(|faults| {
        Failure::new(Exit::Broken, format!("this policy is not taken:\n{}", faults.drawings.join("\n")))
    })?;
    Ok((devices.devices.into_iter().map(|device| device.user).collect(), config))
}

fn out_words(locked_out: &[LockedOut]) -> String {
    if locked_out.is_empty() {
        return String::new();
    }
    let mut text =
        "These accounts logged in within the last 90 days, have no device, and no rule lets them pass:\n"
            .to_owned();
    for LockedOut { user, services } in locked_out {
        text.push_str(&format!("  {} ({})\n", escape(user), services.join(", ")));
    }
    text.push_str(
        "Pair each (countersign pair USER), name it in a rule of /etc/countersign/countersign.toml, or add it to the group\n\
         countersign-breakglass. With --yes they are locked out.\n",
    );
    text
}

fn shown(plan: &Plan, locked_out: Option<&[LockedOut]>, out: Output) -> Outcome<ExitCode> {
    if out.json {
        out.object(&plan.object(locked_out, None))?;
    } else {
        out.lines("Nothing was changed.")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The lines are there already. The list may not say so yet.
fn nothing_to_do(places: &Places, plan: &Plan, is_dry: bool, out: Output) -> Outcome<ExitCode> {
    if !is_dry {
        let mut on = enabled::read(places)?;
        on.extend(plan.services.iter().cloned());
        enabled::write(places, &on, &plan.services)?;
    }
    out.either(&plan.object(Some(&[]), None), || {
        let verb = if plan.services.len() == 1 { "asks" } else { "ask" };
        format!("{} {verb} already: nothing was changed.", plan.services.join(", "))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// # Errors
/// When somebody would be locked out, or nobody could become root in the night, or nobody says yes.
fn agreed(args: &Enable, plan: &Plan, locked_out: &[LockedOut], out: Output) -> Outcome {
    if args.yes {
        return Ok(());
    }
    if let Some(why) = accounts::no_way_to_root(&plan.services, Path::new("/etc/shadow"))? {
        return Err(Failure::new(Exit::Refused, format!("nothing was changed: {why}")));
    }
    if !locked_out.is_empty() {
        let names: Vec<&str> = locked_out.iter().map(|one| one.user.as_str()).collect();
        let text = format!("nothing was changed: {} could not log in any more", escape(&names.join(", ")));
        return Err(Failure::new(Exit::Refused, text));
    }
    if out.json || !std::io::stdin().is_terminal() {
        let text = "nothing was changed, as nobody can be asked here: look at --dry-run, then add --yes";
        return Err(Failure::new(Exit::Usage, text));
    }
    eprint!("Write this, and take it back in two minutes unless it is confirmed? [y/N] ");
    match read_line()? {
        Some(answer) if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") => Ok(()),
        _ => Err(Failure::new(Exit::Refused, "nothing was changed")),
    }
}

/// A login of each service by the daemon, as the module would do it; those that the same rule decides once.
fn test(
    args: &Enable,
    plan: &Plan,
    (paired, config): (&BTreeSet<String>, &Config),
    run: &Path,
    out: Output,
) -> Outcome {
    // Whoever logged in as root has no phone of root's, mostly: the prompt would wait for nobody.
    let somebody = || who().filter(|user| user != "root" || paired.contains(user));
    let user = args.user.clone().or_else(somebody).ok_or_else(|| {
        let text = "who shall approve the test? Say --user USER, or --no-test to change it without";
        Failure::new(Exit::Usage, text)
    })?;
    let mut rules = BTreeSet::new();
    for service in &plan.services {
        let rule = accounts::rule_for(config, &user, service)?;
        if !rules.insert(rule) {
            continue;
        }
        out.remark(&format!("Test: {} logs in by {service}. Approve it.", escape(&user)));
        let mut daemon = ManageClient::connect(run)?;
        let verdict = test_login::play(&mut daemon, &user, service, out)?;
        let text = verdict.text.as_deref().map(|text| format!("{} ", escape(text))).unwrap_or_default();
        let words = test_login::words(verdict.outcome);
        match verdict.outcome {
            Ended::Granted | Ended::Ignored => out.remark(&format!("{text}Test: {words}.")),
            Ended::Unreachable => {
                return Err(Failure::new(
                    Exit::Unreachable,
                    format!("{text}nothing was changed, the test was {words}"),
                ));
            }
            _ => {
                return Err(Failure::new(
                    Exit::Refused,
                    format!("{text}nothing was changed, the test was {words}"),
                ));
            }
        }
    }
    Ok(())
}

/// Who runs this: behind sudo, or as the session was opened.
fn who() -> Option<String> {
    let by_sudo = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    by_sudo.or_else(|| {
        let uid = std::fs::read_to_string("/proc/self/loginuid").ok()?.trim().parse::<u32>().ok()?;
        let uid = (uid != u32::MAX).then_some(uid)?;
        Some(User::from_uid(Uid::from_raw(uid)).ok()??.name)
    })
}

fn done(record: &Record, plan: &Plan, locked_out: &[LockedOut], out: Output) -> Outcome<ExitCode> {
    let until = record.began.unix + record.within;
    out.either(&plan.object(Some(locked_out), Some(until)), || {
        let reboot = match guard::kind() {
            guard::Guard::Systemd => "",
            guard::Guard::Process => {
                "Without systemd a reboot does not take it back: then run countersign rollback.\n"
            }
        };
        format!(
            "Written. At {} all of it is taken back, unless it is confirmed. Keep this shell open, and\n\
             1. open a new login from a second terminal (ssh, a console);\n\
             2. in that login run: sudo countersign confirm\n{reboot}",
            time(until),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
