//! The story of a login: what is asked of the host process, what is told to the daemon, and what
//! becomes of its verdict. Every path starts refused.

use crate::args::{Arguments, BadArgument};
use crate::client::{Daemon, Lost};
use crate::facts::{self, BadItem, Caller, Items};
use countersign_protocol::login::{
    Call, Continue, MAX_TEXT, Outcome, ROOT_SOCKET, SELF_SOCKET, Stage, Step, Style, Verdict,
};
use countersign_protocol::text::{clip, escape, is_active};
use libc::{LOG_DEBUG, LOG_ERR, LOG_INFO, LOG_NOTICE, c_int};
use pam::constants::PamResultCode;
use std::borrow::Cow;
use std::ffi::CStr;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// Steps of one login, its verdict included. A daemon that wants more is broken.
const MAX_STEPS: usize = 128;

/// The process that loaded the module. Behind a trait so that the story is tested without PAM.
pub(crate) trait Host {
    type Daemon: Daemon;

    /// Asks for the user name if need be, then copies all items.
    fn items(&mut self) -> Items;
    /// PAM_USER as it is now.
    fn user(&self) -> Option<Vec<u8>>;
    /// What the process itself tells.
    fn caller(&mut self, service: &str) -> Caller;
    /// Connects to the daemon.
    fn connect(&mut self, path: &Path, caller: Caller) -> Result<Self::Daemon, Lost>;
    /// PAM_SILENT: nothing but prompts may be shown.
    fn silent(&self) -> bool;
    /// Whether this process has a person at a terminal of its own whom only prompts reach, and has not told them yet
    /// why it refuses. True once a process: sudo tries three times.
    fn tells_by_prompt(&mut self) -> bool;
    /// Shows a line. Whether anybody saw it makes no difference.
    fn say(&mut self, style: Style, text: &str);
    /// Prompts with echo. None if the conversation failed or brought no answer.
    fn ask(&mut self, text: &str) -> Option<Zeroizing<String>>;
    /// Takes the token of a grant in `auth` out of the login's environment.
    fn take_token(&mut self) -> Option<Zeroizing<Vec<u8>>>;
    /// Leaves a token for the session stage there.
    fn keep_token(&mut self, token: &str) -> bool;
    /// Writes a line to the system log (AUTHPRIV).
    fn log(&self, priority: c_int, line: &str);
}

/// Why the module refuses, or stands aside, by itself.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Argument(#[from] BadArgument),
    #[error(transparent)]
    Item(#[from] BadItem),
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error("the daemon asked for more than {MAX_STEPS} steps")]
    TooManySteps,
    #[error("PAM_USER changed while the login waited")]
    UserChanged,
}

impl Refusal {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Argument(_) => Outcome::Misconfigured,
            Self::Lost(Lost::Withdrawn(_)) => Outcome::Withdrawn,
            Self::Lost(Lost::Error { .. } | Lost::Unsendable(_)) => Outcome::Fault,
            Self::Lost(_) => Outcome::Unreachable,
            Self::Item(_) | Self::TooManySteps | Self::UserChanged => Outcome::Fault,
        }
    }

    /// What the person is told: what happened and what to do.
    fn text(&self) -> Option<&str> {
        Some(match self {
            Self::Argument(_) => {
                "countersign: this login is set up wrongly; ask an administrator (the system log names the mistake)"
            }
            Self::Item(_) => {
                "countersign: this login cannot be asked about; ask an administrator (the system log says why)"
            }
            Self::Lost(Lost::NobodyListens(_)) => {
                "countersign: the approval service on this machine is not running; \
                 ask an administrator (systemctl status countersignd)"
            }
            Self::Lost(Lost::Untrusted(_)) => {
                "countersign: the approval service's socket on this machine is not safe to use; \
                 ask an administrator (the system log says why)"
            }
            Self::Lost(Lost::Error { message, .. }) => message,
            Self::Lost(Lost::Withdrawn(_)) => return None,
            Self::Lost(_) | Self::TooManySteps => {
                "countersign: the approval service on this machine does not answer as it should; \
                 ask an administrator (journalctl -u countersignd)"
            }
            Self::UserChanged => "countersign: the user name changed while waiting; start the login again",
        })
    }
}

/// Who the login is about, for the log.
#[derive(Default)]
struct Who {
    user: Option<String>,
    asked_by: Option<String>,
    from: Option<String>,
    /// Whether they were asked anything: then the daemon tells them the reason of its refusal in a prompt, if need be.
    is_asked: bool,
}

/// A login from its start to PAM's result, with a panic turned into a refusal.
pub(crate) fn guarded<H: Host>(host: &mut H, stage: Stage, arguments: &[&CStr]) -> PamResultCode {
    match catch_unwind(AssertUnwindSafe(|| login(host, stage, arguments))) {
        Ok(result) => result,
        Err(_) => {
            host.log(LOG_ERR, "fault: the module broke off by a mistake of its own; please report it");
            result(stage, Outcome::Fault)
        }
    }
}

/// A login from its start to PAM's result.
fn login<H: Host>(host: &mut H, stage: Stage, arguments: &[&CStr]) -> PamResultCode {
    let mut who = Who::default();
    let (verdict, why, is_told) = match story(host, stage, arguments, &mut who) {
        Ok(verdict) => {
            let why = verdict.text.clone().unwrap_or_default();
            (verdict, why, who.is_asked)
        }
        Err((refusal, ignore)) => {
            let why = refusal.to_string();
            let outcome = if ignore { Outcome::Ignored } else { refusal.outcome() };
            let text = if ignore { None } else { refusal.text().map(str::to_owned) };
            (Verdict { outcome, text, token: None }, why, false)
        }
    };
    log_end(host, verdict.outcome, &who, &why);
    if let (Stage::Auth, Outcome::Granted, Some(token)) = (stage, verdict.outcome, &verdict.token)
        && !(facts::is_token(token) && host.keep_token(token))
    {
        host.log(LOG_NOTICE, "the grant could not be kept for the session stage, which will ask again");
    }
    let (style, fallback) = match (verdict.outcome, stage) {
        (Outcome::Granted | Outcome::Ignored, _) => (Style::Info, None),
        (_, Stage::Auth) => (Style::Error, None),
        // sshd has said "accepted" by now: the person has to hear why nothing happens.
        (_, Stage::Session) => (Style::Error, Some("countersign: this login was not approved")),
    };
    if let Some(text) = verdict.text.as_deref().or(fallback) {
        show(host, style, text);
        if stage == Stage::Auth && is_broken(verdict.outcome) && !is_told && host.tells_by_prompt() {
            // Whatever is typed, this login is refused.
            let _ = host.ask(&presentable(&acknowledge(text)));
        }
    }
    result(stage, verdict.outcome)
}

/// What happens between the application's call and the verdict. An error says, too, whether
/// `daemon_down=ignore` covers it.
fn story<H: Host>(
    host: &mut H,
    stage: Stage,
    arguments: &[&CStr],
    who: &mut Who,
) -> Result<Verdict, (Refusal, bool)> {
    let refuse = |refusal: Refusal| (refusal, false);

    // First of all, so that the token is gone from the environment however this ends.
    let token = if stage == Stage::Session { host.take_token() } else { None };
    let arguments = Arguments::parse(arguments).map_err(|bad| refuse(bad.into()))?;

    let items = host.items();
    let user = items.user.clone();
    who.see(&items);
    let mut begin = facts::begin(stage, items, host.silent(), token).map_err(|bad| refuse(bad.into()))?;
    let mut caller = host.caller(&begin.service);
    facts::add_caller(&mut begin, &mut caller);
    begin.passwordless = arguments.passwordless;
    who.asked_by.clone_from(&begin.remote_user);
    if let Some(peer) = begin.peer {
        who.from = Some(peer.address.to_string());
    }

    let path = match &arguments.socket {
        Some(path) => path,
        None if caller.root => Path::new(ROOT_SOCKET),
        None => Path::new(SELF_SOCKET),
    };
    let mut daemon = host.connect(path, caller).map_err(|lost| {
        // Where no password goes before, the next module may be one that lets everybody in.
        let may_ignore = arguments.ignore_when_down && !arguments.passwordless;
        let ignore = may_ignore && matches!(lost, Lost::NobodyListens(_));
        (lost.into(), ignore)
    })?;

    let mut call = Call::Begin(Box::new(begin));
    for _ in 0..MAX_STEPS {
        let step = daemon.call(&call).map_err(|lost| refuse(lost.into()))?;
        if arguments.debug {
            host.log(LOG_DEBUG, &describe(&step));
        }
        call = Call::Continue(match step {
            Step::Verdict(verdict) if opens(verdict.outcome) && host.user() != user => {
                return Err(refuse(Refusal::UserChanged));
            }
            Step::Verdict(verdict) => return Ok(verdict),
            Step::Wait { .. } => Continue::default(),
            Step::Say { style, text, always, .. } => {
                if always {
                    host.say(style, &presentable(&text));
                } else {
                    show(host, style, &text);
                }
                Continue::default()
            }
            Step::Ask { text, .. } => {
                who.is_asked = true;
                // Nobody can be asked in the session stage.
                let answer = if stage == Stage::Auth { host.ask(&presentable(&text)) } else { None };
                Continue { cannot_ask: answer.is_none(), answer }
            }
        });
    }
    Err(refuse(Refusal::TooManySteps))
}

/// Whether an outcome lets a login go on.
pub(crate) fn opens(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Granted | Outcome::Ignored)
}

/// Whether a refusal is nobody's decision: without its reason a person takes it for a wrong password.
fn is_broken(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Unreachable | Outcome::Misconfigured | Outcome::Fault)
}

/// The reason of a refusal as a prompt, as the daemon has it.
fn acknowledge(reason: &str) -> String {
    let end = if reason.ends_with('.') { "" } else { "." };
    format!("{}{end} Press Enter: ", clip(reason, MAX_TEXT / 2))
}

/// PAM's result. The one place where a grant becomes success.
fn result(stage: Stage, outcome: Outcome) -> PamResultCode {
    match (stage, outcome) {
        (_, Outcome::Granted) => PamResultCode::PAM_SUCCESS,
        // Never success for "does not concern me": with `sufficient` that would be a bypass.
        (_, Outcome::Ignored) => PamResultCode::PAM_IGNORE,
        (Stage::Session, _) => PamResultCode::PAM_SESSION_ERR,
        (Stage::Auth, Outcome::Denied | Outcome::Expired) => PamResultCode::PAM_AUTH_ERR,
        (Stage::Auth, Outcome::Withdrawn) => PamResultCode::PAM_ABORT,
        (Stage::Auth, Outcome::Unreachable | Outcome::Misconfigured) => PamResultCode::PAM_AUTHINFO_UNAVAIL,
        (Stage::Auth, Outcome::Busy) => PamResultCode::PAM_MAXTRIES,
        (Stage::Auth, Outcome::Fault) => PamResultCode::PAM_SYSTEM_ERR,
    }
}

/// Refuses to change a password.
pub(crate) fn refuse_password_change<H: Host>(host: &H) -> PamResultCode {
    host.log(LOG_ERR, "pam_countersign.so has no business in a password stack: remove its line there");
    PamResultCode::PAM_PERM_DENIED
}

/// Shows a line, unless the application wants silence.
fn show<H: Host>(host: &mut H, style: Style, text: &str) {
    if !host.silent() {
        host.say(style, &presentable(text));
    }
}

/// The daemon's text, fit for a conversation: short, and without characters that act on a terminal.
fn presentable(text: &str) -> Cow<'_, str> {
    let safe = if text.chars().any(is_active) { escape(text) } else { Cow::Borrowed(text) };
    match safe {
        Cow::Borrowed(text) => Cow::Borrowed(clip(text, MAX_TEXT)),
        Cow::Owned(text) => Cow::Owned(clip(&text, MAX_TEXT).to_owned()),
    }
}

impl Who {
    fn see(&mut self, items: &Items) {
        let lossy = |item: &Option<Vec<u8>>| {
            let bytes = item.as_deref().filter(|bytes| !bytes.is_empty())?;
            Some(String::from_utf8_lossy(bytes).into_owned())
        };
        self.user = lossy(&items.user);
        self.asked_by = lossy(&items.remote_user);
        self.from = lossy(&items.remote_host);
    }
}

/// The one line that a login leaves in the system log.
fn log_end<H: Host>(host: &H, outcome: Outcome, who: &Who, why: &str) {
    let (priority, word) = match outcome {
        Outcome::Granted => (LOG_INFO, "granted"),
        Outcome::Ignored => (LOG_INFO, "ignored"),
        Outcome::Denied => (LOG_NOTICE, "denied"),
        Outcome::Expired => (LOG_NOTICE, "expired"),
        Outcome::Withdrawn => (LOG_NOTICE, "withdrawn"),
        Outcome::Busy => (LOG_NOTICE, "refused, too many waits or failures"),
        Outcome::Unreachable => (LOG_ERR, "refused, unreachable"),
        Outcome::Misconfigured => (LOG_ERR, "refused, misconfigured"),
        Outcome::Fault => (LOG_ERR, "refused, fault"),
    };
    let mut line = format!("{word}: user {}", quoted(who.user.as_deref().unwrap_or_default()));
    // Writing to a String cannot fail.
    for (label, value) in [("asked by", &who.asked_by), ("from", &who.from)] {
        if let Some(value) = value {
            let _ = write!(line, " {label} {}", quoted(value));
        }
    }
    if !why.is_empty() {
        let _ = write!(line, ": {}", escape(clip(why, MAX_TEXT)));
    }
    host.log(priority, &line);
}

/// A step for the log, without secrets.
fn describe(step: &Step) -> String {
    match step {
        Step::Say { text, deadline_ms, .. } => format!("step: say {}, {deadline_ms} ms", quoted(text)),
        Step::Ask { text, deadline_ms } => format!("step: ask {}, {deadline_ms} ms", quoted(text)),
        Step::Wait { deadline_ms } => format!("step: wait, {deadline_ms} ms"),
        Step::Verdict(verdict) => format!("step: verdict {:?}", verdict.outcome),
    }
}

/// Text from outside inside quotes that it cannot close.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escape(clip(text, MAX_TEXT)).replace('"', "\\\""))
}
