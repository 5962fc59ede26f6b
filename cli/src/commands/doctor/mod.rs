//! `countersign doctor`: what would open on this host, and what would lock somebody out. It changes nothing, and looks at
//! everything by itself: the daemon may be dead, the policy broken and the network gone.

mod drill;
mod host;
mod packages;
mod people;
mod program;
mod ssh;
mod ssh_files;
mod sudo;

pub(in crate::commands) use sudo::whose_phone;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use countersign_files::{Owner, read_trusted};
use countersign_pam_stack::Folders;
use countersign_pam_stack::examine::{self, Finding, Host, Severity, is_on_disk, is_ours, is_passwordless};
use countersign_pam_stack::{Stack, Stage};
use countersign_policy::services::has_one_field;
use countersign_policy::{Asking, Config, Kind, check, load};
use countersign_protocol::login;
use countersign_protocol::manage::{Call, Devices, Status};
use countersign_protocol::text::escape;
use jiff::Timestamp;
use serde::Serialize;

use crate::args::Doctor;
use crate::manage_client::ManageClient;
use crate::output::{Exit, Failure, Outcome, Output};

/// The services that `countersign enable` has turned on, a name a line.
const ENABLED: &str = "/etc/countersign/enabled";
/// Longest such list.
const MAX_ENABLED: usize = 64 * 1024;
/// How long the daemon is waited for.
const DAEMON: Duration = Duration::from_secs(5);

/// Looks at PAM stacks alone: those of a folder, or those that would be if a text were written
/// ([`Folders::with`]). Without names at all services. `keys_alone`: whether sshd lets in by key alone; yes, where that is
/// not known. `passwordless`: for which services a rule lets in without a password, where the policy is known.
pub(in crate::commands) fn examine(
    folders: &Folders,
    services: &[String],
    passwordless: Option<&[String]>,
    keys_alone: bool,
) -> Vec<Finding> {
    let meant = meant();
    let host =
        Host { has_module: &is_on_disk, meant: &meant, passwordless, one_field: &has_one_field, keys_alone };
    examine::examine(folders, services, &host)
}

/// What is known before anything is looked at.
struct Known<'a> {
    args: &'a Doctor,
    folders: Folders,
    /// The services that ask, and in which stages.
    asking: Vec<(String, Stage)>,
    config: Option<Config>,
    status: Option<Status>,
    devices: Option<Devices>,
}

impl Known<'_> {
    fn asks(&self, service: &str) -> bool {
        self.asking.iter().any(|(name, _)| name == service)
    }

    fn asks_in(&self, service: &str, stage: Stage) -> bool {
        self.asking.iter().any(|(name, other)| name == service && *other == stage)
            || asks_in(&self.folders, service, stage)
    }

    /// The same, also for a service that is not among those that are looked at.
    fn asks_anywhere(&self, service: &str) -> bool {
        self.asks(service)
            || [Stage::Auth, Stage::Session].iter().any(|stage| asks_in(&self.folders, service, *stage))
    }

    fn services(&self) -> BTreeSet<&str> {
        self.asking.iter().map(|(name, _)| name.as_str()).collect()
    }
}

#[derive(Serialize)]
struct Said<'a> {
    severity: &'static str,
    kind: &'a str,
    services: Vec<&'a str>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<&'a str>,
    next: &'a str,
}

#[derive(Serialize)]
struct Report<'a> {
    asking: Vec<&'a str>,
    findings: Vec<Said<'a>>,
    notes: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    drill: Vec<drill::Row>,
}

/// Exits with 1 where something was found.
pub(super) fn run(args: &Doctor, run: &std::path::Path, out: Output) -> Outcome<ExitCode> {
    let mut found = Vec::new();
    // Not where single services are looked at.
    let hooks =
        if args.services.is_empty() { packages::Hooks::of_host() } else { packages::Hooks::default() };
    let known = gather(args, run, &hooks, &mut found);
    if let Some(missing) = args.services.iter().find(|name| known.folders.read(name.as_str()).is_err()) {
        return Err(Failure::new(
            Exit::Usage,
            format!("there is no PAM service \"{}\" in {}", escape(missing), known.folders.first().display()),
        ));
    }
    let mut notes = Vec::new();
    let keys_alone = ssh::look(&known, &mut found, &mut notes);
    let passwordless = passwordless(&known, &mut notes);
    found.extend(examine(&known.folders, &args.services, passwordless.as_deref(), keys_alone));
    if !known.asking.is_empty() {
        sudo::look(&known, &mut found, &mut notes);
        host::look(&known, run, &mut found, &mut notes);
        people::look(&known, &mut found);
    }
    if args.services.is_empty() {
        packages::look(&hooks, known.config.as_ref(), &mut found, &mut notes);
    }
    found.sort_by_key(|one| one.severity);
    let drill = if args.drill { drill::rows(&known) } else { Vec::new() };
    let report = Report {
        asking: known.services().into_iter().collect(),
        findings: found.iter().map(said).collect(),
        notes: &notes,
        drill,
    };
    out.either(&report, || words(&known, &found, &report, !args.services.is_empty()))?;
    let is_any = found.iter().any(|one| one.severity != Severity::NotSeen);
    Ok(if is_any { ExitCode::from(Exit::Refused as u8) } else { ExitCode::SUCCESS })
}

/// The services for which a rule lets in by the phone alone, where the policy is known; which ones do is told.
fn passwordless(known: &Known<'_>, notes: &mut Vec<String>) -> Option<Vec<String>> {
    let config = known.config.as_ref()?;
    let mut services = Vec::new();
    for (service, _) in known.asking.iter().filter(|(_, stage)| *stage == Stage::Auth) {
        let rules: Vec<String> =
            config.passwordless(service).map(|rule| format!("\"{}\"", rule.name)).collect();
        if rules.is_empty() || has_one_field(service) {
            continue;
        }
        if Stack::of(&known.folders, service, Stage::Auth).handlers.iter().any(is_passwordless) {
            notes.push(format!("{service} lets in with the phone alone whom {} names", rules.join(" or ")));
        }
        services.push(service.clone());
    }
    Some(services)
}

fn said(one: &Finding) -> Said<'_> {
    Said {
        severity: one.severity.words(),
        kind: one.kind,
        services: one.services.iter().map(String::as_str).collect(),
        text: &one.text,
        at: one.at.as_deref(),
        next: &one.next,
    }
}

fn meant() -> Vec<String> {
    let text = read_trusted(std::path::Path::new(ENABLED), Owner::own(), MAX_ENABLED).unwrap_or_default();
    let names = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn asks_in(folders: &Folders, service: &str, stage: Stage) -> bool {
    let stack = Stack::of(folders, service, stage);
    !stack.from_other && stack.handlers.iter().any(is_ours)
}

/// The services that ask, and in which stages; without names of all there are.
pub(in crate::commands) fn asking(folders: &Folders, of: &[String]) -> Vec<(String, Stage)> {
    let names = folders.names().unwrap_or_default();
    let mut asking = Vec::new();
    for name in names.iter().filter(|name| of.is_empty() || of.contains(name)) {
        for stage in [Stage::Auth, Stage::Session] {
            let is_shared = examine::SHARED.contains(&name.as_str());
            if !is_shared && asks_in(folders, name, stage) {
                asking.push((name.clone(), stage));
            }
        }
    }
    asking
}

fn gather<'a>(
    args: &'a Doctor,
    run: &std::path::Path,
    hooks: &packages::Hooks,
    found: &mut Vec<Finding>,
) -> Known<'a> {
    let folders = match &args.pam {
        Some(folder) => Folders::of([folder]),
        None => Folders::system(),
    };
    let asking = asking(&folders, &args.services);
    let mut known = Known { args, folders, asking, config: None, status: None, devices: None };
    if known.asking.is_empty() && meant().is_empty() && !hooks.is_any() {
        return known;
    }
    match load(&args.config, Owner::own()) {
        Ok(config) => {
            if args.services.is_empty() {
                found.extend(thoughts(&config, &known.asking, &args.config));
            }
            known.config = Some(config);
        }
        Err(faults) => {
            let first = faults.lines.first().cloned().unwrap_or_default();
            let text = format!(
                "the policy has {}: a daemon that starts now refuses everybody: {first}",
                counted(faults.lines.len(), "fault")
            );
            let next = "countersign policy check";
            let kind = "policy";
            found.push(Finding::new(Severity::WouldLockOut, kind, text, next).in_file(args.config.display()));
        }
    }
    let call = |call: &Call| ManageClient::connect(run).and_then(|mut daemon| daemon.call(call, DAEMON));
    match call(&Call::Status {}) {
        Ok(status) => known.status = Some(status),
        Err(failure) if failure.exit == Exit::NotPermitted => {
            found.push(not_seen("how the daemon is", "run it as root"));
        }
        Err(failure) => {
            let text = format!(
                "countersignd does not answer, and everybody who is asked is refused: {}",
                failure.message
            );
            let next = "systemctl status countersignd, and journalctl -u countersignd";
            found.push(Finding::new(Severity::WouldLockOut, "daemon-down", text, next));
        }
    }
    if known.status.is_some() {
        let devices = ManageClient::connect(run)
            .and_then(|mut daemon| daemon.call::<Devices>(&Call::Devices { user: None }, DAEMON));
        known.devices = devices.ok();
    }
    known
}

/// What `countersign policy check` would say, in a line.
fn thoughts(config: &Config, asking: &[(String, Stage)], path: &std::path::Path) -> Option<Finding> {
    let mut services: Vec<Asking> = Vec::new();
    for (service, stage) in asking {
        let stage = if *stage == Stage::Session { login::Stage::Session } else { login::Stage::Auth };
        match services.iter_mut().find(|one| one.service == *service) {
            Some(one) => one.stages.push(stage),
            None => services.push(Asking { service: service.clone(), stages: vec![stage] }),
        }
    }
    let advice = check(config, Some(&services), Timestamp::now());
    let first = advice.iter().find(|one| one.kind == Kind::Opens).or(advice.first())?;
    let text = format!(
        "in the policy there is {} to think about: {} \"{}\": {}",
        if advice.len() == 1 { "1 thing".to_owned() } else { format!("{} things", advice.len()) },
        first.kind.word(),
        first.rule,
        first.text
    );
    Some(
        Finding::new(Severity::Advice, "policy-advice", text, "countersign policy check")
            .in_file(path.display()),
    )
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn words(known: &Known<'_>, found: &[Finding], report: &Report<'_>, are_named: bool) -> String {
    let mut text = String::new();
    for one in found.iter().filter(|one| one.severity != Severity::NotSeen) {
        let services: Vec<&str> = one.services.iter().map(String::as_str).collect();
        let of =
            if services.is_empty() { String::new() } else { format!(" ({})", escape(&services.join(", "))) };
        text.push_str(&format!("{}{of}: {}\n", one.severity.words().to_uppercase(), escape(&one.text)));
        if let Some(at) = &one.at {
            text.push_str(&format!("  where: {}\n", escape(at)));
        }
        text.push_str(&format!("  next:  {}\n", escape(&one.next)));
    }
    let number = |severity| found.iter().filter(|one| one.severity == severity).count();
    let counts = [Severity::WouldOpen, Severity::WouldLockOut, Severity::Advice];
    if known.asking.is_empty() {
        let which = if are_named { "None of these services asks" } else { "No service asks" };
        text.push_str(&format!("{which} for an approval: countersign enable SERVICE turns one on.\n"));
    } else {
        let services: Vec<&str> = known.services().into_iter().collect();
        text.push_str(&format!("Asking: {}. ", escape(&services.join(", "))));
        if counts.iter().all(|severity| number(*severity) == 0) {
            text.push_str("Nothing is wrong.\n");
        } else {
            let [open, lock, advice] = counts.map(number);
            text.push_str(&format!("{open} would open, {lock} would lock out, {advice} to think about.\n"));
        }
    }
    for note in report.notes {
        text.push_str(&format!("Note: {}\n", escape(note)));
    }
    for one in found.iter().filter(|one| one.severity == Severity::NotSeen) {
        text.push_str(&format!("Not looked at: {} ({})\n", escape(&one.text), escape(&one.next)));
    }
    if known.args.drill {
        text.push('\n');
        text.push_str(&drill::table(&report.drill));
    }
    text
}

/// Something that could not be looked at.
fn not_seen(what: impl Into<String>, why: impl Into<String>) -> Finding {
    Finding::new(Severity::NotSeen, "not-seen", what, why)
}
