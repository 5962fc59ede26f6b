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
use std::path::Path;
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
    file: Arc<File>,
    end: RefCell<End>,
    /// Whether something was written that the disk may not hold.
    unsynced: Cell<bool>,
    written: Notify,
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
            file: Arc::new(file),
            end: RefCell::new(End { chain, length, broken: None }),
            unsynced: Cell::new(false),
            written: Notify::new(),
        };
        if torn > 0 {
            let reason = format!("{torn} bytes of a record that was not finished are in {}", TORN);
            log.warning(&format!("{}: {reason}", path.display()));
            audit.write(Record { event: "audit-torn".into(), reason: Some(reason), ..Record::default() })?;
        }
        Ok(audit)
    }

    /// Writes a record; `version`, `seq`, `previous` and `at_ms` are set here.
    ///
    /// # Errors
    /// When it could not be written, or could not be synced and was to be at once: then what it is
    /// about must not happen.
    pub async fn append(&self, record: Record, durability: Durability) -> io::Result<()> {
        self.write(record)?;
        match durability {
            Durability::Now => self.sync().await,
            Durability::Later => {
                self.unsynced.set(true);
                self.written.notify_one();
                Ok(())
            }
        }
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

    /// Digest of the last line, to be kept elsewhere.
    #[must_use]
    pub fn head(&self) -> String {
        self.end.borrow().chain.head().to_owned()
    }

    async fn sync(&self) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        let synced =
            tokio::task::spawn_blocking(move || file.sync_data()).await.map_err(io::Error::other).flatten();
        if let Err(error) = &synced {
            // The kernel forgets what it could not write: a later sync would say nothing of it.
            self.end.borrow_mut().broken = Some(error.to_string());
        }
        synced
    }

    fn write(&self, mut record: Record) -> io::Result<()> {
        let mut end = self.end.borrow_mut();
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
        Ok(())
    }
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
