//! Lines as they should be.

use super::model::BREAK_GLASS;
use crate::{Action, Code, Handler, Module, Place, Stack, Stage};

/// What goes above our line.
pub(super) fn break_glass(stage: Stage) -> String {
    format!(
        "{:<7} [success=1 default=ignore] pam_succeed_if.so quiet user ingroup {BREAK_GLASS}",
        stage.name()
    )
}

/// A line that was meant as the break-glass line, as one.
pub(super) fn break_glass_for(module: &Module) -> String {
    let whose = if module.args.iter().any(|arg| arg == "use_uid") { "use_uid " } else { "" };
    let control = &module.control;
    let control = if control.contains('=') { format!("[{control}]") } else { control.clone() };
    let (stage, file) = (module.stage.name(), &module.module);
    format!("{stage:<7} {control} {file} quiet {whose}user ingroup {BREAK_GLASS}")
}

/// A module's line with this control.
pub(super) fn with_control(module: &Module, control: &str) -> String {
    let mut text = format!("{:<7} {control} {}", module.stage.name(), module.module);
    for arg in &module.args {
        if arg.contains([' ', '\t', '[', ']']) {
            text.push_str(&format!(" [{}]", arg.replace(']', "\\]")));
        } else {
            text.push_str(&format!(" {arg}"));
        }
    }
    text
}

/// Our line: nothing behind it is reached by whoever is refused.
pub(super) fn ours(module: &Module) -> String {
    with_control(module, "requisite")
}

/// "in FILE:LINE write: ..."
pub(super) fn write(place: &Place, text: &str) -> String {
    format!("in {place} write: {text}")
}

/// What to write in place of a line that ends the stack, or jumps, before ours is come to.
pub(super) fn instead(stack: &Stack, culprit: usize, ours: usize) -> Option<(Place, String)> {
    let handler = stack.handlers.get(culprit)?;
    let module = handler.module()?;
    let our_file = stack.handlers.get(ours)?;
    match module.action(Code::SUCCESS) {
        Action::Done => match handler.through.last() {
            // It ends what includes it; as a substack it ends itself alone.
            Some(line) if our_file.through.last() != Some(line) => {
                let name = handler.place.file.file_name()?.to_str()?;
                Some((line.clone(), format!("{:<7} substack {name}", stack.stage.name())))
            }
            _ => Some((handler.place.clone(), with_control(module, "required"))),
        },
        Action::Jump(_) => {
            let target = first_of_ours(stack, ours);
            let number = (1..=target).find(|number| {
                u32::try_from(*number).ok().and_then(|number| stack.jump(culprit, number)) == Some(target)
            });
            let success = match number {
                Some(number) => format!("success={number}"),
                None if culprit + 1 == target => "success=ok".to_owned(),
                None => return None,
            };
            let words: Vec<String> = module
                .control
                .split_ascii_whitespace()
                .map(|word| if word.starts_with("success=") { success.clone() } else { word.to_owned() })
                .collect();
            Some((handler.place.clone(), with_control(module, &format!("[{}]", words.join(" ")))))
        }
        _ => None,
    }
}

/// Our line, or the break-glass line right above it.
pub(super) fn first_of_ours(stack: &Stack, ours: usize) -> usize {
    match ours.checked_sub(1).and_then(|above| stack.handlers.get(above)) {
        Some(above) if super::is_break_glass(above) => ours - 1,
        _ => ours,
    }
}

/// How a line is spoken of.
pub(super) fn named(handler: &Handler) -> String {
    handler.module().map_or_else(|| "a line".to_owned(), |module| module.name().to_owned())
}
