//! What is wrong between services.

use std::collections::BTreeSet;

use super::finding::{Finding, Severity};
use super::is_ours;
use crate::{Folders, Stack, Stage};

/// Bits of a mode that let group or others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// A second service of the same program, or of one for the same.
const COMPANIONS: [(&str, &str, &str); 2] = [
    ("sudo", "sudo-i", "sudo -i and sudo --login are not asked: they have a service file of their own"),
    ("su", "su-l", "su - is not asked: it has a service file of its own"),
];
/// Other doors to the same.
const ALSO: [(&str, &str, &str); 5] = [
    ("sudo", "polkit-1", "sudo asks, but pkexec and polkit give root for a password alone"),
    ("gdm-password", "gdm-fingerprint", "a password asks at the greeter, a fingerprint does not"),
    ("gdm-password", "gdm-smartcard", "a password asks at the greeter, a smart card does not"),
    ("lightdm", "lightdm-autologin", "lightdm's automatic login asks nobody"),
    ("sddm", "sddm-autologin", "sddm's automatic login asks nobody"),
];

/// `asking`: the services that were looked at and ask.
pub(super) fn look(folders: &Folders, names: &[String], asking: &[String], found: &mut Vec<Finding>) {
    let is_there = |name: &str| names.iter().any(|other| other == name);
    let asks = |name: &str| Stack::of(folders, name, Stage::Auth).handlers.iter().any(is_ours);
    let looked = |name: &str| asking.iter().any(|other| other == name);
    for (first, second, text) in COMPANIONS {
        if looked(first) && asks(first) && is_there(second) && !asks(second) {
            let finding =
                Finding::new(Severity::WouldOpen, "companion", text, format!("countersign enable {second}"));
            found.push(finding.in_file(folders.first().join(second).display()).of(second));
        }
    }
    for (first, second, text) in ALSO {
        if looked(first) && asks(first) && is_there(second) && !asks(second) {
            let next = format!("countersign enable {second}, if people use it");
            let finding = Finding::new(Severity::Advice, "another-door", text, next);
            found.push(finding.in_file(folders.first().join(second).display()).of(second));
        }
    }
    owners(folders, asking, found);
}

/// The files that the asking services are read from.
fn owners(folders: &Folders, asking: &[String], found: &mut Vec<Finding>) {
    let mut files = BTreeSet::new();
    for name in asking {
        files.insert(folders.first().join(name));
        for stage in Stage::ALL {
            let handlers = Stack::of(folders, name, stage).handlers;
            files.extend(handlers.into_iter().map(|handler| handler.place.file));
        }
    }
    for file in files {
        let Some(name) = file.to_str() else { continue };
        let Ok(seen) = folders.read(name) else { continue };
        let Some((uid, mode)) = seen.owner else { continue };
        if uid != 0 || mode & WRITABLE_BY_OTHERS != 0 {
            let text = format!(
                "others than root can change it (user {uid}, mode {mode:04o}), and with it who is asked"
            );
            let next = format!("chown root:root {0}; chmod 644 {0}", file.display());
            found.push(Finding::new(Severity::WouldOpen, "writable", text, next).in_file(file.display()));
        }
    }
}
