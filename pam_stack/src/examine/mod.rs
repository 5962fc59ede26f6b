//! What is wrong with the stacks of a host that has our module in them: what would open, what would lock somebody out.
//!
//! Nothing is guessed from how a line looks: the stacks are gone through as libpam does, with each module
//! returning whatever it could.

mod finding;
mod lines;
mod mend;
mod model;
mod order;
mod paths;
mod stages;
mod whole;

pub use finding::{Finding, Severity};
pub use model::{BREAK_GLASS, Class, Who, class, is_break_glass, is_ours, is_passwordless};
pub use paths::{Search, search};

use std::path::{Path, PathBuf};

use crate::{Folders, Module};

/// What is looked at beside the files.
pub struct Host<'a> {
    /// Whether a module can be loaded.
    pub has_module: &'a dyn Fn(&Module) -> bool,
    /// Services that are meant to ask, whatever stands in their files.
    pub meant: &'a [String],
    /// Services for which a rule of the policy lets in by an approval without a password; nothing where that is not known.
    pub passwordless: Option<&'a [String]>,
    /// Whether a service's program has one field, in which no code can be typed.
    pub one_field: &'a dyn Fn(&str) -> bool,
    /// Whether sshd lets in by key alone, without its `auth` stage; yes, where that is not known.
    pub keys_alone: bool,
}

/// Services that nobody stands in front of who could approve.
pub const NOBODY: [&str; 13] = [
    "atd",
    "chfn",
    "chpasswd",
    "chsh",
    "cron",
    "crond",
    "newusers",
    "passwd",
    "polkit-agent-helper-1",
    "runuser",
    "runuser-l",
    "systemd-run0",
    "systemd-user",
];
/// Files that others include: a line in one of them asks in all of these.
pub const SHARED: [&str; 10] = [
    "common-account",
    "common-auth",
    "common-password",
    "common-session",
    "common-session-noninteractive",
    "fingerprint-auth",
    "password-auth",
    "postlogin",
    "smartcard-auth",
    "system-auth",
];

/// Looks at these services, or at all of them. What is found is ordered by how bad it is.
#[must_use]
pub fn examine(folders: &Folders, services: &[String], host: &Host<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let names = match folders.names() {
        Ok(names) => names,
        Err(fault) => {
            return vec![Finding::new(
                Severity::NotSeen,
                "no-pam-folder",
                format!("the services cannot be listed: {fault}"),
                "run it as root, on a host with PAM",
            )];
        }
    };
    let all = services.is_empty();
    let wanted: Vec<&String> = if all { names.iter().collect() } else { services.iter().collect() };
    let mut asking = Vec::new();
    for name in wanted {
        if stages::service(folders, name, host, &mut found) {
            asking.push(name.clone());
        }
    }
    whole::look(folders, &names, &asking, &mut found);
    finding::merge(found)
}

/// The folders that libpam loads modules from, by the architecture that it was built for.
const MODULE_FOLDERS: [&str; 4] =
    ["/usr/lib64/security", "/lib64/security", "/usr/lib/security", "/lib/security"];

/// Whether a module is there, as far as that can be said: where libpam looks depends on how it was built.
#[must_use]
pub fn is_on_disk(module: &Module) -> bool {
    if module.module.starts_with('/') {
        let path = &module.module;
        return Path::new(path).is_file() || path.contains("$ISA");
    }
    let mut folders: Vec<PathBuf> = MODULE_FOLDERS.iter().map(PathBuf::from).collect();
    for libraries in ["/usr/lib", "/lib"] {
        let entries = std::fs::read_dir(libraries).into_iter().flatten().filter_map(Result::ok);
        let of_architectures =
            entries.filter(|entry| entry.file_name().to_string_lossy().contains("-linux-"));
        folders.extend(of_architectures.map(|entry| entry.path().join("security")));
    }
    folders.iter().any(|folder| folder.join(&module.module).is_file())
}
