//! The `Journal` seam: an append-only record of runs. History and intent, never the truth about a target: resume reads
//! every fact again. Two implementations: `sqlite` and `memory`; `tests/seam_contract_journal.rs` holds both to the same
//! cases. What records may follow each other is the table in `fold`.

mod files;
pub mod fold;
pub mod local_lock;
#[doc(hidden)]
pub mod memory;
mod migrations;
mod opening;
mod queue;
mod rules;
pub mod sqlite;
pub mod state_dir;
mod trouble;
mod writer;

use crate::model::event::{Record, RunStarted};
use crate::model::id::RunId;
use crate::model::outcome::Failure;

/// The record of runs. Calls block; the runner makes them from a thread of its own.
pub trait Journal: Send + Sync {
    /// Appends records of one run, all or none, in order; their `seq` must go on where the run's last one ended. The
    /// first record of a run is [`RunStarted`]. With `durable` it returns only when they would survive a power cut.
    fn append(&self, run: &RunId, records: &[Record], durable: bool) -> Result<(), JournalError>;

    /// All runs, newest first.
    fn runs(&self) -> Result<Vec<RunSummary>, JournalError>;

    /// All records of a run, in order.
    fn read(&self, run: &RunId) -> Result<Vec<Record>, JournalError>;

    /// Removes all but the newest `keep` ended runs (never one that has not ended and is not superseded by a resume,
    /// nor those that such a one goes on with); returns those removed.
    fn prune(&self, keep: usize) -> Result<Vec<RunId>, JournalError>;
}

/// A run in a list.
#[derive(Clone, PartialEq, Debug)]
pub struct RunSummary {
    /// How it began.
    pub started: RunStarted,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Its last event, where it ended by itself.
    pub finished: Option<Record>,
    /// The run that went on with it, where one did.
    pub resumed_by: Option<RunId>,
}

/// The journal cannot be used. Nothing new may start.
#[derive(Debug, thiserror::Error)]
#[error("{}", failure.message)]
pub struct JournalError {
    /// What sort of trouble.
    pub kind: JournalErrorKind,
    /// For people: what happened, what to do.
    pub failure: Failure,
}

/// Sorts of trouble with a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JournalErrorKind {
    /// Disk full, read-only, permission.
    Io,
    /// Written by a later version.
    Newer,
    /// It is not a journal, or broken beyond its own recovery.
    Corrupt,
    /// An illegal append: a gap in `seq`, an event after the last, an unknown run.
    Illegal,
    /// No such run.
    NoSuchRun,
}
