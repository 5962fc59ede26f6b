//! The audit file: one JSON line for everything that happened, each chained to the one before.
//!
//! A record is written before its effect. The disk holds it a second later at the latest, or at
//! once where it is asked for. Whoever cannot write a record must refuse what it is about.

use crate::clock;
use crate::files::{self, FileFault, Owner};
use crate::log::Log;
use countersign_protocol::audit::{Chain, MAX_LINE, Record};
use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// How long records are gathered before the disk has to hold them.
const SYNC_TIME: Duration = Duration::from_millis(500);

/// How soon the disk has to hold a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Within a second.
    Later,
    /// Before [`Audit::append`] comes back.
    Now,
}

/// The file, and the end of its chain.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    file: Arc<File>,
    end: RefCell<End>,
    /// Whether something was written that the disk may not hold.
    unsynced: Cell<bool>,
    written: Notify,
    /// Whether a test wants the next record to fail, and those that have failed.
    #[cfg(test)]
    pub(crate) refuses: (Cell<bool>, RefCell<Vec<Record>>),
}

#[derive(Debug)]
struct End {
    chain: Chain,
    /// Length of the file up to the last whole record.
    length: u64,
    /// Why nothing can be written any more.
    broken: Option<String>,
}

impl Audit {
    /// Opens the file, or starts one, and goes on with its chain. A line that a crash has torn is
    /// moved to a file beside it, and a record says so.
    ///
    /// # Errors
    /// When the file is somebody else's, or its end is no record.
    pub fn open(path: &Path, owner: Owner, log: &Log) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        Self::open_inner(path, owner, log).map_err(named)
    }

    fn open_inner(path: &Path, owner: Owner, log: &Log) -> io::Result<Self> {
        let flags = nix::fcntl::OFlag::O_NOFOLLOW.bits();
        let is_new = !path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(flags)
            .open(path)?;
        let data = file.metadata()?;
        if !data.is_file() {
            return Err(io::Error::other(FileFault::NotAFile));
        }
        if data.uid() != owner.0 {
            return Err(io::Error::other(FileFault::Owner(data.uid())));
        }
        if data.mode() & 0o022 != 0 {
            return Err(io::Error::other(FileFault::Mode(data.mode() & 0o7777)));
        }
        if is_new {
            files::sync_directory(path)?;
        }
        let (chain, length) = last_record(&mut file)?;
        let torn = data.len().saturating_sub(length);
        if torn > 0 {
            move_aside(&mut file, length, path)?;
        }
        let audit = Self {
            path: path.to_owned(),
            file: Arc::new(file),
            end: RefCell::new(End { chain, length, broken: None }),
            unsynced: Cell::new(false),
            written: Notify::new(),
            #[cfg(test)]
            refuses: Default::default(),
        };
        if torn > 0 {
            let reason = format!("{torn} bytes of a record that was not finished are in {}", TORN);
            log.warning(&format!("{}: {reason}", path.display()));
            audit.write(Record { event: "audit-torn".into(), reason: Some(reason), ..Record::default() })?;
        }
        Ok(audit)
    }

    /// Writes a record; `version`, `seq`, `previous` and `at_ms` are set here. Gives its number and
    /// its line's digest, `17:4f…`: a log on another machine that has them shows when the file was cut
    /// after it.
    ///
    /// # Errors
    /// When it could not be written, or could not be synced and was to be at once: then what it is
    /// about must not happen. Names the file.
    pub async fn append(&self, record: Record, durability: Durability) -> io::Result<String> {
        let written = self.write(record).map_err(|error| self.named(&error))?;
        match durability {
            Durability::Now => self.sync().await?,
            Durability::Later => {
                self.unsynced.set(true);
                self.written.notify_one();
            }
        }
        Ok(written)
    }

    /// Syncs what was written, a moment after it was. Never comes back by itself.
    pub async fn keep_synced(&self, log: &Log) {
        loop {
            self.written.notified().await;
            tokio::time::sleep(SYNC_TIME).await;
            if let Err(error) = self.sync_rest().await {
                log.error(&format!("the audit cannot be synced, logins are refused from now on: {error}"));
            }
        }
    }

    /// Syncs what was written and is not yet, if anything.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn sync_rest(&self) -> io::Result<()> {
        if self.unsynced.replace(false) { self.sync().await } else { Ok(()) }
    }

    /// As after a disk that failed.
    #[cfg(test)]
    pub(crate) fn breaks_for_tests(&self) {
        self.end.borrow_mut().broken = Some("a test says so".into());
    }

    async fn sync(&self) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        let synced =
            tokio::task::spawn_blocking(move || file.sync_data()).await.map_err(io::Error::other).flatten();
        if let Err(error) = &synced {
            // The kernel forgets what it could not write: a later sync would say nothing of it.
            self.end.borrow_mut().broken = Some(error.to_string());
        }
        synced.map_err(|error| self.named(&error))
    }

    fn named(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }

    fn write(&self, mut record: Record) -> io::Result<String> {
        #[cfg(test)]
        if self.refuses.0.take() {
            self.refuses.1.borrow_mut().push(record);
            return Err(io::Error::other("a test says so"));
        }
        let mut end = self.end.borrow_mut();
        if end.broken.is_none() {
            end.broken = tampered(&self.file, end.length)?;
        }
        if let Some(why) = &end.broken {
            return Err(io::Error::other(format!("{why}; restart countersignd when that is repaired")));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        record.at_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let mut chain = end.chain.clone();
        let mut line = chain.append(record).map_err(io::Error::other)?.into_bytes();
        line.push(b'\n');
        if let Err(error) = (&*self.file).write_all(&line) {
            // Half a line would join with the next one.
            if let Err(worse) = self.file.set_len(end.length) {
                end.broken = Some(format!("half a record cannot be taken back: {worse}"));
            }
            return Err(error);
        }
        end.chain = chain;
        end.length += line.len() as u64;
        Ok(format!("{}:{}", end.chain.last(), end.chain.head()))
    }
}

/// What somebody else has done to the file since the last record, if anything: a record that goes into a
/// file that is gone, or after a gap, would be written for nobody.
fn tampered(file: &File, length: u64) -> io::Result<Option<String>> {
    let data = file.metadata()?;
    Ok(match (data.nlink(), data.len()) {
        (0, _) => Some("the file was removed".into()),
        (_, found) if found != length => {
            Some(format!("somebody else has changed the file: {found} bytes where {length} were written"))
        }
        _ => None,
    })
}

/// What the torn file's name ends in, before the time.
const TORN: &str = "audit.jsonl.torn-*";

/// Where the last whole record ends, and the chain from there.
fn last_record(file: &mut File) -> io::Result<(Chain, u64)> {
    let size = file.seek(SeekFrom::End(0))?;
    // Room for a whole record and a torn one.
    let start = size.saturating_sub(2 * MAX_LINE as u64 + 2);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(size - start).read_to_end(&mut tail)?;
    let mut end = tail.len();
    // The last line may be torn, also with a newline in what the disk made of it; not the one before.
    for _ in 0..2 {
        let Some(newline) = tail.get(..end).and_then(|tail| tail.iter().rposition(|byte| *byte == b'\n'))
        else {
            break;
        };
        let begin = tail.get(..newline).and_then(|tail| tail.iter().rposition(|byte| *byte == b'\n'));
        let line = tail.get(begin.map_or(0, |at| at + 1)..newline).unwrap_or_default();
        if let Some(chain) = std::str::from_utf8(line).ok().and_then(|line| Chain::after(line).ok()) {
            return Ok((chain, start + newline as u64 + 1));
        }
        end = newline;
    }
    // A file of one torn record holds nothing else.
    if start == 0 && tail.iter().filter(|byte| **byte == b'\n').count() <= 1 {
        return Ok((Chain::new(), 0));
    }
    Err(io::Error::other(
        "its end is no record; look at it with \"countersign audit verify\", then move it away to start a new one",
    ))
}

/// Moves what follows the last whole record to a file of its own.
fn move_aside(file: &mut File, length: u64, path: &Path) -> io::Result<()> {
    file.seek(SeekFrom::Start(length))?;
    let mut torn = Vec::new();
    file.read_to_end(&mut torn)?;
    let aside = files::beside(path, &format!(".torn-{}", clock::unix()));
    files::replace(&aside, &torn)?;
    file.set_len(length)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::audit;
    use std::path::PathBuf;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self) -> PathBuf {
            self.0.path().join("audit.jsonl")
        }

        fn open(&self) -> io::Result<Audit> {
            let log = Log::to(self.0.path().join("no log"), false);
            Audit::open(&self.file(), Owner(nix::unistd::geteuid().as_raw()), &log)
        }

        fn text(&self) -> String {
            std::fs::read_to_string(self.file()).unwrap()
        }

        fn text_if_any(&self) -> Option<String> {
            std::fs::read_to_string(self.file()).ok()
        }

        fn torn(&self) -> Vec<Vec<u8>> {
            let files = std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
            let torn = files.filter(|path| path.to_string_lossy().contains(".torn-"));
            torn.map(|path| std::fs::read(path).unwrap()).collect()
        }
    }

    fn event(name: &str) -> Record {
        Record { event: name.into(), ..Record::default() }
    }

    async fn append(audit: &Audit, name: &str) {
        audit.append(event(name), Durability::Later).await.unwrap();
    }

    #[tokio::test]
    async fn the_chain_goes_on_after_a_restart() {
        let place = Place::new();
        for _ in 0..3 {
            let audit = place.open().unwrap();
            append(&audit, "a").await;
            audit.append(event("b"), Durability::Now).await.unwrap();
        }
        let text = place.text();
        let chain = audit::verify(Chain::new(), text.lines()).unwrap();
        assert_eq!(chain.last(), 6);
        let last = place.open().unwrap().append(event("c"), Durability::Later).await.unwrap();
        let chain = audit::verify(chain, place.text().lines().skip(6)).unwrap();
        assert_eq!(last, format!("7:{}", chain.head()));
        let mode = std::fs::metadata(place.file()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(place.torn().is_empty());
    }

    #[tokio::test]
    async fn a_torn_line_is_moved_aside_wherever_it_is_torn() {
        let whole = {
            let place = Place::new();
            let audit = place.open().unwrap();
            append(&audit, "first").await;
            append(&audit, "second").await;
            place.text()
        };
        let first = whole.find('\n').unwrap() + 1;
        for cut in [first + 1, first + 30, whole.len() - 2, whole.len() - 1] {
            let place = Place::new();
            files::replace(&place.file(), &whole.as_bytes()[..cut]).unwrap();
            let audit = place.open().unwrap();
            append(&audit, "third").await;
            let text = place.text();
            let events: Vec<String> =
                text.lines().map(|line| serde_json::from_str::<Record>(line).unwrap().event).collect();
            assert_eq!(events, ["first", "audit-torn", "third"]);
            audit::verify(Chain::new(), text.lines()).unwrap();
            assert_eq!(place.torn(), [&whole.as_bytes()[first..cut]]);
        }
    }

    #[tokio::test]
    async fn what_a_crash_leaves_of_the_only_or_the_last_line_is_torn_too() {
        for left in [&b"{\"version\":1"[..], b"\0\0\0\0", b"\0\0\0\n"] {
            let place = Place::new();
            files::replace(&place.file(), left).unwrap();
            let audit = place.open().unwrap();
            append(&audit, "a").await;
            assert_eq!(audit::verify(Chain::new(), place.text().lines()).unwrap().last(), 2);
            assert_eq!(place.torn(), [left]);
        }
    }

    #[test]
    fn a_file_that_is_no_audit_is_left_alone() {
        let place = Place::new();
        files::replace(&place.file(), b"a\nb\nc\n").unwrap();
        assert!(place.open().unwrap_err().to_string().contains("its end is no record"));
        assert_eq!(place.text(), "a\nb\nc\n");
        // Nor is one that others can write, or a link.
        let other = Place::new();
        files::replace(&other.file(), b"").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o620);
        std::fs::set_permissions(other.file(), mode).unwrap();
        assert!(other.open().is_err());
        std::fs::remove_file(other.file()).unwrap();
        std::os::unix::fs::symlink(place.file(), other.file()).unwrap();
        assert!(other.open().is_err());
    }

    #[tokio::test]
    async fn a_full_disk_refuses_and_tears_nothing() {
        let place = Place::new();
        let audit = place.open().unwrap();
        append(&audit, "first").await;
        let full = Audit {
            path: "/dev/full".into(),
            file: Arc::new(OpenOptions::new().append(true).open("/dev/full").unwrap()),
            end: RefCell::new(End { chain: Chain::new(), length: 0, broken: None }),
            unsynced: Cell::new(false),
            written: Notify::new(),
            refuses: Default::default(),
        };
        let error = full.append(event("x"), Durability::Later).await.unwrap_err();
        assert!(error.to_string().starts_with("/dev/full: No space left"), "{error}");
        // Half a record that cannot be taken back ends it: a device has no length to set.
        assert!(
            full.append(event("x"), Durability::Later).await.unwrap_err().to_string().contains("restart")
        );
        assert!(
            audit
                .append(Record { reason: Some("x".repeat(MAX_LINE)), ..event("y") }, Durability::Now)
                .await
                .is_err()
        );
        append(&audit, "second").await;
        assert_eq!(audit::verify(Chain::new(), place.text().lines()).unwrap().last(), 2);
    }

    #[tokio::test]
    async fn nothing_is_written_into_a_file_that_somebody_has_removed_or_changed() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 4] = [
            ("removed", |path| std::fs::remove_file(path).unwrap()),
            ("another", |path| {
                std::fs::rename(path, files::beside(path, ".1")).unwrap();
                std::fs::remove_file(files::beside(path, ".1")).unwrap();
                std::fs::write(path, "").unwrap();
            }),
            ("emptied", |path| File::options().write(true).open(path).unwrap().set_len(0).unwrap()),
            ("added to", |path| {
                File::options().append(true).open(path).unwrap().write_all(b"{}\n").unwrap();
            }),
        ];
        for (name, change) in changes {
            let place = Place::new();
            let audit = place.open().unwrap();
            append(&audit, "a").await;
            change(&place.file());
            let before = place.text_if_any();
            for _ in 0..2 {
                let error = audit.append(event("b"), Durability::Now).await.unwrap_err().to_string();
                assert!(error.contains("audit.jsonl: ") && error.contains("restart"), "{name}: {error}");
            }
            assert_eq!(place.text_if_any(), before, "{name}");
        }
        // Where it was only moved, its records are where it is now.
        let place = Place::new();
        let audit = place.open().unwrap();
        append(&audit, "a").await;
        let moved = files::beside(&place.file(), ".1");
        std::fs::rename(place.file(), &moved).unwrap();
        append(&audit, "b").await;
        assert_eq!(std::fs::read_to_string(moved).unwrap().lines().count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn later_is_within_a_second() {
        let place = Place::new();
        let audit = place.open().unwrap();
        let log = Log::to(place.0.path().join("no log"), false);
        append(&audit, "a").await;
        assert!(audit.unsynced.get());
        let second = Duration::from_secs(1);
        let _ = tokio::time::timeout(second, audit.keep_synced(&log)).await;
        assert!(!audit.unsynced.get());
    }
}
