//! The journal as an SQLite file: appending, reading, pruning. Opening is in `opening`, the thread that writes in
//! `writer`, the tables in `migrations`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Row, Transaction, TransactionBehavior};

use super::writer::Writer;
use super::{Journal, JournalError, RunSummary, opening, rules, trouble};
use crate::model::event::{EVENT_VERSION, Event, Record};
use crate::model::id::RunId;

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
        let (reading, conn) = opening::open(path)?;
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
        let Some(reading) = opening::open_to_read(path)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            path: path.to_owned(),
            reader: Arc::new(Reader::new(path, reading)),
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
        let mut conn = opening::for_writing(&self.path)?;
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
