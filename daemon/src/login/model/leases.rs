//! What the oracle knows of leases: who has granted which, and why one is good for a login or not.

use std::time::Duration;

use countersign_protocol::audit::Record;
use countersign_protocol::digest;
use countersign_protocol::message::Confirm;

use super::cast::Holder;
use super::oracle::Oracle;
use super::peer::MOMENT;
use countersign_policy::Factor;

/// How long a server may be gone before that is certain to everybody.
const CERTAIN: Duration = Duration::from_secs(10);

/// A lease that somebody has granted.
pub(super) struct Lease {
    /// The request's.
    digest: String,
    person: &'static str,
    by: Holder,
    bound: [String; 3],
    /// It begins between these, by the boot clock, and lasts so long.
    since: (Duration, Duration),
    lasts: Duration,
    uses: Option<u32>,
    used: u32,
    /// Of these, those that a restart cannot forget: the last that was counted, and all before it.
    saved: u32,
    confirm: Confirm,
    boot: u32,
    /// Why it has ended before its time.
    ended: Option<&'static str>,
}

impl Oracle {
    /// Somebody was let in by a device's decision, which may hold a lease.
    pub(super) fn keeps_lease(&mut self, login: usize, approval: usize) {
        let of = &self.logins[login];
        let (said, bound) = (&self.said[approval], of.visit.bound(login));
        let (Some((seconds, is_of_service)), Some((minutes, uses)), Some(bound)) =
            (said.lease, of.rule.lease(), bound)
        else {
            return;
        };
        let known = &self.requests[said.request];
        let wait = Duration::from_secs(known.asked.request.expires_in.into());
        let since = (known.deadline.0.saturating_sub(wait), known.deadline.1.saturating_sub(wait));
        let person = of.visit.person();
        // What was said before cannot be told from what was said after, where nobody knows when it began.
        let has_refused = self.refused.iter().any(|(who, at)| *who == person && *at > since.1);
        if !is_of_service || seconds == 0 || has_refused {
            return;
        }
        let lease = Lease {
            digest: known.asked.digest.clone(),
            person,
            by: said.by,
            bound,
            since,
            lasts: Duration::from_secs(seconds.min(minutes * 60)),
            uses,
            used: 0,
            saved: 0,
            confirm: known.asked.request.confirm,
            boot: self.boot,
            ended: None,
        };
        let earlier = |known: &&mut Lease| known.person == person && known.bound == lease.bound;
        for earlier in self.leases.iter_mut().filter(earlier) {
            earlier.ended = Some("there is a later one");
        }
        self.leases.push(lease);
    }

    /// A person's leases end, or everybody's.
    pub(super) fn end_leases(&mut self, person: Option<&str>, why: &'static str) {
        let theirs =
            self.leases.iter_mut().filter(|lease| person.is_none_or(|person| person == lease.person));
        theirs.for_each(|lease| lease.ended = lease.ended.or(Some(why)));
    }

    /// Why a lease may not let a login in.
    fn against(&self, lease: &Lease, login: usize) -> Vec<&'static str> {
        let of = &self.logins[login];
        let (age, is_ssh) = (of.began.saturating_sub(lease.since.1 + MOMENT), of.visit.service() == "sshd");
        let bound = of.visit.bound(login);
        let differs = |part: usize| bound.as_ref().is_some_and(|bound| bound[part] != lease.bound[part]);
        let rule = of.rule.lease();
        let (minutes, uses) = rule.unwrap_or((u64::MAX, None));
        let uses = most_uses(lease, uses);
        let is_away = of.away.is_some_and(|since| of.began.saturating_sub(since) > CERTAIN);
        let mut why: Vec<&str> = lease.ended.into_iter().collect();
        let mut is = |wrong: bool, what| why.extend(wrong.then_some(what));
        is(bound.is_none(), "nothing to bind it to");
        is(differs(0), "another account or program");
        is(differs(1) && is_ssh, "another address");
        is(differs(1) && !is_ssh, "another terminal");
        is(differs(2) && is_ssh, "another key");
        is(differs(2) && !is_ssh, "another session");
        is(!differs(0) && of.visit.person() != lease.person, "another person");
        is(rule.is_none(), "the rule has none");
        is(age >= lease.lasts, "its time is over");
        is(
            rule.is_some() && age < lease.lasts && age >= Duration::from_secs(minutes.saturating_mul(60)),
            "too old for the rule",
        );
        is(uses.is_some_and(|uses| lease.used >= uses), "it is used up");
        let confirm = of.rule.confirm(of.visit.stage());
        is(confirm == Confirm::Code && lease.confirm == Confirm::Tap, "only a tap was asked for");
        is(!self.accepts(lease.by, lease.person), "its device has ended");
        is(self.boot != lease.boot, "another boot");
        is(is_away && !of.rule.offline.contains(&Factor::Lease), "the server is away");
        why
    }

    pub(super) fn judge_lease(&mut self, login: usize, record: &Record) -> Result<(), String> {
        let bytes = record.request.as_deref().ok_or("without a request")?.as_bytes();
        let digest = digest::sha256_hex(bytes);
        let at = self.leases.iter().position(|lease| lease.digest == digest);
        let at = at.ok_or("by a lease that nobody has granted")?;
        match self.against(&self.leases[at], login).first() {
            Some(why) => Err(format!("by a lease, though {why}")),
            None => {
                let of_rule = self.logins[login].rule.lease().and_then(|(_, uses)| uses);
                let lease = &mut self.leases[at];
                lease.used += 1;
                if most_uses(lease, of_rule).is_some() {
                    lease.saved = lease.used;
                }
                Ok(())
            }
        }
    }

    /// The daemon is started again: uses that no rule counted are not on the disk.
    pub(super) fn forgets_uses(&mut self) {
        for lease in &mut self.leases {
            lease.used = lease.saved;
        }
    }

    /// What alone has kept a lease from letting a login in that has just begun.
    pub(super) fn leases_missed(&self, login: usize) -> Vec<&'static str> {
        let all = self.leases.iter().map(|lease| self.against(lease, login));
        all.filter(|why| why.len() == 1).flatten().collect()
    }

    /// Whether a lease lets it in, as far as is known.
    pub(super) fn has_lease(&self, login: usize) -> bool {
        self.leases.iter().any(|lease| self.against(lease, login).is_empty())
    }
}

fn most_uses(lease: &Lease, of_rule: Option<u32>) -> Option<u32> {
    [lease.uses, of_rule].into_iter().flatten().min()
}
