//! What is typed in place of the phone's six digits, and what is asked while the server is away.
//!
//! One typed answer is compared as one factor, and never as two: sixteen characters are a recovery code, eight
//! digits the phone's, and six digits an approval's code while an approval stands, else an authenticator's.

use countersign_protocol::login::{Stage, Step, Style};
use countersign_protocol::message::Kind;
use zeroize::Zeroizing;

use super::dialogue::deadline_ms;
use super::ending::Ending;
use super::open::Open;
use super::phone::{self, Shown};
use super::prompts;
use super::rules::{self, offline_factors};
use super::state::{Event, State};
use super::story::{Login, Told};
use crate::budget::Past;
use crate::recovery::{self, Checked};
use crate::{totp, verify};
use countersign_policy::{ALLOWED_AFTER, Factor, Rule};

/// Most QR codes of one login: each is some twenty lines on a terminal.
const MOST_DRAWN: u32 = 3;
/// What is typed to see the QR code.
const SHOW: &str = "qr";

/// How far a login is with what it may type beside the phone's six digits.
#[derive(Default)]
pub(super) struct Factors {
    /// The prompt that is out offers what may be typed while the server is away.
    offered: bool,
    /// The answer that is judged was asked for by such a prompt: it counts, though the server may be back.
    taken: bool,
    /// The challenge on the terminal.
    shown: Option<Shown>,
    drawn: u32,
}

/// An answer that is a factor's.
pub(super) enum Typed {
    Recovery,
    PhoneCode(Zeroizing<String>),
    Totp(Zeroizing<String>),
}

/// What a factor turned out to be.
enum Judged {
    Right(Ending),
    Wrong,
    Blocked,
}

/// Whether a phone may still approve, as far as is known.
fn may_be_approved(open: &Open) -> bool {
    matches!(open.state(), State::New | State::Posted | State::Approved)
}

impl Login {
    /// An answer has come to the prompt that was out.
    pub(super) fn is_answered(&mut self) {
        self.factors.taken = std::mem::take(&mut self.factors.offered);
    }

    fn may_type(&self, factor: Factor, open: &Open, rule: &Rule) -> bool {
        rules::may_type(factor, open, rule)
            || (self.factors.taken
                && rule.offline.contains(&factor)
                && offline_factors(rule).contains(&factor))
    }

    /// Which factor an answer is, if any that may be typed.
    pub(super) fn factor(&self, open: &Open, typed: &str, rule: &Rule) -> Option<Typed> {
        if recovery::looks_like_code(typed) {
            return self.may_type(Factor::Recovery, open, rule).then_some(Typed::Recovery);
        }
        if let Some(code) = phone::typed_code(typed) {
            return self.may_type(Factor::PhoneCode, open, rule).then_some(Typed::PhoneCode(code));
        }
        let code = verify::typed_code(typed).filter(|_| !open.has_untyped())?;
        // Without an authenticator the digits can only be those of an approval that is still on its way.
        if may_be_approved(open) && !self.app.totp.has(&open.person) {
            return None;
        }
        self.may_type(Factor::Totp, open, rule).then_some(Typed::Totp(code))
    }

    /// Compares a factor; what to ask if it was wrong. Also good after the request's time: whoever has to look
    /// for their codes needs longer. A person's no stands.
    pub(super) async fn judge_factor(
        &mut self,
        open: &Open,
        typed: &str,
        factor: Typed,
        rule: &Rule,
    ) -> Told<String> {
        if open.state().is_end() && open.state() != State::Expired {
            return Err(Ending::of_request(open));
        }
        let judged = match &factor {
            Typed::Recovery => self.recovery(open, typed).await,
            Typed::PhoneCode(code) => self.phone_code(open, code).await,
            Typed::Totp(code) => self.totp(open, code).await,
        };
        match judged {
            Ok(Judged::Right(ending)) if open.happens(Event::Factor) => Err(ending),
            Ok(Judged::Right(_)) => Err(Ending::of_request(open)),
            Ok(Judged::Blocked) => match &factor {
                // They were compared with nothing, and may be an approval's: guessing keeps nobody from their phone.
                Typed::Totp(code) if may_be_approved(open) => self.judge_when_settled(open, code, rule).await,
                _ => Err(Ending::blocked()),
            },
            Ok(Judged::Wrong) => {
                open.waste_try();
                self.after_a_wrong_try(open, rule).await
            }
            Err(error) => Err(Ending::fault(format!("typed codes: {error}"))),
        }
    }

    async fn recovery(&self, open: &Open, typed: &str) -> std::io::Result<Judged> {
        let holds = |user: &str| self.app.has_something_to_guess(user);
        Ok(match self.app.recovery.check(&open.person, typed, holds).await? {
            Checked::Used { left } => Judged::Right(Ending::recovered(left)),
            Checked::Once { reason } => Judged::Right(Ending::by_once(&reason)),
            Checked::Blocked { .. } => Judged::Blocked,
            Checked::Wrong | Checked::NotACode => Judged::Wrong,
        })
    }

    async fn phone_code(&self, open: &Open, code: &str) -> std::io::Result<Judged> {
        let Some(taken) = self.app.leave_to_guess(&open.person).await? else { return Ok(Judged::Blocked) };
        let Some(device) = phone::device_of(&self.app, open, self.factors.shown.as_ref(), code) else {
            return Ok(Judged::Wrong);
        };
        self.app.budget.give_back(taken).await?;
        Ok(Judged::Right(Ending::by_phone_code(device.card.key.fingerprint())))
    }

    async fn totp(&self, open: &Open, code: &str) -> std::io::Result<Judged> {
        let totp = &self.app.totp;
        let Some(taken) = self.app.leave_to_guess(&open.person).await? else { return Ok(Judged::Blocked) };
        if !totp.use_up(&open.person, code, totp::now()).await? {
            return Ok(Judged::Wrong);
        }
        self.app.budget.give_back(taken).await?;
        Ok(Judged::Right(Ending::by_totp()))
    }

    /// Whether an answer asks for the QR code, and there may be one.
    pub(super) fn asks_for_qr(&self, open: &Open, typed: &str, rule: &Rule) -> bool {
        typed.eq_ignore_ascii_case(SHOW)
            && self.facts.shows_rows()
            && self.may_type(Factor::PhoneCode, open, rule)
            && self.factors.drawn < MOST_DRAWN
    }

    /// Shows the QR code because it was asked for; what to ask below it.
    pub(super) async fn show_qr(&mut self, open: &Open, rule: &Rule) -> Told<String> {
        self.factors.shown = None;
        self.factors.offered = self.factors.taken;
        match self.draw(open, rule).await? {
            true => Ok(prompts::BELOW_QR.to_owned()),
            false => self.after_a_wrong_try(open, rule).await,
        }
    }

    /// What to ask while the server is away, below a QR code where one may be shown; the end when nothing is left
    /// to type, or nothing has to be.
    pub(super) async fn offline_prompt(&mut self, open: &Open, rule: &Rule) -> Told<String> {
        self.let_in_unasked(open, rule).await?;
        let mut factors = offline_factors(rule);
        let has_qr = factors.contains(&Factor::PhoneCode) && self.facts.shows_rows();
        if has_qr {
            let is_there = self.factors.shown.as_ref().is_some_and(|shown| shown.is_good_for(open));
            if !is_there && self.draw(open, rule).await? {
                self.factors.offered = true;
                factors.retain(|factor| *factor != Factor::PhoneCode);
                return Ok(prompts::below_qr(&factors));
            }
        } else if !open.was_posted() {
            // No phone has anything to make digits of.
            factors.retain(|factor| *factor != Factor::PhoneCode);
        }
        self.factors.offered = true;
        prompts::offline(&factors).ok_or_else(|| Ending::unreachable(self.app.relay.trouble()))
    }

    /// Draws a new challenge, a row a message; `false` where there is none.
    async fn draw(&mut self, open: &Open, rule: &Rule) -> Told<bool> {
        if self.factors.drawn >= MOST_DRAWN {
            return Ok(false);
        }
        let Some((shown, rows)) = Shown::new(&self.app, &self.facts, open) else { return Ok(false) };
        self.factors.drawn += 1;
        let above = if open.is_unreachable() { prompts::ABOVE_QR_OFFLINE } else { prompts::ABOVE_QR };
        for text in std::iter::once(above.to_owned()).chain(rows) {
            let deadline_ms = deadline_ms(open);
            let step = Step::Say { style: Style::Info, text, deadline_ms, always: true };
            self.step(step, open, rule).await?;
        }
        self.factors.shown = Some(shown);
        Ok(true)
    }

    /// Ends the login well where the rule lets this person in without any factor while the server is away.
    pub(super) async fn let_in_unasked(&mut self, open: &Open, rule: &Rule) -> Told<()> {
        let Some(date) = rule.allow_until.filter(|_| rule.approvals.is_none()) else { return Ok(()) };
        // The rule says the same; a mistake in choosing it must not open.
        let facts = &self.facts;
        let is_named = rule.when.names_local_users().is_some_and(|names| names.contains(&open.user));
        let is_local = facts.remote.is_none()
            && !facts.is_sshd()
            && facts.stage == Stage::Auth
            && matches!(facts.kind, Kind::Login | Kind::Unlock);
        // Nobody without a device: that is whom the server would have refused, too.
        if !is_named || !is_local || open.devices.is_empty() || !open.is_unreachable() {
            return Ok(());
        }
        if self.app.logins.away_for().is_none_or(|away| away < ALLOWED_AFTER) {
            return Ok(());
        }
        match self.app.budget.is_past(date).await {
            Ok(Past::No) if open.happens(Event::Factor) => Err(Ending::allowed(date)),
            Ok(_) => Ok(()),
            Err(error) => {
                self.app.log.error(&error.to_string());
                Ok(())
            }
        }
    }
}
