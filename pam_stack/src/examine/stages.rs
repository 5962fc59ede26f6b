//! One service.

use super::finding::{Finding, Severity};
use super::model::{
    BREAK_GLASS, Class, Who, class, is_break_glass, is_nearly_break_glass, is_ours, is_passwordless,
    names_people,
};
use super::paths::{Search, search, tried};
use super::{Host, NOBODY, SHARED};
use super::{lines, mend, order};
use crate::{Action, Code, Folders, Kind, Run, Stack, Stage};

/// What our module says when it refuses, and when that is.
const REFUSALS: [(Code, &str); 6] = [
    (Code::AUTH_ERR, "a login is denied"),
    (Code::AUTHINFO_UNAVAIL, "the daemon or the server is gone"),
    (Code::MAXTRIES, "there are too many logins"),
    (Code::SYSTEM_ERR, "something is broken"),
    (Code::ABORT, "the login is given up"),
    (Code::MODULE_UNKNOWN, "the module's file is missing"),
];
/// The same in the session stage.
const SESSION_REFUSALS: [(Code, &str); 2] =
    [(Code::SESSION_ERR, "a login is denied"), (Code::MODULE_UNKNOWN, "the module's file is missing")];
/// Most lines of one stack that are named as ways around ours.
const MAX_WAYS: usize = 4;

/// Somebody with the right password, for whom everything else goes as well as it can.
pub(super) const NOBODY_ELSE: Who =
    Who { break_glass: false, password: true, others: true, root: false, ours: Code::SUCCESS };

/// Looks at a service; says whether it asks.
pub(super) fn service(folders: &Folders, name: &str, host: &Host<'_>, found: &mut Vec<Finding>) -> bool {
    let stacks = Stage::ALL.map(|stage| Stack::of(folders, name, stage));
    let has = |stage: Stage| {
        stacks
            .iter()
            .any(|stack| stack.stage == stage && !stack.from_other && stack.handlers.iter().any(is_ours))
    };
    let asks = has(Stage::Auth) || has(Stage::Session);
    let is_meant = host.meant.iter().any(|meant| meant == name);
    if !asks && !has(Stage::Account) && !has(Stage::Password) {
        if is_meant {
            found.push(
                Finding::new(
                    Severity::WouldOpen,
                    "not-asking",
                    format!("{name} is turned on, but nothing in its file asks"),
                    format!("countersign enable {name}"),
                )
                .in_file(folders.first().join(name).display())
                .of(name),
            );
        }
        return false;
    }
    if SHARED.contains(&name) {
        // Its lines are seen where they are included; only that they stand here is this file's own.
        let ours = stacks.iter().flat_map(|stack| stack.handlers.iter().filter(|handler| is_ours(handler)));
        found.extend(ours.map(|handler| {
            let text = "our line stands in a file that many services include: each of them asks, also where nobody is there to approve";
            let next = "take it out, and turn on the services themselves: countersign enable sshd sudo";
            Finding::new(Severity::WouldLockOut, "shared-file", text, next).at(&handler.place)
        }));
        return false;
    }
    if NOBODY.contains(&name) {
        let ours = stacks.iter().flat_map(|stack| &stack.handlers).find(|handler| is_ours(handler));
        if let Some(handler) = ours {
            let text = "it asks where nobody is there who could approve";
            let next = format!("take the line out of {}", handler.place);
            found.push(
                Finding::new(Severity::WouldLockOut, "nobody-there", text, next).at(&handler.place).of(name),
            );
        }
        return asks;
    }
    for stack in &stacks {
        let mut of_stack = Vec::new();
        look(stack, host, &mut of_stack);
        found.extend(of_stack.into_iter().map(|one| one.of(name)));
    }
    if is_sshd(name) && has(Stage::Auth) && !has(Stage::Session) && host.keys_alone {
        let text = "logins by ssh key alone are not asked: sshd leaves the auth stage out for them";
        let next = format!(
            "countersign enable {name}, or add: session requisite pam_countersign.so, with the break-glass line above it"
        );
        found.push(
            Finding::new(Severity::WouldOpen, "no-session-line", text, next)
                .in_file(folders.first().join(name).display())
                .of(name),
        );
    }
    asks
}

/// sshd's service is its program's file name.
pub(super) fn is_sshd(name: &str) -> bool {
    name == "sshd" || name.starts_with("sshd-")
}

fn look(stack: &Stack, host: &Host<'_>, found: &mut Vec<Finding>) {
    if let Some(why) = &stack.refused {
        if stack.stage == Stage::Auth {
            let text = format!("libpam cannot read this service and refuses everybody: {why}");
            found.push(Finding::new(Severity::WouldLockOut, "unreadable", text, "correct that line"));
        }
        return;
    }
    let Some(ours) = stack.handlers.iter().position(is_ours) else { return };
    mistakes(stack, found);
    match stack.stage {
        Stage::Auth | Stage::Session => {
            ways_around(stack, ours, host, found);
            refused(stack, ours, host, found);
            order::arguments(stack, found);
            if stack.stage == Stage::Auth {
                order::order(stack, ours, host, found);
            }
        }
        Stage::Account => found.push(wrong_stage(
            stack,
            ours,
            Severity::Advice,
            "in the account stage our module decides nothing",
        )),
        Stage::Password => found.push(wrong_stage(
            stack,
            ours,
            Severity::WouldLockOut,
            "in the password stage our module refuses, so that nobody can change a password",
        )),
    }
}

fn wrong_stage(stack: &Stack, ours: usize, severity: Severity, text: &str) -> Finding {
    let finding = Finding::new(severity, "wrong-stage", text, "take the line out");
    match stack.handlers.get(ours) {
        Some(handler) => finding.at(&handler.place),
        None => finding,
    }
}

/// Lines that libpam itself cannot make sense of.
fn mistakes(stack: &Stack, found: &mut Vec<Finding>) {
    for handler in &stack.handlers {
        let why = match &handler.kind {
            Kind::Fails { why, .. } => Some(why),
            _ => handler.fault.as_ref(),
        };
        if let Some(why) = why {
            let text = format!("libpam cannot read this line and refuses whoever comes to it: {why}");
            found.push(
                Finding::new(Severity::WouldLockOut, "bad-line", text, "correct the line").at(&handler.place),
            );
        }
    }
}

/// A way in though our module refuses, or without coming by it.
fn ways_around(stack: &Stack, ours: usize, host: &Host<'_>, found: &mut Vec<Finding>) {
    let refusals: &[(Code, &str)] = if stack.stage == Stage::Session { &SESSION_REFUSALS } else { &REFUSALS };
    let mut known = Vec::new();
    for (code, when) in refusals {
        // As if it were there: what happens when it is not is another question.
        let has_module = |module: &crate::Module| class(module) == Class::Ours || (host.has_module)(module);
        while known.len() < MAX_WAYS {
            let who = Who { ours: *code, ..NOBODY_ELSE };
            let run = match tried(stack, &Search { who, has_module: &has_module, known: &known }) {
                Ok(Some(run)) => run,
                Ok(None) => break,
                Err(_) => {
                    let text =
                        format!("all ways through the {} stack: there are too many", stack.stage.name());
                    found.push(Finding::new(Severity::NotSeen, "too-many-ways", text, "shorten the stack"));
                    return;
                }
            };
            let Some((culprit, finding)) = way(stack, ours, &run, (*code, when), &has_module) else { break };
            found.push(finding);
            if known.contains(&culprit) || is_ours_at(stack, culprit) {
                return;
            }
            known.push(culprit);
        }
    }
}

fn is_ours_at(stack: &Stack, at: usize) -> bool {
    stack.handlers.get(at).is_some_and(is_ours)
}

fn way(
    stack: &Stack,
    ours: usize,
    run: &Run,
    (code, when): (Code, &str),
    has_module: &dyn Fn(&crate::Module) -> bool,
) -> Option<(usize, Finding)> {
    let seen = |at: usize| run.returned.get(at).copied().flatten();
    let asked = (0..stack.handlers.len()).find(|at| is_ours_at(stack, *at) && seen(*at).is_some());
    if let Some(asked) = asked {
        let handler = stack.handlers.get(asked)?;
        let module = handler.module()?;
        let action = module.action(code);
        if matches!(action, Action::Bad | Action::Die) {
            let reset = (asked..stack.handlers.len()).find(|at| {
                let module = stack.handlers.get(*at).and_then(|handler| handler.module());
                module.zip(seen(*at)).is_some_and(|(module, code)| module.action(code) == Action::Reset)
            })?;
            let culprit = stack.handlers.get(reset)?;
            let text = format!("{} makes libpam forget that our module refused", lines::named(culprit));
            let next = lines::write(&culprit.place, &lines::with_control(culprit.module()?, "optional"));
            return Some((
                asked,
                Finding::new(Severity::WouldOpen, "refusal-forgotten", text, next).at(&culprit.place),
            ));
        }
        let text = format!(
            "with \"{}\" our refusal counts for nothing: whoever has the password gets in when {when}",
            module.control
        );
        let mended = mend::ours(stack, asked, has_module);
        let next = mended.map_or_else(|| mend::anew(stack, asked), |mended| mended.words());
        return Some((
            asked,
            Finding::new(Severity::WouldOpen, "refusal-ignored", text, next).at(&handler.place),
        ));
    }
    let (culprit, action, code) = (0..ours).rev().find_map(|at| {
        let code = seen(at)?;
        let action = stack.handlers.get(at)?.module()?.action(code);
        matches!(action, Action::Done | Action::Jump(_)).then_some((at, action, code))
    })?;
    let handler = stack.handlers.get(culprit)?;
    let our_place = &stack.handlers.get(ours)?.place;
    let (name, module) = (lines::named(handler), handler.module()?);
    if is_nearly_break_glass(module) {
        let text = format!(
            "\"{}\" is not the break-glass line: others than the members of {BREAK_GLASS} are not asked",
            module.args.join(" ")
        );
        let next = lines::write(&handler.place, &lines::break_glass_for(module));
        return Some((
            culprit,
            Finding::new(Severity::WouldOpen, "break-glass-others", text, next).at(&handler.place),
        ));
    }
    let is_exempt = names_people(module, code);
    if is_exempt {
        let condition = module.args.join(" ");
        let who = if code == Code::SUCCESS { "meets" } else { "does not meet" };
        let text = format!("who {who} \"{condition}\" is not asked: {name} leaves our line out");
        let next = "if that is meant, let the policy say it (a rule with then = \"skip\"), where it is audited; if not, take the line out";
        return Some((culprit, Finding::new(Severity::Advice, "exempt", text, next).at(&handler.place)));
    }
    let (kind, text) = match action {
        Action::Done => (
            "ends-before",
            format!(
                "once {name} says yes nobody is asked: with \"{}\" it ends the stack before our line ({our_place})",
                module.control
            ),
        ),
        _ => (
            "jumps-over",
            format!(
                "once {name} says yes nobody is asked: with \"{}\" it jumps over our line ({our_place})",
                module.control
            ),
        ),
    };
    let mended = mend::before(stack, culprit, ours, has_module);
    let next = mended.map_or_else(|| mend::anew(stack, culprit), |mended| mended.words());
    Some((culprit, Finding::new(Severity::WouldOpen, kind, text, next).at(&handler.place)))
}

/// Who does not get in though they should.
fn refused(stack: &Stack, ours: usize, host: &Host<'_>, found: &mut Vec<Finding>) {
    let Some(handler) = stack.handlers.get(ours) else { return };
    let Some(module) = handler.module() else { return };
    let gets_in =
        |who: Who| search(stack, &Search { who, has_module: host.has_module, known: &[] }).is_some();
    if !(host.has_module)(module) {
        let text = format!("{} is not on the disk, and without it nobody gets in", module.module);
        let next = "install libpam-countersign, or take the lines out: countersign disable";
        if !gets_in(NOBODY_ELSE) {
            found.push(Finding::new(Severity::WouldLockOut, "module-missing", text, next).at(&handler.place));
        }
        return;
    }
    if !gets_in(NOBODY_ELSE) {
        let missing = stack
            .handlers
            .iter()
            .find(|other| other.module().is_some_and(|module| !(host.has_module)(module)));
        let (place, text, next) = match missing {
            Some(missing) => (
                &missing.place,
                format!("{} is not on the disk, and nobody gets in without it", lines::named(missing)),
                "install it, or take its line out".to_owned(),
            ),
            None => (
                &handler.place,
                "nobody gets in, whatever is typed and approved".to_owned(),
                format!("countersign disable {0}; countersign enable {0}", stack.service),
            ),
        };
        found.push(Finding::new(Severity::WouldLockOut, "nobody-gets-in", text, next).at(place));
        return;
    }
    // Where no password goes before nobody is let pass: the daemon refuses that.
    if !is_passwordless(handler) && !gets_in(Who { ours: Code::IGNORE, ..NOBODY_ELSE }) {
        let text = "whom the policy lets pass (then = \"skip\") is refused: our module says \"ignore\" then, and nothing else counts as a yes";
        let mended = mend::ours(stack, ours, host.has_module);
        let next = mended.map_or_else(|| mend::anew(stack, ours), |mended| mended.words());
        found.push(Finding::new(Severity::WouldLockOut, "skip-refused", text, next).at(&handler.place));
    }
    let glass = Who { break_glass: true, ours: Code::AUTHINFO_UNAVAIL, ..NOBODY_ELSE };
    if gets_in(Who { ours: Code::AUTHINFO_UNAVAIL, ..NOBODY_ELSE }) {
        return;
    }
    if !gets_in(glass) {
        let line = stack.handlers.iter().position(is_break_glass);
        let add = format!("above {} add: {}", handler.place, lines::break_glass(stack.stage));
        let (kind, text, place, next) =
            match line.and_then(|at| stack.handlers.get(at).map(|line| (at, line))) {
                None => (
                    "no-break-glass",
                    "when the daemon is gone nobody gets in: there is no break-glass line".to_owned(),
                    &handler.place,
                    add,
                ),
                Some((at, line)) if at > ours => (
                    "break-glass-below",
                    "the break-glass line stands below ours, where it comes too late".to_owned(),
                    &line.place,
                    format!("move it: {add}"),
                ),
                Some((at, line)) => (
                    "break-glass-wrong",
                    "the break-glass line does not lead its members past our line".to_owned(),
                    &line.place,
                    mend::break_glass(stack, at, host.has_module).map_or_else(
                        || format!("put it right above {}, where our module is called once", handler.place),
                        |mended| mended.words(),
                    ),
                ),
            };
        found.push(Finding::new(Severity::WouldLockOut, kind, text, next).at(place));
    }
}
