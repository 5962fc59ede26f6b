//! Stacks that were shipped or recommended once, each with what has to be found in it; and good ones, in which nothing is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use countersign_pam_stack::Folders;
use countersign_pam_stack::examine::{Finding, Host, Severity, examine};

/// Where the stacks pretend to be: a folder that is nowhere.
const PAM: &str = "/etc/pam.d/";

struct Case {
    name: String,
    files: BTreeMap<String, String>,
    finds: Vec<String>,
    /// The services that the policy lets in without a password, where the case says so.
    passwordless: Option<Vec<String>>,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn sections(text: &str, files: &mut BTreeMap<String, String>) {
    for part in text.split("=== ").skip(1) {
        let (name, text) = part.split_once('\n').unwrap();
        files.insert(name.trim().to_owned(), text.to_owned());
    }
}

fn cases(folder: &str) -> Vec<Case> {
    let mut paths: Vec<_> =
        std::fs::read_dir(corpus().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let head = |key: &str| -> Vec<String> {
                text.lines().filter_map(|line| line.strip_prefix(key)).map(str::to_owned).collect()
            };
            let mut files = BTreeMap::new();
            sections(
                &std::fs::read_to_string(corpus().join("base").join(&head("base: ")[0])).unwrap(),
                &mut files,
            );
            sections(&text, &mut files);
            Case {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                files,
                finds: head("finds: "),
                passwordless: head("passwordless: ")
                    .first()
                    .map(|services| services.split_whitespace().map(str::to_owned).collect()),
            }
        })
        .collect()
}

fn look(case: &Case) -> Vec<Finding> {
    let folders = Folders::of(["/nowhere/pam.d"]);
    let folders = case.files.iter().fold(folders, |folders, (name, text)| folders.with(name, text));
    let host = Host {
        has_module: &|_| true,
        meant: &[],
        passwordless: case.passwordless.as_deref(),
        one_field: &|service| service == "i3lock",
        keys_alone: true,
    };
    examine(&folders, &[], &host)
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::WouldOpen => "would-open",
        Severity::WouldLockOut => "would-lock-out",
        Severity::Advice => "advice",
        Severity::NotSeen => "not-seen",
    }
}

fn said(one: &Finding) -> String {
    let at = one.at.as_deref().unwrap_or("-").replace("/nowhere/pam.d/", PAM);
    format!("{} {} {at}", word(one.severity), one.kind)
}

#[test]
fn in_each_bad_stack_that_is_found_which_is_bad_and_nothing_else() {
    let cases = cases("bad");
    assert!(cases.len() >= 20, "{}", cases.len());
    let mut wrong = String::new();
    for case in &cases {
        let found = look(case);
        let mut left: Vec<&Finding> = found.iter().collect();
        for expected in &case.finds {
            let (what, next) = expected.split_once(" | ").unwrap_or((expected, ""));
            match left.iter().position(|one| said(one) == what && one.next.contains(next)) {
                Some(at) => drop(left.remove(at)),
                None => wrong.push_str(&format!("{}: not found: {expected}\n", case.name)),
            }
        }
        for one in left {
            wrong.push_str(&format!(
                "{}: also found: {} {:?}: {}\n   {}\n",
                case.name,
                said(one),
                one.services,
                one.text,
                one.next
            ));
        }
        for one in &found {
            assert!(!one.text.is_empty() && !one.next.is_empty() && !one.text.ends_with('.'), "{one:?}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn in_good_stacks_nothing_is_found() {
    for case in cases("good") {
        let found = look(&case);
        assert!(found.is_empty(), "{}: {found:#?}", case.name);
    }
}

/// The file and the line that a finding says to write, and what.
fn proposal(one: &Finding) -> Option<(String, usize, String)> {
    let (place, line) = one.next.strip_prefix("in /nowhere/pam.d/")?.split_once(" write: ")?;
    let (file, number) = place.split_once(':')?;
    Some((file.to_owned(), number.parse().ok()?, line.to_owned()))
}

#[test]
fn writing_what_a_finding_says_ends_it_and_locks_nobody_out() {
    let mut written = 0;
    for mut case in cases("bad") {
        for _ in 0..6 {
            let found = look(&case);
            let Some((one, (file, number, line))) = found.iter().find_map(|one| Some((one, proposal(one)?)))
            else {
                break;
            };
            let text = case.files.get_mut(&file).unwrap();
            let mut lines: Vec<&str> = text.lines().collect();
            lines[number - 1] = &line;
            *text = lines.join("\n") + "\n";
            written += 1;
            let after = look(&case);
            let again = |other: &&Finding| said(other) == said(one) || other.kind == "nobody-gets-in";
            let still = after.iter().find(again);
            // A line that libpam could not read locked everybody out before, too.
            assert!(still.is_none(), "{}: {line}: {still:?}", case.name);
        }
        assert!(look(&case).iter().all(|one| proposal(one).is_none()), "{}", case.name);
    }
    assert!(written > 10, "{written}");
}
