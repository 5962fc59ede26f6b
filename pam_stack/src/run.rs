//! libpam's way through a stack.

use crate::control::Action;
use crate::stack::{Handler, Kind, Stack};
use crate::{Actions, Code};

/// What came of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What the program hears.
    pub result: Code,
    /// For each line of the stack: what it returned, where it was come to at all.
    pub returned: Vec<Option<Code>>,
    /// The line after which nothing more was come to, and why: `done`, `die`.
    pub ended_at: Option<usize>,
}

/// A second way through the same stack (setcred after authenticate, close after open): the first one's values say which
/// way it goes.
#[derive(Debug, Clone, Copy)]
pub struct Setcred<'a> {
    /// What the lines returned the first time.
    pub first: &'a [Option<Code>],
    /// Whether a jump counts as `ok` this time. It does upstream; Debian's libpam leaves it uncounted, as the first time.
    pub jumps_count: bool,
}

/// What the stack thinks so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Impression {
    None,
    Good,
    Bad,
}

#[derive(Debug, Clone, Copy)]
struct State {
    impression: Impression,
    status: Code,
}

impl State {
    /// As libpam begins: refused.
    const START: Self = Self { impression: Impression::None, status: Code::PERM_DENIED };

    fn is_open(self) -> bool {
        self.impression == Impression::None
            || (self.impression == Impression::Good && self.status == Code::SUCCESS)
    }

    fn good(&mut self, code: Code, path: Code) {
        if self.is_open() && (code != Code::IGNORE || path == code) {
            *self = Self { impression: Impression::Good, status: code };
        }
    }

    fn bad(&mut self, code: Code) {
        if self.impression != Impression::Bad {
            let status = if code == Code::IGNORE { Code::PERM_DENIED } else { code };
            *self = Self { impression: Impression::Bad, status };
        }
    }
}

impl Stack {
    /// Goes through it. `returns` says what each module returns, by its place in [`Stack::handlers`].
    pub fn run(&self, returns: impl FnMut(usize, &Handler) -> Code) -> Run {
        self.walk(returns, None)
    }

    /// Goes through it a second time, for setcred or close_session.
    pub fn run_again(&self, again: Setcred<'_>, returns: impl FnMut(usize, &Handler) -> Code) -> Run {
        self.walk(returns, Some(again))
    }

    fn walk(&self, mut returns: impl FnMut(usize, &Handler) -> Code, again: Option<Setcred<'_>>) -> Run {
        let mut run =
            Run { result: Code::PERM_DENIED, returned: vec![None; self.handlers.len()], ended_at: None };
        if self.refused.is_some() {
            run.result = Code::ABORT;
            return run;
        }
        let mut state = State::START;
        // What was thought when each level of substacks began.
        let mut before = vec![State::START];
        let (mut level, mut at) = (0, 0);
        while let Some(handler) = self.handlers.get(at) {
            let here = at;
            if handler.level > level {
                before.resize(handler.level, state);
                before.push(state);
            }
            level = handler.level;
            before.truncate(level + 1);
            at += 1;
            let (code, actions) = match &handler.kind {
                Kind::Substack => continue,
                Kind::Fails { actions, .. } => (Code::PERM_DENIED, actions),
                Kind::Module(module) => (returns(here, handler), &module.actions),
            };
            if let Some(slot) = run.returned.get_mut(here) {
                *slot = Some(code);
            }
            if code == Code::INCOMPLETE {
                run.result = code;
                return run;
            }
            let path = again.and_then(|again| again.first.get(here).copied().flatten()).unwrap_or(code);
            let ended = self.step(
                &mut state,
                actions,
                (code, path),
                again.is_some_and(|again| again.jumps_count),
                (here, &mut at),
                &before,
            );
            if ended {
                run.ended_at = Some(here);
                at = self.end_of(here);
            }
        }
        run.result = match state {
            State { impression: Impression::Bad | Impression::None, status: Code::SUCCESS } => {
                Code::PERM_DENIED
            }
            state => state.status,
        };
        run
    }

    /// Whether the stack, or the substack, ends here.
    fn step(
        &self,
        state: &mut State,
        actions: &Actions,
        (code, path): (Code, Code),
        jumps_count: bool,
        (here, next): (usize, &mut usize),
        before: &[State],
    ) -> bool {
        match actions.of(path) {
            Action::Ignore => {}
            Action::Reset => *state = before.last().copied().unwrap_or(State::START),
            Action::Ok => state.good(code, path),
            Action::Done => {
                state.good(code, path);
                return state.impression == Impression::Good;
            }
            Action::Bad => state.bad(code),
            Action::Die => {
                state.bad(code);
                return true;
            }
            Action::Jump(number) => {
                if jumps_count {
                    state.good(code, path);
                }
                match self.jump(here, number) {
                    Some(target) => *next = target,
                    None => {
                        *next = self.end_of(here);
                        *state = State { impression: Impression::Bad, status: Code::PERM_DENIED };
                    }
                }
            }
        }
        false
    }

    fn level(&self, at: usize) -> Option<usize> {
        self.handlers.get(at).map(|handler| handler.level)
    }

    /// Where a jump from here leads; nothing when there are not so many modules. A substack is one module.
    #[must_use]
    pub fn jump(&self, here: usize, number: u32) -> Option<usize> {
        let level = self.level(here)?;
        let mut last = here;
        for _ in 0..number {
            if self.level(last + 1).is_none_or(|next| next < level) {
                return None;
            }
            last += 1;
            while self.level(last + 1).is_some_and(|next| next > level) {
                last += 1;
            }
        }
        Some(last + 1)
    }

    /// The first line behind the stack, or substack, of this one.
    fn end_of(&self, here: usize) -> usize {
        let level = self.level(here).unwrap_or_default();
        let mut end = here + 1;
        while self.level(end).is_some_and(|next| next >= level) {
            end += 1;
        }
        end
    }
}
