//! What would be changed for some services.

use std::path::Path;

use countersign_pam_stack::examine::Severity;
use countersign_pam_stack::{Folders, Stack, Stage};
use countersign_protocol::text::escape;
use serde_json::{Value, json};
use similar::TextDiff;

use super::accounts::LockedOut;
use super::places::Places;
use super::record::Edit;
use super::{enabled, files, marks, place, services, sshd};
use crate::commands::doctor;
use crate::output::{Exit, Failure, Outcome};

/// Where packages put services that the administrator has none of their own for.
pub(super) const VENDOR: &str = "/usr/lib/pam.d";
/// Where modules are: in one of these, or in a folder of theirs for an architecture.
const MODULES: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];
/// Lines around a change that are shown.
const CONTEXT: usize = 3;

/// A change, before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Those that were named, and those that go with them.
    pub(super) services: Vec<String>,
    /// Those of them that are not on the list yet.
    pub(super) new: Vec<String>,
    pub(super) edits: Vec<Edit>,
    /// Sentences for the administrator.
    pub(super) remarks: Vec<String>,
}

impl Plan {
    /// # Errors
    /// Why one of the services cannot be turned on.
    pub(super) fn of(places: &Places, named: &[String], module: &str) -> Outcome<Self> {
        let mut plan = Self { services: Vec::new(), new: Vec::new(), edits: Vec::new(), remarks: Vec::new() };
        named.iter().try_for_each(|name| services::check(name))?;
        is_installed(module)?;
        let mut folders = folders(places);
        for name in named {
            if plan.services.contains(name) {
                continue;
            }
            folders = plan.add(places, folders, name, module)?;
            if let Some(other) =
                services::companion(name).filter(|other| !plan.services.iter().any(|name| name == other))
                && places.service(other).exists()
            {
                if asks(&folders, other) {
                    plan.remarks.push(format!("{other} asks with {name}, whose lines it has."));
                } else {
                    plan.remarks.push(format!("{other} goes with {name}."));
                    folders = plan.add(places, folders, other, module)?;
                }
            }
        }
        if plan.services.iter().any(|name| name == "sshd") {
            plan.edits.extend(sshd::edit(places)?);
        }
        if plan.services.iter().any(|name| matches!(name.as_str(), "sudo" | "sudo-i")) {
            plan.remarks.extend(doctor::whose_phone());
        }
        plan.examined(&folders)?;
        plan.remarks.extend(super::accounts::break_glass()?);
        let on = enabled::read(places)?;
        plan.new = plan.services.iter().filter(|name| !on.contains(*name)).cloned().collect();
        Ok(plan)
    }

    fn add(&mut self, places: &Places, folders: Folders, name: &str, module: &str) -> Outcome<Folders> {
        let path = places.service(name);
        let old = files::read(&path)?;
        let vendor = Path::new(VENDOR).join(name);
        let base = match &old {
            Some(old) => old.clone(),
            None => files::read(&vendor)?.ok_or_else(|| missing(places, name))?,
        };
        let placed = place::place(&folders, name, &base, module, stages(name))?;
        if old.is_none() {
            self.remarks.push(format!(
                "{} will be a copy of {} with the lines in it, since that one belongs to its package; what a later \
                 package changes there is read again once the copy is gone.",
                path.display(),
                vendor.display()
            ));
        }
        self.remarks.extend(services::remark(name).map(str::to_owned));
        self.services.push(name.to_owned());
        self.remarks.extend(placed.remarks);
        let folders = folders.with(name, &String::from_utf8_lossy(&placed.text));
        if old.as_ref() != Some(&placed.text) {
            self.edits.push(Edit { path, old, new: placed.text, mode: files::SERVICE });
        }
        Ok(folders)
    }

    /// What `countersign doctor` says of the stacks as they would be: nothing is written that would open or lock out.
    fn examined(&mut self, folders: &Folders) -> Outcome {
        for found in doctor::examine(folders, &self.services, None, true) {
            let at = found.at.map(|at| format!(" ({at})")).unwrap_or_default();
            let text = format!("{}{at}: {}", found.text, found.next);
            match found.severity {
                // Another way in than the password, as it is now: the administrator sees it before saying yes.
                Severity::WouldOpen if matches!(found.kind, "ends-before" | "jumps-over") => {
                    self.remarks.push(text)
                }
                Severity::WouldOpen | Severity::WouldLockOut => {
                    let text = format!("it {}: {text}", found.severity.words());
                    return Err(Failure::new(Exit::Refused, text));
                }
                Severity::Advice => self.remarks.push(text),
                Severity::NotSeen => {}
            }
        }
        Ok(())
    }

    /// The files that would be changed, as `diff -u` shows them, and what to know.
    pub(super) fn words(&self) -> String {
        let mut text: String = self.edits.iter().map(|edit| lines_escaped(&diff(edit))).collect();
        for remark in &self.remarks {
            text.push_str(&format!("Note: {}\n", escape(remark)));
        }
        text
    }

    /// For programs.
    pub(super) fn object(&self, locked_out: Option<&[LockedOut]>, until: Option<u64>) -> Value {
        let file = |edit: &Edit| json!({ "path": edit.path, "diff": diff(edit) });
        json!({
            "services": self.services,
            "files": self.edits.iter().map(file).collect::<Vec<_>>(),
            "remarks": self.remarks,
            "locked_out": locked_out,
            "rolls_back_at": until,
        })
    }
}

/// The stages in which a service asks.
pub(super) fn stages(name: &str) -> &'static [Stage] {
    // A key alone never comes to `auth`.
    if name == "sshd" { &[Stage::Auth, Stage::Session] } else { &[Stage::Auth] }
}

/// Where libpam looks.
pub(super) fn folders(places: &Places) -> Folders {
    Folders::of([places.pam(), VENDOR.into()])
}

/// Whether a service comes by our module already, by another one's lines.
pub(super) fn asks(folders: &Folders, name: &str) -> bool {
    let stack = Stack::of(folders, name, Stage::Auth);
    let is_ours = |name: &str| format!("{name}.so") == marks::MODULE;
    !stack.from_other
        && stack.handlers.iter().any(|handler| handler.module().is_some_and(|module| is_ours(module.name())))
}

fn missing(places: &Places, name: &str) -> Failure {
    let path = places.service(name);
    Failure::new(Exit::Refused, format!("there is no service {name}: {} is not there", path.display()))
}

/// PAM lets nobody pass a module that is not there.
pub(super) fn is_installed(module: &str) -> Outcome {
    let is_there = |folder: &Path| folder.join("security").join(module).exists();
    let found = module.starts_with('/') && Path::new(module).exists()
        || MODULES.iter().any(|folder| {
            let below = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            is_there(folder.as_ref()) || below.map(|entry| entry.path()).any(|path| is_there(&path))
        });
    if found {
        return Ok(());
    }
    let text = format!(
        "{module} is not installed, and PAM lets nobody pass what is not there: install libpam-countersign"
    );
    Err(Failure::new(Exit::Refused, text))
}

fn diff(edit: &Edit) -> String {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let (old, new) = (text(edit.old.as_deref()), text(Some(&edit.new)));
    let path = edit.path.display().to_string();
    let before = if edit.old.is_some() { path.as_str() } else { "/dev/null" };
    TextDiff::from_lines(&old, &new).unified_diff().context_radius(CONTEXT).header(before, &path).to_string()
}

fn lines_escaped(text: &str) -> String {
    // Tabs and the like belong to such files.
    text.lines()
        .flat_map(|line| [escape(&line.replace('\t', "    ")).into_owned(), "\n".to_owned()])
        .collect()
}
