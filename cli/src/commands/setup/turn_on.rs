//! The last step: services ask from now on, for two minutes unless a new login confirms it.

use super::Session;
use super::report::State;
use crate::args::{Cli, Command, Enable, Setup};
use crate::commands::enable;
use crate::output::{Exit, Failure, Outcome};
use clap::Parser;
use countersign_protocol::text::escape;
use std::path::Path;

/// What is offered.
const OFFERED: [&str; 2] = ["sshd", "sudo"];

/// Options that are missing where nobody can be asked.
pub(super) fn missing(setup: &Setup) -> Option<&'static str> {
    match (setup.enable.is_empty(), setup.no_enable, setup.yes) {
        (true, false, false) => Some("--enable SERVICE,… or --no-enable"),
        (false, _, false) => Some("--yes beside --enable"),
        _ => None,
    }
}

impl Session<'_> {
    pub(super) fn turn_on(&mut self, user: Option<&str>, next: &mut Vec<String>) -> Outcome {
        self.report.begin("enable", "Turning it on")?;
        for line in enable::troubles(Path::new("/etc")) {
            self.report.remark(&escape(&line))?;
        }
        let on = enable::on()?;
        let asked = self.services()?;
        let services: Vec<&str> =
            asked.iter().map(String::as_str).filter(|name| !on.contains(*name)).collect();
        if services.is_empty() {
            let (state, text) = match on.is_empty() {
                true => (State::Skipped, "no service is on yet".to_owned()),
                false => (State::Already, format!("{} asks", on.into_iter().collect::<Vec<_>>().join(", "))),
            };
            if state == State::Skipped {
                let user = escape(user.unwrap_or("USER"));
                next.push(format!(
                    "countersign test-login {user} --service sshd, which tries it without PAM"
                ));
                next.push(format!("countersign enable sshd sudo --user {user}"));
            }
            return self.report.end("enable", state, text);
        }
        enable::run(&self.call(&services, user)?, self.run, self.out)?;
        next.push("log in anew from a second terminal, and there: sudo countersign confirm".to_owned());
        let text = format!("{}, taken back in two minutes unless it is confirmed", services.join(", "));
        self.report.end("enable", State::Done, text)
    }

    /// Those that are named, or agreed to.
    fn services(&self) -> Outcome<Vec<String>> {
        if !self.setup.enable.is_empty() || self.setup.no_enable || !self.asker.is_person() {
            return Ok(self.setup.enable.clone());
        }
        let there = OFFERED.into_iter().filter(|name| Path::new("/etc/pam.d").join(name).exists());
        let there: Vec<String> = there.map(str::to_owned).collect();
        let on = enable::on()?;
        if there.iter().all(|name| on.contains(name)) {
            return Ok(Vec::new());
        }
        let question = format!("Turn it on for {} now? It is shown first", there.join(" and "));
        Ok(if self.asker.wants(&question)? { there } else { Vec::new() })
    }

    /// What would be typed.
    fn call(&self, services: &[&str], user: Option<&str>) -> Outcome<Enable> {
        let mut words = vec!["countersign", "enable", "--module", &self.setup.module];
        if self.setup.yes {
            words.push("--yes");
        }
        if let Some(user) = user {
            words.extend(["--user", user]);
        }
        words.push("--");
        words.extend(services);
        match Cli::try_parse_from(words).map(|cli| cli.command) {
            Ok(Command::Enable(enable)) => Ok(enable),
            _ => Err(Failure::new(Exit::Usage, "--enable takes names of services, with commas between them")),
        }
    }
}
