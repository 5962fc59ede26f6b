//! The command line.

use crate::app::Paths;
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::path::PathBuf;

/// Where the policy is unless told otherwise.
pub const CONFIG: &str = "/etc/countersign/countersign.toml";
/// What `--help` prints.
pub const HELP: &str = "\
countersignd: asks a person's phone before a login on this host is let in

Usage: countersignd [OPTIONS]

  --config FILE  the policy [/etc/countersign/countersign.toml]; approvers and revoked are beside it
  --state DIR    keys, devices, codes and the audit [/var/lib/countersign]
  --run DIR      where to bind the sockets when systemd does not hand them over [/run/countersign]
  --user NAME    when started as root: bind, then become this user for good
  --check        read the policy, say what is wrong with it, and end
  --help, --version
";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Run.
    Run(Args),
    /// Only read the policy.
    Check(Args),
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
}

/// Where to run, and as whom.
#[derive(Debug, PartialEq, Eq)]
pub struct Args {
    /// Where the files are.
    pub paths: Paths,
    /// Whom to become.
    pub user: Option<String>,
}

/// Reads the command line.
///
/// # Errors
/// One line that says what is wrong.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut args = Args {
        paths: Paths {
            config: CONFIG.into(),
            state: "/var/lib/countersign".into(),
            run: "/run/countersign".into(),
        },
        user: None,
    };
    let mut check = false;
    let mut parser = Parser::from_args(words);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("config") => args.paths.config = absolute(&mut parser)?,
            Arg::Long("state") => args.paths.state = absolute(&mut parser)?,
            Arg::Long("run") => args.paths.run = absolute(&mut parser)?,
            Arg::Long("user") => args.user = Some(parser.value()?.string()?),
            Arg::Long("check") => check = true,
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(Command::Version),
            other => return Err(other.unexpected()),
        }
    }
    Ok(if check { Command::Check(args) } else { Command::Run(args) })
}

fn absolute(parser: &mut Parser) -> Result<PathBuf, lexopt::Error> {
    Ok(std::path::absolute(parser.value()?).map_err(|error| error.to_string())?)
}

#[cfg(test)]
#[path = "../../tests/manual/page.rs"]
mod page;
#[cfg(test)]
mod tests {
    use super::page::Page;
    use super::*;

    fn read(words: &[&str]) -> Result<Command, lexopt::Error> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn paths_can_be_moved() {
        let Command::Run(args) =
            read(&["--config", "/a/b.toml", "--state=/c", "--run", "/d", "--user", "u"]).unwrap()
        else {
            panic!("not a run");
        };
        assert_eq!(args.paths, Paths { config: "/a/b.toml".into(), state: "/c".into(), run: "/d".into() });
        assert_eq!(args.paths.administrator(), std::path::Path::new("/a"));
        assert_eq!(args.user.as_deref(), Some("u"));
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [&["--conf", "x"][..], &["--config"], &["serve"], &["-u", "x"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(read(&["--help"]).unwrap(), Command::Help);
        assert!(matches!(read(&["--check"]).unwrap(), Command::Check(_)));
    }

    #[test]
    fn the_manual_has_every_option_and_no_other() {
        let told: std::collections::BTreeSet<String> =
            Page::open("countersignd.8").options().into_iter().map(|option| option.long).collect();
        let words = HELP.split_whitespace().filter_map(|word| word.strip_prefix("--"));
        let help = words.map(|word| word.trim_end_matches(',').to_owned()).collect();
        assert_eq!(told, help);
        for long in &told {
            // Each is known; what follows an option without a value does not belong to it.
            let value = ["config", "state", "run", "user"].contains(&long.as_str());
            assert!(read(&[&format!("--{long}{}", if value { "=/x" } else { "" })]).is_ok(), "--{long}");
        }
    }
}
