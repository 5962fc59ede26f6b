//! countersign-server(8) and `--help` say the same.

use super::Cli;
use crate::manual_page::{Page, Told};
use clap::{CommandFactory, Parser};
use std::collections::BTreeSet;

/// What clap adds by itself.
const HELP: [&str; 2] = ["help", "version"];

/// Options that are shown.
fn options(name: &str, command: &clap::Command) -> BTreeSet<Told> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let long = shown.filter_map(|arg| Some((arg.get_long()?, arg.get_action().takes_values())));
    long.filter(|(long, _)| !HELP.contains(long))
        .map(|(long, value)| Told { command: name.to_owned(), long: long.to_owned(), value })
        .collect()
}

#[test]
fn the_manual_has_every_command_and_option_and_no_other() {
    let page = Page::open("countersign-server.8");
    let root = Cli::command();
    let shown = || root.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    let names: BTreeSet<String> = shown().map(|sub| sub.get_name().to_owned()).collect();
    assert_eq!(page.commands(), names);

    // Without a command the options are those of `serve`, where the page has them.
    let of_serve = options("", root.find_subcommand("serve").unwrap());
    let mut exist: BTreeSet<Told> = options("", &root).difference(&of_serve).cloned().collect();
    for sub in shown() {
        exist.extend(options(sub.get_name(), sub));
    }
    let mut told = page.options();
    told.retain(|option| !HELP.contains(&&*option.long));
    assert_eq!(told, exist);
    let known: BTreeSet<String> =
        exist.into_iter().map(|option| option.long).chain(HELP.map(str::to_owned)).collect();
    assert!(page.named().is_subset(&known), "{:?}", page.named());
}

#[test]
fn the_manual_has_every_exit_code_and_examples_that_are_taken() {
    let page = Page::open("countersign-server.8");
    let help = Cli::command().get_after_help().unwrap().to_string();
    let words = help.split([' ', ',', '.']).filter(|word| word.len() == 1);
    let codes: BTreeSet<u8> = words.filter_map(|word| word.parse().ok()).collect();
    assert_eq!(page.exit_codes(), codes);

    let examples = Page::all("").iter().flat_map(Page::examples).collect::<Vec<_>>();
    let ours = examples.iter().filter(|line| line.split(' ').next() == Some("countersign-server"));
    let parsed: Vec<_> = ours.map(|line| (line, Cli::try_parse_from(line.split(' ')))).collect();
    assert!(parsed.len() >= 4);
    for (line, parsed) in parsed {
        assert!(parsed.is_ok(), "{line}\n{}", parsed.unwrap_err());
    }
}
