//! The table of legal moves: what a run's records, in order, make of the run. Pure; journals check every append
//! against it, `resume` and `runs show` ask it. It never says what a target is like, only what was recorded.
//!
//! | record | legal when |
//! |---|---|
//! | any | its `seq` is the next one; the first is `RunStarted`, no other is; nothing follows `RunFinished`; a pair it names is one of the run's |
//! | `Locked` | no lock was refused before |
//! | `StepDecided`, `StepRetry`, `Checkpoint` | the pair has not finished (a retry of a running attempt names that attempt) |
//! | `StepStarted` | the run is locked; the pair's last decision found a difference; no attempt of it is running (a retry or a new decision ends one); the attempt counts up |
//! | `StepFinished` | the pair has not finished; `Changed` was started, or an earlier run's job was awaited on its target; `Unchanged` was not merely decided to differ; `Skipped` and `Blocked` were never started |
//! | `RunFinished` | no attempt is running; its counts are those of the pairs; exit code 0 only if all pairs ended well |

use std::collections::{BTreeMap, BTreeSet};

use crate::model::event::{CancelLevel, Event, Record, RunStarted};
use crate::model::id::{JobId, PairId, Target};
use crate::model::outcome::{ExitCode, Outcome};

/// What a run's records so far say.
#[derive(Clone, Debug, Default)]
pub struct RunFold {
    next_seq: u64,
    pairs: BTreeMap<PairId, Pair>,
    locked: bool,
    locked_on: Vec<Target>,
    refused: bool,
    /// Targets on which a job of an earlier run was awaited.
    awaited: BTreeSet<Target>,
    cancel: Option<CancelLevel>,
    finished: Option<ExitCode>,
}

/// Where a pair is, by the records.
#[derive(Clone, PartialEq, Debug)]
pub enum PairState {
    /// Nothing was recorded of it.
    NotStarted,
    /// It was compared with its target.
    Decided {
        /// Whether there was a difference.
        drift: bool,
    },
    /// An attempt began and its end was not recorded.
    Started {
        /// From 1.
        attempt: u32,
        /// The job on the target.
        job: JobId,
    },
    /// An attempt failed and another was to follow.
    Retrying {
        /// The attempt that failed.
        attempt: u32,
    },
    /// It ended.
    Finished(Outcome),
}

/// A record that may not follow those before it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("record {seq}: {why}")]
pub struct Illegal {
    /// The record's `seq`.
    pub seq: u64,
    /// Which rule it breaks.
    pub why: String,
}

#[derive(Clone, Debug)]
struct Pair {
    target: Target,
    state: PairState,
    drift: Option<bool>,
    attempt: u32,
    jobs: Vec<JobId>,
    checkpoints: BTreeMap<String, serde_json::Value>,
}

impl RunFold {
    /// Nothing recorded yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record; one that is illegal changes nothing.
    pub fn apply(&mut self, record: &Record) -> Result<(), Illegal> {
        self.take(record).map_err(|why| Illegal {
            seq: record.seq,
            why,
        })?;
        self.next_seq += 1;
        Ok(())
    }

    /// The fold of these records.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<Self, Illegal> {
        let mut fold = Self::new();
        for record in records {
            fold.apply(record)?;
        }
        Ok(fold)
    }

    /// The `seq` that the next record must have.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Where a pair is; `None` for one that is not of this run.
    pub fn pair(&self, id: PairId) -> Option<&PairState> {
        self.pairs.get(&id).map(|pair| &pair.state)
    }

    /// Pairs whose end was not recorded, in plan order.
    pub fn unfinished(&self) -> Vec<PairId> {
        let open = |(id, pair): (&PairId, &Pair)| (!pair.is_finished()).then_some(*id);
        self.pairs.iter().filter_map(open).collect()
    }

    /// Jobs that may still be on their targets, in plan order, each pair's in the order of its attempts: all of a pair
    /// that did not finish (a retry may have followed a lost connection, not the job's end), and those of a pair that
    /// finished as interrupted, unreachable or unknown, which says that nobody saw the end.
    pub fn interrupted_jobs(&self) -> Vec<(PairId, Target, JobId)> {
        let mut jobs = Vec::new();
        for (id, pair) in self.pairs.iter().filter(|(_, pair)| pair.end_is_unseen()) {
            for job in &pair.jobs {
                jobs.push((*id, pair.target.clone(), job.clone()));
            }
        }
        jobs
    }

    /// A pair's checkpoints by name, each as it was last recorded.
    pub fn checkpoints(&self, id: PairId) -> Option<&BTreeMap<String, serde_json::Value>> {
        self.pairs.get(&id).map(|pair| &pair.checkpoints)
    }

    /// Whether the run came to hold its locks; before that it changed nothing.
    pub fn locked(&self) -> bool {
        self.locked
    }

    /// The targets on which the run came to hold a lock.
    pub fn locked_on(&self) -> &[Target] {
        &self.locked_on
    }

    /// The hardest cancel that was asked for.
    pub fn cancel(&self) -> Option<CancelLevel> {
        self.cancel
    }

    /// How the run ended, where it ended by itself.
    pub fn finished(&self) -> Option<ExitCode> {
        self.finished
    }

    fn take(&mut self, record: &Record) -> Result<(), String> {
        if record.seq != self.next_seq {
            return Err(format!("the next one is {}", self.next_seq));
        }
        if self.finished.is_some() {
            return Err("the run has finished".into());
        }
        match &record.event {
            Event::RunStarted(started) if record.seq == 0 => return self.start(started),
            Event::RunStarted(_) => return Err("the run has started already".into()),
            _ if record.seq == 0 => return Err("the first record of a run is its start".into()),
            _ => {}
        }
        match &record.event {
            Event::Locked { .. } if self.refused => return Err("a lock was refused".into()),
            Event::Locked { targets } => {
                self.locked = true;
                self.locked_on.extend_from_slice(targets);
            }
            Event::LockRefused { .. } => self.refused = true,
            Event::CancelRequested { level } => self.cancel = self.cancel.max(Some(*level)),
            Event::LeftoverJob { target, .. } => drop(self.awaited.insert(target.clone())),
            Event::RunFinished { counts, exit, .. } => self.finish(counts, *exit)?,
            event => self.take_of_pair(event)?,
        }
        Ok(())
    }

    fn start(&mut self, started: &RunStarted) -> Result<(), String> {
        let mut pairs = BTreeMap::new();
        for info in &started.pairs {
            let pair = Pair::new(info.target.clone());
            if pairs.insert(info.id, pair).is_some() {
                return Err(format!("pair {} is listed twice", info.id));
            }
        }
        self.pairs = pairs;
        Ok(())
    }

    fn take_of_pair(&mut self, event: &Event) -> Result<(), String> {
        let Some(id) = pair_of(event) else {
            return Ok(());
        };
        let locked = self.locked;
        let pair = self.pairs.get_mut(&id);
        let pair = pair.ok_or_else(|| format!("pair {id} is not of this run"))?;
        let told = match event {
            // May arrive late or not at all, and say nothing about where the pair is.
            Event::StepOutput { .. } | Event::GateWaiting { .. } => Ok(()),
            _ if pair.is_finished() => Err("has finished".to_owned()),
            Event::StepStarted { .. } if !locked => Err("starts without a lock".to_owned()),
            Event::StepStarted { attempt, job, .. } => pair.start(*attempt, job),
            Event::StepDecided { diff, .. } => {
                pair.decide(diff.is_some());
                Ok(())
            }
            Event::StepRetry { attempt, .. } => pair.retry(*attempt),
            Event::StepFinished { outcome, .. } => {
                let awaited = self.awaited.contains(&pair.target);
                pair.finish(outcome, awaited)
            }
            Event::Checkpoint { name, data, .. } => {
                pair.checkpoints.insert(name.clone(), data.clone());
                Ok(())
            }
            _ => Ok(()),
        };
        told.map_err(|why| format!("pair {id} {why}"))
    }

    fn finish(&mut self, counts: &BTreeMap<String, u32>, exit: ExitCode) -> Result<(), String> {
        let mut ended: BTreeMap<&str, u32> = BTreeMap::new();
        let mut all_well = true;
        for (id, pair) in &self.pairs {
            match &pair.state {
                PairState::Finished(outcome) => {
                    *ended.entry(outcome.word()).or_default() += 1;
                    all_well &= outcome.satisfies();
                }
                PairState::Started { .. } => return Err(format!("pair {id} is still running")),
                _ => all_well = false,
            }
        }
        let said = counts.iter().filter(|(_, count)| **count > 0);
        if !said.map(|(word, n)| (word.as_str(), *n)).eq(ended) {
            return Err("its counts are not those of its pairs".into());
        }
        if exit == ExitCode::Done && !all_well {
            return Err("not every pair ended well, and it says \"done\"".into());
        }
        self.finished = Some(exit);
        Ok(())
    }
}

impl Pair {
    fn new(target: Target) -> Self {
        Self {
            target,
            state: PairState::NotStarted,
            drift: None,
            attempt: 0,
            jobs: Vec::new(),
            checkpoints: BTreeMap::new(),
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, PairState::Finished(_))
    }

    fn end_is_unseen(&self) -> bool {
        match &self.state {
            PairState::Finished(outcome) => matches!(
                outcome,
                Outcome::Interrupted(_) | Outcome::Unreachable(_) | Outcome::Unknown(_)
            ),
            _ => true,
        }
    }

    fn decide(&mut self, drift: bool) {
        self.drift = Some(drift);
        self.state = PairState::Decided { drift };
    }

    fn start(&mut self, attempt: u32, job: &JobId) -> Result<(), String> {
        match self.state {
            PairState::Started { attempt, .. } => {
                return Err(format!("starts again while attempt {attempt} is running"));
            }
            _ if self.drift != Some(true) => {
                return Err("starts without a difference decided".into());
            }
            _ if attempt <= self.attempt => {
                return Err(format!("starts attempt {attempt} a second time"));
            }
            _ => {}
        }
        self.attempt = attempt;
        self.jobs.push(job.clone());
        self.state = PairState::Started {
            attempt,
            job: job.clone(),
        };
        Ok(())
    }

    fn retry(&mut self, failed: u32) -> Result<(), String> {
        match self.state {
            PairState::Started { attempt, .. } if attempt != failed => {
                return Err(format!(
                    "says that attempt {failed} failed while attempt {attempt} is running"
                ));
            }
            _ => self.state = PairState::Retrying { attempt: failed },
        }
        Ok(())
    }

    fn finish(&mut self, outcome: &Outcome, awaited: bool) -> Result<(), String> {
        let started = !self.jobs.is_empty();
        let legal = match outcome {
            Outcome::Changed => started || awaited,
            // A converged pair's decision need not be recorded, nor that of one found as wished after a lost attempt.
            Outcome::Unchanged => started || self.drift != Some(true),
            Outcome::Skipped(_) | Outcome::Blocked { .. } => !started,
            Outcome::Failed(_)
            | Outcome::Unreachable(_)
            | Outcome::Interrupted(_)
            | Outcome::Unknown(_) => true,
        };
        if !legal {
            let was = if started { "started" } else { "never started" };
            let drift = match self.drift {
                Some(true) => "decided to differ",
                Some(false) => "decided to be as wished",
                None => "not decided",
            };
            let word = outcome.word();
            return Err(format!(
                "cannot end as {word}: it was {was} and last {drift}"
            ));
        }
        self.state = PairState::Finished(outcome.clone());
        Ok(())
    }
}

fn pair_of(event: &Event) -> Option<PairId> {
    match event {
        Event::StepDecided { pair, .. }
        | Event::StepStarted { pair, .. }
        | Event::StepOutput { pair, .. }
        | Event::StepRetry { pair, .. }
        | Event::GateWaiting { pair, .. }
        | Event::StepFinished { pair, .. }
        | Event::Checkpoint { pair, .. } => Some(*pair),
        _ => None,
    }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
