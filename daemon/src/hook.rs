//! The administrator's own program, which hears of what somebody should look at.
//!
//! It is started without a shell and without an environment, gets one JSON object on its standard input, and
//! has [`LIMIT`] to end. Nothing waits for it, and nothing depends on it: logins go on as if there were none.

use crate::app::App;
use crate::clock;
use crate::files::{self, Owner};
use crate::log::Log;
use countersign_policy::{Config, Hook as Program};
use countersign_protocol::message::Request;
use countersign_protocol::text::clip;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

/// How long it may take.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Runs at a time.
const AT_ONCE: usize = 4;
/// Events that wait for a run; what comes beyond them is dropped.
const MOST: usize = 64;
/// All of its environment.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Bits of a mode that let anybody run it.
const EXECUTABLE: u32 = 0o111;
/// Longest reason that it is told, in bytes.
const MAX_REASON: usize = 1024;

/// What it is told. What was not known is left out. Values come from outside: whoever logs in chooses some.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Event {
    /// The account that is entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whose devices are meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The PAM service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// An address, `user NAME` or a terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Who typed the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// The command line of the calling process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal: Option<String>,
    /// A device's fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// What was typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<String>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The whole of it.
#[derive(Serialize)]
struct Told<'a> {
    version: u8,
    event: &'static str,
    /// Seconds since 1970.
    at: u64,
    host: &'a str,
    #[serde(flatten)]
    of: Event,
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A person has denied a login.
    Denied,
    /// A person has reported a login.
    Reported,
    /// A device may approve from now on.
    DeviceAdded,
    /// Something typed has let somebody in.
    OfflineFactor,
    /// A configuration was read and not taken.
    ConfigRefused,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Reported => "reported",
            Self::DeviceAdded => "device-added",
            Self::OfflineFactor => "offline-factor",
            Self::ConfigRefused => "config-refused",
        }
    }
}

impl Event {
    /// About a request, as its person read it.
    #[must_use]
    pub fn of_request(signed: &[u8]) -> Self {
        // Of this host's own making: it is what was signed.
        let Ok(request) = serde_json::from_slice::<Request>(signed) else { return Self::default() };
        Self {
            user: Some(request.user),
            service: Some(request.service),
            requester: request.requester,
            command: request.command,
            terminal: request.terminal,
            ..Self::default()
        }
    }
}

/// The events that wait.
#[derive(Default)]
pub struct Hook {
    queue: RefCell<VecDeque<(Program, Vec<u8>)>>,
    more: Notify,
    dropped: Cell<u32>,
}

impl Hook {
    /// Tells of something, a moment later; nothing where the policy names no program.
    pub fn tell(&self, app: &App, what: What, event: Event) {
        let Some(program) = app.config.borrow().good.as_ref().and_then(|config| config.hook.clone()) else {
            return;
        };
        let reason = event.reason.map(|reason| clip(&reason, MAX_REASON).to_owned());
        let of = Event { reason, ..event };
        let told = Told { version: 1, event: what.name(), at: clock::unix(), host: &app.host.name, of };
        match serde_json::to_vec(&told) {
            Ok(json) => self.put(program, json, &app.log),
            Err(error) => app.log.error(&format!("the hook is not told of {}: {error}", what.name())),
        }
    }

    fn put(&self, program: Program, mut json: Vec<u8>, log: &Log) {
        let mut queue = self.queue.borrow_mut();
        if queue.len() >= MOST {
            if self.dropped.get() == 0 {
                log.warning(&format!("{} events wait for the hook: more are dropped", queue.len()));
            }
            self.dropped.set(self.dropped.get().saturating_add(1));
            return;
        }
        json.push(b'\n');
        queue.push_back((program, json));
        self.more.notify_one();
    }

    async fn next(&self, log: &Log) -> (Program, Vec<u8>) {
        loop {
            let next = self.queue.borrow_mut().pop_front();
            if let Some(next) = next {
                let dropped = self.dropped.replace(0);
                if dropped > 0 {
                    log.warning(&format!(
                        "the hook was not told of {dropped} events: it is too slow for them"
                    ));
                }
                return next;
            }
            self.more.notified().await;
        }
    }
}

/// Starts the program for one event after the other. Never comes back by itself.
pub async fn run(app: Rc<App>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (program, json) = app.hook.next(&app.log).await;
        let app = Rc::clone(&app);
        tokio::task::spawn_local(async move {
            if let Err(why) = start(&program, &json, app.administrator, LIMIT).await {
                app.log.error(&format!("hook {}: {why}", program.path.display()));
            }
            drop(place);
        });
    }
}

/// What is wrong with the program of a policy, if anything.
#[must_use]
pub fn fault(config: &Config, administrator: Owner) -> Option<String> {
    let path = &config.hook.as_ref()?.path;
    trusted(path, administrator).err().map(|fault| format!("hook: {}: {fault}", path.display()))
}

fn trusted(path: &std::path::Path, administrator: Owner) -> Result<(), String> {
    let file = files::open(path, administrator, files::Links::Refused, OpenOptions::new().read(true))
        .map_err(|fault| fault.to_string())?;
    let mode = file.metadata().map_err(|error| error.to_string())?.permissions().mode();
    match mode & EXECUTABLE {
        0 => Err("nobody may run it; chmod a+x FILE".to_owned()),
        _ => Ok(()),
    }
}

async fn start(program: &Program, json: &[u8], administrator: Owner, limit: Duration) -> Result<(), String> {
    trusted(&program.path, administrator)?;
    let mut child = Command::new(&program.path)
        .args(&program.arguments)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    match timeout(limit, talk(&mut child, json)).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("it ended with {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            // With all that it has started.
            if let Some(group) = group {
                let _ = killpg(group, Signal::SIGKILL);
            }
            let _ = child.wait().await;
            Err(format!("it took longer than {} s and was ended", limit.as_secs()))
        }
    }
}

async fn talk(child: &mut Child, json: &[u8]) -> std::io::Result<std::process::ExitStatus> {
    if let Some(mut stdin) = child.stdin.take() {
        // It need not read what it does not want to know.
        let _ = stdin.write_all(json).await;
    }
    child.wait().await
}

#[cfg(test)]
mod tests;
