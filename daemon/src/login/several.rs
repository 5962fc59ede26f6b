//! Logins that several people have to approve, or others than the person: what is asked, and what is waited for.

use std::time::Duration;

use countersign_policy::Rule;
use countersign_protocol::login::{Step, Style};

use super::dialogue::deadline_ms;
use super::ending::Ending;
use super::open::Open;
use super::panel::{self, Panel};
use super::prompts;
use super::request::OpenRequest;
use super::rules::Account;
use super::state::State;
use super::story::{Login, Told};
use crate::clock;
use crate::person::Member;

/// How long a code that is nobody's yet may be that of an approval on its way: a code is told by word of mouth.
const ON_ITS_WAY: Duration = Duration::from_secs(3);

impl Login {
    /// Whom to ask. An account that is none is asked about nowhere, after the same questions to the name service.
    pub(super) async fn panel(&self, rule: &Rule, account: &Account, person: &str) -> Told<Panel> {
        let mut panel = match &rule.approvals {
            None => Panel::of_one(person, self.app.devices.for_user(person)),
            Some(approvals) => {
                Panel::of_several(&self.app, approvals, self.facts.by_root, self.connection.waits_since())
                    .await
                    .map_err(|error| Ending::fault(format!("who may approve is not known: {error}")))?
            }
        };
        if account.uid.is_none() {
            panel.devices.clear();
        }
        Ok(panel)
    }

    /// Lets the approvals take effect, as [`Open::confirm`]; whoever was taken out of the rule's groups meanwhile
    /// has not approved.
    pub(super) async fn confirm(&mut self, open: &Open) -> Told<bool> {
        let members = match &open.rule {
            None => Vec::new(),
            Some(approvals) => {
                let approved = open.counting();
                tokio::select! {
                    biased;
                    () = self.connection.closed() => return Err(Ending::withdrawn(open)),
                    members = panel::members(&self.app, &approved, approvals, self.facts.by_root) => members
                        .map_err(|error| Ending::fault(format!("who may approve is not known: {error}")))?,
                }
            }
        };
        self.certify(open, &members);
        open.confirm(&members).map_err(Ending::undone)
    }

    /// Whoever was asked by name and now counts by a certificate alone has it in the record, too.
    fn certify(&self, open: &Open, members: &[Member]) {
        let Some(approvals) = &open.rule else { return };
        for member in members.iter().filter(|member| !member.by_name) {
            let counting = open.counting();
            let Some(taken) = counting.iter().find(|taken| taken.person == member.person.name) else {
                continue;
            };
            let now = self.app.latest();
            if let Ok(certificate) = panel::certify(&self.app, approvals, &taken.person, &taken.signed, now) {
                open.counts_by(&taken.person, taken.copy(&certificate));
            }
        }
    }

    /// Waits a moment for the approval whose code this is.
    pub(super) async fn code_arrives(&mut self, open: &Open, typed: &str) -> Told<()> {
        let until = clock::boot() + ON_ITS_WAY;
        while open.rule.is_some() && !open.shows(typed) && !open.state().is_end() {
            let left = until.saturating_sub(clock::boot());
            if left.is_zero() || open.approved() >= open.people().len() {
                break;
            }
            if let Ok(ended) = tokio::time::timeout(left, self.watch(open, open.state())).await {
                ended?;
            }
        }
        Ok(())
    }

    /// Says how many have approved, where a line can be shown.
    pub(super) async fn say_progress(&mut self, open: &Open, rule: &Rule) -> Told<()> {
        let is_open = matches!(open.state(), State::New | State::Posted | State::Unreachable);
        if !is_open || open.approved() == 0 || self.facts.silent {
            return Ok(());
        }
        let text = format!("{}.", counted(open));
        let deadline_ms = deadline_ms(open);
        let step = Step::Say { style: Style::Info, text, deadline_ms, always: false };
        self.step(step, open, rule).await?;
        Ok(())
    }
}

/// The usual prompt.
pub(super) fn first(open: &OpenRequest) -> String {
    match (&open.rule, open.needed) {
        (None, _) => prompts::APPROVE.to_owned(),
        (Some(_), 1) => "An approver has to approve on their phone. Type the code that it shows: ".to_owned(),
        (Some(_), needed) => {
            format!("{needed} people have to approve on their phones. Type the code of one of them: ")
        }
    }
}

/// After an empty line that has asked once more.
pub(super) fn asked_again(open: &OpenRequest) -> String {
    match open.rule {
        None => prompts::ASKED_AGAIN.to_owned(),
        Some(_) => format!("Asked again. {}", first(open)),
    }
}

/// While a tap is waited for.
pub(super) fn tap(open: &OpenRequest) -> String {
    match (&open.rule, open.needed) {
        (None, _) => prompts::TAP.to_owned(),
        (Some(_), 1) => "An approver has to approve this on their phone.".to_owned(),
        (Some(_), needed) => format!("{needed} people have to approve this on their phones."),
    }
}

/// When somebody has approved.
pub(super) fn approved(open: &OpenRequest) -> String {
    match (&open.rule, open.typed()) {
        (None, _) => prompts::APPROVED.to_owned(),
        (Some(_), 0) => format!("{}. Type the code of one of them: ", counted(open)),
        (Some(_), typed) => {
            let codes = if typed == 1 { "1 code is" } else { &format!("{typed} codes are") };
            format!("{}, {codes} right. Type the code of the next one: ", counted(open))
        }
    }
}

/// After a wrong code.
pub(super) fn wrong(open: &OpenRequest) -> String {
    match open.rule {
        None => prompts::wrong(open.tries()),
        Some(_) => {
            let tries = if open.tries() == 1 { "1 try" } else { &format!("{} tries", open.tries()) };
            format!("That is nobody's code, {tries} left. {}. Code: ", counted(open))
        }
    }
}

/// More may have approved than have to.
fn counted(open: &OpenRequest) -> String {
    format!("{} of {} approved", open.approved().min(open.needed.into()), open.needed)
}
