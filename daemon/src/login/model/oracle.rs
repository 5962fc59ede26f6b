//! What may happen and what must, worked out a second time from what was said and done, without a look at the
//! daemon's state. It knows less than the daemon and so never more precisely: where it cannot tell, it is silent.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use countersign_protocol::login::Stage;
use countersign_protocol::message::{Answer, Confirm, Sealed};

use super::bars::Bars;
use super::cast::{ALICE, CAST, Holder, ROOT, number};
use super::leases::Lease;
use super::policy::{Policy, Rule};
use super::visit::Visit;
use crate::clock;
use crate::testing::{Asked, Lab};
use countersign_policy::{Factor, Then};

/// How long sshd may take from one stage to the next.
const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// What is typed to see the QR code.
pub(super) const QR: &str = "qr";
/// Wrong codes that end a request.
pub(super) const TRIES: u32 = 3;

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
    pub(super) wrong: u32,
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
    /// Seconds of the lease that it grants, from the request on, and whether that is for its service.
    pub(super) lease: Option<(u64, bool)>,
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
    pub(super) visit: Visit,
    /// What decides about it.
    pub(super) rule: Rule,
    pub(super) run: u32,
    pub(super) began: Duration,
    /// Since when the server was away when it began.
    pub(super) away: Option<Duration>,
    /// When it was over for whoever asked.
    pub(super) ended: Option<Duration>,
    /// Whether it brought a token that was good.
    pub(super) has_token: bool,
    pub(super) typed: Vec<String>,
    /// When the QR code on its terminal was drawn, and how many requests of it were known by then.
    pub(super) drawn: Option<(Duration, usize)>,
}

struct Token {
    service: &'static str,
    account: &'static str,
    both: bool,
    run: u32,
    until: Duration,
}

/// Everything that was said and done.
pub(super) struct Oracle {
    pub(super) policy: Policy,
    /// When the story began, in seconds since 1970.
    pub(super) begun: u64,
    pub(super) run: u32,
    pub(super) boot: u32,
    pub(super) requests: Vec<Known>,
    pub(super) said: Vec<Said>,
    pub(super) logins: Vec<Login>,
    /// Devices that were ended in this story.
    pub(super) ended: Vec<Holder>,
    /// Those of them that are not paired any more.
    pub(super) unpaired: Vec<Holder>,
    pub(super) used: HashSet<String>,
    /// The step of each person's authenticator that has opened last.
    pub(super) steps: HashMap<&'static str, u64>,
    pub(super) leases: Vec<Lease>,
    pub(super) bars: Bars,
    /// Who has said no, and when.
    pub(super) refused: Vec<(&'static str, Duration)>,
    /// Answers that were heard: what is repeated says nothing new.
    heard: HashSet<(usize, usize, bool)>,
    /// Who was let in from where.
    pub(super) sources: HashSet<(&'static str, String)>,
    tokens: HashMap<String, Token>,
    /// Whether the server was ever away, so that what is for then only may be typed.
    pub(super) had_trouble: bool,
    /// Since when it is away.
    pub(super) away: Option<Duration>,
    /// When the daemon was started, by the calendar and by the boot clock.
    pub(super) started: (u64, Duration),
    /// What happened, for those who count.
    pub(super) notes: Vec<String>,
}

impl Oracle {
    pub(super) fn new(policy: Policy) -> Self {
        let nobody: &[Holder] = if policy.is_guest_enrolled { &[] } else { &[Holder::OfGuest] };
        Self {
            policy,
            begun: clock::unix(),
            run: 0,
            boot: 0,
            requests: Vec::new(),
            said: Vec::new(),
            logins: Vec::new(),
            ended: nobody.to_vec(),
            unpaired: nobody.to_vec(),
            used: HashSet::new(),
            steps: HashMap::new(),
            leases: Vec::new(),
            bars: Bars::default(),
            refused: Vec::new(),
            heard: HashSet::new(),
            sources: HashSet::new(),
            tokens: HashMap::new(),
            had_trouble: false,
            away: None,
            started: (clock::unix(), clock::boot()),
            notes: Vec::new(),
        }
    }

    /// The calendar's time, which nobody sets back within one run of the daemon.
    pub(super) fn latest(&self) -> u64 {
        let (unix, boot) = self.started;
        clock::unix().max(unix + clock::boot().saturating_sub(boot).as_secs())
    }

    /// A login begins. Whether a token that it brings has to let it in at once.
    pub(super) fn begins(&mut self, visit: Visit, token: Option<&str>, now: Duration) -> bool {
        let number = self.logins.len();
        let is_new = !self.sources.contains(&(visit.account(), visit.source(number)));
        let (rule, conditions) = self.policy.decides(visit, number, is_new);
        let rule = rule.clone();
        self.notes.extend(conditions.iter().map(|one| format!("rule by {}", one.key())));
        // It means something in the session stage only, and is spent there.
        let asks = matches!(rule.then, Then::Approve | Then::Observe);
        let token = token.filter(|_| asks && visit.stage() == Stage::Session);
        let has_token = token.is_some_and(|token| self.spends(token, visit, &rule, now));
        let (run, typed, away) = (self.run, Vec::new(), self.away);
        self.logins.push(Login {
            visit,
            rule,
            run,
            began: now,
            away,
            ended: None,
            has_token,
            typed,
            drawn: None,
        });
        has_token
    }

    /// A request came by at the server for the first time.
    pub(super) fn is_asked(&mut self, asked: Box<Asked>, login: usize, to: Vec<usize>, now: Duration) {
        let before = self.requests.iter().rfind(|known| known.login == login);
        let wait = Duration::from_secs(asked.request.expires_in.into());
        let of = &self.logins[login];
        let lease = of.rule.lease().filter(|_| of.visit.bound(login).is_some());
        let offered = (asked.request.lease_max, asked.request.lease_uses);
        let expected = (
            lease.map(|(minutes, _)| u32::try_from(minutes * 60).unwrap()),
            lease.and_then(|(_, uses)| uses),
        );
        assert_eq!(offered, expected, "the lease that is offered");
        // Made after the login began, and after the one before it was seen, whenever it was posted.
        let earliest = before.map_or(self.logins[login].began, |known| known.deadline.1 - wait);
        self.requests.push(Known {
            login,
            run: self.run,
            person: self.logins[login].visit.person(),
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
    pub(super) fn is_delivered(&mut self, at: usize, now: Duration) -> bool {
        let said = &self.said[at];
        let known = &self.requests[said.request];
        let counts = said.is_genuine
            && known.run == self.run
            && now < known.deadline.1
            && known.to.contains(&number(said.by))
            && self.may_decide(said.by, known);
        let needs_code = said.answer == Answer::Approve && known.asked.request.confirm == Confirm::Code;
        if !counts || (needs_code && said.code.is_none()) {
            return false;
        }
        let (answer, code) = (said.answer, said.code.clone());
        let has_approved =
            |before: &usize| !self.is_for_both(known) || self.said[*before].by.person() == said.by.person();
        let is_first = !known.approvals.iter().any(has_approved);
        let (request, by) = (said.request, said.by);
        let heard = (request, number(by), answer == Answer::Report);
        if answer != Answer::Approve && now < known.deadline.0 && self.heard.insert(heard) {
            self.is_refused(request, by, answer, now);
        }
        let known = &mut self.requests[request];
        let person = known.person;
        if now >= known.deadline.0 {
            known.is_doubtful = true;
        }
        match answer {
            Answer::Approve if is_first => {
                known.approvals.push(at);
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

    /// A no that counts, for the first time, and for certain.
    fn is_refused(&mut self, request: usize, by: Holder, answer: Answer, now: Duration) {
        let known = &self.requests[request];
        let person = known.person;
        let (place, is_for_long) = self.logins[known.login].visit.held(known.login);
        self.refused.push((by.person(), now));
        self.end_leases(Some(by.person()), "its person has said no");
        let blocks = answer == Answer::Report && by.person() == person && is_for_long;
        self.bars.add(person, place.clone(), now, false);
        if blocks {
            self.bars.add(person, place.clone(), now, true);
            let logins = &self.logins;
            let same = |other: &&mut Known| {
                other.person == person && logins[other.login].visit.held(other.login).0 == place
            };
            for other in self.requests.iter_mut().filter(same) {
                other.denied.get_or_insert(now);
            }
        }
    }

    /// The request that a login waits for, as far as anybody has seen it.
    pub(super) fn current(&self, login: usize) -> Option<&Known> {
        self.requests.iter().rfind(|known| known.login == login)
    }

    /// A QR code stands on the terminal of a login.
    pub(super) fn is_drawn(&mut self, login: usize, at: Duration) {
        if self.logins[login].drawn.is_none_or(|(before, _)| before != at) {
            self.logins[login].drawn = Some((at, self.requests_of(login)));
        }
    }

    /// How many requests of a login were seen.
    pub(super) fn requests_of(&self, login: usize) -> usize {
        self.requests.iter().filter(|known| known.login == login).count()
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
        let rule = &self.logins[login].rule;
        let (both, has_totp) = (rule.both, rule.may_type(Factor::Totp, true));
        let known = &self.requests[at];
        if both {
            // Whose code is awaited, and how often a wrong one was typed, is the daemon's to know.
            return false;
        }
        if let Some(said) = known.approvals.first().map(|approval| &self.said[*approval]) {
            let is_right = is_code && said.code.as_deref() == Some(text);
            let must = is_right && self.accepts(said.by, known.person) && !known.is_doubtful;
            // A recovery code may be no wrong try, but a used one is: that is the daemon's to count.
            let is_wrong = !is_right && text.len() != 16 && text != QR;
            self.requests[at].wrong += u32::from(is_wrong);
            return must;
        }
        let known = &mut self.requests[at];
        if has_totp && is_code {
            // Compared at once, or later: the daemon knows.
            known.is_doubtful = true;
        } else if is_code {
            known.early = Some(text.to_owned());
        } else if text.len() != 16 && text != QR {
            known.wrong += 1;
        }
        false
    }

    /// Whether a tap that counts now has to let in whoever waits for it.
    pub(super) fn tap_must_open(&self, request: usize, now: Duration) -> bool {
        let known = &self.requests[request];
        let said = known.approvals.first().map(|approval| &self.said[*approval]);
        !self.is_for_both(known)
            && known.asked.request.confirm == Confirm::Tap
            && known.run == self.run
            && now < known.deadline.0
            && known.denied.is_none()
            && !known.is_doubtful
            && said.is_some_and(|said| self.accepts(said.by, known.person))
            && self.logins[known.login].ended.is_none()
            && self.current(known.login).is_some_and(|now| now.asked.digest == known.asked.digest)
    }

    /// Whether this token lets in. However that is, it is spent.
    fn spends(&mut self, token: &str, visit: Visit, rule: &Rule, now: Duration) -> bool {
        let run = self.run;
        self.tokens.remove(token).is_some_and(|token| {
            let is_enough = token.both || !rule.both;
            let is_same = token.service == visit.service() && token.account == visit.account();
            is_same && is_enough && token.run == run && now < token.until
        })
    }

    pub(super) fn issues(&mut self, token: String, login: usize, now: Duration) {
        let Login { visit, ref rule, .. } = self.logins[login];
        let (service, account) = (visit.service(), visit.account());
        assert_eq!(service, "sshd", "only sshd has two stages");
        let token_of = Token { service, account, both: rule.both, run: self.run, until: now + TOKEN_LIFE };
        assert!(self.tokens.insert(token, token_of).is_none(), "a token was given twice");
    }

    /// What is held against a login because of where it comes from.
    pub(super) fn barred(&self, login: usize) -> Option<&'static str> {
        let of = &self.logins[login];
        self.bars.refuses(of.visit.person(), &of.visit.held(login).0, of.began)
    }

    /// Whether the rule of its login wants two people.
    fn is_for_both(&self, known: &Known) -> bool {
        self.logins[known.login].rule.both
    }

    /// Whether a device may decide about a request.
    pub(super) fn may_decide(&self, holder: Holder, known: &Known) -> bool {
        match self.is_for_both(known) {
            true => [ROOT, ALICE].contains(&holder.person()) && self.accepts(holder, holder.person()),
            false => self.accepts(holder, known.person),
        }
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
}
