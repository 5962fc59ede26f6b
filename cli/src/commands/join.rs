//! `countersign join [URL] --token T`: makes this host known to its push server.

pub(super) mod config;
pub(super) mod service;

use super::read_line;
use crate::args::{DEFAULT_CONFIG, Join};
use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Exit, Failure, Outcome, Output};
use countersign_protocol::api::JOIN_TOKEN;
use countersign_protocol::manage::{Call, Joined, Status};
use countersign_protocol::text::escape;
use nix::unistd::geteuid;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use zeroize::Zeroizing;

pub(super) fn run(join: &Join, run: &Path, out: Output) -> Outcome<ExitCode> {
    if join.server.is_some() {
        root_only("joining changes this host")?;
    }
    let token = given(&join.token)?;
    let Some(url) = &join.server else {
        let joined: Joined = ManageClient::connect(run)?.call(&Call::Join { token }, SHORT)?;
        out.either(&joined, || {
            format!("{}\nNext: countersign pair USER", known(&joined.server, &joined.host_key))
        })?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut say = |text: &str| if out.json { Ok(()) } else { out.lines(text) };
    let status = use_server(url, join.server_ca.as_deref(), run, &mut say)?;
    let already = status.connected;
    let status = if already {
        status
    } else {
        with_token(run, token, out).map_err(|failure| where_to_change(run, failure))?
    };
    let object = json!({ "server": status.server, "host_key": status.host_key, "already": already });
    out.either(&object, || {
        let known = known(&status.server, &status.host_key);
        let already = if already { "It has joined already: nothing was changed there.\n" } else { "" };
        format!("{known}\n{already}Next: countersign setup, or for one person alone: countersign pair USER")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn known(server: &str, key: &str) -> String {
    format!("This host is known to {} with the key {}.", escape(server), escape(key))
}

/// The token as it was given; `-` stands for a line of standard input.
pub(super) fn given(token: &str) -> Outcome<Zeroizing<String>> {
    let token =
        if token == "-" { read_line()?.unwrap_or_default() } else { Zeroizing::new(token.to_owned()) };
    checked(&token)
}

/// A token, before anybody is asked whether it is good: what is none is mistyped.
///
/// # Errors
/// When it is none.
pub(super) fn checked(token: &str) -> Outcome<Zeroizing<String>> {
    let token = token.trim();
    let why = match token {
        "" => "no token was given",
        token if !token.starts_with(JOIN_TOKEN) => "that is no token, which begins with join-",
        token => return Ok(Zeroizing::new(token.to_owned())),
    };
    let text = format!("{why}: make one on the server with countersign-server token");
    Err(Failure::new(Exit::Usage, text))
}

/// Whether it is the server that cannot be reached, and not the daemon.
pub(super) fn is_of_server(run: &Path, failure: &Failure) -> bool {
    failure.exit == Exit::Unreachable && service::status(run).is_ok()
}

/// Where the server cannot be reached its address may be mistyped, and stands in a file by now.
pub(super) fn where_to_change(run: &Path, failure: Failure) -> Failure {
    if !is_of_server(run, &failure) {
        return failure;
    }
    let Failure { exit, message } = failure;
    let text = format!("{message}; if its address is mistyped, change the line server = in {DEFAULT_CONFIG}");
    Failure::new(exit, text)
}

/// # Errors
/// For everybody but root.
pub(super) fn root_only(what: &str) -> Outcome {
    match geteuid().is_root() {
        true => Ok(()),
        false => Err(Failure::new(Exit::NotPermitted, format!("{what}: run it as root, with sudo"))),
    }
}

/// Has the daemon use this server: writes it down, and starts the daemon or has it read that. A host that has
/// joined before is connected then.
pub(super) fn use_server(
    url: &str,
    ca: Option<&Path>,
    run: &Path,
    say: &mut dyn FnMut(&str) -> Outcome,
) -> Outcome<Status> {
    let path = Path::new(DEFAULT_CONFIG);
    let named = config::name_server(path, url, ca)?;
    if named.written {
        say(&format!("{DEFAULT_CONFIG}: server = \"{}\"", escape(&named.server)))?;
    }
    service::bring_up(run, &named.server, named.written, say)?;
    service::tried(run)
}

/// Joins with the token, and waits until the daemon is connected.
pub(super) fn with_token(run: &Path, token: Zeroizing<String>, out: Output) -> Outcome<Status> {
    let _: Joined = ManageClient::connect(run)?.call(&Call::Join { token }, SHORT)?;
    let mut drawn = false;
    let mut tick = |left: Duration| {
        if out.is_terminal() {
            drawn = true;
            let mut stdout = std::io::stdout().lock();
            // A countdown that cannot be drawn harms nobody.
            let _ = write!(stdout, "\rJoined; connecting, {} s ", left.as_secs());
            let _ = stdout.flush();
        }
    };
    let status = service::connected(run, &mut tick);
    if drawn {
        out.lines("\r\x1b[K")?;
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_told_before_anybody_is_asked() {
        assert_eq!(checked(" join-abc\n").unwrap().as_str(), "join-abc");
        for (given, why) in
            [("", "no token was given"), ("  ", "no token was given"), ("abc", "begins with join-")]
        {
            let failure = checked(given).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(
                failure.message.contains(why) && failure.message.contains("countersign-server token"),
                "{given}"
            );
        }
    }
}
