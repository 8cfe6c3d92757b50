//! What was appended and is not committed yet: a queue, who waits for what, and what a commit's outcome means for each.
//! No thread, no file: `writer` has those.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::fold::RunFold;
use super::{JournalError, JournalErrorKind, rules, trouble};
use crate::model::event::{Event, Record};
use crate::model::id::RunId;

#[derive(Default)]
pub(super) struct State {
    /// What is not committed, in order; an item stays while its commit is under way.
    pub(super) queue: VecDeque<Arc<Item>>,
    pub(super) queued_bytes: usize,
    next_ticket: u64,
    /// Somebody waits for a commit.
    pub(super) urgent: bool,
    /// How many commits began and were tried to their end.
    pub(super) begun: u64,
    pub(super) ended: u64,
    /// Why the last commit failed, while acknowledged records wait to be written.
    pub(super) stuck: Option<JournalError>,
    /// Runs of which acknowledged records had to be dropped, told at their next append.
    pub(super) lost: HashMap<RunId, JournalError>,
    pub(super) answers: HashMap<u64, Result<(), JournalError>>,
    /// Runs that were appended to, with what is queued.
    pub(super) folds: HashMap<RunId, RunFold>,
    pub(super) closing: bool,
    /// Closing tries once more what could not be written, and only once.
    pub(super) last_try: bool,
    pub(super) gone: bool,
}

pub(super) struct Item {
    pub(super) ticket: u64,
    pub(super) run: RunId,
    pub(super) rows: Vec<Row>,
    /// Whether its caller waits for the commit.
    waits: bool,
}

/// A record as it is stored.
pub(super) struct Row {
    pub(super) seq: i64,
    pub(super) at_ms: i64,
    pub(super) body: String,
    /// For a run's first record: the run it resumes.
    pub(super) begins: Option<Option<RunId>>,
    pub(super) record: Record,
}

impl State {
    pub(super) fn push(&mut self, run: &RunId, rows: Vec<Row>, waits: bool) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.queued_bytes += rows.iter().map(|row| row.body.len()).sum::<usize>();
        self.queue.push_back(Arc::new(Item {
            ticket,
            run: run.clone(),
            rows,
            waits,
        }));
        ticket
    }

    /// Nothing may follow a run's end, so its fold need not be kept: should somebody try, it is read again.
    pub(super) fn keep_fold(&mut self, run: &RunId, fold: RunFold) {
        let begun = fold.next_seq() > 0;
        if begun && fold.finished().is_none() {
            self.folds.insert(run.clone(), fold);
        }
    }

    /// Takes the outcome of a commit of the first `n` items.
    pub(super) fn settle(&mut self, n: usize, result: Result<(), JournalError>) {
        let tried: Vec<_> = self.queue.drain(..n.min(self.queue.len())).collect();
        let rest = std::mem::take(&mut self.queue);
        self.stuck = None;
        let mut dropped: Vec<RunId> = Vec::new();
        for item in tried {
            match &result {
                Ok(()) => self.answer(&item, Ok(())),
                Err(error) if !refuses_one(error) && !item.waits => {
                    if dropped.contains(&item.run) {
                        self.lost.insert(item.run.clone(), error.again());
                    } else {
                        self.stuck = Some(error.again());
                        self.queue.push_back(item);
                    }
                }
                Err(error) => {
                    dropped.push(item.run.clone());
                    if !item.waits {
                        self.lost.insert(item.run.clone(), error.again());
                    }
                    self.answer(&item, Err(error.again()));
                }
            }
        }
        self.settle_rest(rest, &dropped, &result);
        self.queued_bytes = self.queue.iter().map(|item| item.bytes()).sum();
    }

    /// What was appended meanwhile, after records that are no more, cannot be written either.
    fn settle_rest(
        &mut self,
        rest: VecDeque<Arc<Item>>,
        dropped: &[RunId],
        result: &Result<(), JournalError>,
    ) {
        for item in rest {
            match result {
                Err(error) if dropped.contains(&item.run) => {
                    if !item.waits {
                        self.lost.insert(item.run.clone(), error.again());
                    }
                    self.answer(&item, Err(error.again()));
                }
                _ => self.queue.push_back(item),
            }
        }
        for run in dropped {
            self.folds.remove(run);
        }
    }

    pub(super) fn up_to(&self, last: u64) -> usize {
        self.queue
            .iter()
            .take_while(|item| item.ticket <= last)
            .count()
    }

    fn answer(&mut self, item: &Item, answer: Result<(), JournalError>) {
        if item.waits {
            self.answers.insert(item.ticket, answer);
        }
    }
}

impl Item {
    fn bytes(&self) -> usize {
        self.rows.iter().map(|row| row.body.len()).sum()
    }
}

impl Row {
    pub(super) fn new(run: &RunId, record: &Record) -> Result<Self, JournalError> {
        rules::admit(run, record)?;
        let begins = match &record.event {
            Event::RunStarted(started) => Some(started.resumes.clone()),
            _ => None,
        };
        let seq = i64::try_from(record.seq).map_err(|e| trouble::illegal(run, e))?;
        let body = serde_json::to_string(&record.event).map_err(|e| trouble::illegal(run, e))?;
        Ok(Self {
            seq,
            at_ms: record.at_ms,
            body,
            begins,
            record: record.clone(),
        })
    }
}

/// Whether the error is about one item rather than about the journal.
pub(super) fn refuses_one(error: &JournalError) -> bool {
    error.kind == JournalErrorKind::Illegal
}
