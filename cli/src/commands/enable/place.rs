//! Where the lines go in a service's file. Places are tried, and libpam's own way through the stack says which are good: our
//! refusal has to refuse, our consent must not, and nobody comes in without coming by us who comes in with a password.

use countersign_pam_stack::{Action, Code, Folders, Handler, Service, Stack, Stage, What};

use super::marks::{self, Instead};
use crate::output::{Exit, Failure, Outcome};

/// Modules that ask for a password, or pass it on to where it is checked.
const PASSWORD: [&str; 14] = [
    "pam_aad",
    "pam_authd",
    "pam_himmelblau",
    "pam_kanidm",
    "pam_krb5",
    "pam_ldap",
    "pam_radius_auth",
    "pam_sss",
    "pam_systemd_home",
    "pam_tcb",
    "pam_unix",
    "pam_unix2",
    "pam_userdb",
    "pam_winbind",
];
/// Modules that say yes or no about the account or the machine: both have to be thought of.
const QUESTIONS: [&str; 4] = ["pam_localuser", "pam_succeed_if", "pam_usertype", "pam_wheel"];
/// Most of them of which every combination is tried.
const MAX_QUESTIONS: usize = 8;
const OURS: &str = "pam_countersign";
const BREAK_GLASS: &str = "countersign-breakglass";

/// A service's file with our lines in it, and what to know about that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) text: Vec<u8>,
    /// Sentences for the administrator.
    pub(super) remarks: Vec<String>,
}

/// Puts the lines for these stages into the file of a service. Those that are there already stay where they are.
///
/// # Errors
/// Why there is no safe place.
pub(super) fn place(
    folders: &Folders,
    service: &str,
    text: &[u8],
    module: &str,
    stages: &[Stage],
) -> Outcome<Placed> {
    let path = folders.first().join(service);
    let refused = |why: String| Failure::new(Exit::Refused, format!("{}: {why}", path.display()));
    if let Some(line) = marks::by_hand(text).first() {
        let why = format!(
            "line {line} calls {} already, written by hand: take it out first, and what belongs to it",
            marks::MODULE
        );
        return Err(refused(why));
    }
    let mut placed = Placed { text: text.to_owned(), remarks: Vec::new() };
    for stage in stages {
        if !marks::has(&placed.text, stage.name()) {
            let found = match stage {
                Stage::Session => session(folders, service, &placed.text, module),
                _ => auth(folders, service, &placed.text, module),
            };
            placed.text = found.map_err(refused)?;
        }
        placed.remarks.extend(remarks(folders, service, &placed.text, *stage));
    }
    Ok(placed)
}

/// Right behind the last line that checks a password, or where that is no good behind one of those that follow.
fn auth(folders: &Folders, service: &str, text: &[u8], module: &str) -> Result<Vec<u8>, String> {
    let file = read(folders, service, text);
    let with_old = with(folders, service, text);
    let before = Stack::of(&with_old, service, Stage::Auth);
    sound(&before)?;
    if let Some(ours) = before.handlers.iter().find(|handler| is_ours(handler)) {
        return Err(format!("{} asks already, and it belongs to this service", ours.place));
    }
    let is_password = |handler: &&Handler| named(handler, &PASSWORD);
    let Some(last) =
        before.handlers.iter().filter(is_password).map(|handler| handler.in_service().line).max()
    else {
        return Err(
            "nothing in it checks a password, so that there is no place for our lines behind that".to_owned()
        );
    };
    let lines = file.lines.iter().filter(|line| line.last >= last && is_of(line, Stage::Auth));
    let mut why = None;
    for line in lines {
        let new = marks::put(text, line.last, false, &marks::block("auth", service, module, None));
        match safe(folders, service, &new, &before, Stage::Auth) {
            Ok(()) => return Ok(new),
            Err(fault) => why.get_or_insert(fault),
        };
    }
    // An include that ends everything once the password is right: as a substack it ends itself alone.
    if let Some(line) = file.lines.iter().find(|line| line.first == last && line.last == last)
        && let What::Lines { stage: Stage::Auth, substack: false, .. } = line.what
        && let Some(was) = whole_line(text, last)
    {
        let now = marks::as_substack(&was);
        let block = marks::block("auth", service, module, Some(&Instead { was, now }));
        let new = marks::put(text, last, true, &block);
        if safe(folders, service, &new, &before, Stage::Auth).is_ok() {
            return Ok(new);
        }
    }
    Err(why.unwrap_or_else(|| "there is no safe place for our lines".to_owned()))
}

/// Before what sets the session up: whoever is refused has none. Without such a line, behind the last one.
fn session(folders: &Folders, service: &str, text: &[u8], module: &str) -> Result<Vec<u8>, String> {
    let file = read(folders, service, text);
    let before = Stack::of(&with(folders, service, text), service, Stage::Session);
    sound(&before)?;
    if let Some(ours) = before.handlers.iter().find(|handler| is_ours(handler)) {
        return Err(format!("{} asks already, and it belongs to this service", ours.place));
    }
    let own: Vec<_> = file.lines.iter().filter(|line| is_of(line, Stage::Session)).collect();
    let includes = |line: &&&countersign_pam_stack::Line| match &line.what {
        What::Lines { .. } => true,
        What::File { name } => {
            let alone =
                Stack::of(&folders.clone().with(PROBE, &format!("@include {name}\n")), PROBE, Stage::Session);
            !alone.from_other && !alone.handlers.is_empty()
        }
        _ => false,
    };
    let first = own.iter().find(includes).map(|line| line.first - 1);
    let places = first.into_iter().chain(own.iter().rev().map(|line| line.last));
    let mut why = None;
    for after in places {
        let new = marks::put(text, after, false, &marks::block("session", service, module, None));
        match safe(folders, service, &new, &before, Stage::Session) {
            Ok(()) => return Ok(new),
            Err(fault) => why.get_or_insert(fault),
        };
    }
    Err(why.unwrap_or_else(|| "it has no lines for sessions".to_owned()))
}

/// A name that no file has.
const PROBE: &str = "countersign.probe";

fn read(folders: &Folders, service: &str, text: &[u8]) -> Service {
    Service::read(&folders.first().join(service), &String::from_utf8_lossy(text))
}

fn with(folders: &Folders, service: &str, text: &[u8]) -> Folders {
    folders.clone().with(service, &String::from_utf8_lossy(text))
}

fn is_of(line: &countersign_pam_stack::Line, stage: Stage) -> bool {
    match &line.what {
        What::File { .. } => true,
        What::Lines { stage: of, .. } => *of == stage,
        What::Module(module) => module.stage == stage,
        What::Broken { .. } => false,
    }
}

fn whole_line(text: &[u8], number: usize) -> Option<String> {
    let line = text.split(|byte| *byte == b'\n').nth(number.checked_sub(1)?)?;
    String::from_utf8(line.strip_suffix(b"\r").unwrap_or(line).to_owned()).ok()
}

/// A stack that libpam refuses as it is, or that another service lends, is not ours to judge.
fn sound(stack: &Stack) -> Result<(), String> {
    if let Some(why) = &stack.refused {
        return Err(format!("libpam takes nothing of it: {why}"));
    }
    if stack.from_other || stack.handlers.is_empty() {
        return Err(format!("it has no {} lines of its own", stack.stage.name()));
    }
    Ok(())
}

fn named(handler: &Handler, names: &[&str]) -> bool {
    handler.module().is_some_and(|module| names.contains(&module.name()))
}

fn is_ours(handler: &Handler) -> bool {
    named(handler, &[OURS])
}

fn is_glass(handler: &Handler) -> bool {
    handler.module().is_some_and(|module| module.args.iter().any(|arg| arg == BREAK_GLASS))
}

/// One way through a stack: which module finds the password right, and what is answered to questions.
#[derive(Debug, Clone)]
struct Way {
    /// The place of the module among those that check passwords; nothing: none of them.
    right: Option<usize>,
    /// A bit for each question.
    answers: u32,
    /// The place of another line whose module says yes, such as a key's or a finger's.
    other: Option<usize>,
    /// What our module says.
    ours: Code,
    /// Whether the person is in the break-glass group.
    glass: bool,
}

/// What the program hears, whether some module found the password right, and whether ours was asked.
struct Came {
    result: Code,
    by_password: bool,
    asked: bool,
    /// Whether the other way in was come to, and led on.
    others: bool,
}

fn go(stack: &Stack, way: &Way) -> Came {
    let (mut passwords, mut questions) = (Counter::default(), Counter::default());
    // By their place in the stack, so that the count does not depend on which of them are come to.
    let numbers: Vec<(Option<usize>, Option<usize>)> = stack
        .handlers
        .iter()
        .map(|handler| {
            let password = named(handler, &PASSWORD).then(|| passwords.next());
            let question = (named(handler, &QUESTIONS) && !is_glass(handler)).then(|| questions.next());
            (password, question)
        })
        .collect();
    let run = stack.run(|at, handler| {
        let (password, question) = numbers.get(at).copied().unwrap_or_default();
        let yes = |is: bool| if is { Code::SUCCESS } else { Code::AUTH_ERR };
        let Some(module) = handler.module() else { return Code::PERM_DENIED };
        if is_ours(handler) {
            way.ours
        } else if is_glass(handler) {
            yes(way.glass)
        } else if way.other == Some(at) {
            Code::SUCCESS
        } else if let Some(number) = password {
            yes(stack.stage != Stage::Auth || way.right == Some(number))
        } else if let Some(number) = question {
            yes(u32::try_from(number).is_ok_and(|bit| bit < 32 && way.answers & (1 << bit) != 0))
        } else {
            match module.name() {
                "pam_deny" => Code::AUTH_ERR,
                // Not the way that people with a password come.
                "pam_rootok" => Code::AUTH_ERR,
                "pam_faillock" if module.args.iter().any(|arg| arg == "authfail") => Code::AUTH_ERR,
                // Another way in, such as a key or a finger: it is not taken here.
                _ if stack.stage == Stage::Auth
                    && leads_past(module.action(Code::SUCCESS))
                    && module.name() != "pam_permit" =>
                {
                    if module.action(Code::AUTH_ERR) == Action::Ignore {
                        Code::AUTH_ERR
                    } else {
                        Code::IGNORE
                    }
                }
                _ => Code::SUCCESS,
            }
        }
    });
    let found = |is: &dyn Fn(&Handler) -> bool, wanted: Option<Code>| {
        run.returned.iter().zip(&stack.handlers).any(|(returned, handler)| {
            is(handler) && returned.is_some() && (wanted.is_none() || *returned == wanted)
        })
    };
    Came {
        result: run.result,
        by_password: found(&|handler| named(handler, &PASSWORD), Some(Code::SUCCESS)),
        asked: found(&is_ours, None),
        others: way.other.is_some_and(|at| {
            let action =
                stack.handlers.get(at).and_then(Handler::module).map(|module| module.action(Code::SUCCESS));
            run.returned.get(at).copied().flatten().is_some() && action.is_some_and(leads_past)
        }),
    }
}

#[derive(Default)]
struct Counter(usize);

impl Counter {
    fn next(&mut self) -> usize {
        self.0 += 1;
        self.0 - 1
    }
}

fn leads_past(action: Action) -> bool {
    matches!(action, Action::Done | Action::Jump(_))
}

fn ways(stack: &Stack) -> Vec<Way> {
    let count = |names: &[&str]| {
        stack.handlers.iter().filter(|handler| named(handler, names) && !is_glass(handler)).count()
    };
    let questions = u32::try_from(count(&QUESTIONS).min(MAX_QUESTIONS)).unwrap_or_default();
    let passwords = if stack.stage == Stage::Auth { count(&PASSWORD) } else { 0 };
    let rights = (0..passwords).map(Some).chain([None]);
    rights
        .flat_map(|right| (0..1 << questions).map(move |answers| (right, answers)))
        .map(|(right, answers)| Way { right, answers, other: None, ours: Code::SUCCESS, glass: false })
        .collect()
}

/// Whether every jump leads to the line that it led to before. Ours are a break-glass line and the one behind it; a jump to what
/// stands behind them may lead to the first of them.
fn jumps_stay(before: &Stack, after: &Stack) -> bool {
    let Some(ours) = after.handlers.iter().position(is_ours).and_then(|at| at.checked_sub(1)) else {
        return false;
    };
    let now = |old: usize| if old < ours { old } else { old + 2 };
    let is_replaced = after.handlers.len() != before.handlers.len() + 2;
    before.handlers.iter().enumerate().take(ours).all(|(at, handler)| {
        let jumps = Code::all().filter_map(|code| match handler.module()?.action(code) {
            Action::Jump(number) => Some(number),
            _ => None,
        });
        jumps.into_iter().all(|number| {
            if is_replaced {
                // The lines of an include are one for a jump once they are a substack: none may lead over them.
                return !handler.through.is_empty();
            }
            let (old, new) = (before.jump(at, number), after.jump(now(at), number));
            new == old.map(now) || old == Some(ours) && new == Some(ours)
        })
    })
}

/// # Errors
/// What would open, or whom it would lock out.
fn safe(folders: &Folders, service: &str, text: &[u8], before: &Stack, stage: Stage) -> Result<(), String> {
    let after = Stack::of(&with(folders, service, text), service, stage);
    sound(&after)?;
    if !jumps_stay(before, &after) {
        return Err("a jump above the place for our lines would lead elsewhere with them".to_owned());
    }
    let refusal = if stage == Stage::Auth { Code::AUTH_ERR } else { Code::SESSION_ERR };
    let mut comes_by = false;
    for way in ways(before) {
        let old = go(before, &way);
        if old.result != Code::SUCCESS || (stage == Stage::Auth && !old.by_password) {
            continue;
        }
        let refused = go(&after, &Way { ours: refusal, ..way.clone() });
        if refused.result == Code::SUCCESS || !refused.asked {
            return Err("whoever knows a password comes in without being asked: some line before the place for ours ends the \
                        stack (sufficient, done) or jumps over it"
                .to_owned());
        }
        comes_by = true;
        if go(&after, &way).result != Code::SUCCESS {
            return Err(
                "nobody comes in any more, even with an approval: some line there does not let it count"
                    .to_owned(),
            );
        }
        if go(&after, &Way { ours: refusal, glass: true, ..way }).result != Code::SUCCESS {
            return Err("the break-glass group does not come in".to_owned());
        }
    }
    if comes_by { Ok(()) } else { Err("nobody comes in through it as it is".to_owned()) }
}

/// What is to be known about a stack with our lines in it.
fn remarks(folders: &Folders, service: &str, text: &[u8], stage: Stage) -> Vec<String> {
    let stack = Stack::of(&with(folders, service, text), service, stage);
    if stage != Stage::Auth {
        return Vec::new();
    }
    let mut remarks = Vec::new();
    for (at, handler) in stack.handlers.iter().enumerate() {
        let Some(module) = handler.module() else { continue };
        let by_it = |way: &Way| {
            let came = go(&stack, &Way { other: Some(at), ..way.clone() });
            came.result == Code::SUCCESS && !came.asked && came.others
        };
        if ways(&stack).iter().filter(|way| way.right.is_none()).any(by_it) {
            let name = module.name();
            remarks.push(format!("{service}: whoever {name} lets in ({}) is not asked", handler.place));
        }
    }
    let wrong = ways(&stack).into_iter().filter(|way| way.right.is_none()).any(|way| go(&stack, &way).asked);
    if wrong {
        remarks.push(format!(
            "{service}: phones ring after a wrong password, too, because {} goes on after one; it lets nobody in",
            if stack.handlers.iter().any(|handler| handler.level > 0) { "a substack" } else { "the stack" }
        ));
    }
    remarks
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
