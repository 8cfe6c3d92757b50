//! A journal in memory, with the same rules as the real one, and with the troubles of a disk on request: for tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fold::RunFold;
use super::{Journal, JournalError, JournalErrorKind, RunSummary, rules, trouble};
use crate::model::event::{Event, Record};
use crate::model::id::RunId;
use crate::model::outcome::Failure;

/// A journal in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryJournal {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// In the order in which they began.
    runs: Vec<Run>,
    fault: Option<Fault>,
    appends: u64,
}

struct Run {
    id: RunId,
    records: Vec<Record>,
    /// How many of the records were known to be durable.
    durable: usize,
    fold: RunFold,
}

enum Fault {
    /// Appends left until the disk is full.
    FailAfter(u64),
    /// Records left until death.
    CrashAfter(u64),
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next `n` appends succeed, those after them fail whole, as on a full disk, until [`MemoryJournal::heal`].
    pub fn fail_after(&self, n: u64) {
        self.lock().fault = Some(Fault::FailAfter(n));
    }

    /// Dies after `n` more records: exactly those are kept, even when an append is cut in two by it, and from then on
    /// everything is lost and every append fails, until [`MemoryJournal::heal`].
    pub fn crash_after(&self, n: u64) {
        self.lock().fault = Some(Fault::CrashAfter(n));
    }

    /// Takes [`MemoryJournal::fail_after`] and [`MemoryJournal::crash_after`] back.
    pub fn heal(&self) {
        self.lock().fault = None;
    }

    /// What a power cut may do: records after the last durable append of each run are gone.
    pub fn lose_what_is_not_durable(&self) {
        let mut state = self.lock();
        for run in &mut state.runs {
            run.records.truncate(run.durable);
            run.fold = RunFold::of(&run.records).unwrap_or_default();
        }
        state.runs.retain(|run| !run.records.is_empty());
    }

    /// How many appends were acknowledged.
    pub fn appends(&self) -> u64 {
        self.lock().appends
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn append(&self, run: &RunId, records: &[Record], durable: bool) -> Result<(), JournalError> {
        for record in records {
            rules::admit(run, record)?;
        }
        let mut state = self.lock();
        let (kept, result) = match &mut state.fault {
            Some(Fault::FailAfter(0)) => return Err(trouble_on_request()),
            Some(Fault::FailAfter(left)) => {
                *left -= 1;
                (records, Ok(()))
            }
            Some(Fault::CrashAfter(left)) => {
                let n = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(records.len());
                *left -= n as u64;
                let kept = records.get(..n).unwrap_or(records);
                let whole = n == records.len() && !(n == 0 && *left == 0);
                (
                    kept,
                    if whole {
                        Ok(())
                    } else {
                        Err(trouble_on_request())
                    },
                )
            }
            None => (records, Ok(())),
        };
        state.write(run, kept, durable)?;
        if result.is_ok() {
            state.appends += 1;
        }
        result
    }

    fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        Ok(self.lock().summaries())
    }

    fn read(&self, run: &RunId) -> Result<Vec<Record>, JournalError> {
        let state = self.lock();
        let found = state.runs.iter().find(|known| known.id == *run);
        found
            .map(|run| run.records.clone())
            .ok_or_else(|| trouble::no_such_run(run))
    }

    fn prune(&self, keep: usize) -> Result<Vec<RunId>, JournalError> {
        let mut state = self.lock();
        let gone = rules::prunable(&state.summaries(), keep);
        state.runs.retain(|run| !gone.contains(&run.id));
        Ok(gone)
    }
}

impl State {
    fn write(&mut self, id: &RunId, records: &[Record], durable: bool) -> Result<(), JournalError> {
        let at = self.runs.iter().position(|run| run.id == *id);
        match at.and_then(|at| self.runs.get_mut(at)) {
            Some(run) => run.extend(records)?,
            None => {
                let mut run = Run {
                    id: id.clone(),
                    records: Vec::new(),
                    durable: 0,
                    fold: RunFold::new(),
                };
                run.extend(records)?;
                if !run.records.is_empty() {
                    self.runs.push(run);
                }
            }
        }
        if durable {
            // A commit takes all that was queued before it.
            for run in &mut self.runs {
                run.durable = run.records.len();
            }
        }
        Ok(())
    }

    fn summaries(&self) -> Vec<RunSummary> {
        let mut resumed_by: HashMap<&RunId, &RunId> = HashMap::new();
        let mut runs = Vec::new();
        for run in self.runs.iter().rev() {
            let Some(first) = run.records.first() else {
                continue;
            };
            let Event::RunStarted(started) = &first.event else {
                continue;
            };
            if let Some(resumed) = &started.resumes {
                resumed_by.entry(resumed).or_insert(&run.id);
            }
            let last = run.records.last();
            let last = last.filter(|r| matches!(r.event, Event::RunFinished { .. }));
            runs.push(RunSummary {
                started: (**started).clone(),
                at_ms: first.at_ms,
                finished: last.cloned(),
                resumed_by: resumed_by.get(&run.id).map(|id| (*id).clone()),
            });
        }
        runs
    }
}

impl Run {
    fn extend(&mut self, records: &[Record]) -> Result<(), JournalError> {
        for record in records {
            if let Err(why) = self.fold.apply(record) {
                self.fold = RunFold::of(&self.records).unwrap_or_default();
                return Err(trouble::illegal(&self.id, why));
            }
        }
        self.records.extend_from_slice(records);
        Ok(())
    }
}

fn trouble_on_request() -> JournalError {
    let failure = Failure::new("cannot write to the journal: trouble on request")
        .hint("this is a test's doing");
    JournalError::new(JournalErrorKind::Io, failure)
}
