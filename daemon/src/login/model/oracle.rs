//! What may happen and what must, worked out a second time from what was said and done, without a look at the
//! daemon's state. It knows less than the daemon and so never more precisely: where it cannot tell, it is silent.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use countersign_protocol::audit::Record;
use countersign_protocol::digest;
use countersign_protocol::message::{Answer, Confirm, Sealed};

use super::cast::{ALICE, CAST, CODE_OF_ALICE, CODE_ONCE, CODES, HOLDERS, Holder, ROOT, number};
use crate::testing::{Asked, Lab};
use countersign_policy::{Factor, Rule};

/// How long sshd may take from one stage to the next.
const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// Wrong codes that end a request.
const TRIES: u32 = 3;

/// A request, as whoever saw it at the server and could open it.
pub(super) struct Known {
    pub(super) asked: Box<Asked>,
    pub(super) login: usize,
    /// The daemon's start that it belongs to.
    pub(super) run: u32,
    /// Who decides.
    pub(super) person: &'static str,
    /// Numbers of the devices that it was sealed to.
    pub(super) to: Vec<usize>,
    /// It ends between these, by the boot clock.
    pub(super) deadline: (Duration, Duration),
    /// The first decision of each person that counts and approves.
    pub(super) approvals: Vec<usize>,
    /// When a no came in time.
    pub(super) denied: Option<Duration>,
    /// A yes or no came when it may have been over.
    is_doubtful: bool,
    wrong: u32,
    /// Typed before there was anything to compare it with.
    early: Option<String>,
}

impl Known {
    /// The eight digits that a device makes of it.
    pub(super) fn phone_code(&self, holder: Holder, lab: &Lab) -> String {
        CAST.devices[number(holder)].request_code(lab, &self.asked).to_string()
    }
}

/// A decision that somebody made.
pub(super) struct Said {
    pub(super) request: usize,
    pub(super) by: Holder,
    pub(super) answer: Answer,
    pub(super) code: Option<String>,
    /// Signed by its maker, for this request and this purpose, whatever it was sent in.
    pub(super) is_signed: bool,
    /// And sealed and sent as it must be; all others are worth nothing.
    pub(super) is_genuine: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) signature: String,
    pub(super) sealed: Sealed,
    /// Whether it has let somebody in.
    pub(super) has_granted: bool,
}

/// A login, as the person at it knows it.
pub(super) struct Login {
    person: &'static str,
    service: &'static str,
    pub(super) run: u32,
    began: Duration,
    /// When it was over for whoever asked.
    pub(super) ended: Option<Duration>,
    /// Whether it brought a token that was good.
    has_token: bool,
    typed: Vec<String>,
}

struct Token {
    service: &'static str,
    run: u32,
    until: Duration,
}

/// Everything that was said and done.
pub(super) struct Oracle {
    pub(super) rule: Rule,
    pub(super) run: u32,
    pub(super) requests: Vec<Known>,
    pub(super) said: Vec<Said>,
    pub(super) logins: Vec<Login>,
    /// Devices that were ended in this story.
    pub(super) ended: Vec<Holder>,
    used: HashSet<String>,
    tokens: HashMap<String, Token>,
    /// Whether the server was ever away, so that what is for then only may be typed.
    pub(super) had_trouble: bool,
}

impl Oracle {
    pub(super) fn new(rule: Rule) -> Self {
        Self {
            rule,
            run: 0,
            requests: Vec::new(),
            said: Vec::new(),
            logins: Vec::new(),
            ended: Vec::new(),
            used: HashSet::new(),
            tokens: HashMap::new(),
            had_trouble: false,
        }
    }

    pub(super) fn begins(
        &mut self,
        person: &'static str,
        service: &'static str,
        has_token: bool,
        now: Duration,
    ) {
        let (run, typed) = (self.run, Vec::new());
        self.logins.push(Login { person, service, run, began: now, ended: None, has_token, typed });
    }

    /// A request came by at the server for the first time.
    pub(super) fn is_asked(&mut self, asked: Box<Asked>, login: usize, to: Vec<usize>, now: Duration) {
        let before = self.requests.iter().rfind(|known| known.login == login);
        let wait = Duration::from_secs(asked.request.expires_in.into());
        // Made after the login began, and after the one before it was seen, whenever it was posted.
        let earliest = before.map_or(self.logins[login].began, |known| known.deadline.1 - wait);
        self.requests.push(Known {
            login,
            run: self.run,
            person: self.logins[login].person,
            to,
            deadline: (earliest + wait, now + wait),
            approvals: Vec::new(),
            denied: None,
            is_doubtful: false,
            wrong: 0,
            early: None,
            asked,
        });
    }

    pub(super) fn accepts(&self, holder: Holder, person: &str) -> bool {
        holder.decides_for(person) && !self.ended.contains(&holder)
    }

    /// A decision reached the daemon. Whether it is worth anything.
    pub(super) fn is_delivered(&mut self, number: usize, now: Duration) -> bool {
        let said = &self.said[number];
        let known = &self.requests[said.request];
        let by = HOLDERS.iter().position(|holder| *holder == said.by);
        let counts = said.is_genuine
            && known.run == self.run
            && now < known.deadline.1
            && by.is_some_and(|by| known.to.contains(&by))
            && self.may_decide(said.by, known);
        let needs_code = said.answer == Answer::Approve && known.asked.request.confirm == Confirm::Code;
        if !counts || (needs_code && said.code.is_none()) {
            return false;
        }
        let (answer, code) = (said.answer, said.code.clone());
        let has_approved =
            |before: &usize| self.both().is_none() || self.said[*before].by.person() == said.by.person();
        let is_first = !known.approvals.iter().any(has_approved);
        let known = &mut self.requests[said.request];
        let person = known.person;
        if now >= known.deadline.0 {
            known.is_doubtful = true;
        }
        match answer {
            Answer::Approve if is_first => {
                known.approvals.push(number);
                if known.early.take().is_some_and(|early| Some(early) != code) {
                    known.wrong += 1;
                }
            }
            Answer::Approve => {}
            Answer::Deny | Answer::Report if now < known.deadline.0 => {
                known.denied.get_or_insert(now);
            }
            Answer::Deny | Answer::Report => {}
        }
        if answer == Answer::Report {
            // It ends what else is asked of the person from there, and where that is is not known here.
            let others = self.requests.iter_mut().filter(|other| other.person == person);
            others.for_each(|other| other.is_doubtful = true);
        }
        true
    }

    /// The request that a login waits for, as far as anybody has seen it.
    pub(super) fn current(&self, login: usize) -> Option<&Known> {
        self.requests.iter().rfind(|known| known.login == login)
    }

    /// Somebody typed something at a prompt. Whether it has to let them in at once.
    pub(super) fn is_typed(&mut self, login: usize, text: &str, now: Duration) -> bool {
        self.logins[login].typed.push(text.trim().to_owned());
        let text = text.trim();
        let Some(at) = self.requests.iter().rposition(|known| known.login == login) else { return false };
        let known = &self.requests[at];
        let is_code = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_open = now < known.deadline.0 && known.denied.is_none() && known.wrong < TRIES;
        if text.is_empty() || !is_open || known.asked.request.confirm == Confirm::Tap {
            return false;
        }
        if self.both().is_some() {
            // Whose code is awaited, and how often a wrong one was typed, is the daemon's to know.
            return false;
        }
        if let Some(said) = known.approvals.first().map(|approval| &self.said[*approval]) {
            let is_right = is_code && said.code.as_deref() == Some(text);
            let must = is_right && self.accepts(said.by, known.person) && !known.is_doubtful;
            // A recovery code may be no wrong try, but a used one is: that is the daemon's to count.
            let is_wrong = !is_right && text.len() != 16;
            self.requests[at].wrong += u32::from(is_wrong);
            return must;
        }
        let known = &mut self.requests[at];
        if is_code {
            known.early = Some(text.to_owned());
        } else if text.len() != 16 {
            known.wrong += 1;
        }
        false
    }

    /// Whether a tap that counts now has to let in whoever waits for it.
    pub(super) fn tap_must_open(&self, request: usize, now: Duration) -> bool {
        let known = &self.requests[request];
        let said = known.approvals.first().map(|approval| &self.said[*approval]);
        self.both().is_none()
            && known.asked.request.confirm == Confirm::Tap
            && known.run == self.run
            && now < known.deadline.0
            && known.denied.is_none()
            && !known.is_doubtful
            && said.is_some_and(|said| self.accepts(said.by, known.person))
            && self.logins[known.login].ended.is_none()
            && self.current(known.login).is_some_and(|now| now.asked.digest == known.asked.digest)
    }

    /// Whether this token has to let in at once. However that is, it is spent.
    pub(super) fn spends(&mut self, token: &str, service: &str, now: Duration) -> bool {
        let run = self.run;
        self.tokens
            .remove(token)
            .is_some_and(|token| token.service == service && token.run == run && now < token.until)
    }

    pub(super) fn issues(&mut self, token: String, login: usize, now: Duration) {
        let service = self.logins[login].service;
        assert_eq!(service, "sshd", "only sshd has two stages");
        let token_of = Token { service, run: self.run, until: now + TOKEN_LIFE };
        assert!(self.tokens.insert(token, token_of).is_none(), "a token was given twice");
    }

    /// Whether somebody may be let in as this record says; why not.
    pub(super) fn judge(
        &mut self,
        login: usize,
        record: &Record,
        lab: &Lab,
        now: Duration,
    ) -> Result<(), String> {
        let Login { run, ended, has_token, .. } = self.logins[login];
        if run != self.run {
            return Err("its daemon was killed".into());
        }
        if ended.is_some() {
            return Err("it was withdrawn, or has ended before".into());
        }
        match record.factor.as_deref() {
            Some("device") => self.judge_decision(login, record, now),
            Some(factor @ ("recovery" | "once")) => self.judge_recovery(factor, login, now),
            Some("phone-code") => self.judge_phone_code(login, lab, now),
            Some("token") if has_token => Ok(()),
            Some("token") => Err("it brought no token that was good".into()),
            other => Err(format!("no factor {other:?} lets anybody in")),
        }
    }

    fn judge_decision(&mut self, login: usize, record: &Record, now: Duration) -> Result<(), String> {
        let bytes = record.request.as_deref().ok_or("without a request")?.as_bytes();
        let digest = digest::sha256_hex(bytes);
        let known = self.requests.iter().find(|known| known.asked.digest == digest);
        let known = known.ok_or("for a request that nobody has seen")?;
        if known.login != login || known.run != self.run {
            return Err("for another login's request".into());
        }
        if now >= known.deadline.1 {
            return Err("after the deadline".into());
        }
        // One that comes in the very moment of the verdict may come after it.
        if known.denied.is_some_and(|denied| denied < now) {
            return Err("though it was denied".into());
        }
        let needed = usize::from(self.both().unwrap_or(1));
        let recorded: Vec<&str> = record
            .decision
            .as_deref()
            .into_iter()
            .chain(record.further.iter().map(|one| one.decision.as_str()))
            .collect();
        let (mut granting, mut people) = (Vec::new(), HashSet::new());
        for bytes in recorded {
            let approval = known.approvals.iter().find(|one| self.said[**one].bytes == bytes.as_bytes());
            let approval = *approval.ok_or("without an approval that counts")?;
            let said = &self.said[approval];
            if !self.may_decide(said.by, known) {
                return Err(format!("by {:?}, who may not", said.by));
            }
            if said.has_granted {
                return Err("by a decision that was used before".into());
            }
            let typed = &self.logins[login].typed;
            if known.asked.request.confirm == Confirm::Code
                && !said.code.as_ref().is_some_and(|code| typed.contains(code))
            {
                return Err("without its code".into());
            }
            people.insert(said.by.person());
            granting.push(approval);
        }
        if people.len() != needed || granting.len() != needed {
            return Err(format!("by {people:?}, and {needed} are needed"));
        }
        if known.asked.request.confirm == Confirm::Code && known.wrong >= TRIES && needed == 1 {
            return Err("after too many wrong codes".into());
        }
        granting.into_iter().for_each(|approval| self.said[approval].has_granted = true);
        Ok(())
    }

    /// How many people have to approve, where the rule names them.
    fn both(&self) -> Option<u8> {
        self.rule.approvals.as_ref().map(|approvals| approvals.needed)
    }

    /// Whether a device may decide about a request.
    fn may_decide(&self, holder: Holder, known: &Known) -> bool {
        let person = if self.both().is_some() { holder.person() } else { known.person };
        self.accepts(holder, person)
    }

    /// The code of an approval that has not been typed yet.
    pub(super) fn next_code(&self, known: &Known) -> Option<String> {
        let typed = &self.logins[known.login].typed;
        let codes = known.approvals.iter().filter_map(|approval| self.said[*approval].code.clone());
        let (mut untyped, mut any) = (None, None);
        for code in codes {
            if !typed.contains(&code) {
                untyped.get_or_insert(code.clone());
            }
            any.get_or_insert(code);
        }
        untyped.or(any)
    }

    /// Whether a factor may be typed, as far as is known here, and nobody has said no.
    fn may_type(&self, factor: Factor, login: usize, now: Duration) -> Result<(), String> {
        let may =
            self.rule.codes.contains(&factor) || (self.rule.offline.contains(&factor) && self.had_trouble);
        if !may {
            return Err(format!("the rule allows no {factor:?}"));
        }
        if self.current(login).is_some_and(|known| known.denied.is_some_and(|denied| denied < now)) {
            return Err("though a person said no".into());
        }
        Ok(())
    }

    /// One device of the person who is asked, for this very request; never for several people.
    fn judge_phone_code(&mut self, login: usize, lab: &Lab, now: Duration) -> Result<(), String> {
        self.may_type(Factor::PhoneCode, login, now)?;
        if self.both().is_some() {
            return Err("by one person's code, where two are needed".into());
        }
        let typed = self.logins[login].typed.last().ok_or("though nothing was typed")?;
        let known = self.current(login).ok_or("for a request that nobody has seen")?;
        let its = HOLDERS.into_iter().find(|holder| known.phone_code(*holder, lab) == *typed);
        let holder = its.ok_or("by no device's code for this request")?;
        match self.accepts(holder, known.person) && known.to.contains(&number(holder)) {
            true => Ok(()),
            false => Err(format!("by the code of {holder:?}, who may not")),
        }
    }

    fn judge_recovery(&mut self, factor: &str, login: usize, now: Duration) -> Result<(), String> {
        self.may_type(Factor::Recovery, login, now)?;
        let Login { person, ref typed, .. } = self.logins[login];
        let codes: &[&str] = match (factor, person) {
            ("once", ROOT) => &[CODE_ONCE],
            ("once", _) => &[],
            (_, ALICE) => &[CODE_OF_ALICE],
            _ => &CODES,
        };
        debug_assert!([ROOT, ALICE].contains(&person));
        // The last one: it is what was typed last that opens.
        let unused = |line: &&String| codes.contains(&line.as_str()) && !self.used.contains(*line);
        let code = typed.iter().rfind(unused).ok_or("no unused recovery code of theirs was typed")?;
        self.used.insert(code.clone());
        Ok(())
    }
}
