//! The manual's pages of `countersign` and its `--help` say the same: commands, options, exit codes, examples.

#[path = "../../tests/manual/page.rs"]
mod page;

use clap::{CommandFactory, Parser};
use countersign_cli::args::Cli;
use page::{Page, Told};
use std::collections::BTreeSet;

/// Of every command; they stand in countersign(1) once.
const GLOBAL: [&str; 2] = ["json", "run"];
/// What clap adds by itself.
const HELP: [&str; 2] = ["help", "version"];

/// Pages about this program: countersignd and countersign-server have their own.
fn pages() -> Vec<Page> {
    let others = |name: &str| {
        name.starts_with("countersignd")
            || name.starts_with("countersign-server")
            || !name.ends_with(['1', '7', '8'])
    };
    Page::all("countersign").into_iter().filter(|page| !others(&page.name)).collect()
}

/// `countersign-enable.8` is about the command `enable`.
fn own_command(page: &Page) -> Option<&str> {
    page.name.strip_prefix("countersign-")?.rsplit_once('.').map(|(command, _)| command)
}

/// Every command that is shown, by its whole name, with what it takes.
fn commands() -> Vec<(String, clap::Command)> {
    fn walk(command: &clap::Command, before: &str, found: &mut Vec<(String, clap::Command)>) {
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
            let name = format!("{before}{}", sub.get_name());
            walk(sub, &format!("{name} "), found);
            found.push((name, sub.clone()));
        }
    }
    let mut found = Vec::new();
    walk(&Cli::command(), "", &mut found);
    found
}

/// Options that are shown, without those of every command.
fn options(command: &str, arguments: &clap::Command) -> BTreeSet<Told> {
    let shown = arguments.get_arguments().filter(|arg| !arg.is_hide_set());
    let long = shown.filter_map(|arg| Some((arg.get_long()?, arg.get_action().takes_values())));
    long.filter(|(long, _)| !GLOBAL.contains(long) && !HELP.contains(long))
        .map(|(long, value)| Told { command: command.to_owned(), long: long.to_owned(), value })
        .collect()
}

/// The numbers that a help's last paragraph explains.
fn exit_codes(command: &clap::Command) -> BTreeSet<u8> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let Some((_, codes)) = help.rsplit_once("Exit codes:") else { return BTreeSet::new() };
    let words = codes.split([' ', ',', '\n']).filter(|word| word.len() == 1);
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn every_command_and_option_is_in_the_pages_and_every_one_of_theirs_exists() {
    let pages = pages();
    let main = Page::open("countersign.1");
    let mut told: BTreeSet<Told> = BTreeSet::new();
    for page in &pages {
        let own = own_command(page);
        told.extend(page.options().into_iter().map(|mut option| {
            if let (true, Some(own)) = (option.command.is_empty(), own) {
                option.command = own.to_owned();
            }
            option
        }));
    }
    let global: Vec<&str> = GLOBAL.into_iter().chain(HELP).collect();
    for name in &global {
        assert!(
            main.options().iter().any(|o| o.command.is_empty() && o.long == *name),
            "countersign.1: --{name}"
        );
    }
    told.retain(|option| !global.contains(&&*option.long));

    let mut exist = BTreeSet::new();
    let in_main = main.commands();
    for (name, command) in commands() {
        exist.extend(options(&name, &command));
        if command.get_subcommands().next().is_none() {
            assert!(in_main.contains(&name), "countersign.1 has no item \".It Ic {name}\"");
        }
    }
    let (missing, wrong): (Vec<_>, Vec<_>) =
        (exist.difference(&told).collect(), told.difference(&exist).collect());
    assert!(
        missing.is_empty() && wrong.is_empty(),
        "not in packaging/man: {missing:#?}\nonly there: {wrong:#?}"
    );

    let names: BTreeSet<String> = commands().into_iter().map(|(name, _)| name).collect();
    for page in &pages {
        for name in page.commands() {
            assert!(names.contains(&name), "{} tells of a command {name}", page.name);
        }
        for long in page.named() {
            // "--" alone ends a command's options.
            let known =
                long.is_empty() || global.contains(&&*long) || exist.iter().any(|option| option.long == long);
            // Of a page that leads to another program's.
            assert!(known || page.name == "countersign.7", "{} names --{long}", page.name);
        }
    }
}

#[test]
fn every_exit_code_is_in_the_pages() {
    let all = exit_codes(&Cli::command());
    assert_eq!(Page::open("countersign.1").exit_codes(), all);
    assert_eq!(all.len(), 6);
    for (name, command) in commands() {
        let codes = exit_codes(&command);
        assert!(codes.is_subset(&all), "{name}: {codes:?}");
        if let Some(page) = pages().iter().find(|page| own_command(page) == Some(&name)) {
            assert_eq!(
                page.exit_codes(),
                if codes.is_empty() { all.clone() } else { codes },
                "{}",
                page.name
            );
        }
    }
}

/// Words as a shell would make them.
fn words(line: &str) -> Vec<String> {
    let line = line.split(" #").next().unwrap_or_default();
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    // A redirection is the shell's.
    words.retain(|word| !word.is_empty() && !word.starts_with(['<', '>']));
    words
}

#[test]
fn every_example_is_a_line_that_the_program_takes() {
    let mut tried = 0;
    for page in Page::all("") {
        for line in page.examples() {
            let words = words(line.split(" $(").next().unwrap_or_default());
            if words.first().is_none_or(|word| word != "countersign") {
                continue;
            }
            // What a shell would put in the place of $(…).
            let filled = line.contains(" $(").then(|| "00".to_owned());
            let parsed = Cli::try_parse_from(words.into_iter().chain(filled));
            assert!(parsed.is_ok(), "{}: {line}\n{}", page.name, parsed.unwrap_err());
            tried += 1;
        }
    }
    assert!(tried >= 12, "{tried} examples");
}

#[test]
fn every_page_is_in_a_debian_package() {
    let debian = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../debian");
    let lists = std::fs::read_dir(debian).unwrap().map(|entry| entry.unwrap().path());
    let lists = lists.filter(|path| path.extension().is_some_and(|extension| extension == "manpages"));
    let packaged: BTreeSet<String> = lists
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines().map(|line| line.trim_start_matches("packaging/man/").to_owned()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(packaged, Page::all("").into_iter().map(|page| page.name).collect());
}
