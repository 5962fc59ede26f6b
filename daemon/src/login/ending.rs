//! How a login ended: what the module is told, what the person reads, what the audit keeps.

use countersign_protocol::login::Outcome;

use super::open::Open;
use super::prompts;
use super::state::State;
use super::tokens::Grant;
use crate::fatigue::Refused;
use crate::relay::Trouble;

/// The end of a login.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// For the module.
    pub outcome: Outcome,
    /// For the person.
    pub text: Option<String>,
    /// For the administrator.
    pub reason: String,
    /// What let the person in.
    pub factor: Option<&'static str>,
    /// The device that a typed factor was of.
    pub device: Option<String>,
}

impl Ending {
    fn new(outcome: Outcome, text: Option<&str>, reason: impl Into<String>) -> Self {
        Self { outcome, text: text.map(str::to_owned), reason: reason.into(), factor: None, device: None }
    }

    /// A person approved, and what the request asked for beside it was done.
    pub(super) fn granted() -> Self {
        Self { factor: Some("device"), ..Self::new(Outcome::Granted, None, "approved") }
    }

    /// A recovery code was typed.
    pub(super) fn recovered(left: u32) -> Self {
        let text = format!("Recovery code accepted, {left} left.");
        let reason = format!("recovery code used, {left} left");
        Self { factor: Some("recovery"), ..Self::new(Outcome::Granted, Some(&text), reason) }
    }

    /// The code was typed that root has made for a while.
    pub(super) fn by_once(reason: &str) -> Self {
        let reason = format!("the code was typed that was made for: {reason}");
        Self { factor: Some("once"), ..Self::new(Outcome::Granted, Some(prompts::ONCE), reason) }
    }

    /// The eight digits of a device were typed.
    pub(super) fn by_phone_code(device: String) -> Self {
        let ending = Self::new(Outcome::Granted, None, "the code of a paired device was typed");
        Self { factor: Some("phone-code"), device: Some(device), ..ending }
    }

    /// An authenticator's code was typed.
    pub(super) fn by_totp() -> Self {
        let ending = Self::new(Outcome::Granted, None, "an authenticator's code was typed");
        Self { factor: Some("totp"), ..ending }
    }

    /// The rule lets this person in without anything while the server is away.
    pub(super) fn allowed(until: u64) -> Self {
        let reason =
            format!("let in without any factor, as the rule allows until {until} while the server is away");
        Self { factor: Some("allow"), ..Self::new(Outcome::Granted, Some(prompts::ALLOWED), reason) }
    }

    /// Whether it has to be on the disk before anybody learns of it: nobody signed for it.
    pub(super) fn is_unsigned_grant(&self) -> bool {
        self.outcome == Outcome::Granted && !matches!(self.factor, Some("device" | "token"))
    }

    /// The `auth` stage of the same ssh login was granted.
    pub(super) fn granted_before(grant: &Grant) -> Self {
        let reason = format!("granted in login {}", grant.login);
        Self { factor: Some("token"), ..Self::new(Outcome::Granted, None, reason) }
    }

    /// A lease that a person granted before.
    pub(super) fn leased() -> Self {
        let reason = "a lease that was granted before";
        Self { factor: Some("lease"), ..Self::new(Outcome::Granted, None, reason) }
    }

    pub(super) fn ignored(reason: &str) -> Self {
        Self::new(Outcome::Ignored, None, reason)
    }

    pub(super) fn denied_by_policy() -> Self {
        Self::new(Outcome::Denied, Some(prompts::DENIED_BY_POLICY), "the rule denies it")
    }

    /// The service's line says that no password goes before it, and the rule does not.
    pub(super) fn not_passwordless() -> Self {
        let reason = "its PAM line says passwordless, and the rule does not";
        Self::new(Outcome::Denied, Some(prompts::NOT_ALONE), reason)
    }

    /// The same of an action.
    pub(super) fn action_denied_by_policy() -> Self {
        Self::new(Outcome::Denied, Some(prompts::ACTION_DENIED), "the rule denies it")
    }

    pub(super) fn denied(reason: &str) -> Self {
        Self::new(Outcome::Denied, Some(prompts::DENIED_BY_POLICY), reason)
    }

    /// The device that has approved may no longer do so: looks like its denial.
    pub(super) fn undone(why: String) -> Self {
        Self::new(Outcome::Denied, Some(prompts::DENIED), why)
    }

    pub(super) fn cannot_ask(reason: &str) -> Self {
        Self::new(
            Outcome::Denied,
            Some(prompts::CANNOT_ASK),
            format!("{reason}, and the rule's without_prompt refuses"),
        )
    }

    /// The same of a program that was started without a terminal.
    pub(super) fn no_terminal() -> Self {
        Self {
            text: Some(prompts::NO_TERMINAL.to_owned()),
            ..Self::cannot_ask("there is no terminal to prompt at")
        }
    }

    /// The same at the session stage.
    pub(super) fn key_alone() -> Self {
        Self {
            text: Some(prompts::KEY_ALONE.to_owned()),
            ..Self::cannot_ask("the session stage cannot prompt")
        }
    }

    /// The same where the program has one field, for the password.
    pub(super) fn one_field() -> Self {
        Self {
            text: Some(prompts::ONE_FIELD.to_owned()),
            ..Self::cannot_ask("the program has one field and cannot ask for a code")
        }
    }

    pub(super) fn busy() -> Self {
        Self::new(Outcome::Busy, Some(prompts::BUSY), "too many logins wait that nobody can answer")
    }

    /// Nobody who might approve what root asks for has a device.
    pub(super) fn nobody_to_ask(person: &str) -> Self {
        let text = prompts::nobody_to_ask(person);
        Self::new(Outcome::Denied, Some(&text), "nobody who might approve it has a device")
    }

    /// Open requests have too many lists already.
    pub(super) fn too_many_lists(reason: String) -> Self {
        Self::new(Outcome::Busy, Some(prompts::BUSY), reason)
    }

    /// The server is there, and a request's list is not at it.
    pub(super) fn list_not_taken(why: &Trouble) -> Self {
        let reason = format!("its list could not be brought to the server: {}", why.full);
        Self::new(Outcome::Busy, Some(&prompts::list_not_taken(&why.brief)), reason)
    }

    pub(super) fn blocked() -> Self {
        Self::new(Outcome::Busy, Some(prompts::BLOCKED), "too many wrong typed codes")
    }

    /// The person has just said no to the same.
    pub(super) fn refused_from_there(why: Refused) -> Self {
        match why {
            Refused::Denied => {
                Self::new(Outcome::Denied, Some(prompts::COOLING), "denied a moment ago from the same place")
            }
            Refused::Reported => Self::new(
                Outcome::Busy,
                Some(prompts::FROM_THERE),
                "reported within a day from the same place",
            ),
        }
    }

    pub(super) fn misconfigured(reason: impl Into<String>) -> Self {
        Self::new(Outcome::Misconfigured, Some(prompts::MISCONFIGURED), reason)
    }

    pub(super) fn fault(reason: impl Into<String>) -> Self {
        Self::new(Outcome::Fault, Some(prompts::FAULT), reason)
    }

    pub(super) fn stopping() -> Self {
        Self::new(Outcome::Unreachable, Some(prompts::STOPPING), "the daemon stops")
    }

    pub(super) fn unreachable(why: Trouble) -> Self {
        let text = prompts::unreachable(&why.brief);
        Self::new(Outcome::Unreachable, Some(&text), why.full)
    }

    /// The asking side is gone, which changes nothing where nobody had decided in time. Says how long it stayed, because sshd's LoginGraceTime looks the same.
    pub(super) fn withdrawn(open: &Open) -> Self {
        if open.state() == State::Expired {
            return Self::of(State::Expired);
        }
        let stayed = open.wait.saturating_sub(open.left()).as_secs_f64();
        let mut reason = format!("gone after {stayed:.1} s of a wait of {} s", open.wait.as_secs());
        if !open.state().is_end() && open.by_sshd {
            reason.push_str(": hung up, or sshd's LoginGraceTime is shorter than the rule's wait");
        }
        Self::new(Outcome::Withdrawn, None, reason)
    }

    /// Somebody who may has taken the request back.
    fn cancelled(open: &Open) -> Self {
        let by = open.cancelled_by.borrow().clone().unwrap_or_default();
        Self::new(Outcome::Withdrawn, Some(prompts::CANCELLED), format!("cancelled by {by}"))
    }

    /// The asking side was gone before its request was known to be held by the server.
    pub(super) fn gone_early() -> Self {
        Self::new(Outcome::Withdrawn, None, "gone while its request was posted")
    }

    /// A person was asked again and again, and typed nothing.
    pub(super) fn no_code(prompts: u32) -> Self {
        Self::new(Outcome::Denied, Some(prompts::NO_CODE), format!("no code was typed at {prompts} prompts"))
    }

    /// The same of a request that may have been taken back.
    pub(super) fn of_request(open: &Open) -> Self {
        match open.state() {
            State::Withdrawn => Self::cancelled(open),
            state => Self::of(state),
        }
    }

    /// What the end of a request means for its login; refused unless it is one of the others.
    pub(super) fn of(state: State) -> Self {
        match state {
            State::Denied => Self::new(Outcome::Denied, Some(prompts::DENIED), "denied"),
            State::Reported => {
                Self::new(Outcome::Denied, Some(prompts::REPORTED), "reported as not being the owner")
            }
            State::Expired => Self::new(Outcome::Expired, Some(prompts::EXPIRED), "nobody decided in time"),
            State::Failed => Self::new(Outcome::Denied, Some(prompts::FAILED), "too many wrong codes"),
            state => Self::fault(format!("a request in state {state:?} has no such end")),
        }
    }
}
