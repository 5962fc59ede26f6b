//! Who logged in, out of the system's records of logins: files of C's `struct utmp`, and what wtmpdb has in their place.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use countersign_files::{Links, open_regular};
use serde::Deserialize;

use super::program;

/// How much of the end of a file is looked at.
const MAX_READ: u64 = 32 << 20;
/// Most files of a folder that are looked at.
const MAX_FILES: usize = 1000;
/// A record's kind: somebody logged in.
const USER_PROCESS: i16 = 7;
/// Longest time for wtmpdb.
const WTMPDB: Duration = Duration::from_secs(20);

/// Where a record's fields are. The C library has 32-bit times in it where a 64-bit system had to share files with a 32-bit one.
struct Layout {
    size: usize,
    time: usize,
    time_size: usize,
}

const USER: std::ops::Range<usize> = 44..76;
const LAYOUT: Layout =
    if cfg!(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64")) {
        Layout { size: 400, time: 344, time_size: 8 }
    } else {
        Layout { size: 384, time: 340, time_size: 4 }
    };

/// The names in wtmp and those of its older files that are not compressed, and in wtmpdb. What cannot be read is named in the
/// second.
pub(super) fn users(log: &Path, since: u64) -> (BTreeSet<String>, Vec<String>) {
    let (mut users, mut unread) = (BTreeSet::new(), Vec::new());
    let Ok(entries) = fs::read_dir(log) else { return (users, vec![log.display().to_string()]) };
    for entry in entries.take(MAX_FILES).filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_wtmp(&name) {
            continue;
        }
        match tail(&entry.path()) {
            Some(bytes) => users.extend(records(&bytes, since, &LAYOUT)),
            None => unread.push(entry.path().display().to_string()),
        }
    }
    if Path::new("/usr/bin/wtmpdb").exists() {
        match program::run("wtmpdb", &["last", "--json", "--time-format", "iso"], WTMPDB) {
            Ok(ended) if ended.is_success => users.extend(wtmpdb(&ended.out, since)),
            // A database that nobody has written to yet.
            _ if !Path::new("/var/lib/wtmpdb/wtmp.db").exists() => {}
            _ => unread.push("wtmpdb".to_owned()),
        }
    }
    (users, unread)
}

/// `wtmp`, `wtmp.1`, `wtmp-20261101`.
fn is_wtmp(name: &str) -> bool {
    name.strip_prefix("wtmp").is_some_and(|rest| {
        rest.is_empty()
            || rest
                .strip_prefix(['.', '-'])
                .is_some_and(|end| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

fn tail(path: &Path) -> Option<Vec<u8>> {
    let mut file = open_regular(path, Links::Refused, OpenOptions::new().read(true)).ok()?;
    let length = file.metadata().ok()?.len();
    let size = LAYOUT.size as u64;
    // Whole records only.
    let skip = length.saturating_sub(MAX_READ).div_ceil(size) * size;
    file.seek(SeekFrom::Start(skip)).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_READ).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn records(bytes: &[u8], since: u64, layout: &Layout) -> BTreeSet<String> {
    bytes.chunks_exact(layout.size).filter_map(|record| user(record, since, layout)).collect()
}

fn user(record: &[u8], since: u64, layout: &Layout) -> Option<String> {
    let kind = i16::from_ne_bytes(record.get(..2)?.try_into().ok()?);
    let time = record.get(layout.time..layout.time + layout.time_size)?;
    let at = match layout.time_size {
        // Counted on beyond 2038.
        4 => u64::from(u32::from_ne_bytes(time.try_into().ok()?)),
        _ => u64::from_ne_bytes(time.try_into().ok()?),
    };
    let name = record.get(USER)?.split(|byte| *byte == 0).next()?;
    let name = std::str::from_utf8(name).ok()?;
    (kind == USER_PROCESS && at >= since && !name.is_empty()).then(|| name.to_owned())
}

#[derive(Deserialize)]
struct Database {
    #[serde(default)]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    user: String,
    #[serde(default)]
    login: String,
}

/// What has no date that can be read counts: one account too many harms nobody.
fn wtmpdb(json: &str, since: u64) -> BTreeSet<String> {
    let found = serde_json::from_str::<Database>(json).map(|all| all.entries).unwrap_or_default();
    let first = i64::try_from(since).ok().and_then(|since| jiff::Timestamp::from_second(since).ok());
    let first = first.map(|first| first.to_zoned(jiff::tz::TimeZone::UTC).date());
    let is_old = |entry: &Entry| {
        let date = entry.login.get(..10).and_then(|date| date.parse::<jiff::civil::Date>().ok());
        date.zip(first).is_some_and(|(date, first)| date < first)
    };
    let names = found.into_iter().filter(|entry| !is_old(entry)).map(|entry| entry.user);
    // What it has of boots.
    names
        .filter(|name| !matches!(name.as_str(), "" | "reboot" | "shutdown" | "runlevel" | "soft-reboot"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: i16, name: &str, at: u64, layout: &Layout) -> Vec<u8> {
        let mut bytes = vec![0; layout.size];
        bytes[..2].copy_from_slice(&kind.to_ne_bytes());
        bytes[USER.start..USER.start + name.len()].copy_from_slice(name.as_bytes());
        let time = at.to_ne_bytes();
        let time = if cfg!(target_endian = "big") {
            &time[8 - layout.time_size..]
        } else {
            &time[..layout.time_size]
        };
        bytes[layout.time..layout.time + layout.time_size].copy_from_slice(time);
        bytes
    }

    #[test]
    fn logins_since_then_are_found_in_both_layouts() {
        for layout in
            [Layout { size: 384, time: 340, time_size: 4 }, Layout { size: 400, time: 344, time_size: 8 }]
        {
            let mut bytes = [
                record(USER_PROCESS, "alice", 2000, &layout),
                record(USER_PROCESS, "old", 999, &layout),
                record(8, "gone", 2000, &layout),
                record(2, "reboot", 2000, &layout),
                record(USER_PROCESS, &"n".repeat(32), 3_000_000_000, &layout),
            ]
            .concat();
            bytes.extend([7; 100]);
            let found: Vec<String> = records(&bytes, 1000, &layout).into_iter().collect();
            assert_eq!(found, ["alice".to_owned(), "n".repeat(32)]);
        }
    }

    #[test]
    fn older_files_count_and_compressed_ones_do_not() {
        for name in ["wtmp", "wtmp.1", "wtmp-20261101"] {
            assert!(is_wtmp(name), "{name}");
        }
        for name in ["wtmp.1.gz", "wtmpdb", "wtmp.", "btmp", "wtmp-x"] {
            assert!(!is_wtmp(name), "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("wtmp"), record(USER_PROCESS, "alice", 2000, &LAYOUT)).unwrap();
        fs::write(folder.path().join("wtmp.1"), record(USER_PROCESS, "bob", 2000, &LAYOUT)).unwrap();
        nix::unistd::mkfifo(&folder.path().join("wtmp.2"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (users, unread) = users(folder.path(), 0);
        assert!(users.contains("alice") && users.contains("bob"));
        assert!(unread.iter().any(|path| path.ends_with("wtmp.2")));
    }

    #[test]
    fn what_wtmpdb_says_of_boots_is_nobody() {
        let json = r#"{"entries":[{"user":"alice","login":"2026-11-20T10:00:00+0100"},{"user":"bob","login":"Fri"},
            {"user":"reboot","tty":"system boot"},{"user":"old","login":"2026-01-20T10:00:00+0100"},{"tty":"x"}]}"#;
        // 2026-08-25.
        assert_eq!(wtmpdb(json, 1_787_616_000).into_iter().collect::<Vec<_>>(), ["alice", "bob"]);
        assert!(wtmpdb("no json", 0).is_empty());
    }
}
