//! What is wrong between services.

use std::collections::BTreeSet;

use super::finding::{Finding, Severity};
use super::is_ours;
use crate::{Folders, Place, Service, Stack, Stage};

/// Bits of a mode that let group or others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// A second service of the same program, or of one for the same.
const COMPANIONS: [(&str, &str, &str); 2] = [
    ("sudo", "sudo-i", "sudo -i and sudo --login are not asked: they have a service file of their own"),
    ("su", "su-l", "su - is not asked: it has a service file of its own"),
];
/// Its file is mostly its package's, in another folder.
const POLKIT: &str = "polkit-1";
/// Other doors to the same.
const ALSO: [(&str, &str, &str); 7] = [
    ("sudo", POLKIT, "sudo asks, but pkexec and polkit give root for a password alone"),
    ("gdm-password", "gdm-fingerprint", "a password asks at the greeter, a fingerprint does not"),
    ("gdm-password", "gdm-smartcard", "a password asks at the greeter, a smart card does not"),
    ("kde", "kde-fingerprint", "a password asks at KDE's locked screen, a fingerprint does not"),
    ("kde", "kde-smartcard", "a password asks at KDE's locked screen, a smart card does not"),
    ("lightdm", "lightdm-autologin", "lightdm's automatic login asks nobody"),
    ("sddm", "sddm-autologin", "sddm's automatic login asks nobody"),
];

/// `asking`: the services that were looked at and ask.
pub(super) fn look(folders: &Folders, names: &[String], asking: &[String], found: &mut Vec<Finding>) {
    let is_there = |name: &str| names.iter().any(|other| other == name);
    let asks = |name: &str| Stack::of(folders, name, Stage::Auth).handlers.iter().any(is_ours);
    let path = |name: &str| folders.read(name).map_or_else(|fault| fault.path, |seen| seen.service.path);
    let looked = |name: &str| asking.iter().any(|other| other == name);
    for (first, second, text) in COMPANIONS {
        if looked(first) && asks(first) && is_there(second) && !asks(second) {
            let finding =
                Finding::new(Severity::WouldOpen, "companion", text, format!("countersign enable {second}"));
            found.push(finding.in_file(path(second).display()).of(second));
        }
    }
    for (first, second, text) in ALSO {
        if looked(first) && asks(first) && is_there(second) && !asks(second) {
            let next = if second == POLKIT {
                format!(
                    "countersign enable {second}: it writes /etc/pam.d/{second}, and leaves its package's file alone"
                )
            } else {
                format!("countersign enable {second}, if people use it")
            };
            let finding = Finding::new(Severity::Advice, "another-door", text, next);
            found.push(finding.in_file(path(second).display()).of(second));
        }
    }
    files(folders, asking, found);
}

/// Longest line that every libpam reads as one. Before 1.6 it takes what stands behind 1023 bytes for a line of its own, also
/// within a comment.
const MAX_LINE: usize = 1022;

/// Lines that libpam reads otherwise than they look.
fn odd_lines(service: &Service, found: &mut Vec<Finding>) {
    let mut odd = |number: usize, text: &str, next: &str| {
        let place = Place { file: service.path.clone(), line: number };
        found.push(Finding::new(Severity::WouldOpen, "odd-line", text, next).at(&place));
    };
    for (index, line) in service.text.split('\n').enumerate() {
        if line.len() > MAX_LINE {
            let text = "the line is so long that libpam before 1.6 takes its end for a line of its own, though it be a comment";
            odd(index + 1, text, "make it shorter than 1000 characters");
        }
        if line.contains('\0') {
            odd(
                index + 1,
                "there is a NUL in the line: libpam does not read what stands behind it",
                "write the line anew",
            );
        }
    }
    for line in service.lines.iter().filter(|line| line.last > line.first) {
        let parts = service.text.split('\n').skip(line.first - 1).take(line.last + 1 - line.first);
        if parts.clone().all(|part| part.len() <= MAX_LINE) && parts.map(str::len).sum::<usize>() > MAX_LINE {
            let text = "the lines that a backslash makes one are too long for libpam before 1.6, which refuses the whole service then";
            odd(line.first, text, "make them shorter than 1000 characters together");
        }
    }
}

/// The files that the asking services are read from.
fn files(folders: &Folders, asking: &[String], found: &mut Vec<Finding>) {
    let mut files = BTreeSet::new();
    for name in asking {
        files.insert(folders.first().join(name));
        for stage in Stage::ALL {
            for handler in Stack::of(folders, name, stage).handlers {
                files.extend(handler.through.into_iter().chain([handler.place]).map(|place| place.file));
            }
        }
    }
    for file in files {
        let Some(name) = file.to_str() else { continue };
        // A text that stands in place of a file is known by its name alone.
        let base = file.strip_prefix(folders.first()).ok().and_then(|base| base.to_str()).unwrap_or(name);
        let Ok(seen) = folders.read(base) else { continue };
        odd_lines(&seen.service, found);
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
