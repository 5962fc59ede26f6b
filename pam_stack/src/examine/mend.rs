//! What to write in place of a line. Each proposal is tried first: one that locks everybody out is none.

use super::lines;
use super::model::{Who, is_ours};
use super::paths::{Search, search};
use super::stages::NOBODY_ELSE;
use crate::stack::{Handler, Kind};
use crate::{Action, Code, Module, Place, Service, Stack, What};

/// A line to write.
pub(super) struct Mended {
    pub(super) place: Place,
    pub(super) line: String,
}

impl Mended {
    pub(super) fn words(&self) -> String {
        lines::write(&self.place, &self.line)
    }
}

/// For a line of ours whose control does not do what it should.
pub(super) fn ours(stack: &Stack, at: usize, has_module: &dyn Fn(&Module) -> bool) -> Option<Mended> {
    let handler = stack.handlers.get(at)?;
    let module = handler.module()?;
    let mut proposals = vec![lines::ours(module)];
    // A list of values that leaves "ignore" out: as with success, whatever that is.
    let words: Vec<&str> =
        module.control.split_ascii_whitespace().filter(|word| !word.starts_with("ignore=")).collect();
    if let Some(success) = words.iter().find_map(|word| word.strip_prefix("success=")) {
        let ignore = if matches!(module.action(Code::SUCCESS), Action::Jump(_)) { success } else { "ignore" };
        proposals.push(lines::with_control(module, &format!("[{} ignore={ignore}]", words.join(" "))));
    }
    proposals.into_iter().find_map(|line| {
        let changed = with_line(stack, at, &line)?;
        (is_sound(&changed, has_module) && refuses(&changed, has_module))
            .then(|| Mended { place: handler.place.clone(), line })
    })
}

/// For a break-glass line that leads its members elsewhere.
pub(super) fn break_glass(stack: &Stack, at: usize, has_module: &dyn Fn(&Module) -> bool) -> Option<Mended> {
    let line = lines::break_glass(stack.stage);
    let changed = with_line(stack, at, &line)?;
    let who = Who { break_glass: true, ours: Code::AUTHINFO_UNAVAIL, ..NOBODY_ELSE };
    let gets_in = search(&changed, &Search { who, has_module, known: &[] }).is_some();
    let place = stack.handlers.get(at)?.place.clone();
    gets_in.then_some(Mended { place, line })
}

/// For a line that leads past ours.
pub(super) fn before(
    stack: &Stack,
    culprit: usize,
    ours: usize,
    has_module: &dyn Fn(&Module) -> bool,
) -> Option<Mended> {
    let (place, line) = lines::instead(stack, culprit, ours)?;
    let handler = stack.handlers.get(culprit)?;
    let changed =
        if handler.place == place { with_line(stack, culprit, &line)? } else { as_substack(stack, &place) };
    is_sound(&changed, has_module).then_some(Mended { place, line })
}

fn opens(stack: &Stack, ours: Code, has_module: &dyn Fn(&Module) -> bool) -> bool {
    let who = Who { ours, ..NOBODY_ELSE };
    search(stack, &Search { who, has_module, known: &[] }).is_some()
}

/// Who is approved, and who need not be, gets in.
fn is_sound(stack: &Stack, has_module: &dyn Fn(&Module) -> bool) -> bool {
    opens(stack, Code::SUCCESS, has_module) && opens(stack, Code::IGNORE, has_module)
}

fn refuses(stack: &Stack, has_module: &dyn Fn(&Module) -> bool) -> bool {
    ![Code::AUTH_ERR, Code::AUTHINFO_UNAVAIL, Code::SESSION_ERR]
        .into_iter()
        .any(|code| opens(stack, code, has_module))
}

fn with_line(stack: &Stack, at: usize, line: &str) -> Option<Stack> {
    let mut changed = stack.clone();
    let handler = changed.handlers.get_mut(at)?;
    let What::Module(module) = Service::read(&handler.place.file, line).lines.into_iter().next()?.what else {
        return None;
    };
    (handler.kind, handler.fault) = (Kind::Module(module), None);
    Some(changed)
}

/// The stack with what this line includes one level deeper.
fn as_substack(stack: &Stack, line: &Place) -> Stack {
    let mut changed = stack.clone();
    changed.handlers.clear();
    for handler in &stack.handlers {
        let mut handler: Handler = handler.clone();
        if let Some(depth) = handler.through.iter().position(|place| place == line) {
            if !changed.handlers.iter().any(|before| before.through.contains(line)) {
                changed.handlers.push(Handler {
                    place: line.clone(),
                    through: handler.through.iter().take(depth).cloned().collect(),
                    level: handler.level,
                    kind: Kind::Substack,
                    fault: None,
                });
            }
            handler.level += 1;
        }
        changed.handlers.push(handler);
    }
    changed
}

/// Where no line is known that mends it.
pub(super) fn anew(stack: &Stack, at: usize) -> String {
    let place = stack.handlers.get(at).filter(|handler| is_ours(handler)).map(|handler| &handler.place);
    match place {
        Some(place) => format!(
            "take {place} out, with what was written for it, then: countersign enable {}",
            stack.service
        ),
        None => format!("take our lines out, then: countersign enable {}", stack.service),
    }
}
