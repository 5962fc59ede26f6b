//! `countersign unblock [USER] [--source ADDRESS] [--all]`.

use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Outcome, Output, duration, table};
use countersign_protocol::manage::{Block, BlockKind, Call, Held};
use std::process::ExitCode;

pub(super) fn run(
    daemon: &mut ManageClient,
    user: Option<&str>,
    source: Option<&str>,
    all: bool,
    out: Output,
) -> Outcome<ExitCode> {
    let lists = user.is_none() && source.is_none() && !all;
    let call = match lists {
        true => Call::Blocks {},
        false => Call::Unblock { user: user.map(str::to_owned), source: source.map(str::to_owned) },
    };
    let held: Held = daemon.call(&call, SHORT)?;
    out.either(&held, || match (lists, held.blocks.is_empty()) {
        (true, true) => "Nobody is refused or asked in silence.".to_owned(),
        (true, false) => format!(
            "{}\nEnd it: countersign unblock USER, or --source ADDRESS, or --all",
            listed(&held.blocks)
        ),
        (false, true) => {
            "Nothing was held; wrong codes and undecided logins count from nothing again.".to_owned()
        }
        (false, false) => format!("Over:\n{}", listed(&held.blocks)),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn listed(blocks: &[Block]) -> String {
    let rows: Vec<_> = blocks
        .iter()
        .map(|block| {
            let or = |name: &Option<String>, other: &str| name.clone().unwrap_or_else(|| other.to_owned());
            let what = match block.what {
                BlockKind::Quiet => "phones do not ring: too many logins undecided",
                BlockKind::Denied => "denied: refused for a moment, then no ring",
                BlockKind::Reported => "reported: refused",
                BlockKind::Codes => "typed codes refused: too many wrong ones",
            };
            let (user, source) = (or(&block.user, "everybody"), or(&block.source, "everywhere"));
            vec![user, source, what.to_owned(), duration(block.seconds)]
        })
        .collect();
    table(&["USER", "FROM", "WHAT", "LEFT"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_whose_from_where_what_and_how_long() {
        let block = |what, user: Option<&str>, source: Option<&str>| Block {
            what,
            user: user.map(str::to_owned),
            source: source.map(str::to_owned),
            seconds: 86_399,
        };
        let text = listed(&[
            block(BlockKind::Reported, Some("alice\x1b[2J"), Some("192.0.2.1")),
            block(BlockKind::Quiet, None, Some("user mallory")),
        ]);
        assert!(!text.contains('\x1b'), "{text}");
        for part in ["192.0.2.1", "reported: refused", "23 h 59 min", "everybody", "user mallory"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
