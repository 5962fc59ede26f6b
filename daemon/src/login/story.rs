//! A login from its first call to its verdict. [`Login::story`] is the whole of it, top to bottom.

use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::login::{Call, Continue, FIRST_REPLY_MS, Stage, Step, Style};
use countersign_protocol::message::{Confirm, Kind};
use zeroize::Zeroizing;

use super::ending::Ending;
use super::facts::Facts;
use super::open::Open;
use super::prompts;
use super::request::OpenRequest;
use super::state::{Event, State};
use crate::app::App;
use crate::config::{Ask, Factor, Rule, Then, Unenrolled, WithoutPrompt};
use crate::connection::Connection;
use crate::person::{self, Person};
use crate::recovery::{self, Checked};
use crate::{clock, verify};

/// Most prompts in one login, whatever is typed.
const MOST_PROMPTS: u32 = 16;
/// How often an unreachable server is tried again by pressing Enter.
const MOST_RETRIES: u32 = 3;

/// What comes of a part of the story: something to go on with, or the end.
type Told<T> = Result<T, Ending>;

/// A login that is going on.
pub(super) struct Login {
    pub(super) app: Rc<App>,
    pub(super) facts: Facts,
    pub(super) connection: Connection,
    /// The request that was made last: the audit's evidence.
    pub(super) request: Option<Rc<OpenRequest>>,
    /// The rule only observes: whatever comes of it, PAM goes on.
    pub(super) observed: bool,
    /// The rule that matched.
    pub(super) rule: Option<String>,
    prompts: u32,
    retries: u32,
    rung_again: bool,
}

/// What a prompt brought.
enum Answered {
    Text(Zeroizing<String>),
    CannotAsk,
}

impl Login {
    pub(super) fn new(app: Rc<App>, facts: Facts, connection: Connection) -> Self {
        Self {
            app,
            facts,
            connection,
            request: None,
            observed: false,
            rule: None,
            prompts: 0,
            retries: 0,
            rung_again: false,
        }
    }

    /// The story: refused unless a person's decision, a token of one, or an allowed factor says
    /// otherwise.
    pub(super) async fn story(&mut self) -> Ending {
        self.tell().await.unwrap_or_else(|ending| ending)
    }

    async fn tell(&mut self) -> Told<Ending> {
        let config = self.app.config().map_err(Ending::misconfigured)?;
        let rule = &config.default;
        self.rule = Some(rule.name.clone());
        match rule.then {
            Then::Skip => return Err(Ending::ignored("the rule skips it")),
            Then::Deny => return Err(Ending::denied_by_policy()),
            Then::Approve => {}
            Then::Observe => self.observed = true,
        }
        if let Some(grant) = self.redeem() {
            return Ok(Ending::granted_before(&grant));
        }

        let account = self.account().await?;
        let person = self.whom(rule, &account);
        let devices = self.app.devices.for_user(&person);
        let new = devices.is_empty() && !self.app.devices.had_any(&person);
        if new && account.uid.is_some() && skips(rule) {
            return Err(Ending::ignored("the person has no device yet, and the rule lets that pass for now"));
        }
        // Nobody to ask looks like anybody else, but must not fill the host.
        let _place = match devices.is_empty() {
            true => Some(self.app.logins.waits.enter(&self.source()).ok_or_else(Ending::busy)?),
            false => None,
        };

        let confirm = self.confirm(rule)?;
        let open = self.open(&account, &person, confirm, rule).await?;
        match confirm {
            Confirm::Code => self.ask_for_code(open, rule, &account).await,
            Confirm::Tap => self.wait_for_tap(open, rule, &account).await,
        }
    }

    /// A grant of sshd's `auth` stage, brought along in a token.
    fn redeem(&mut self) -> Option<super::tokens::Grant> {
        let token = self.facts.token.take()?;
        self.app.logins.redeem(&token, &self.facts)
    }

    /// The account that is entered. One that the name service does not know is not an error yet: it
    /// gets the same prompts as everybody.
    async fn account(&self) -> Told<Account> {
        let known =
            person::lookup(&self.facts.user).await.map_err(|error| Ending::fault(error.to_string()))?;
        if !self.facts.by_root && known.as_ref().map(|known| known.uid) != Some(self.facts.uid) {
            return Err(Ending::denied("a caller who is not root asked about somebody else"));
        }
        Ok(match known {
            Some(known) => Account { name: known.name, uid: Some(known.uid) },
            None => Account { name: self.facts.user.clone(), uid: None },
        })
    }

    /// Whose phone is asked: for su to root the caller's, since nobody carries root's.
    fn whom(&self, rule: &Rule, account: &Account) -> String {
        let caller = self.facts.requester.as_ref().filter(|_| self.facts.by_root);
        let to_root = account.uid == Some(0) && self.facts.kind == Kind::Command;
        match (rule.ask, caller) {
            (Ask::Caller, Some(caller)) => caller.clone(),
            (Ask::User, Some(caller)) if to_root => caller.clone(),
            _ => account.name.clone(),
        }
    }

    fn confirm(&self, rule: &Rule) -> Told<Confirm> {
        match (self.facts.stage, rule.without_prompt) {
            (Stage::Auth, _) => Ok(rule.confirm),
            (Stage::Session, WithoutPrompt::Tap) => Ok(Confirm::Tap),
            (Stage::Session, WithoutPrompt::Refuse) => {
                Err(Ending::cannot_ask("the session stage cannot prompt"))
            }
        }
    }

    async fn open(&mut self, account: &Account, person: &str, confirm: Confirm, rule: &Rule) -> Told<Open> {
        let wait = rule.wait_for(&self.facts.service);
        let open = Open::begin(&self.app, &self.facts, &account.known(), person, confirm, wait).await?;
        self.request = Some(open.clone());
        Ok(open)
    }

    fn source(&self) -> String {
        match &self.facts.remote {
            Some(remote) => remote.address.clone(),
            None => format!("uid {}", self.facts.uid),
        }
    }

    /// One prompt after the other until one of them ends it.
    async fn ask_for_code(&mut self, mut open: Open, rule: &Rule, account: &Account) -> Told<Ending> {
        let mut prompt = match open.state() {
            State::Unreachable => offline_prompt(&self.app, rule)?,
            _ => prompts::APPROVE.to_owned(),
        };
        loop {
            let answer = match self.ask(&open, prompt).await? {
                Answered::Text(answer) => answer,
                // At a command the prompt was broken off: sudo takes the Ctrl-C for itself and leaves
                // no signal behind. A tap would ring for somebody who has just given up.
                Answered::CannotAsk if self.facts.kind == Kind::Command => {
                    return Err(Ending::withdrawn(&open));
                }
                Answered::CannotAsk => return self.without_prompt(open, rule, account).await,
            };
            let typed = answer.trim();
            prompt = if recovery::looks_like_code(typed) && may_type(Factor::Recovery, &open, rule) {
                self.judge_recovery(&open, typed).await?
            } else if typed.is_empty() {
                match open.state() {
                    State::Expired => {
                        open = self.ring_again(open, rule, account).await?;
                        match open.state() {
                            State::Unreachable => offline_prompt(&self.app, rule)?,
                            _ => prompts::APPROVE.to_owned(),
                        }
                    }
                    State::Unreachable => self.try_again(&open, rule).await?,
                    _ => self.settle(&open).await?,
                }
            } else if verify::is_code(typed) {
                match self.settle(&open).await {
                    Ok(_) if open.state() == State::Approved => self.judge_code(&open, typed)?,
                    other => other?,
                }
            } else {
                open.waste_try();
                self.after_a_wrong_try(&open)?
            };
        }
    }

    /// Waits until there is a decision or the time is over; what to ask then.
    async fn settle(&mut self, open: &Open) -> Told<String> {
        loop {
            let state = open.state();
            match state {
                State::New | State::Posted | State::Unreachable => self.watch(open, state).await?,
                State::Approved => return Ok(prompts::APPROVED.to_owned()),
                State::Expired if open.is_unreachable() => {
                    return Err(Ending::unreachable(self.app.relay.trouble()));
                }
                State::Expired if !self.rung_again => return Ok(prompts::EXPIRED_ASK.to_owned()),
                end => return Err(Ending::of(end)),
            }
        }
    }

    fn judge_code(&mut self, open: &Open, typed: &str) -> Told<String> {
        if open.try_code(typed) && open.happens(Event::Confirmed) {
            return Err(Ending::granted());
        }
        self.after_a_wrong_try(open)
    }

    fn after_a_wrong_try(&self, open: &Open) -> Told<String> {
        match open.state() {
            State::Failed => Err(Ending::of(State::Failed)),
            _ => Ok(prompts::wrong(open.tries())),
        }
    }

    async fn judge_recovery(&mut self, open: &Open, typed: &str) -> Told<String> {
        match self.app.recovery.check(&open.person, typed).await {
            Ok(Checked::Used { left }) if open.happens(Event::Factor) => Err(Ending::recovered(left)),
            Ok(Checked::Used { .. }) => Err(Ending::of(open.state())),
            Ok(Checked::Blocked { .. }) => Err(Ending::blocked()),
            Ok(Checked::Wrong | Checked::NotACode) => {
                open.waste_try();
                self.after_a_wrong_try(open)
            }
            Err(error) => Err(Ending::fault(format!("recovery codes: {error}"))),
        }
    }

    /// Posts again after an empty line at the offline prompt.
    async fn try_again(&mut self, open: &Open, rule: &Rule) -> Told<String> {
        self.retries += 1;
        if self.retries > MOST_RETRIES {
            return Err(Ending::unreachable(self.app.relay.trouble()));
        }
        open.post_again().await;
        match open.state() {
            State::Unreachable => offline_prompt(&self.app, rule),
            State::Expired => Err(Ending::unreachable(self.app.relay.trouble())),
            State::Posted => Ok(prompts::APPROVE.to_owned()),
            _ => self.settle(open).await,
        }
    }

    async fn ring_again(&mut self, old: Open, rule: &Rule, account: &Account) -> Told<Open> {
        if std::mem::replace(&mut self.rung_again, true) {
            return Err(Ending::of(State::Expired));
        }
        let (person, confirm) = (old.person.clone(), old.confirm);
        drop(old);
        self.open(account, &person, confirm, rule).await
    }

    /// The application cannot ask (sshd's `password` method, a locker): what the rule says of that.
    async fn without_prompt(&mut self, open: Open, rule: &Rule, account: &Account) -> Told<Ending> {
        self.app.log.warning(&format!(
            "{} cannot ask user={}: for sshd set KbdInteractiveAuthentication yes",
            self.facts.service, self.facts.user
        ));
        if rule.without_prompt == WithoutPrompt::Refuse {
            return Err(Ending::cannot_ask("the application cannot prompt"));
        }
        let person = open.person.clone();
        open.happens(Event::Replace);
        drop(open);
        let open = self.open(account, &person, Confirm::Tap, rule).await?;
        self.wait_for_decision(open).await
    }

    /// One line, and then the phone decides.
    async fn wait_for_tap(&mut self, open: Open, rule: &Rule, account: &Account) -> Told<Ending> {
        let can_ask = self.facts.stage == Stage::Auth;
        if open.state() == State::Unreachable {
            if can_ask && !offline_factors(rule).is_empty() {
                return Box::pin(self.ask_for_code(open, rule, account)).await;
            }
            return Err(Ending::unreachable(self.app.relay.trouble()));
        }
        let deadline_ms = deadline_ms(&open);
        let step = if self.facts.silent || !can_ask {
            Step::Wait { deadline_ms }
        } else {
            Step::Say { style: Style::Info, text: prompts::TAP.to_owned(), deadline_ms }
        };
        self.step(step, &open).await?;
        self.wait_for_decision(open).await
    }

    async fn wait_for_decision(&mut self, open: Open) -> Told<Ending> {
        loop {
            let state = open.state();
            match state {
                State::New | State::Posted | State::Unreachable => self.watch(&open, state).await?,
                State::Approved if open.happens(Event::Confirmed) => return Ok(Ending::granted()),
                State::Expired if open.is_unreachable() => {
                    return Err(Ending::unreachable(self.app.relay.trouble()));
                }
                end => return Err(Ending::of(end)),
            }
        }
    }

    /// Waits for a change while a call is out, so that nothing but hanging up can come from the caller.
    async fn watch(&mut self, open: &Open, seen: State) -> Told<()> {
        tokio::select! {
            () = open.changed_from(seen) => Ok(()),
            () = self.connection.closed() => Err(Ending::withdrawn(open)),
            () = self.app.logins.stopped() => Err(Ending::stopping()),
        }
    }

    async fn ask(&mut self, open: &Open, text: String) -> Told<Answered> {
        self.prompts += 1;
        if self.prompts > MOST_PROMPTS {
            return Err(Ending::of(State::Failed));
        }
        let answer = self.step(Step::Ask { text, deadline_ms: deadline_ms(open) }, open).await?;
        Ok(match answer {
            Continue { cannot_ask: true, .. } => Answered::CannotAsk,
            Continue { answer, .. } => Answered::Text(answer.unwrap_or_default()),
        })
    }

    /// Replies with a step and waits for the next call; meanwhile ends are told to the phones.
    async fn step(&mut self, step: Step, open: &Open) -> Told<Continue> {
        self.connection.reply(step).await.map_err(|_| Ending::withdrawn(open))?;
        loop {
            let seen = open.state();
            tokio::select! {
                call = self.connection.recv::<Call>() => return match call {
                    Ok(Some(Call::Continue(next))) => Ok(next),
                    Ok(None) => Err(Ending::withdrawn(open)),
                    Ok(Some(Call::Begin(_))) => Err(Ending::fault("the caller began twice")),
                    Err(error) => Err(Ending::fault(format!("the caller: {error}"))),
                },
                () = open.changed_from(seen), if !seen.is_end() => open.tell_end(),
                () = self.app.logins.stopped() => return Err(Ending::stopping()),
            }
        }
    }

    /// Tells an application that shows nothing but prompts why it was refused.
    pub(super) async fn acknowledge(&mut self, reason: &str) {
        let step = Step::Ask { text: prompts::acknowledge(reason), deadline_ms: FIRST_REPLY_MS };
        if self.prompts > 0 && self.connection.reply(step).await.is_ok() {
            tokio::select! {
                _ = self.connection.recv::<Call>() => {}
                () = self.app.logins.stopped() => {}
                () = tokio::time::sleep(Duration::from_secs(30)) => {}
            }
        }
    }
}

/// What may be typed while the server is away, each once.
fn offline_factors(rule: &Rule) -> Vec<Factor> {
    let mut factors = rule.codes.clone();
    factors.extend(rule.offline.iter().copied().filter(|factor| !rule.codes.contains(factor)));
    factors
}

fn offline_prompt(app: &App, rule: &Rule) -> Told<String> {
    prompts::offline(&offline_factors(rule)).ok_or_else(|| Ending::unreachable(app.relay.trouble()))
}

fn may_type(factor: Factor, open: &OpenRequest, rule: &Rule) -> bool {
    rule.codes.contains(&factor) || (rule.offline.contains(&factor) && open.is_unreachable())
}

/// The account that is entered.
struct Account {
    name: String,
    /// `None`: the name service knows nobody of that name.
    uid: Option<u32>,
}

impl Account {
    /// As it stands in a request. What is made for an unknown name is never sent.
    fn known(&self) -> Person {
        Person { name: self.name.clone(), uid: self.uid.unwrap_or(u32::MAX) }
    }
}

fn skips(rule: &Rule) -> bool {
    match rule.unenrolled {
        Unenrolled::Deny => false,
        Unenrolled::SkipUntil(date) => date > clock::unix(),
    }
}

/// Time that the daemon may take over the next reply: until the request ends, and a little.
fn deadline_ms(open: &OpenRequest) -> u64 {
    u64::try_from(open.left().as_millis()).unwrap_or(u64::MAX).saturating_add(FIRST_REPLY_MS)
}
