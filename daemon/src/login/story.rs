//! A login from its first call to its verdict. [`Login::story`] is the whole of it, top to bottom.

use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::login::{Outcome, Stage, Step, Style};
use countersign_protocol::message::Confirm;

use super::choose;
use super::context;
use super::dialogue::{Answered, deadline_ms};
use super::ending::Ending;
use super::even;
use super::factors::Factors;
use super::facts::Facts;
use super::lease;
use super::open::{Manner, Open};
use super::panel::Panel;
use super::place;
use super::prompts;
use super::request::OpenRequest;
use super::rules::{self, Account, offline_factors, skips};
use super::several;
use super::state::{Event, State};
use super::waits::Whose;
use crate::app::App;
use crate::clock;
use crate::connection::Connection;
use crate::leases::Leased;
use crate::log::Level;
use crate::person;
use crate::relay::LIST_TIME;
use crate::verify;
use countersign_policy::{Approvals, Rule, Then, WithoutPrompt};

/// How often an unreachable server is tried again by pressing Enter.
const MOST_RETRIES: u32 = 3;

/// How long a server that had a request may be away until what is left is asked for: a connection that breaks is
/// back in a moment, and whoever is prompted has to press Enter once the phone has approved.
const AWAY_TIME: Duration = Duration::from_secs(10);

/// What comes of a part of the story: something to go on with, or the end.
pub(super) type Told<T> = Result<T, Ending>;

/// A login that is going on.
pub(super) struct Login {
    pub(super) app: Rc<App>,
    pub(super) facts: Facts,
    pub(super) connection: Connection,
    /// The request that was made last: the audit's evidence.
    pub(super) request: Option<Rc<OpenRequest>>,
    /// The lease that let it in, in place of a request.
    pub(super) leased: Option<Box<Leased>>,
    /// The rule only observes: whatever comes of it, PAM goes on.
    pub(super) observed: bool,
    /// The rule that matched.
    pub(super) rule: Option<String>,
    /// The people whom the rule wants.
    pub(super) approvals: Option<Approvals>,
    /// Prompts so far.
    pub(super) prompts: u32,
    /// What is typed in place of the phone's six digits.
    pub(super) factors: Factors,
    retries: u32,
    rung_again: bool,
    /// Boot clock.
    began: Duration,
}

impl Login {
    pub(super) fn new(app: Rc<App>, facts: Facts, connection: Connection) -> Self {
        Self {
            app,
            facts,
            connection,
            request: None,
            leased: None,
            observed: false,
            rule: None,
            approvals: None,
            prompts: 0,
            factors: Factors::default(),
            retries: 0,
            rung_again: false,
            began: clock::boot(),
        }
    }

    /// The story: refused unless a person's decision, a token of one, or an allowed factor says
    /// otherwise.
    pub(super) async fn story(&mut self) -> Ending {
        self.tell().await.unwrap_or_else(|ending| ending)
    }

    async fn tell(&mut self) -> Told<Ending> {
        let config = self.app.config().map_err(Ending::misconfigured)?;
        // Without need nobody is looked up: what lets everybody pass does so while the name service is away, too.
        let known = if config.asks_who() { Some(self.account().await?) } else { None };
        let rule = choose::rule(&self.app, &self.facts, &config, known.as_ref()).await?;
        self.rule = Some(rule.name.clone());
        self.approvals = rule.approvals.clone();
        // Before anything that could let somebody on: in such a stack nothing else stands in the way.
        if self.facts.passwordless && !rule.passwordless {
            return Err(Ending::not_passwordless());
        }
        match rule.then {
            Then::Skip => return Err(Ending::ignored("the rule skips it")),
            Then::Deny if self.facts.is_ask() => return Err(Ending::action_denied_by_policy()),
            Then::Deny => return Err(Ending::denied_by_policy()),
            Then::Approve => {}
            Then::Observe => self.observed = true,
        }
        if let Some(grant) = self.redeem() {
            return Ok(Ending::granted_before(&grant));
        }

        let account = match known {
            Some(account) => account,
            None => self.account().await?,
        };
        let person = rules::whom(rule, &self.facts, &account);
        let panel = self.panel(rule, &account, &person).await?;
        let had_any =
            |name: &str| !self.app.devices.for_user(name).is_empty() || self.app.devices.had_any(name);
        // An enrolled account is not entered unasked because its caller has no device. And at each login, so that
        // a date that has passed is known.
        let new = account.uid.is_some() && !had_any(&person) && !had_any(&account.name);
        if rule.approvals.is_none() && skips(&self.app, rule).await && new {
            return Err(Ending::ignored("the person has no device yet, and the rule lets that pass for now"));
        }
        if let Some(refused) = self.app.fatigue.refuses(&person, &place::place(&self.facts)) {
            return Err(Ending::refused_from_there(refused));
        }
        // Root may know who has a device, and a job need not wait for nobody.
        let is_rooted = self.facts.is_ask() && self.facts.by_root;
        let may_type = self.facts.can_ask() && self.app.has_something_to_guess(&person);
        if is_rooted && panel.devices.is_empty() && !may_type {
            return Err(Ending::nobody_to_ask(&person));
        }
        // Nobody to ask looks like anybody else, but must not fill the host.
        let _place = match panel.devices.is_empty() {
            true => {
                let whose = match account.uid.is_some() && self.app.has_something_to_guess(&person) {
                    true => Whose::Holders,
                    false => Whose::Others,
                };
                let place = self.app.logins.waits.enter(&self.facts.source(), whose);
                Some(place.ok_or_else(Ending::busy)?)
            }
            false => None,
        };

        if lease::lets_in(self, rule, &account, &person).await? {
            return Ok(Ending::leased());
        }
        let confirm = rules::confirm(rule, &self.facts)?;
        let open = self.open(&account, (&person, panel), confirm, rule, true).await?;
        match confirm {
            Confirm::Code => self.ask_for_code(open, rule, &account).await,
            Confirm::Tap => self.wait_for_tap(open, rule, &account).await,
        }
    }

    /// A grant of sshd's `auth` stage, brought along in a token.
    fn redeem(&mut self) -> Option<super::tokens::Grant> {
        let token = self.facts.token.take()?;
        let grant = self.app.logins.redeem(&token, &self.facts)?;
        // What others have to approve, they have to have approved there.
        (self.approvals.is_none() || self.approvals == grant.approvals).then_some(grant)
    }

    /// The account that is entered. One that the name service does not know is not an error yet: it
    /// gets the same prompts as everybody.
    async fn account(&self) -> Told<Account> {
        let Facts { user, uid, by_root, .. } = &self.facts;
        let known = if *by_root { person::lookup(user).await } else { person::by_uid(*uid).await };
        let known = known.map_err(|error| Ending::fault(error.to_string()))?;
        if !by_root && !known.as_ref().is_some_and(|known| known.is_called(user)) {
            return Err(Ending::denied("a caller who is not root asked about somebody else"));
        }
        Ok(match known {
            Some(known) => Account { name: known.name, uid: Some(known.uid) },
            None => Account { name: user.clone(), uid: None },
        })
    }

    async fn open(
        &mut self,
        account: &Account,
        (person, panel): (&str, Panel),
        confirm: Confirm,
        rule: &Rule,
        ring: bool,
    ) -> Told<Open> {
        let lease = lease::offer(&self.facts, rule, account);
        let manner = Manner { confirm, wait: rule.wait_for(&self.facts.service), ring, lease };
        let known = account.known();
        self.facts.context = Some(context::gather(&self.app, &self.facts, &known.name).await);
        // After the rule was chosen: what polkit has said is shown, and decides nothing.
        if self.facts.is_polkit() {
            let (action, detail) = self.app.polkit.of(self.facts.subject(), clock::boot());
            (self.facts.action, self.facts.detail) = (action, detail);
        }
        if self.facts.list.is_some() {
            self.take_time(LIST_TIME).await?;
        }
        let posting = clock::boot();
        // A server that takes its time to answer may have rung already: who hangs up is not waited for.
        let open = tokio::select! {
            biased;
            () = self.connection.closed() => return Err(Ending::gone_early()),
            () = self.app.logins.stopped() => return Err(Ending::stopping()),
            open = Open::begin_with(&self.app, &self.facts, (&known, person), panel, manner) => open?,
        };
        let began = self.request.replace(open.clone()).is_none().then_some(self.began);
        self.even_out(&open, began, posting).await?;
        Ok(open)
    }

    /// Waits until it is as late as it would be for anybody, unless it is decided before. `began` is for a login's
    /// first request; `posting` is when this one was about to be posted.
    async fn even_out(&mut self, open: &Open, began: Option<Duration>, posting: Duration) -> Told<()> {
        let (now, even) = (clock::boot(), &self.app.logins.even);
        // Others than root's programs are no measure: whoever runs them chooses how many there are. Nor is a list.
        if open.state() == State::Posted
            && !open.devices.is_empty()
            && self.facts.by_root
            && !self.facts.is_ask()
        {
            even.note(began.map(|began| now.saturating_sub(began)), now.saturating_sub(posting));
        }
        let until = match (open.state(), began) {
            (State::Unreachable, Some(began)) => began + even::away(),
            // One that takes another's place must not double that.
            (State::Unreachable, None) => return Ok(()),
            _ => even.until(began, posting),
        };
        let late = tokio::time::sleep(until.saturating_sub(now));
        tokio::pin!(late);
        while matches!(open.state(), State::New | State::Posted | State::Unreachable) {
            tokio::select! {
                changed = self.watch(open, open.state()) => changed?,
                () = &mut late => break,
            }
        }
        Ok(())
    }

    /// One prompt after the other until one of them ends it.
    async fn ask_for_code(&mut self, mut open: Open, rule: &Rule, account: &Account) -> Told<Ending> {
        let mut prompt = match open.state() {
            // A connection that has broken since it was posted is back in a moment; a tap has waited for that.
            State::Unreachable if !open.was_posted() || open.confirm == Confirm::Tap => {
                self.offline_prompt(&open, rule).await?
            }
            _ => several::first(&open),
        };
        if self.facts.hides_first_prompt() && self.prompts == 0 {
            let text = prompt.trim_end_matches([':', ' ']).to_owned();
            let step = Step::Say { style: Style::Info, text, deadline_ms: deadline_ms(&open), always: false };
            self.step(step, &open, rule).await?;
        }
        loop {
            let answer = match self.ask(&open, prompt, rule).await? {
                Answered::Text(answer) => answer,
                // A tap would ring for somebody who has just given up; and who was prompted before can be.
                Answered::CannotAsk
                    if self.facts.has_terminal() || self.facts.is_polkit() || self.prompts > 1 =>
                {
                    return Err(Ending::withdrawn(&open));
                }
                Answered::CannotAsk => return self.without_prompt(open, rule, account).await,
            };
            let typed = answer.trim();
            self.is_answered();
            prompt = if typed.is_empty() {
                let rang = match open.state() {
                    State::Expired => {
                        open = self.ring_again(open, rule, account).await?;
                        true
                    }
                    State::Unreachable => {
                        self.try_again(&open).await?;
                        true
                    }
                    _ => false,
                };
                match open.state() {
                    State::Unreachable => self.offline_prompt(&open, rule).await?,
                    // There is no code to type.
                    _ if open.confirm == Confirm::Tap => return self.wait_for_tap(open, rule, account).await,
                    State::Posted if rang => several::asked_again(&open),
                    _ => self.settle_while_reachable(&open, rule).await?,
                }
            } else {
                self.judge(&open, typed, rule).await?
            };
        }
    }

    /// What was typed, which may end it; else what to ask then. What did not help is answered as late as anything
    /// else that did not.
    async fn judge(&mut self, open: &Open, typed: &str, rule: &Rule) -> Told<String> {
        let until = clock::boot() + even::wrong();
        let judged = if let Some(factor) = self.factor(open, typed, rule) {
            self.judge_factor(open, typed, factor, rule).await
        } else if self.asks_for_qr(open, typed, rule) {
            self.show_qr(open, rule).await
        } else if let Some(code) = verify::typed_code(typed) {
            self.judge_when_settled(open, &code, rule).await
        } else {
            open.waste_try();
            self.after_a_wrong_try(open, rule).await
        };
        if !judged.as_ref().is_err_and(|ending| ending.outcome == Outcome::Granted) {
            tokio::select! {
                // Hanging up does not change how it has ended.
                () = self.connection.closed() => return Err(judged.err().unwrap_or_else(|| Ending::withdrawn(open))),
                () = tokio::time::sleep(until.saturating_sub(clock::boot())) => {}
            }
        }
        judged
    }

    /// Waits until there is a decision or the time is over; what to ask then.
    async fn settle(&mut self, open: &Open, rule: &Rule) -> Told<String> {
        loop {
            let state = open.state();
            match state {
                State::New | State::Posted | State::Unreachable if !open.has_untyped() => {
                    self.watch(open, state).await?;
                }
                State::New | State::Posted | State::Unreachable | State::Approved => {
                    return Ok(several::approved(open));
                }
                State::Expired if self.rung_again && open.is_unreachable() => {
                    return Err(Ending::unreachable(self.app.relay.trouble()));
                }
                State::Expired if open.is_unreachable() => return self.offline_prompt(open, rule).await,
                State::Expired if !self.rung_again => return Ok(prompts::EXPIRED_ASK.to_owned()),
                _ => return Err(Ending::of_request(open)),
            }
        }
    }

    /// The same for somebody who has nothing to type: once the server is gone, what can be typed without it.
    async fn settle_while_reachable(&mut self, open: &Open, rule: &Rule) -> Told<String> {
        while matches!(open.state(), State::New | State::Posted) && !open.has_untyped() {
            self.watch(open, open.state()).await?;
        }
        match open.state() {
            State::Unreachable if !offline_factors(rule).is_empty() => self.offline_prompt(open, rule).await,
            _ => self.settle(open, rule).await,
        }
    }

    /// Compares six digits with an approval's code, once there is one.
    pub(super) async fn judge_when_settled(&mut self, open: &Open, code: &str, rule: &Rule) -> Told<String> {
        match self.settle(open, rule).await {
            Ok(_) if open.has_untyped() => self.judge_code(open, code, rule).await,
            other => other,
        }
    }

    async fn judge_code(&mut self, open: &Open, typed: &str, rule: &Rule) -> Told<String> {
        self.code_arrives(open, typed).await?;
        if open.try_code(typed) {
            if !open.is_complete() {
                return Ok(several::approved(open));
            }
            if self.confirm(open).await? {
                return Err(Ending::granted());
            }
        }
        self.after_a_wrong_try(open, rule).await
    }

    /// What to ask after something wrong: the code again, or what is left when the request has ended.
    pub(super) async fn after_a_wrong_try(&mut self, open: &Open, rule: &Rule) -> Told<String> {
        if open.state().is_end() {
            return self.settle(open, rule).await;
        }
        if open.state() == State::Unreachable {
            return Ok(prompts::wrong_offline(open.tries(), &self.offline_prompt(open, rule).await?));
        }
        Ok(several::wrong(open))
    }

    /// Posts again after an empty line at the offline prompt.
    async fn try_again(&mut self, open: &Open) -> Told<()> {
        self.retries += 1;
        if self.retries > MOST_RETRIES {
            return Err(Ending::unreachable(self.app.relay.trouble()));
        }
        if self.facts.list.is_some() {
            self.take_time(LIST_TIME).await?;
        }
        let posting = clock::boot();
        tokio::select! {
            posted = open.post_again() => posted?,
            () = self.connection.closed() => return Err(Ending::withdrawn(open)),
            () = self.app.logins.stopped() => return Err(Ending::stopping()),
        }
        self.even_out(open, None, posting).await
    }

    async fn ring_again(&mut self, old: Open, rule: &Rule, account: &Account) -> Told<Open> {
        if std::mem::replace(&mut self.rung_again, true) {
            return Err(Ending::of(State::Expired));
        }
        let (person, confirm) = (old.person.clone(), old.confirm);
        drop(old);
        let panel = self.panel(rule, account, &person).await?;
        self.open(account, (&person, panel), confirm, rule, true).await
    }

    /// The application cannot ask (sshd's `password` method, a locker): what the rule says of that.
    async fn without_prompt(&mut self, open: Open, rule: &Rule, account: &Account) -> Told<Ending> {
        self.app.log.line(
            Level::Warning,
            prompts::cannot_prompt(&self.facts.service),
            &[("user", &self.facts.user), ("service", &self.facts.service)],
        );
        if rule.without_prompt == WithoutPrompt::Refuse {
            return Err(Ending::cannot_ask("the application cannot prompt"));
        }
        let person = open.person.clone();
        let panel = self.panel(rule, account, &person).await?;
        // Where the first one has only rung, the second has to ring, too: a phone that is asleep puts away
        // what was replaced, and would show nothing.
        let ring = !self.app.relay.is_heard(&open.id);
        if !open.happens(Event::Replace) {
            // It has ended by itself, perhaps by a person's no: nobody is asked once more.
            return Err(self.over(&open));
        }
        drop(open);
        let open = self.open(account, (&person, panel), Confirm::Tap, rule, ring).await?;
        if open.state() == State::Unreachable {
            return Err(Ending::unreachable(self.app.relay.trouble()));
        }
        self.wait_for_decision(open, None).await
    }

    /// One line, and then the phone decides.
    async fn wait_for_tap(&mut self, open: Open, rule: &Rule, account: &Account) -> Told<Ending> {
        let can_ask = self.facts.can_ask();
        let can_say = self.facts.stage == Stage::Auth;
        // As there: whose connection has broken is not away yet.
        if open.state() == State::Unreachable && !open.was_posted() {
            self.let_in_unasked(&open, rule).await?;
            if can_ask && !offline_factors(rule).is_empty() {
                return Box::pin(self.ask_for_code(open, rule, account)).await;
            }
            return Err(Ending::unreachable(self.app.relay.trouble()));
        }
        // Whoever was answered meanwhile has nothing to wait for.
        if matches!(open.state(), State::New | State::Posted | State::Unreachable) {
            let deadline_ms = deadline_ms(&open);
            let step = if self.facts.silent || !can_say {
                Step::Wait { deadline_ms }
            } else {
                Step::Say { style: Style::Info, text: several::tap(&open), deadline_ms, always: false }
            };
            self.step(step, &open, rule).await?;
        }
        if can_ask && !offline_factors(rule).is_empty() {
            self.while_reachable(&open, rule).await?;
            if open.state() == State::Unreachable {
                return Box::pin(self.ask_for_code(open, rule, account)).await;
            }
        }
        self.wait_for_decision(open, can_say.then_some(rule)).await
    }

    /// Waits for a decision, or until the server has been away for longer than a moment.
    async fn while_reachable(&mut self, open: &Open, rule: &Rule) -> Told<()> {
        loop {
            let (state, approved) = (open.state(), open.approved());
            match state {
                State::New | State::Posted => self.watch(open, state).await?,
                State::Unreachable => tokio::select! {
                    changed = self.watch(open, state) => changed?,
                    () = tokio::time::sleep(AWAY_TIME) => return Ok(()),
                },
                _ => return Ok(()),
            }
            if open.approved() > approved {
                self.say_progress(open, rule).await?;
            }
        }
    }

    /// What happens meanwhile is said where a rule is given.
    async fn wait_for_decision(&mut self, open: Open, says: Option<&Rule>) -> Told<Ending> {
        // Where a code has to be typed an approval alone opens nothing.
        if open.confirm != Confirm::Tap {
            return Err(Ending::fault("a code was asked for where none can be typed"));
        }
        loop {
            let state = open.state();
            match state {
                State::New | State::Posted | State::Unreachable => {
                    let approved = open.approved();
                    self.watch(&open, state).await?;
                    if let Some(rule) = says.filter(|_| open.approved() > approved) {
                        self.say_progress(&open, rule).await?;
                    }
                }
                State::Approved => {
                    if self.confirm(&open).await? {
                        return Ok(Ending::granted());
                    }
                }
                _ => return Err(self.over(&open)),
            }
        }
    }

    /// What the end of a request means that ended by itself.
    fn over(&self, open: &Open) -> Ending {
        match open.state() {
            State::Expired if open.is_unreachable() => Ending::unreachable(self.app.relay.trouble()),
            _ => Ending::of_request(open),
        }
    }
}

#[cfg(test)]
mod tests;
