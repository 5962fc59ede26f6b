//! The oracle's word on somebody who was let in: by which factor, and whether that may be.

use std::collections::HashSet;
use std::time::Duration;

use countersign_protocol::audit::Record;
use countersign_protocol::digest;
use countersign_protocol::message::Confirm;

use super::oracle::{Login, Oracle, TRIES};
use super::peer::Drawn;
use crate::testing::Lab;
use countersign_policy::Then;

impl Oracle {
    /// Whether somebody may be let in as this record says; why not.
    pub(super) fn judge(
        &mut self,
        login: usize,
        record: &Record,
        lab: &Lab,
        drawn: Option<&Drawn>,
        now: Duration,
    ) -> Result<(), String> {
        let Login { run, ended, has_token, visit, ref rule, .. } = self.logins[login];
        if run != self.run {
            return Err("its daemon was killed".into());
        }
        if ended.is_some() {
            return Err("it was withdrawn, or has ended before".into());
        }
        if record.action.as_deref() != visit.action() || record.origins != visit.origins() {
            return Err("for another action, or of other origins".into());
        }
        if record.list != visit.list(login).map(|list| digest::sha256_hex(list.as_bytes())) {
            return Err("for another list".into());
        }
        let then = rule.then;
        if !matches!(then, Then::Approve | Then::Observe) {
            return Err(format!("under a rule that says {then:?}"));
        }
        let (place, _) = visit.held(login);
        let factor = record.factor.as_deref();
        if let Some(why) = self.barred(login).filter(|_| factor != Some("token")) {
            return Err(format!("from where there was {why}"));
        }
        match factor {
            Some("device") => {
                let approval = self.judge_decision(login, record, now)?;
                self.keeps_lease(login, approval);
            }
            Some(factor @ ("recovery" | "once")) => self.judge_recovery(factor, login, now)?,
            Some("phone-code") => self.judge_phone_code(login, lab, drawn, now)?,
            Some("totp") => self.judge_totp(login, now)?,
            Some("allow") => self.judge_allowed(login, now)?,
            Some("lease") => return self.judge_lease(login, record),
            Some("token") if has_token => return Ok(()),
            Some("token") => return Err("it brought no token that was good".into()),
            other => return Err(format!("no factor {other:?} lets anybody in")),
        }
        self.bars.forgive(visit.person(), &place);
        if then == Then::Approve {
            self.sources.insert((visit.account(), visit.source(login)));
        }
        Ok(())
    }

    /// The first approval that has let it in.
    fn judge_decision(&mut self, login: usize, record: &Record, now: Duration) -> Result<usize, String> {
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
        let needed = usize::from(self.logins[login].rule.people().unwrap_or(1));
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
        granting.iter().for_each(|approval| self.said[*approval].has_granted = true);
        Ok(granting[0])
    }
}
