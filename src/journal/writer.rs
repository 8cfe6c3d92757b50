//! The writing side of the SQLite journal: one thread, one connection, and a queue in front of it.
//!
//! Everything queued is written in one transaction with one fsync, so durable appends that come together share a commit,
//! and appends that need not be durable ride along with the next one, or are written after [`IDLE`]. A failed commit
//! writes nothing: those who wait are told and their records are taken out of the queue, as if never appended; records
//! that were acknowledged before stay queued and are tried again with the next append, which then always waits.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};

use super::fold::RunFold;
use super::queue::{Item, Row, State, refuses_one};
use super::{JournalError, JournalErrorKind, trouble};
use crate::model::event::{EVENT_VERSION, Record};
use crate::model::id::RunId;
use crate::model::outcome::Failure;

/// How long an append that need not be durable may stay unwritten while nothing else is appended.
const IDLE: Duration = Duration::from_millis(50);

/// With this many bytes queued, an append waits until they are written, durable or not.
const QUEUE_LIMIT: usize = 1 << 20;

/// How the writer reads what a run has already.
pub(super) type Load = Box<dyn Fn(&RunId) -> Result<Vec<Record>, JournalError> + Send + Sync>;

/// The queue and its thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    load: Load,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    /// There is something to write.
    work: Condvar,
    /// A commit was tried.
    tried: Condvar,
}

impl Writer {
    /// Starts the thread on this connection, which is set up already.
    pub(super) fn start(path: &Path, conn: Connection, load: Load) -> Result<Self, JournalError> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            state: Mutex::default(),
            work: Condvar::new(),
            tried: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || theirs.work_off(conn))
            .map_err(|e| trouble::of_io(path, "start a thread for", &e))?;
        Ok(Self {
            shared,
            load,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// See [`super::Journal::append`].
    pub(super) fn append(
        &self,
        run: &RunId,
        records: &[Record],
        durable: bool,
    ) -> Result<(), JournalError> {
        let rows = records.iter().map(|r| Row::new(run, r));
        let rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
        let mut state = self.shared.lock();
        if state.closing || state.gone {
            return Err(self.shared.is_gone());
        }
        if let Some(error) = state.lost.remove(run) {
            return Err(error);
        }
        self.advance(&mut state, run, &rows)?;
        let waits = durable || state.stuck.is_some() || state.queued_bytes > QUEUE_LIMIT;
        let ticket = state.push(run, rows, waits);
        if !waits {
            if state.queue.len() == 1 {
                self.shared.work.notify_one();
            }
            return Ok(());
        }
        state.urgent = true;
        self.shared.work.notify_one();
        loop {
            if let Some(answer) = state.answers.remove(&ticket) {
                return answer;
            }
            if state.gone {
                return Err(self.shared.is_gone());
            }
            state = wait(&self.shared.tried, state);
        }
    }

    /// Writes what is queued; an error if something that was acknowledged cannot be written now.
    pub(super) fn flush(&self) -> Result<(), JournalError> {
        let mut state = self.shared.lock();
        if state.queue.is_empty() {
            return Ok(());
        }
        // One that begins from now on takes all that is queued now.
        let enough = state.begun + 1;
        state.urgent = true;
        self.shared.work.notify_one();
        while state.ended < enough && !state.queue.is_empty() && !state.gone {
            state = wait(&self.shared.tried, state);
        }
        match &state.stuck {
            Some(error) => Err(error.again()),
            None if state.gone && !state.queue.is_empty() => Err(self.shared.is_gone()),
            None => Ok(()),
        }
    }

    /// Writes what is queued and ends the thread; an error if something that was acknowledged could not be written.
    pub(super) fn close(&self) -> Result<(), JournalError> {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let panicked = thread.is_some_and(|thread| thread.join().is_err());
        let mut state = self.shared.lock();
        if let Some((_, error)) = state.lost.drain().next() {
            return Err(error);
        }
        match state.stuck.take() {
            Some(error) => Err(error),
            None if panicked => Err(self.shared.is_gone()),
            None => Ok(()),
        }
    }

    /// Forgets what is known of these runs, which were removed.
    pub(super) fn forget(&self, runs: &[RunId]) {
        self.shared
            .lock()
            .folds
            .retain(|run, _| !runs.contains(run));
    }

    /// Checks the rows against the run's records so far, and counts them to these.
    fn advance(&self, state: &mut State, run: &RunId, rows: &[Row]) -> Result<(), JournalError> {
        let mut fold = match state.folds.remove(run) {
            Some(fold) => fold,
            None => self.fold_of(state, run)?,
        };
        for (done, row) in rows.iter().enumerate() {
            if let Err(why) = fold.apply(&row.record) {
                // None of them counts; one that counted already makes the fold to be built anew.
                if done == 0 {
                    state.keep_fold(run, fold);
                }
                return Err(trouble::illegal(run, why));
            }
        }
        state.keep_fold(run, fold);
        Ok(())
    }

    fn fold_of(&self, state: &State, run: &RunId) -> Result<RunFold, JournalError> {
        let mut fold = match (self.load)(run) {
            Ok(records) => RunFold::of(&records).map_err(|why| trouble::illegal(run, why))?,
            Err(e) if e.kind == JournalErrorKind::NoSuchRun => RunFold::new(),
            Err(e) => return Err(e),
        };
        let queued = state.queue.iter().filter(|item| item.run == *run);
        for row in queued.flat_map(|item| &item.rows) {
            // What was just committed may still be in the queue.
            if row.record.seq >= fold.next_seq() {
                fold.apply(&row.record)
                    .map_err(|why| trouble::illegal(run, why))?;
            }
        }
        Ok(fold)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_gone(&self) -> JournalError {
        let message = format!("the journal {} is closed", self.path.display());
        let hint = "this is a mistake in hmco-boot: report it; `hmco-boot resume` is safe";
        JournalError::new(JournalErrorKind::Io, Failure::new(message).hint(hint))
    }

    /// The thread: commits until it is told to close.
    fn work_off(&self, mut conn: Connection) {
        let _gone = Gone(self);
        while let Some(batch) = self.next_batch() {
            let result = commit(&self.path, &mut conn, &batch);
            match batch.last() {
                Some(last) if batch.len() > 1 && result.as_ref().is_err_and(refuses_one) => {
                    self.one_by_one(&mut conn, last.ticket);
                }
                _ => self.lock().settle(batch.len(), result),
            }
            self.lock().ended += 1;
            self.tried.notify_all();
        }
    }

    /// One item cannot be written; that is no reason to refuse the others up to `last`.
    fn one_by_one(&self, conn: &mut Connection, last: u64) {
        loop {
            let first = self.lock().queue.front().cloned();
            let Some(item) = first.filter(|item| item.ticket <= last) else {
                return;
            };
            let result = commit(&self.path, conn, std::slice::from_ref(&item));
            let stop = result.as_ref().is_err_and(|e| !refuses_one(e));
            let n = if stop { self.lock().up_to(last) } else { 1 };
            self.lock().settle(n, result);
            if stop {
                return;
            }
        }
    }

    /// Waits until there is something to write now; `None` when there is no more.
    fn next_batch(&self) -> Option<Vec<Arc<Item>>> {
        let mut state = self.lock();
        while !state.urgent && !state.closing {
            if state.queue.is_empty() || state.stuck.is_some() {
                state = wait(&self.work, state);
                continue;
            }
            let more_may_come = |state: &mut State| !state.urgent && !state.closing;
            let waited = self.work.wait_timeout_while(state, IDLE, more_may_come);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            break;
        }
        state.urgent = false;
        if state.closing && (state.queue.is_empty() || state.last_try) {
            return None;
        }
        state.last_try = state.closing;
        state.begun += 1;
        Some(state.queue.iter().cloned().collect())
    }
}

/// Writes all rows of these items, or none.
fn commit(path: &Path, conn: &mut Connection, items: &[Arc<Item>]) -> Result<(), JournalError> {
    if items.is_empty() {
        return Ok(());
    }
    let mut write = || -> rusqlite::Result<Option<RunId>> {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut begin = tx.prepare_cached("INSERT INTO run (id, resumes) VALUES (?1, ?2)")?;
        let mut insert = tx.prepare_cached(
            "INSERT INTO event (run, seq, at_ms, version, body) SELECT n, ?2, ?3, ?4, ?5 FROM run WHERE id = ?1",
        )?;
        for item in items {
            let run = item.run.as_str();
            for row in &item.rows {
                if let Some(resumes) = &row.begins {
                    begin.execute(params![run, resumes.as_ref().map(RunId::as_str)])?;
                }
                let values = params![run, row.seq, row.at_ms, EVENT_VERSION, row.body];
                if insert.execute(values)? != 1 {
                    return Ok(Some(item.run.clone()));
                }
            }
        }
        drop((begin, insert));
        tx.commit()?;
        Ok(None)
    };
    match write() {
        Ok(None) => Ok(()),
        Ok(Some(run)) => Err(trouble::illegal(
            &run,
            "the run is not in the journal any more",
        )),
        Err(e) => Err(trouble::of_sqlite(path, "write to", &e)),
    }
}

fn wait<'a>(condvar: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condvar.wait(state).unwrap_or_else(PoisonError::into_inner)
}

/// Tells all who wait that the thread is no more, however it ended.
struct Gone<'a>(&'a Shared);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.lock().gone = true;
        self.0.tried.notify_all();
    }
}
