//! The SQLite database: what survives a restart. One thread owns the connection.

mod migrations;
pub(crate) mod push;
pub(crate) mod tables;

use countersign_files::{FileFault, Links, Owner, beside};
use rusqlite::{Connection, ErrorCode};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How long a statement waits for another program's lock.
const BUSY: Duration = Duration::from_secs(5);
/// What SQLite puts beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];
/// How long work may wait for its turn. Less than [`BUSY`]: while another program has the lock, what waits
/// behind one piece of work is refused with it, and not after it.
const TURN: Duration = Duration::from_secs(3);
/// Calls that wait for the database at most; more wait in their own request.
const QUEUE: usize = 256;

/// What is wrong with the database, in one plain line that names the file.
#[derive(Debug, thiserror::Error)]
#[error("database {path}: {why}", path = .path.display())]
pub(crate) struct StoreError {
    path: PathBuf,
    why: String,
}

impl StoreError {
    fn new(path: &Path, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), why: why.into() }
    }

    pub(crate) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let known = error.sqlite_error_code().and_then(|code| match code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                Some("another program keeps it locked; end that program and try again")
            }
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
                Some("it cannot be written; check who owns it and its directory, and how its file system is mounted")
            }
            ErrorCode::DiskFull => Some("the disk is full; make room, nothing that was confirmed is lost"),
            ErrorCode::DatabaseCorrupt => Some(
                "it is damaged; restore it from a backup, or move it away (hosts and devices then have to join again)",
            ),
            ErrorCode::NotADatabase => Some("it is not an SQLite database; was the right file named?"),
            ErrorCode::CannotOpen => {
                Some("it cannot be opened; does its directory exist, and may this user write there?")
            }
            ErrorCode::SystemIoFailure => Some("the disk gives errors; see the kernel's log"),
            _ => None,
        });
        let text = error.to_string();
        Self::new(path, known.map_or(text.clone(), |known| format!("{known} ({text})")))
    }
}

/// Who may own what is kept at a path, beside root: the user that this runs as. Root's `token` command
/// works on the database of the server's user, whose directory it is.
pub(crate) fn keeper(path: &Path) -> Owner {
    let own = Owner::own();
    let directory = path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."));
    match std::fs::metadata(directory) {
        Ok(data) if own == Owner(0) => Owner(data.uid()),
        _ => own,
    }
}

/// Makes the database's file with mode 0600 if there is none, and looks at what SQLite will open: it
/// would wait for ever for what is a pipe. Only for a process that has no connection to it yet: to
/// close any of these files takes from SQLite the locks that tell others that it is at work.
fn prepare(path: &Path) -> Result<(), StoreError> {
    let is_new = !path.exists();
    let database = open_for_writing(path, path).map_err(|why| StoreError::new(path, why))?;
    // To SQLite a file of one byte is empty, too.
    if !is_new && database.metadata().is_ok_and(|data| data.len() <= 1) {
        tracing::warn!("database {}: it was empty; a new one begins in it", path.display());
    }
    for suffix in BESIDE {
        let file = beside(path, suffix);
        match countersign_files::open(&file, keeper(path), Links::Refused, OpenOptions::new().read(true)) {
            Ok(_) | Err(FileFault::Missing) => {}
            Err(fault) => return Err(StoreError::new(path, format!("{}: {fault}", file.display()))),
        }
    }
    Ok(())
}

/// Opens a file of ours, which is made if it does not exist.
fn open_for_writing(path: &Path, database: &Path) -> Result<File, String> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    countersign_files::open(path, keeper(database), Links::Refused, &mut options).map_err(|fault| match fault
    {
        FileFault::Unreadable(user) => {
            format!("user {user}, as whom this runs, may not write it; check who owns it and its directory")
        }
        FileFault::Missing => "its directory does not exist: a first start of the service makes it (systemctl enable --now countersign-server); or name another file".to_owned(),
        FileFault::Io(error) => format!("it cannot be opened for writing: {error}"),
        fault => fault.to_string(),
    })
}

/// Opens the database, made if it does not exist, and brings its schema up to date. Once in a process.
pub(crate) fn connect(path: &Path) -> Result<Connection, StoreError> {
    prepare(path)?;
    open(path)
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let sqlite = |error: rusqlite::Error| StoreError::sqlite(path, &error);
    let mut conn = Connection::open(path).map_err(sqlite)?;
    conn.busy_timeout(BUSY).map_err(sqlite)?;
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(sqlite)?;
    // What was acknowledged survives a power cut, too.
    conn.pragma_update(None, "synchronous", "FULL").map_err(sqlite)?;
    conn.pragma_update(None, "foreign_keys", true).map_err(sqlite)?;
    migrations::MIGRATIONS.to_latest(&mut conn).map_err(|error| match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => StoreError::sqlite(path, &err),
        rusqlite_migration::Error::MigrationDefinition(
            rusqlite_migration::MigrationDefinitionError::DatabaseTooFarAhead,
        ) => StoreError::new(
            path,
            "a newer countersign-server has used it; install that version or a newer one",
        ),
        other => StoreError::new(path, other.to_string()),
    })?;
    Ok(conn)
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The running server's database.
pub(crate) struct Store {
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
}

/// The thread that owns the connection, and the lock on the database. Ends when the last [`Store`]
/// is gone.
pub(crate) struct StoreThread {
    thread: JoinHandle<()>,
    _lock: File,
}

impl StoreThread {
    /// Waits until everything that was asked for is written.
    pub(crate) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the database thread has failed");
        }
    }
}

impl Store {
    /// Opens the database for a server: alone, after a check of its structure.
    pub(crate) fn open(path: &Path) -> Result<(Self, StoreThread, Connection), StoreError> {
        let lock = lock(path)?;
        let reader = connect(path)?;
        let check: String = reader
            .pragma_query_value(None, "quick_check", |row| row.get(0))
            .map_err(|error| StoreError::sqlite(path, &error))?;
        if check != "ok" {
            let first = check.lines().next().unwrap_or_default();
            return Err(StoreError::new(
                path,
                format!("it is damaged ({first}); restore it from a backup, or move it away"),
            ));
        }
        let mut conn = open(path)?;
        // A database that cannot be written is noticed now, not at the first host that joins.
        conn.execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(|error| StoreError::sqlite(path, &error))?;
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let thread = std::thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut conn);
                }
            })
            .map_err(|error| StoreError::new(path, format!("no thread for it: {error}")))?;
        Ok((Self { path: path.to_owned(), jobs }, StoreThread { thread, _lock: lock }, reader))
    }

    /// Runs a piece of work on the database's thread.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        let asked = Instant::now();
        let job: Job = Box::new(move |conn| {
            // Whoever has gone was told nothing, and need not be waited for when the server stops.
            if !answer.is_closed() {
                let done = (asked.elapsed() <= TURN).then(|| work(conn));
                let _ = answer.send(done);
            }
        });
        let gone = || StoreError::new(&self.path, "its thread has ended; restart the server");
        self.jobs.send(job).await.map_err(|_| gone())?;
        match wait.await.map_err(|_| gone())? {
            Some(done) => done.map_err(|error| StoreError::sqlite(&self.path, &error)),
            None => Err(StoreError::new(
                &self.path,
                "it is too busy; does another program lock it, or is its disk slow?",
            )),
        }
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        self.run(|conn| conn.query_row("SELECT 1 FROM join_tokens UNION SELECT 1", (), |_| Ok(()))).await
    }
}

/// Two servers on one database would each hold half of the messages.
fn lock(path: &Path) -> Result<File, StoreError> {
    let lock_path = beside(path, "-lock");
    let fail = |why: String| StoreError::new(path, format!("its lock file {}: {why}", lock_path.display()));
    let file = open_for_writing(&lock_path, path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::new(path, "another countersign-server uses it; stop that one first"))
        }
        Err(TryLockError::Error(error)) => Err(fail(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        match Store::open(path) {
            Ok(_) => panic!("opened"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn faults_name_the_file_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none/x.db");
        assert!(refusal(&missing).contains("none/x.db"));

        let other = dir.path().join("text.db");
        std::fs::write(&other, "no database at all, but long enough to be one".repeat(100)).unwrap();
        assert!(refusal(&other).contains("not an SQLite database"), "{}", refusal(&other));

        let newer = dir.path().join("newer.db");
        connect(&newer).unwrap().pragma_update(None, "user_version", 1000).unwrap();
        assert!(refusal(&newer).contains("newer countersign-server"), "{}", refusal(&newer));
    }

    #[test]
    fn damage_is_found_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let conn = connect(&path).unwrap();
        for n in 0..2000 {
            conn.execute("INSERT INTO join_tokens VALUES (randomblob(32), ?1, NULL)", [n]).unwrap();
        }
        conn.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())).unwrap();
        drop(conn);
        let mut bytes = std::fs::read(&path).unwrap();
        let half = bytes.len() / 2;
        bytes[half..half + 8192].fill(0xa5);
        std::fs::write(&path, bytes).unwrap();
        assert!(refusal(&path).contains("it is damaged"), "{}", refusal(&path));
    }

    #[test]
    fn one_server_a_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let (store, thread, _reader) = Store::open(&path).unwrap();
        assert!(refusal(&path).contains("another countersign-server"));
        assert!(connect(&path).is_ok(), "the token command works beside it");
        drop(store);
        thread.join();
        assert!(Store::open(&path).is_ok());
    }

    #[tokio::test]
    async fn a_full_disk_loses_nothing_that_was_confirmed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let (store, thread, _reader) = Store::open(&path).unwrap();
        let limit = |conn: &mut Connection, pages: u32| {
            conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
        };
        store.run(move |conn| limit(conn, 1)).await.unwrap();
        let mut confirmed = 0;
        let error = loop {
            let add = |conn: &mut Connection| {
                conn.execute("INSERT INTO join_tokens VALUES (randomblob(32), 0, NULL)", ())
            };
            match store.run(add).await {
                Ok(_) => confirmed += 1,
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("the disk is full") && error.contains("a.db"), "{error}");
        drop(store);
        thread.join();
        let kept: u32 = connect(&path)
            .unwrap()
            .query_row("SELECT count(*) FROM join_tokens", (), |row| row.get(0))
            .unwrap();
        assert_eq!(kept, confirmed);
    }
}
