//! The second word of a line: what becomes of what its module returns.

use crate::Code;

/// What happens when a module returns some value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// As if the module were not there.
    Ignore,
    /// It counts, unless something has failed before.
    Ok,
    /// As `Ok`, and the stack ends here unless something has failed before.
    Done,
    /// The stack fails, but goes on.
    Bad,
    /// The stack fails and ends here.
    Die,
    /// All is forgotten that came before in this stack.
    Reset,
    /// So many of the following modules are left out.
    Jump(u32),
}

/// What happens for each value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions(Box<[Action; Code::COUNT]>);

/// The second word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// A module's: one of the four words, or values in brackets.
    Actions {
        /// As it is written: `required`, or what stands between the brackets.
        written: String,
        /// What it means.
        actions: Actions,
    },
    /// The lines of another file stand here.
    Include,
    /// The same, as a stack of its own.
    Substack,
}

/// A value in brackets that stands for all that are not named.
const DEFAULT: &str = "default";
/// Words for actions. `ok` before `done` and so on does not matter: none begins another.
const WORDS: [(&str, Action); 6] = [
    ("ignore", Action::Ignore),
    ("ok", Action::Ok),
    ("done", Action::Done),
    ("bad", Action::Bad),
    ("die", Action::Die),
    ("reset", Action::Reset),
];

impl Actions {
    /// What follows from this value.
    #[must_use]
    pub fn of(&self, code: Code) -> Action {
        self.0.get(code.index()).copied().unwrap_or(Action::Bad)
    }

    pub(crate) fn all(action: Action) -> Self {
        Self(Box::new([action; Code::COUNT]))
    }

    fn keyword(good: Action, ignore: Action, rest: Action) -> Self {
        let mut actions = [rest; Code::COUNT];
        for (code, action) in [(Code::SUCCESS, good), (Code::NEW_AUTHTOK_REQD, good), (Code::IGNORE, ignore)]
        {
            if let Some(slot) = actions.get_mut(code.index()) {
                *slot = action;
            }
        }
        Self(Box::new(actions))
    }

    /// What stands between brackets. libpam takes a control with a mistake in it for "always bad", and so is this;
    /// the second says what the mistake is.
    fn in_brackets(text: &str) -> (Self, Option<String>) {
        match pairs(text) {
            Ok(slots) => (Self(Box::new(slots.map(|slot| slot.unwrap_or(Action::Bad)))), None),
            Err(fault) => (Self::all(Action::Bad), Some(fault)),
        }
    }
}

impl Control {
    /// From its word, without brackets; the second is what is wrong with it.
    pub(crate) fn read(word: &str) -> (Self, Option<String>) {
        let lower = word.to_ascii_lowercase();
        let actions = match lower.as_str() {
            "required" => Actions::keyword(Action::Ok, Action::Ignore, Action::Bad),
            "requisite" => Actions::keyword(Action::Ok, Action::Ignore, Action::Die),
            "optional" => Actions::keyword(Action::Ok, Action::Ignore, Action::Ignore),
            "sufficient" => Actions::keyword(Action::Done, Action::Ignore, Action::Ignore),
            "include" => return (Self::Include, None),
            "substack" => return (Self::Substack, None),
            _ => {
                let (actions, fault) = Actions::in_brackets(word);
                return (Self::Actions { written: word.to_owned(), actions }, fault);
            }
        };
        (Self::Actions { written: lower, actions }, None)
    }

    /// What it means for a module; nothing for includes.
    #[must_use]
    pub fn actions(&self) -> Option<&Actions> {
        match self {
            Self::Actions { actions, .. } => Some(actions),
            Self::Include | Self::Substack => None,
        }
    }
}

fn pairs(text: &str) -> Result<[Option<Action>; Code::COUNT], String> {
    let mut slots = [None; Code::COUNT];
    let mut rest = blank(text);
    while !rest.is_empty() {
        let (code, after) = value(rest).ok_or_else(|| format!("\"{rest}\" begins with no value of PAM"))?;
        let after =
            blank(after).strip_prefix('=').ok_or_else(|| format!("= is missing before \"{after}\""))?;
        let (action, after) = action(blank(after))?;
        match code {
            Some(code) => {
                if let Some(slot) = slots.get_mut(code.index()) {
                    *slot = Some(action);
                }
            }
            // Those that are not named yet; a later pair may still say otherwise.
            None => slots.iter_mut().for_each(|slot| *slot = slot.or(Some(action))),
        }
        rest = blank(after);
    }
    Ok(slots)
}

/// C's isspace.
fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r'])
}

fn value(text: &str) -> Option<(Option<Code>, &str)> {
    let code = Code::all().find_map(|code| Some((Some(code), text.strip_prefix(code.name())?)));
    code.or_else(|| Some((None, text.strip_prefix(DEFAULT)?)))
}

fn action(text: &str) -> Result<(Action, &str), String> {
    let word = WORDS.into_iter().find_map(|(word, action)| Some((action, text.strip_prefix(word)?)));
    if let Some(found) = word {
        return Ok(found);
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    match digits.parse::<u32>() {
        Ok(0) => Err("a jump over 0 modules is none; write ignore".to_owned()),
        Ok(number) => Ok((Action::Jump(number), rest)),
        Err(_) => Err(format!("\"{text}\" begins with no action")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(text: &str) -> Actions {
        match Control::read(text) {
            (Control::Actions { actions, .. }, None) => actions,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn values_in_brackets() {
        let read = actions("success=2 default=ignore new_authtok_reqd=done");
        assert_eq!(read.of(Code::SUCCESS), Action::Jump(2));
        assert_eq!(read.of(Code::NEW_AUTHTOK_REQD), Action::Done);
        assert_eq!(read.of(Code::AUTH_ERR), Action::Ignore);
        let none = actions("success=ok");
        assert_eq!(none.of(Code::IGNORE), Action::Bad);
        let tight = actions(" success = okauth_err=1ignore=ignore");
        assert_eq!((tight.of(Code::SUCCESS), tight.of(Code::AUTH_ERR)), (Action::Ok, Action::Jump(1)));
    }

    #[test]
    fn a_mistake_makes_all_of_it_bad() {
        for bad in
            ["succes=ok", "success", "success=", "success=0", "success=okay", "default ok", "SUCCESS=ok"]
        {
            let (Control::Actions { actions, .. }, Some(_)) = Control::read(bad) else { panic!("{bad}") };
            assert!(Code::all().all(|code| actions.of(code) == Action::Bad), "{bad}");
        }
    }

    #[test]
    fn a_word_in_any_case() {
        assert_eq!(actions("ReQuired").of(Code::IGNORE), Action::Ignore);
        assert_eq!(Control::read("SubStack").0, Control::Substack);
    }
}
