//! Reads the manual's pages (mdoc(7), in packaging/man) as far as tests compare them with the programs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A page's source.
pub(crate) struct Page {
    /// Its file's name.
    pub(crate) name: String,
    lines: Vec<String>,
}

/// An option as a page has it: of which command, and whether a value follows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    /// `audit show`; empty for the whole program's.
    pub(crate) command: String,
    /// Without its dashes.
    pub(crate) long: String,
    /// Whether it takes a value.
    pub(crate) value: bool,
}

/// Where the pages are, seen from a crate's folder.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/man")
}

impl Page {
    /// Opens one by its file's name.
    pub(crate) fn open(name: &str) -> Self {
        let path = folder().join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // A dash that has to stay one; what keeps a colon from being a sentence's end.
        let text = text.replace("\\-", "-").replace("\\&", "").replace("\\ ", " ");
        Self { name: name.to_owned(), lines: text.lines().map(str::to_owned).collect() }
    }

    /// All pages whose file's name begins so.
    #[allow(dead_code, reason = "not every crate has more than one page")]
    pub(crate) fn all(begin: &str) -> Vec<Self> {
        let mut names: Vec<String> = std::fs::read_dir(folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(begin))
            .collect();
        names.sort();
        names.iter().map(|name| Self::open(name)).collect()
    }

    /// The first words of the items `.It MACRO WORD` of a section (`.Sh`) or a part of one (`.Ss`).
    #[allow(dead_code, reason = "not every crate has keys")]
    pub(crate) fn keys(&self, section: &str, macro_name: &str) -> BTreeSet<String> {
        let head =
            |line: &str| line.strip_prefix(".Sh ").or_else(|| line.strip_prefix(".Ss ")).map(str::to_owned);
        let mut inside = false;
        let mut keys = BTreeSet::new();
        for line in &self.lines {
            if let Some(head) = head(line) {
                inside = head == section;
            } else if let Some(words) = item(line).filter(|_| inside)
                && let [first, word, ..] = words.as_slice()
                && *first == macro_name
            {
                keys.insert((*word).to_owned());
            }
        }
        keys
    }

    /// Names of commands that have an item of their own, `.It Ic audit show`.
    #[allow(dead_code, reason = "not every program has commands")]
    pub(crate) fn commands(&self) -> BTreeSet<String> {
        self.lines.iter().filter_map(|line| command(&item(line)?)).collect()
    }

    /// The options of its items, each with the command below which it stands.
    #[allow(dead_code, reason = "not every crate has options")]
    pub(crate) fn options(&self) -> BTreeSet<Told> {
        // The command of each list that is open; a list belongs to the item in which it begins.
        let mut open: Vec<String> = Vec::new();
        let mut told = BTreeSet::new();
        for line in &self.lines {
            if line.starts_with(".Bl") {
                open.push(open.last().cloned().unwrap_or_default());
            } else if line.starts_with(".El") {
                open.pop();
            } else if let Some(words) = item(line) {
                if let Some(name) = command(&words) {
                    *open.last_mut().unwrap_or_else(|| panic!("{}: an item outside of a list", self.name)) =
                        name;
                } else if words.first() == Some(&"Fl") {
                    let command = open.last().cloned().unwrap_or_default();
                    for long in flags(&words) {
                        told.insert(Told { command: command.clone(), long, value: words.contains(&"Ar") });
                    }
                }
            }
        }
        told
    }

    /// Long options that it names anywhere in its text.
    #[allow(dead_code, reason = "not every crate has options")]
    pub(crate) fn named(&self) -> BTreeSet<String> {
        let macros = self.lines.iter().filter(|line| line.starts_with('.'));
        macros.flat_map(|line| flags(&line.split(' ').collect::<Vec<_>>())).collect()
    }

    /// The numbers that its section EXIT STATUS explains.
    #[allow(dead_code, reason = "not every crate has exit codes")]
    pub(crate) fn exit_codes(&self) -> BTreeSet<u8> {
        let mut inside = false;
        let mut codes = BTreeSet::new();
        for line in &self.lines {
            if let Some(head) = line.strip_prefix(".Sh ") {
                inside = head == "EXIT STATUS";
            } else if let Some(words) = item(line).filter(|_| inside) {
                codes.insert(words.first().and_then(|word| word.parse().ok()).unwrap_or_else(|| {
                    panic!("{}: {line} is no exit code", self.name);
                }));
            }
        }
        codes
    }

    /// The lines of its examples, shells' prompts taken away.
    #[allow(dead_code, reason = "not every crate has examples")]
    pub(crate) fn examples(&self) -> Vec<String> {
        let mut inside = false;
        let mut examples: Vec<String> = Vec::new();
        for line in &self.lines {
            if line.starts_with(".Bd -literal") {
                inside = true;
            } else if line.starts_with(".Ed") {
                inside = false;
            } else if inside {
                let line =
                    line.split_once("# ").filter(|(host, _)| !host.contains(' ')).map_or(&**line, |(_, l)| l);
                examples.push(line.trim_start_matches("$ ").to_owned());
            }
        }
        examples
    }
}

/// The words after `.It`.
fn item(line: &str) -> Option<Vec<&str>> {
    Some(line.strip_prefix(".It ")?.split(' ').collect())
}

/// `audit show` of `Ic audit show Oo Ar option ...`.
fn command(words: &[&str]) -> Option<String> {
    let [first, rest @ ..] = words else { return None };
    let is_macro = |word: &&&str| word.len() == 2 && word.starts_with(|c: char| c.is_ascii_uppercase());
    let name: Vec<&str> = rest.iter().take_while(|word| !is_macro(word)).copied().collect();
    (*first == "Ic" && !name.is_empty()).then(|| name.join(" "))
}

/// Long options on a line: `Fl -count` is `count`.
fn flags(words: &[&str]) -> Vec<String> {
    let after =
        words.windows(2).filter(|pair| matches!(pair, [first, _] if first.trim_start_matches('.') == "Fl"));
    after.filter_map(|pair| pair.last()?.strip_prefix('-')).map(str::to_owned).collect()
}
