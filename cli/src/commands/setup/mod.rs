//! `countersign setup`: a host from its installation to the first person who approves.
//!
//! Each step looks first whether it is done. It changes one thing, and whole, so that a set-up that is broken
//! off leaves nothing half done and goes on when it is run again.

mod ask;
mod report;
mod turn_on;

use super::{codes, doctor, join, pair};
use crate::args::{Cli, Command, DEFAULT_CONFIG, Setup};
use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Exit, Failure, Outcome, Output};
use ask::Asker;
use clap::Parser;
use countersign_protocol::manage::{Call, CodesLeft, Devices, Status};
use countersign_protocol::text::escape;
use nix::unistd::{Group, User};
use report::{Report, State};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use zeroize::Zeroizing;

/// How many there are.
const STEPS: usize = 5;
/// Recovery codes of a person.
const CODES: u8 = 10;
/// How often a token may be mistyped.
const TRIES: usize = 3;
/// Members of it are never asked: see the line that `enable` writes above ours.
const BREAK_GLASS: &str = "countersign-breakglass";

pub(super) fn run(setup: &Setup, run: &Path, out: Output) -> Outcome<ExitCode> {
    join::root_only("setup changes this host")?;
    let (asker, report) = (Asker::new(setup.yes, out), Report::new(STEPS, out));
    let mut this = Session { setup, run, out, asker, report, token: None };
    this.answers()?;
    // What is none is told before anything is changed.
    this.token = setup.token.as_deref().map(join::given).transpose()?;
    let next = this.steps().map_err(go_on)?;
    this.report.finish(&next)?;
    Ok(ExitCode::SUCCESS)
}

fn go_on(failure: Failure) -> Failure {
    let Failure { exit, message } = failure;
    Failure::new(
        exit,
        format!("{message}\ncountersign: then: countersign setup, which goes on where it stopped"),
    )
}

struct Session<'a> {
    setup: &'a Setup,
    run: &'a Path,
    out: Output,
    asker: Asker,
    report: Report,
    /// One that may be good.
    token: Option<Zeroizing<String>>,
}

impl Session<'_> {
    /// Where nobody can be asked, what is missing is told before anything is changed.
    fn answers(&self) -> Outcome {
        let Setup { user, no_user, recovery, no_recovery, yes, .. } = self.setup;
        if let Some(user) = user {
            account(user)?;
        }
        let mut missing = Vec::new();
        if self.setup.server.is_none() && join::config::present(Path::new(DEFAULT_CONFIG))?.is_none() {
            missing.push("--server URL");
            // Whether a host that has a server needs one is seen when the daemon runs.
            if self.setup.token.is_none() {
                missing.push("--token TOKEN");
            }
        }
        if user.is_none() && !no_user {
            missing.push("--user NAME or --no-user");
        }
        if !(*recovery || *no_recovery || *yes || *no_user) {
            missing.push("--recovery or --no-recovery");
        }
        missing.extend(turn_on::missing(self.setup));
        if self.asker.is_person() || missing.is_empty() {
            return Ok(());
        }
        let text = format!("there is no terminal to ask on: give {}", missing.join(", "));
        Err(Failure::new(Exit::Usage, text))
    }

    fn steps(&mut self) -> Outcome<Vec<String>> {
        let mut next = Vec::new();
        self.server()?;
        let user = self.person()?;
        self.recovery(user.as_deref())?;
        self.break_glass(&mut next)?;
        self.doctor()?;
        // Before what needs a device.
        if user.is_none() {
            next.push("countersign pair USER, for each person".to_owned());
        }
        self.turn_on(user.as_deref(), &mut next)?;
        Ok(next)
    }

    /// The server is named, the daemon runs and is connected.
    fn server(&mut self) -> Outcome {
        self.report.begin("server", "The push server, and this host's key")?;
        let named = join::config::present(Path::new(DEFAULT_CONFIG))?.map(|config| config.server);
        // A line that stood there before is somebody else's.
        let is_own = named.is_none();
        let mut url = match self.setup.server.clone().or(named) {
            Some(url) => url,
            None => self.ask_server()?,
        };
        let mut status = self.use_server(&url)?;
        self.report.remark(&format!("this host's key is {}", escape(&status.host_key)))?;
        if status.connected {
            return self.report.end("server", State::Already, known(&status));
        }
        for _ in 1..TRIES {
            match self.join() {
                Err(failure)
                    if is_own && self.asker.is_person() && join::is_of_server(self.run, &failure) =>
                {
                    self.out.remark(&failure.message);
                    url = self.ask_again(&status.server)?;
                    status = self.use_server(&url)?;
                }
                done => return self.joined(done),
            }
        }
        let done = self.join();
        self.joined(done)
    }

    fn joined(&mut self, done: Outcome<Status>) -> Outcome {
        let status = done.map_err(|failure| join::where_to_change(self.run, failure))?;
        self.report.end("server", State::Done, known(&status))
    }

    fn use_server(&self, url: &str) -> Outcome<Status> {
        let mut say = |text: &str| self.report.remark(text);
        join::use_server(url, self.setup.server_ca.as_deref(), self.run, &mut say)
    }

    /// The address of a server that cannot be reached: the same is tried again, another one takes its place.
    fn ask_again(&self, server: &str) -> Outcome<String> {
        loop {
            let question = "The server's address, if that was not it; Enter tries it again";
            let line = self.asker.line(question, Some(server), "--server URL")?;
            let url = match join::config::address(&line) {
                Ok(url) => url,
                Err(failure) => {
                    self.out.remark(&failure.message);
                    continue;
                }
            };
            return match url == server {
                true => Ok(url),
                false => join::config::change_server(Path::new(DEFAULT_CONFIG), server, &url),
            };
        }
    }

    /// The address alone, or the whole line that the server printed.
    fn ask_server(&mut self) -> Outcome<String> {
        loop {
            let question =
                "Paste the line that `countersign-server token` prints, or type the server's address\n";
            let line = Zeroizing::new(self.asker.line(question, None, "--server URL")?);
            let (url, token) = read_line_of_server(&line);
            let token = token.map(join::checked).transpose();
            match join::config::address(url).and_then(|url| Ok((url, token?))) {
                Ok((url, token)) => {
                    self.token = self.token.take().or(token);
                    return Ok(url);
                }
                Err(failure) => self.out.remark(&failure.message),
            }
        }
    }

    fn join(&mut self) -> Outcome<Status> {
        for _ in 1..TRIES {
            match self.join_once() {
                Err(Failure { exit: Exit::NotPermitted, message }) if self.asker.is_person() => {
                    self.token = None;
                    self.out.remark(&message);
                }
                done => return done,
            }
        }
        self.join_once()
    }

    fn join_once(&mut self) -> Outcome<Status> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => self.ask_token()?,
        };
        // Where the server cannot be reached it is as good as before.
        self.token = Some(token.clone());
        join::with_token(self.run, token, self.out)
    }

    fn ask_token(&self) -> Outcome<Zeroizing<String>> {
        loop {
            let question = "A token of that server (countersign-server token)";
            let line = Zeroizing::new(self.asker.line(question, None, "--token TOKEN")?);
            let (_, token) = read_line_of_server(&line);
            match join::checked(token.unwrap_or(&line)) {
                Ok(token) => return Ok(token),
                Err(failure) => self.out.remark(&failure.message),
            }
        }
    }

    /// The first person has a device.
    fn person(&mut self) -> Outcome<Option<String>> {
        self.report.begin("person", "The first person who approves")?;
        let Some(user) = self.user()? else {
            self.report.end("person", State::Skipped, "nobody was paired".to_owned())?;
            return Ok(None);
        };
        let mut daemon = ManageClient::connect(self.run)?;
        let devices: Devices = daemon.call(&Call::Devices { user: Some(user.clone()) }, SHORT)?;
        let names: Vec<_> = devices.devices.iter().map(|device| escape(&device.name).into_owned()).collect();
        if !names.is_empty() {
            let text = format!("{} approves with {}", escape(&user), names.join(", "));
            self.report.end("person", State::Already, text)?;
            return Ok(Some(user));
        }
        let device = pair::pair(&mut daemon, &user, !self.setup.no_ring, self.out)?;
        let text = format!("{} approves with {}", escape(&user), escape(&device.name));
        self.report.end("person", State::Done, text)?;
        Ok(Some(user))
    }

    fn user(&self) -> Outcome<Option<String>> {
        if self.setup.no_user {
            return Ok(None);
        }
        if let Some(user) = &self.setup.user {
            return account(user).map(Some);
        }
        let caller = std::env::var("SUDO_USER").ok().filter(|user| account(user).is_ok());
        loop {
            let question = "Whose logins shall a phone approve? (- for nobody now)";
            let name = self.asker.line(question, caller.as_deref(), "--user NAME or --no-user")?;
            if name == "-" {
                return Ok(None);
            }
            match account(&name) {
                Ok(name) => return Ok(Some(name)),
                Err(failure) => self.out.remark(&failure.message),
            }
        }
    }

    /// That person has something to type when the phone is gone.
    fn recovery(&mut self, user: Option<&str>) -> Outcome {
        self.report.begin("recovery", "Recovery codes, for the day that the phone is gone")?;
        let Some(user) = user else {
            return self.report.end("recovery", State::Skipped, "nobody was paired".to_owned());
        };
        let shown = escape(user);
        let mut daemon = ManageClient::connect(self.run)?;
        let found: CodesLeft = daemon.call(&Call::CodesLeft { user: user.to_owned() }, SHORT)?;
        if found.left > 0 {
            let text = format!("{shown} has {} recovery codes", found.left);
            return self.report.end("recovery", State::Already, text);
        }
        let option = "--recovery or --no-recovery";
        let wanted = self.setup.recovery
            || (!self.setup.no_recovery
                && self
                    .asker
                    .agrees(&format!("Show {CODES} codes now, for {shown} to keep on paper?"), option)?);
        if !wanted {
            let text = format!("{shown} has none; make some: countersign codes {shown} --recovery");
            return self.report.end("recovery", State::Skipped, text);
        }
        let made = codes::make(&mut daemon, user, CODES)?;
        if self.out.json {
            self.out.object(&json!({ "event": "recovery-codes", "user": user, "codes": made.codes }))?;
        } else {
            self.out.lines(&codes::shown(user, &made))?;
        }
        self.asker.pause("Enter, once they are on paper: ")?;
        self.report.end("recovery", State::Done, format!("{shown} has {CODES} recovery codes"))
    }

    /// What `countersign doctor` finds. Nothing of it ends the set-up: it is told with what to do.
    fn doctor(&mut self) -> Outcome {
        self.report.begin("doctor", "What the doctor says")?;
        let Ok(Command::Doctor(args)) = Cli::try_parse_from(["countersign", "doctor"]).map(|cli| cli.command)
        else {
            return Err(Failure::new(Exit::Broken, "countersign doctor is not there"));
        };
        let code = doctor::run(&args, self.run, self.out)?;
        let text = match code == ExitCode::SUCCESS {
            true => "nothing was found",
            false => "something was found; when it is mended: countersign doctor",
        };
        self.report.end("doctor", State::Done, text.to_owned())
    }

    /// Says whether there is a way in that never needs us.
    fn break_glass(&self, next: &mut Vec<String>) -> Outcome {
        let group = Group::from_name(BREAK_GLASS).map_err(|e| Failure::broken(BREAK_GLASS, e))?;
        match group {
            None => next.push(format!(
                "groupadd --system {BREAK_GLASS}   (its members get in whatever happens to us)"
            )),
            Some(group) if group.mem.is_empty() => next.push(format!(
                "gpasswd --add NAME {BREAK_GLASS}   (one account that gets in whatever happens to us)"
            )),
            Some(_) => {}
        }
        Ok(())
    }
}

fn known(status: &Status) -> String {
    format!("connected to {}", escape(&status.server))
}

/// Server and token of a line such as `countersign join URL --token TOKEN`; of anything else the whole.
fn read_line_of_server(line: &str) -> (&str, Option<&str>) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let token = words.iter().position(|word| *word == "--token").and_then(|at| words.get(at + 1)).copied();
    let url = words.iter().position(|word| *word == "join").and_then(|at| words.get(at + 1)).copied();
    (url.unwrap_or(line.trim()), token)
}

/// An account of this host, as it is called.
fn account(name: &str) -> Outcome<String> {
    let broken = |e| Failure::broken("the accounts of this host", e);
    match User::from_name(name).map_err(broken)? {
        Some(user) => Ok(user.name),
        None => Err(Failure::new(Exit::Refused, format!("this host has no user \"{}\"", escape(name)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_line_is_read_with_its_token() {
        let line = " sudo countersign join https://push.example.com --token join-abc\n";
        assert_eq!(read_line_of_server(line), ("https://push.example.com", Some("join-abc")));
        assert_eq!(read_line_of_server(" https://a.example "), ("https://a.example", None));
        assert_eq!(read_line_of_server("countersign join"), ("countersign join", None));
        assert_eq!(read_line_of_server("join --token"), ("--token", None));
    }

    #[test]
    fn an_account_has_to_be_there() {
        assert_eq!(account("root").unwrap(), "root");
        for name in ["no such user", "", "a\x1b[2J"] {
            assert!(!account(name).unwrap_err().message.contains('\x1b'));
        }
    }
}
