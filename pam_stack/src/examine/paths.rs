//! Is there a way through a stack that ends well?

use super::model::Who;
use crate::{Action, Code, Module, Run, Stack};

/// Most ways that are tried in one stack.
const MAX_RUNS: usize = 20_000;

/// What a search is told.
pub struct Search<'a> {
    /// Who comes.
    pub who: Who,
    /// Whether a module can be loaded.
    pub has_module: &'a dyn Fn(&Module) -> bool,
    /// Lines that end or jump no more: they were found before.
    pub known: &'a [usize],
}

/// A way that ends with success.
#[must_use]
pub fn search(stack: &Stack, with: &Search<'_>) -> Option<Run> {
    tried(stack, with).ok().flatten()
}

/// A stack has more ways than are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// The same, for whoever has to know whether all ways were tried.
///
/// # Errors
/// When there are too many, and none of those that were tried ends well.
pub(super) fn tried(stack: &Stack, with: &Search<'_>) -> Result<Option<Run>, TooMany> {
    let resets = stack.handlers.iter().filter_map(|handler| handler.module());
    let resets = resets
        .flat_map(|module| Code::all().map(|code| module.action(code)))
        .any(|action| action == Action::Reset);
    let options: Vec<Vec<Code>> = stack
        .handlers
        .iter()
        .enumerate()
        .map(|(at, handler)| match handler.module() {
            Some(module) => possible(module, with, with.known.contains(&at), resets),
            None => Vec::new(),
        })
        .collect();
    let mut chosen: Vec<(usize, usize)> = Vec::new();
    for _ in 0..MAX_RUNS {
        let mut step = 0;
        let run = stack.run(|at, _| {
            let codes = options.get(at).map(Vec::as_slice).unwrap_or_default();
            if step == chosen.len() {
                chosen.push((0, codes.len()));
            }
            let pick = chosen.get(step).map_or(0, |(pick, _)| *pick);
            step += 1;
            codes.get(pick).copied().unwrap_or(Code::AUTH_ERR)
        });
        if run.result == Code::SUCCESS {
            return Ok(Some(run));
        }
        // The next way: the last choice that has another answer takes it.
        chosen.truncate(step);
        while let Some((pick, count)) = chosen.pop() {
            if pick + 1 < count {
                chosen.push((pick + 1, count));
                break;
            }
        }
        if chosen.is_empty() {
            return Ok(None);
        }
    }
    Err(TooMany)
}

/// What it may return, without what comes to the same, and without what ends badly in any case.
fn possible(module: &Module, with: &Search<'_>, is_known: bool, resets: bool) -> Vec<Code> {
    let all = if (with.has_module)(module) { with.who.hears(module) } else { vec![Code::MODULE_UNKNOWN] };
    let mut codes: Vec<Code> = Vec::new();
    for code in &all {
        let action = module.action(*code);
        let is_bad = matches!(action, Action::Bad | Action::Die);
        let leads_away = matches!(action, Action::Done | Action::Jump(_));
        let is_twin = codes.iter().any(|other| {
            module.action(*other) == action && (matches!(action, Action::Ignore | Action::Jump(_)) || is_bad)
        });
        if !(is_bad && !resets || is_known && leads_away || is_twin) {
            codes.push(*code);
        }
    }
    if codes.is_empty() {
        codes.extend(
            all.iter()
                .find(|code| matches!(module.action(**code), Action::Bad | Action::Die))
                .or(all.first()),
        );
    }
    codes
}
