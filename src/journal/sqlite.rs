//! The journal as an SQLite file: opening and checking it, reading, pruning. Writing is in `writer`, the tables in
//! `migrations`.
//!
//! A write-ahead log with `synchronous=FULL`: a commit that returned survives a power cut, and a torn tail is cut off
//! by SQLite's own recovery at the last whole commit. What recovery cannot mend is refused as corrupt; after an unclean
//! end the file is checked as a whole, unless it is so big that this would delay every `resume` (then damage shows
//! where it is read). Not on network file systems: SQLite needs shared memory beside the file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior};

use super::migrations::{self, MIGRATIONS};
use super::writer::Writer;
use super::{Journal, JournalError, JournalErrorKind, RunSummary, files, rules, trouble};
use crate::model::event::{EVENT_VERSION, Event, Record};
use crate::model::id::RunId;

/// How long to wait for another process (another run's commit takes milliseconds).
const BUSY: Duration = Duration::from_secs(10);

/// Up to this size a file is checked as a whole after an unclean end (tens of milliseconds).
const CHECKED_UP_TO: u64 = 64 << 20;

/// The write-ahead log is cut back to this size when it is started over.
const LOG_LIMIT: i64 = 4 << 20;

/// A journal in a file.
pub struct SqliteJournal {
    path: PathBuf,
    // Before `writer`: the last connection to close must be one that may write, so that it tidies up the log.
    reader: Arc<Reader>,
    writer: Option<Writer>,
}

struct Reader {
    path: PathBuf,
    conn: Mutex<Option<Connection>>,
}

impl SqliteJournal {
    /// Opens the journal for appending, making it (mode 0600) where there is none. Its folder must exist.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let log =
            files::look(&beside(path, "-wal")).map_err(|e| trouble::of_io(path, "open", &e))?;
        let log = log.map_or(0, |found| found.len());
        match files::look(path).map_err(|e| trouble::of_io(path, "open", &e))? {
            None if log > 0 => return Err(orphaned_log(path)),
            None => create(path)?,
            Some(found) => {
                refuse_strangers(path)?;
                tighten(path, found.permissions())?;
            }
        }
        // First, because it would refuse a later version in the log without even tidying up.
        let reading = open_for_reading(path)?;
        let mut conn = open_for_writing(path)?;
        migrations::migrate(&mut conn, MIGRATIONS)
            .map_err(|e| trouble::of_sqlite(path, "migrate", &e))?;
        if log > 0 {
            check_whole(path, &conn)?;
        }
        let reader = Arc::new(Reader::new(path, reading));
        let theirs = Arc::clone(&reader);
        let load = Box::new(move |run: &RunId| theirs.records(run));
        Ok(Self {
            path: path.to_owned(),
            reader,
            writer: Some(Writer::start(path, conn, load)?),
        })
    }

    /// Opens the journal for reading only, also from read-only media; `None` where there is no journal yet.
    pub fn open_to_read(path: &Path) -> Result<Option<Self>, JournalError> {
        let found = files::look(path).map_err(|e| trouble::of_io(path, "open", &e))?;
        if found.is_none() {
            return Ok(None);
        }
        refuse_strangers(path)?;
        Ok(Some(Self {
            path: path.to_owned(),
            reader: Arc::new(Reader::new(path, open_for_reading(path)?)),
            writer: None,
        }))
    }

    /// Writes what was appended and closes the file; an error if something that was acknowledged could not be written.
    /// Dropping does the same and has nobody to tell.
    pub fn close(self) -> Result<(), JournalError> {
        self.shut()
    }

    fn shut(&self) -> Result<(), JournalError> {
        let lock = self.reader.conn.lock();
        drop(lock.unwrap_or_else(PoisonError::into_inner).take());
        self.writer.as_ref().map_or(Ok(()), Writer::close)
    }

    fn writer(&self) -> Result<&Writer, JournalError> {
        self.writer.as_ref().ok_or_else(|| {
            let error = std::io::Error::other("it was opened for reading only");
            trouble::of_io(&self.path, "write to", &error)
        })
    }

    fn flush(&self) -> Result<(), JournalError> {
        self.writer.as_ref().map_or(Ok(()), Writer::flush)
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        drop(self.shut());
    }
}

impl Journal for SqliteJournal {
    fn append(&self, run: &RunId, records: &[Record], durable: bool) -> Result<(), JournalError> {
        self.writer()?.append(run, records, durable)
    }

    fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        self.flush()?;
        self.reader.with(|tx| summaries(&self.path, tx))
    }

    fn read(&self, run: &RunId) -> Result<Vec<Record>, JournalError> {
        self.flush()?;
        self.reader.records(run)
    }

    fn prune(&self, keep: usize) -> Result<Vec<RunId>, JournalError> {
        let writer = self.writer()?;
        writer.flush()?;
        let failed = |e: rusqlite::Error| trouble::of_sqlite(&self.path, "prune", &e);
        let mut conn = open_for_writing(&self.path)?;
        // What may go is found in the same transaction: a resume that begins meanwhile keeps its ancestors.
        let tx = conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let gone = rules::prunable(&summaries(&self.path, &tx)?, keep);
        for run in &gone {
            tx.execute("DELETE FROM run WHERE id = ?1", [run.as_str()])
                .map_err(failed)?;
        }
        tx.commit().map_err(failed)?;
        conn.execute_batch("PRAGMA incremental_vacuum")
            .map_err(failed)?;
        writer.forget(&gone);
        Ok(gone)
    }
}

impl Reader {
    fn new(path: &Path, conn: Connection) -> Self {
        Self {
            path: path.to_owned(),
            conn: Mutex::new(Some(conn)),
        }
    }

    /// Reads from one state of the journal.
    fn with<T>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let mut conn = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(conn) = conn.as_mut() else {
            let error = std::io::Error::other("it is closed");
            return Err(trouble::of_io(&self.path, "read", &error));
        };
        let tx = conn.transaction();
        read(&tx.map_err(|e| trouble::of_sqlite(&self.path, "read", &e))?)
    }

    fn records(&self, run: &RunId) -> Result<Vec<Record>, JournalError> {
        let failed = |e: rusqlite::Error| trouble::of_sqlite(&self.path, "read", &e);
        let rows: Vec<RawRecord> = self.with(|tx| {
            let sql = "SELECT seq, at_ms, version, body FROM event
                       WHERE run = (SELECT n FROM run WHERE id = ?1) ORDER BY seq";
            let mut query = tx.prepare_cached(sql).map_err(failed)?;
            let rows = query.query_map([run.as_str()], |row| RawRecord::at(row, 0));
            let rows = rows.and_then(Iterator::collect);
            rows.map_err(failed)
        })?;
        if rows.is_empty() {
            return Err(trouble::no_such_run(run));
        }
        rows.into_iter()
            .map(|raw| raw.record(&self.path, run))
            .collect()
    }
}

/// A row of the table of events.
struct RawRecord {
    seq: i64,
    at_ms: i64,
    version: u32,
    body: String,
}

impl RawRecord {
    fn at(row: &Row<'_>, column: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(column)?,
            at_ms: row.get(column + 1)?,
            version: row.get(column + 2)?,
            body: row.get(column + 3)?,
        })
    }

    /// A type that this version does not know, and any event of a later version that it cannot read, is
    /// [`Event::Other`]; an unreadable one of a version it knows is damage.
    fn record(&self, path: &Path, run: &RunId) -> Result<Record, JournalError> {
        let damaged = |what: &dyn std::fmt::Display| {
            trouble::corrupt(path, &format!("record {} of run {run}: {what}", self.seq))
        };
        let event = match serde_json::from_str(&self.body) {
            Ok(event) => event,
            Err(_) if self.version > EVENT_VERSION => Event::Other,
            Err(e) => return Err(damaged(&e)),
        };
        Ok(Record {
            seq: u64::try_from(self.seq).map_err(|e| damaged(&e))?,
            at_ms: self.at_ms,
            event,
        })
    }
}

fn summaries(path: &Path, conn: &Connection) -> Result<Vec<RunSummary>, JournalError> {
    let failed = |e: rusqlite::Error| trouble::of_sqlite(path, "read", &e);
    let sql = "SELECT run.id,
                      (SELECT later.id FROM run later WHERE later.resumes = run.id ORDER BY later.n DESC LIMIT 1),
                      first.seq, first.at_ms, first.version, first.body,
                      last.seq, last.at_ms, last.version, last.body
               FROM run
               LEFT JOIN event first ON first.run = run.n AND first.seq = 0
               LEFT JOIN event last ON last.run = run.n
                    AND last.seq = (SELECT max(seq) FROM event WHERE event.run = run.n)
               ORDER BY run.n DESC";
    let mut query = conn.prepare(sql).map_err(failed)?;
    let mut rows = query.query([]).map_err(failed)?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let id = RunId::new(row.get::<_, String>(0).map_err(failed)?);
        let resumed_by: Option<String> = row.get(1).map_err(failed)?;
        let first = RawRecord::at(row, 2).map_err(|e| {
            trouble::corrupt(path, &format!("the start of run {id} is missing: {e}"))
        })?;
        let last = RawRecord::at(row, 6).map_err(failed)?.record(path, &id)?;
        let started = match first.record(path, &id)?.event {
            Event::RunStarted(started) => *started,
            _ if first.version > EVENT_VERSION => {
                let (theirs, ours) = (i64::from(first.version), i64::from(EVENT_VERSION));
                return Err(trouble::newer(
                    path,
                    &format!("(for run {id}) event"),
                    theirs,
                    ours,
                ));
            }
            _ => return Err(trouble::corrupt(path, &format!("run {id} has no start"))),
        };
        runs.push(RunSummary {
            started,
            at_ms: first.at_ms,
            finished: Some(last).filter(|r| matches!(r.event, Event::RunFinished { .. })),
            resumed_by: resumed_by.map(RunId::new),
        });
    }
    Ok(runs)
}

/// Makes an empty journal under a name of its own and gives it the right one when it is whole. So a journal that is
/// there but empty was damaged, and two that make one at once agree.
fn create(path: &Path) -> Result<(), JournalError> {
    let (file, new) = files::new_beside(path).map_err(|e| trouble::of_io(path, "make", &e))?;
    drop(file);
    let made = fill_new(path, &new)
        .and_then(|()| files::link_new(&new, path).map_err(|e| trouble::of_io(path, "make", &e)));
    for suffix in ["", "-wal", "-shm", "-journal"] {
        files::discard(&beside(&new, suffix));
    }
    made.map(|_| ())
}

fn fill_new(path: &Path, new: &Path) -> Result<(), JournalError> {
    let fill = || -> rusqlite::Result<()> {
        let mut conn = Connection::open_with_flags(new, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        migrations::migrate(&mut conn, MIGRATIONS)?;
        // The mode is kept in the file; set last, so that there is no log yet.
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        conn.close().map_err(|(_, e)| e)
    };
    fill().map_err(|e| trouble::of_sqlite(path, "make", &e))
}

fn open_for_writing(path: &Path) -> Result<Connection, JournalError> {
    let failed = |e: rusqlite::Error| trouble::of_sqlite(path, "open", &e);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(failed)?;
    conn.busy_timeout(BUSY).map_err(failed)?;
    migrations::check(path, &conn)?;
    conn.pragma_update(None, "synchronous", "FULL")
        .map_err(failed)?;
    conn.pragma_update(None, "foreign_keys", true)
        .map_err(failed)?;
    conn.pragma_update(None, "journal_size_limit", LOG_LIMIT)
        .map_err(failed)?;
    conn.pragma_update(None, "cell_size_check", true)
        .map_err(failed)?;
    let mode: String = conn
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(failed)?;
    if mode != "wal" {
        let why =
            format!("its file system allows no write-ahead log (mode {mode}); use a local disk");
        return Err(trouble::of_io(path, "open", &std::io::Error::other(why)));
    }
    Ok(conn)
}

fn open_for_reading(path: &Path) -> Result<Connection, JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = |name: &std::ffi::OsStr, flags| -> Result<Connection, JournalError> {
        let conn = Connection::open_with_flags(name, flags)
            .and_then(|conn| conn.busy_timeout(BUSY).map(|()| conn))
            .map_err(|e| trouble::of_sqlite(path, "open", &e))?;
        migrations::check(path, &conn).map(|()| conn)
    };
    let plain = open(path.as_os_str(), flags);
    // Where nothing can be written and no log is left, the main file alone is the whole journal.
    let alone = plain
        .as_ref()
        .is_err_and(|e| e.kind == JournalErrorKind::Io)
        && matches!(files::look(&beside(path, "-wal")), Ok(log) if log.as_ref().is_none_or(|l| l.len() == 0));
    if alone {
        let uri = migrations::immutable_uri(path);
        return open(&uri, flags | OpenFlags::SQLITE_OPEN_URI).or(plain);
    }
    plain
}

/// Newer and foreign files are refused before anything could touch them. Whatever else SQLite says here is left to the
/// proper opening: beside a writer, one look without a lock may see a file that is being changed.
fn refuse_strangers(path: &Path) -> Result<(), JournalError> {
    match migrations::check_untouched(path) {
        Err(e) if e.kind == JournalErrorKind::Newer => Err(e),
        _ => Ok(()),
    }
}

fn check_whole(path: &Path, conn: &Connection) -> Result<(), JournalError> {
    let size = files::look(path)
        .ok()
        .flatten()
        .map_or(0, |found| found.len());
    if size > CHECKED_UP_TO {
        return Ok(());
    }
    let verdict = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match verdict {
        Ok(ok) if ok == "ok" => Ok(()),
        Ok(damage) => Err(trouble::corrupt(path, &damage)),
        Err(e) => Err(trouble::of_sqlite(path, "check", &e)),
    }
}

/// An older version of the file, or a restored copy, may be readable by others.
fn tighten(path: &Path, found: Permissions) -> Result<(), JournalError> {
    if found.mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .map_err(|e| trouble::of_io(path, "protect", &e))
}

fn orphaned_log(path: &Path) -> JournalError {
    let log = beside(path, "-wal");
    let what = format!(
        "{} is there, but the journal it belongs to is not",
        log.display()
    );
    trouble::corrupt(path, &what)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
