//! What the oracle knows of factors that are typed in place of a decision, and of those who need none.

use std::time::Duration;

use countersign_protocol::audit::Record;
use countersign_protocol::phone_code;

use super::cast::{ALICE, CAST, CODE_OF_ALICE, CODE_ONCE, CODES, HOLDERS, HOST, ROOT, number};
use super::oracle::Oracle;
use super::peer::{Drawn, MOMENT};
use super::totp;
use crate::clock;
use crate::testing::{Lab, qr};
use countersign_policy::Factor;
use countersign_protocol::keys::Signer;

/// How long a challenge on the terminal is good.
const CHALLENGE: Duration = Duration::from_secs(120);
/// How long the server has to be away before anybody is let in unasked.
const AWAY: Duration = Duration::from_secs(60);
/// Steps to either side in which a code is known again.
const KNOWN: u64 = 4;

impl Oracle {
    /// Whether a factor may be typed, as far as is known here, and nobody has said no.
    fn may_type(&self, factor: Factor, login: usize, now: Duration) -> Result<(), String> {
        if !self.logins[login].rule.may_type(factor, self.had_trouble) {
            return Err(format!("the rule allows no {factor:?}"));
        }
        if self.current(login).is_some_and(|known| known.denied.is_some_and(|denied| denied < now)) {
            return Err("though a person said no".into());
        }
        Ok(())
    }

    /// One device of the person who is asked, for this very request or what this very terminal shows; never for
    /// several people.
    pub(super) fn judge_phone_code(
        &mut self,
        login: usize,
        lab: &Lab,
        drawn: Option<&Drawn>,
        now: Duration,
    ) -> Result<(), String> {
        self.may_type(Factor::PhoneCode, login, now)?;
        let of = &self.logins[login];
        if of.rule.both {
            return Err("by one person's code, where two are needed".into());
        }
        let typed = of.typed.last().ok_or("though nothing was typed")?;
        let of_request = self
            .current(login)
            .and_then(|known| HOLDERS.into_iter().find(|holder| known.phone_code(*holder, lab) == *typed));
        let of_terminal = drawn.and_then(|drawn| Some((drawn.at, scanned(drawn, typed)?)));
        let holder = match (of_request, of_terminal) {
            (Some(holder), _) => holder,
            (None, Some((at, _))) if now > at + CHALLENGE + MOMENT => {
                return Err("by the code of what has stood there for too long".into());
            }
            (None, Some(_)) if self.drawn_for_earlier(login) => {
                return Err("by the code of what was drawn for an earlier request".into());
            }
            (None, Some((_, holder))) => {
                self.notes.push("granted by a scanned code".into());
                holder
            }
            (None, None) => return Err("by no device's code for this request or terminal".into()),
        };
        let is_asked = self.current(login).is_none_or(|known| known.to.contains(&number(holder)));
        match self.accepts(holder, of.visit.person()) && is_asked {
            true => Ok(()),
            false => Err(format!("by the code of {holder:?}, who may not")),
        }
    }

    pub(super) fn judge_recovery(&mut self, factor: &str, login: usize, now: Duration) -> Result<(), String> {
        self.may_type(Factor::Recovery, login, now)?;
        let of = &self.logins[login];
        let codes: &[&str] = match (factor, of.visit.person()) {
            ("once", ROOT) => &[CODE_ONCE],
            (_, ROOT) => &CODES,
            ("recovery", ALICE) => &[CODE_OF_ALICE],
            _ => &[],
        };
        // The last one: it is what was typed last that opens.
        let unused = |line: &&String| codes.contains(&line.as_str()) && !self.used.contains(*line);
        let code = of.typed.iter().rfind(unused).ok_or("no unused recovery code of theirs was typed")?;
        self.used.insert(code.clone());
        Ok(())
    }

    /// Nobody was let in, since that could not be written down; what was used for it is used up all the same.
    pub(super) fn spends_unwritten(&mut self, login: usize, record: &Record) -> Result<(), String> {
        let now = clock::boot();
        match record.factor.as_deref() {
            Some(factor @ ("recovery" | "once")) => self.judge_recovery(factor, login, now),
            Some("totp") => self.judge_totp(login, now),
            Some("lease") => self.judge_lease(login, record),
            _ => Ok(()),
        }
    }

    pub(super) fn judge_totp(&mut self, login: usize, now: Duration) -> Result<(), String> {
        self.may_type(Factor::Totp, login, now)?;
        let of = &self.logins[login];
        let typed = of.typed.last().ok_or("though nothing was typed")?;
        let step = self.step_of(login, typed).ok_or("by no code of their authenticator")?;
        // It was compared a moment ago, which may have been in the step before.
        let now = clock::unix();
        let against = self.against_step(login, step, now);
        if let Some(why) = against.and_then(|_| self.against_step(login, step, now.saturating_sub(1))) {
            return Err(format!("by an authenticator's code, though {why}"));
        }
        self.steps.insert(of.visit.person(), step);
        Ok(())
    }

    /// Whether what stands on the terminal was drawn for a request that was open then, and another was made since. One
    /// that could not be posted then may be known later than what was drawn for it.
    fn drawn_for_earlier(&self, login: usize) -> bool {
        let Some((at, then)) = self.logins[login].drawn else { return false };
        let mut of_login = self.requests.iter().filter(|known| known.login == login);
        let current = then.checked_sub(1).and_then(|last| of_login.nth(last));
        current.is_some_and(|known| at < known.deadline.0) && of_login.next().is_some()
    }

    /// The step of which this is the code, of those about now.
    fn step_of(&self, login: usize, typed: &str) -> Option<u64> {
        let (person, now) = (self.logins[login].visit.person(), totp::step(clock::unix()));
        let near = |step: &u64| step.abs_diff(now);
        let mut steps: Vec<u64> = (now - KNOWN..=now + KNOWN).filter(|_| typed.len() == 6).collect();
        steps.sort_by_key(near);
        steps.into_iter().find(|step| totp::shows(person, *step) == typed)
    }

    fn against_step(&self, login: usize, step: u64, at: u64) -> Option<&'static str> {
        let last = self.steps.get(self.logins[login].visit.person());
        if last.is_some_and(|last| step <= *last) {
            return Some("it was used, or a later one");
        }
        (totp::step(at).abs_diff(step) > 1).then_some("it is of another time")
    }

    /// What has kept an authenticator's code from opening that was typed just now.
    pub(super) fn code_missed(&self, login: usize, typed: &str) -> Option<&'static str> {
        let step = self.step_of(login, typed)?;
        let may = self.logins[login].rule.may_type(Factor::Totp, self.had_trouble);
        if may { self.against_step(login, step, clock::unix()) } else { Some("the rule allows none") }
    }

    /// Why a login may not be let in unasked.
    fn against_allowing(&self, login: usize, now: Duration) -> Vec<&'static str> {
        let of = &self.logins[login];
        let day = of.rule.allow.map(|after| self.begun + after);
        let away = self.away.map(|since| now.saturating_sub(since));
        let has_device = HOLDERS
            .iter()
            .any(|holder| holder.is_paired_for(of.visit.person()) && !self.unpaired.contains(holder));
        let mut why = Vec::new();
        let mut is = |wrong: bool, what| why.extend(wrong.then_some(what));
        is(day.is_none(), "the rule does not say so");
        is(day.is_some_and(|day| day <= self.latest()), "the day has passed");
        is(away.is_none_or(|away| away + MOMENT < AWAY), "the server was there a minute ago");
        is(!of.visit.is_in_front(), "it is no login of somebody at the machine");
        is(!has_device, "the person has no device");
        why
    }

    pub(super) fn judge_allowed(&mut self, login: usize, now: Duration) -> Result<(), String> {
        match self.against_allowing(login, now).first() {
            Some(why) => Err(format!("unasked, though {why}")),
            None => Ok(()),
        }
    }

    /// What alone has kept a login from being let in unasked.
    pub(super) fn allowance_missed(&self, login: usize, now: Duration) -> Option<&'static str> {
        match self.against_allowing(login, now)[..] {
            [why] => Some(why),
            _ => None,
        }
    }

    /// Whether whoever never had a device is let pass.
    pub(super) fn may_pass(&self, login: usize) -> bool {
        let of = &self.logins[login];
        let is_time = of.rule.skips.is_some_and(|after| self.latest() < self.begun + after);
        is_time && !of.rule.both && self.policy.never_had_any(of.visit)
    }
}

/// Whose code it is for what the terminal shows.
fn scanned(drawn: &Drawn, typed: &str) -> Option<super::cast::Holder> {
    let challenge = qr::scan(&drawn.rows);
    HOLDERS.into_iter().find(|holder| {
        let device = &CAST.devices[number(*holder)];
        let host = HOST.public_key();
        let code = phone_code::at_device(device.seal_key(), &device.card().hash, host, &challenge);
        code.is_ok_and(|code| *code == typed)
    })
}
