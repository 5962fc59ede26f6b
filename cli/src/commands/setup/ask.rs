//! Questions: to a person at a terminal, and to nobody else.

use crate::commands::read_line;
use crate::output::{Exit, Failure, Outcome, Output};
use std::io::{IsTerminal, Write};

/// Who can be asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    person: bool,
    yes: bool,
}

impl Asker {
    /// A person where input and output are a terminal; `yes` answers what is a matter of yes or no.
    pub(super) fn new(yes: bool, out: Output) -> Self {
        Self { person: out.is_terminal() && std::io::stdin().is_terminal(), yes }
    }

    /// Whether there is somebody to ask.
    pub(super) fn is_person(self) -> bool {
        self.person
    }

    /// A line; an empty one is `default`. `option` is what would have answered it.
    pub(super) fn line(self, question: &str, default: Option<&str>, option: &str) -> Outcome<String> {
        if !self.person {
            return Err(missing(option));
        }
        loop {
            let offered = default.map(|default| format!(" [{default}]")).unwrap_or_default();
            prompt(&format!("{question}{offered}: ").replace("\n: ", ":\n> "));
            let Some(line) = read_line()? else { return Err(stopped()) };
            match (line.trim(), default) {
                ("", None) => {}
                ("", Some(default)) => return Ok(default.to_owned()),
                (line, _) => return Ok(line.to_owned()),
            }
        }
    }

    /// Yes or no; Enter is yes.
    pub(super) fn agrees(self, question: &str, option: &str) -> Outcome<bool> {
        if self.yes {
            return Ok(true);
        }
        if !self.person {
            return Err(missing(option));
        }
        loop {
            prompt(&format!("{question} [Y/n]: "));
            let Some(line) = read_line()? else { return Err(stopped()) };
            match line.trim().to_ascii_lowercase().as_str() {
                "" | "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => {}
            }
        }
    }

    /// Yes or no, where it has to be meant: Enter is no.
    pub(super) fn wants(self, question: &str) -> Outcome<bool> {
        if !self.person {
            return Ok(false);
        }
        loop {
            prompt(&format!("{question} [y/N]: "));
            let Some(line) = read_line()? else { return Err(stopped()) };
            match line.trim().to_ascii_lowercase().as_str() {
                "" | "n" | "no" => return Ok(false),
                "y" | "yes" => return Ok(true),
                _ => {}
            }
        }
    }

    /// Waits for Enter, where there is somebody.
    pub(super) fn pause(self, text: &str) -> Outcome {
        if self.person {
            prompt(text);
            read_line()?;
        }
        Ok(())
    }
}

fn prompt(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Who does not see the question sees no answer either.
    let _ = write!(stderr, "{text}");
    let _ = stderr.flush();
}

fn missing(option: &str) -> Failure {
    Failure::new(Exit::Usage, format!("there is no terminal to ask on: give {option}"))
}

fn stopped() -> Failure {
    Failure::new(Exit::Refused, "stopped: nothing was typed")
}
