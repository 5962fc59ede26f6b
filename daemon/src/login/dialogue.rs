//! A login's side of the conversation: steps out, calls in, and what may end the wait for them.

use std::time::Duration;

use countersign_protocol::login::{Call, Continue, FIRST_REPLY_MS, Step};
use zeroize::Zeroizing;

use super::ending::Ending;
use super::open::Open;
use super::prompts;
use super::request::OpenRequest;
use super::rules::may_type;
use super::state::State;
use super::story::{Login, Told};
use crate::clock;
use countersign_policy::{Factor, Rule};

/// Most prompts in one login, whatever is typed.
pub(super) const MOST_PROMPTS: u32 = 16;
/// How long phones wait to hear of an end while a recovery code may still be looked for: as long as sshd waits by
/// its own default. What is typed later opens all the same.
pub(super) const SEARCH_TIME: Duration = Duration::from_secs(120);
/// How long a person may look at the reason of a refusal.
const READING_TIME: Duration = Duration::from_secs(30);

/// What a prompt brought.
pub(super) enum Answered {
    Text(Zeroizing<String>),
    CannotAsk,
}

impl Login {
    /// Waits for a change while a call is out, so that nothing but hanging up can come from the caller.
    pub(super) async fn watch(&mut self, open: &Open, seen: State) -> Told<()> {
        tokio::select! {
            () = open.changed_from(seen) => Ok(()),
            () = self.connection.closed() => Err(Ending::withdrawn(open)),
            () = self.app.logins.stopped() => Err(Ending::stopping()),
        }
    }

    /// Tells the caller that the next step may take that long. Nobody has to think about that: the answer comes at once.
    pub(super) async fn take_time(&mut self, time: Duration) -> Told<()> {
        let deadline_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).saturating_add(FIRST_REPLY_MS);
        self.connection.reply(Step::Wait { deadline_ms }).await.map_err(|_| Ending::gone_early())?;
        tokio::select! {
            call = self.connection.recv::<Call>() => match call {
                Ok(Some(Call::Continue(_))) => Ok(()),
                Ok(None) => Err(Ending::gone_early()),
                Ok(Some(Call::Begin(_))) => Err(Ending::fault("the caller began twice")),
                Err(error) => Err(Ending::fault(format!("the caller: {error}"))),
            },
            () = tokio::time::sleep(Duration::from_millis(FIRST_REPLY_MS)) => {
                Err(Ending::fault("the caller does not answer"))
            }
            () = self.app.logins.stopped() => Err(Ending::stopping()),
        }
    }

    pub(super) async fn ask(&mut self, open: &Open, text: String, rule: &Rule) -> Told<Answered> {
        if self.prompts == MOST_PROMPTS {
            // Wrong codes have ended it long before.
            return Err(Ending::no_code(self.prompts));
        }
        self.prompts += 1;
        let answer = self.step(Step::Ask { text, deadline_ms: deadline_ms(open) }, open, rule).await?;
        Ok(match answer {
            Continue { cannot_ask: true, .. } => Answered::CannotAsk,
            Continue { answer, .. } => Answered::Text(answer.unwrap_or_default()),
        })
    }

    /// Replies with a step and waits for the next call; meanwhile ends are told to the phones.
    pub(super) async fn step(&mut self, step: Step, open: &Open, rule: &Rule) -> Told<Continue> {
        self.connection.reply(step).await.map_err(|_| Ending::withdrawn(open))?;
        loop {
            let seen = open.state();
            let undecided = self.undecided(open, rule);
            // It may have ended while a call was out, too, and a person may take their time now.
            if undecided.is_none() {
                open.tell_end();
            }
            // `countersign ask` hears it while its prompt stands; what PAM's applications have asked takes a line.
            if self.facts.is_ask() && seen.is_end() && seen != State::Expired {
                return Err(Ending::of_request(open));
            }
            tokio::select! {
                call = self.connection.recv::<Call>() => return match call {
                    Ok(Some(Call::Continue(next))) => Ok(next),
                    Ok(None) => Err(Ending::withdrawn(open)),
                    Ok(Some(Call::Begin(_))) => Err(Ending::fault("the caller began twice")),
                    Err(error) => Err(Ending::fault(format!("the caller: {error}"))),
                },
                () = open.changed_from(seen), if !seen.is_end() => {}
                () = tokio::time::sleep(undecided.unwrap_or_default()), if undecided.is_some() => {}
                () = self.app.logins.stopped() => return Err(Ending::stopping()),
            }
        }
    }

    /// How much longer phones are not told that the time was over: whoever was not answered may have a recovery
    /// code, and phones hear once how a request ended.
    fn undecided(&self, open: &Open, rule: &Rule) -> Option<Duration> {
        let left = (open.deadline + SEARCH_TIME).saturating_sub(clock::boot());
        let may_open = open.state() == State::Expired
            && may_type(Factor::Recovery, open, rule)
            && self.app.recovery.holds(&open.person);
        (may_open && !left.is_zero()).then_some(left)
    }

    /// Tells an application that shows nothing but prompts why it was refused.
    pub(super) async fn acknowledge(&mut self, reason: &str) {
        let step = Step::Ask { text: prompts::acknowledge(reason), deadline_ms: FIRST_REPLY_MS };
        if self.prompts > 0 && self.connection.reply(step).await.is_ok() {
            tokio::select! {
                _ = self.connection.recv::<Call>() => {}
                () = self.app.logins.stopped() => {}
                () = tokio::time::sleep(READING_TIME) => {}
            }
        }
    }
}

/// Time that the daemon may take over the next reply: until the request ends, and a little.
pub(super) fn deadline_ms(open: &OpenRequest) -> u64 {
    u64::try_from(open.left().as_millis()).unwrap_or(u64::MAX).saturating_add(FIRST_REPLY_MS)
}
