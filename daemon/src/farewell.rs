//! When a daemon ends that a newer one is to follow: when nobody waits for a verdict, and at some time in any case.
//! Only logins and root's own calls are waited for: what a user keeps open must not keep an old daemon running.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// How long it is waited for a moment without a login. The longest time that a person has for an answer is in it.
pub const LONGEST: Duration = Duration::from_secs(15 * 60);
/// For how long at the end of it nobody new is taken in: they wait at the sockets for the newer one, and those that
/// are in have time to hear their verdict.
pub const LAST_ANSWERS: Duration = Duration::from_secs(2 * 60);

/// What a daemon does that is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Takes in who comes, since somebody waits anyway.
    Serves,
    /// Takes in nobody; who comes waits for the newer one.
    Closes,
    /// Nobody waits.
    Over,
    /// It is time, whoever waits.
    Late,
}

/// How many connections there are that have to be waited for.
#[derive(Debug, Default)]
pub struct Waiting {
    unheard: Cell<u32>,
    wanted: Cell<u32>,
}

/// One connection of these, until it is dropped.
pub struct Mark {
    waiting: Rc<Waiting>,
    is_wanted: bool,
}

impl Waiting {
    /// One that has not said yet what it wants. It has a few seconds for that.
    pub fn unheard(self: &Rc<Self>) -> Mark {
        add(&self.unheard);
        Mark { waiting: Rc::clone(self), is_wanted: false }
    }

    /// What to do now, when all has to be over at `last`; `session_due` says that somebody who was let in is about to
    /// open a session, which only this daemon knows of.
    #[must_use]
    pub fn stage(&self, now: Duration, last: Duration, session_due: bool) -> Stage {
        if now >= last {
            return Stage::Late;
        }
        let is_wanted = self.wanted.get() > 0;
        if (is_wanted || session_due) && now < last.saturating_sub(LAST_ANSWERS) {
            return Stage::Serves;
        }
        if is_wanted || self.unheard.get() > 0 { Stage::Closes } else { Stage::Over }
    }
}

impl Mark {
    /// It wants what has to be waited for.
    pub fn wanted(&mut self) {
        if !self.is_wanted {
            take(&self.waiting.unheard);
            add(&self.waiting.wanted);
            self.is_wanted = true;
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        take(if self.is_wanted { &self.waiting.wanted } else { &self.waiting.unheard });
    }
}

fn add(count: &Cell<u32>) {
    count.set(count.get().saturating_add(1));
}

fn take(count: &Cell<u32>) {
    count.set(count.get().saturating_sub(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Duration = LONGEST;
    const EARLY: Duration = Duration::ZERO;

    fn just_before(time: Duration) -> Duration {
        time.saturating_sub(Duration::from_millis(1))
    }

    #[test]
    fn a_login_is_waited_for_and_others_come_in_meanwhile() {
        let waiting = Rc::new(Waiting::default());
        let mut login = waiting.unheard();
        assert_eq!(waiting.stage(EARLY, LAST, false), Stage::Closes);
        login.wanted();
        login.wanted();
        assert_eq!(waiting.stage(EARLY, LAST, false), Stage::Serves);
        let unheard = waiting.unheard();
        drop(login);
        assert_eq!(waiting.stage(EARLY, LAST, false), Stage::Closes);
        drop(unheard);
        assert_eq!(waiting.stage(EARLY, LAST, false), Stage::Over);
    }

    #[test]
    fn a_session_that_is_due_is_waited_for_while_it_could_come_in() {
        let waiting = Waiting::default();
        let closing = LAST.saturating_sub(LAST_ANSWERS);
        assert_eq!(waiting.stage(just_before(closing), LAST, true), Stage::Serves);
        assert_eq!(waiting.stage(closing, LAST, true), Stage::Over);
    }

    #[test]
    fn at_the_end_nobody_new_comes_in_and_then_it_is_late() {
        let waiting = Rc::new(Waiting::default());
        let mut login = waiting.unheard();
        login.wanted();
        let closing = LAST.saturating_sub(LAST_ANSWERS);
        assert_eq!(waiting.stage(just_before(closing), LAST, false), Stage::Serves);
        assert_eq!(waiting.stage(closing, LAST, false), Stage::Closes);
        assert_eq!(waiting.stage(just_before(LAST), LAST, false), Stage::Closes);
        assert_eq!(waiting.stage(LAST, LAST, false), Stage::Late);
    }
}
