//! A service file as it is written.

use std::path::{Path, PathBuf};

use crate::control::Control;
use crate::words::{lines, word, words};
use crate::{Actions, Code, Stage};

/// A file, line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Where it is.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
    /// Its lines that are more than comment.
    pub lines: Vec<Line>,
}

/// One line, or several that a backslash makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub first: usize,
    /// The number of the last that belongs to it.
    pub last: usize,
    /// What it says.
    pub what: What,
    /// What libpam would complain about; it refuses whoever comes to such a line.
    pub fault: Option<String>,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// `@include FILE`: all of another file stands here. Only Debian and its children know it.
    File {
        /// The other file's name.
        name: String,
    },
    /// `auth include FILE` or `auth substack FILE`: another file's lines of this stage stand here.
    Lines {
        /// Which lines.
        stage: Stage,
        /// The other file's name.
        name: String,
        /// As a stack of its own: its `done` and `die` end it alone, and a jump takes it for one module.
        substack: bool,
    },
    /// A module is called.
    Module(Module),
    /// libpam cannot make anything of it: it refuses at this place, in these stages.
    Broken {
        /// Where it counts; `None`: in `auth`, or wherever the file is included for.
        stage: Option<Stage>,
    },
}

/// A line that calls a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// When.
    pub stage: Stage,
    /// Whether the log says nothing when the module is not there (`-auth`). It fails all the same.
    pub silent: bool,
    /// The control as it is written, without brackets.
    pub control: String,
    /// What that means.
    pub actions: Actions,
    /// Its name or its path.
    pub module: String,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Module {
    /// The module's name without folder and `.so`.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = self.module.rsplit('/').next().unwrap_or_default();
        name.strip_suffix(".so").unwrap_or(name)
    }

    /// What follows when the module returns this.
    #[must_use]
    pub fn action(&self, code: Code) -> crate::Action {
        self.actions.of(code)
    }
}

impl Service {
    /// Reads a text.
    #[must_use]
    pub fn read(path: &Path, text: &str) -> Self {
        let lines = lines(text)
            .into_iter()
            .map(|written| {
                let (what, fault) = if written.text.ends_with('\\') {
                    (What::Broken { stage: None }, Some("the file ends within a line".to_owned()))
                } else {
                    said(&written.text)
                };
                Line { first: written.first, last: written.last, what, fault }
            })
            .collect();
        Self { path: path.to_owned(), text: text.to_owned(), lines }
    }

    /// The text with these lines before the given one (from 1); after the last one when it is beyond it.
    #[must_use]
    pub fn with_lines_before(&self, number: usize, added: &[&str]) -> String {
        let mut text = String::with_capacity(self.text.len() + 256);
        let put = |text: &mut String| added.iter().for_each(|line| text.extend([line, "\n"]));
        let mut is_put = false;
        for (index, line) in self.text.split_inclusive('\n').enumerate() {
            if index + 1 == number {
                put(&mut text);
                is_put = true;
            }
            text.push_str(line);
        }
        if !is_put {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            put(&mut text);
        }
        text
    }

    /// Whether the file can be read to its end; libpam refuses everything of a service whose file cannot.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.lines.iter().any(|line| {
            matches!(line.what, What::Broken { stage: None })
                && line.fault.as_deref() == Some("the file ends within a line")
        })
    }
}

fn said(text: &str) -> (What, Option<String>) {
    let Some((first, rest)) = word(text) else { return (What::Broken { stage: None }, None) };
    let (silent, kind) = match first.strip_prefix('-') {
        Some(kind) => (true, kind),
        None => (false, first.as_str()),
    };
    if kind.eq_ignore_ascii_case("@include") {
        return match word(rest) {
            Some((name, _)) => (What::File { name }, None),
            None => (What::Broken { stage: None }, Some("no file is named to include".to_owned())),
        };
    }
    let Some(stage) = Stage::from_word(kind) else {
        return (
            What::Broken { stage: None },
            Some(format!("\"{kind}\" is none of auth, account, session, password and @include")),
        );
    };
    let broken = |fault: &str| (What::Broken { stage: Some(stage) }, Some(fault.to_owned()));
    let Some((control, rest)) = word(rest) else { return broken("there is no control and no module") };
    let (read, fault) = Control::read(&control);
    let Some((name, rest)) = word(rest) else { return broken("no module is named") };
    match read {
        Control::Include | Control::Substack => {
            (What::Lines { stage, name, substack: read == Control::Substack }, None)
        }
        Control::Actions { written, actions } => (
            What::Module(Module {
                stage,
                silent,
                control: written,
                actions,
                module: name,
                args: words(rest),
            }),
            fault,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Service {
        Service::read(Path::new("/etc/pam.d/sshd"), text)
    }

    #[test]
    fn what_a_line_says() {
        let service = read(
            "#%PAM-1.0\n-Auth [success=1 default=ignore] /lib/security/pam_x.so a [b c]\nauth substack password-auth\n\
             @include common-session\nautz required pam_y.so\naccount required\n",
        );
        let [module, lines, file, kind, none] = &service.lines[..] else { panic!("{service:?}") };
        let What::Module(module) = &module.what else { panic!("{module:?}") };
        assert_eq!((module.stage, module.silent, module.name()), (Stage::Auth, true, "pam_x"));
        assert_eq!(
            (module.control.as_str(), &module.args[..]),
            ("success=1 default=ignore", &["a".to_owned(), "b c".to_owned()][..])
        );
        let what = What::Lines { stage: Stage::Auth, name: "password-auth".to_owned(), substack: true };
        assert_eq!((lines.first, &lines.what), (3, &what));
        assert_eq!(file.what, What::File { name: "common-session".to_owned() });
        assert!(matches!(kind.what, What::Broken { stage: None }) && kind.fault.is_some());
        assert!(matches!(none.what, What::Broken { stage: Some(Stage::Account) }));
    }

    #[test]
    fn lines_are_put_before_one_or_at_the_end() {
        assert_eq!(read("a\nb\n").with_lines_before(2, &["x", "y"]), "a\nx\ny\nb\n");
        assert_eq!(read("a\nb").with_lines_before(3, &["x"]), "a\nb\nx\n");
        assert_eq!(read("").with_lines_before(1, &["x"]), "x\n");
    }
}
