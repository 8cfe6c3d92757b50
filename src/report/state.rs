//! What is known of a run from its events: a pure fold, shared by the live view, plain lines, the summary and later a
//! web page. Words and looks are none of its business.

use std::collections::{BTreeMap, VecDeque};

pub use super::pair::{PairState, Phase};

use super::commands::Commands;
use super::text;
use crate::model::event::{CancelLevel, Event, Record, RunStarted};
use crate::model::id::{JobId, PairId, RunId, StepAddr, Target};
use crate::model::outcome::{ExitCode, Failure, Outcome};

/// What is known of a run.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The run, once it began.
    pub run: Option<RunView>,
    /// All pairs, in plan order: [`PairId`] is the index.
    pub pairs: Vec<PairState>,
    /// All targets, in the order the plan names them.
    pub targets: Vec<TargetState>,
    /// All steps, in plan order, each with its pairs.
    pub steps: Vec<StepState>,
    /// Where locks are held.
    pub locked: Vec<Target>,
    /// Why the run could not have its locks.
    pub lock_refused: Option<Failure>,
    /// Things a person should know.
    pub warnings: Vec<Failure>,
    /// How hard the run was asked to stop.
    pub cancel: Option<CancelLevel>,
    /// How the run ended, where it ended by itself.
    pub end: Option<RunEnd>,
    /// The process that carries the run out is known to live: it has no end because it goes on. No event says so;
    /// whoever looks at a record and knows it sets it.
    pub alive: bool,
    /// Time of the last record, in milliseconds since 1970.
    pub last_ms: i64,
    /// What commands that are shown have to name.
    pub commands: Commands,
    pub(super) cells: BTreeMap<(usize, usize), usize>,
    pub(super) step_index: BTreeMap<StepAddr, usize>,
}

/// A run's own data.
#[derive(Clone, PartialEq, Debug)]
pub struct RunView {
    /// Its name.
    pub id: RunId,
    /// The run it goes on with.
    pub resumes: Option<RunId>,
    /// The cluster's name.
    pub cluster: String,
    /// The playbook, as given.
    pub playbook: String,
    /// `--limit`, as given.
    pub limit: Option<String>,
    /// It can be gone on with; commands of `exec` cannot.
    pub resumable: bool,
    /// The command that is given again to go on, as it goes on after `hmco-boot`.
    pub again: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunEnd {
    /// The exit code it recorded.
    pub exit: ExitCode,
    /// How long it took.
    pub took_ms: u64,
}

/// What is known of a target.
#[derive(Clone, PartialEq, Debug)]
pub struct TargetState {
    /// Which.
    pub target: Target,
    /// Its pairs, in plan order.
    pub pairs: Vec<usize>,
    /// How many of them have not ended.
    pub open: usize,
    /// The reading that goes on now.
    pub reading: Option<Reading>,
    /// An earlier run's job that is awaited.
    pub leftover: Option<JobId>,
    /// Why it does not answer.
    pub unreachable: Option<Failure>,
}

/// A reading of facts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Which round, from 1.
    pub round: u32,
    /// How many facts.
    pub facts: u32,
    /// Since when.
    pub since_ms: i64,
}

/// What is known of a step.
#[derive(Clone, PartialEq, Debug)]
pub struct StepState {
    /// Its address.
    pub step: StepAddr,
    /// Its pairs, in plan order.
    pub pairs: Vec<usize>,
}

impl State {
    /// A run of which nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, shown where commands have to name these.
    pub fn shown_with(commands: Commands) -> Self {
        Self {
            commands,
            ..Self::default()
        }
    }

    /// Takes in what happened.
    pub fn apply(&mut self, record: &Record) {
        let at = record.at_ms;
        self.last_ms = at;
        match &record.event {
            Event::RunStarted(started) => self.start(started, at),
            Event::Locked { targets } => self.locked.clone_from(targets),
            Event::LockRefused { failure } => self.lock_refused = Some(failure.clone()),
            Event::CancelRequested { level } => self.cancel = self.cancel.max(Some(*level)),
            Event::Warning { failure } => self.warnings.push(failure.clone()),
            Event::RunFinished { exit, took_ms, .. } => {
                self.end = Some(RunEnd {
                    exit: *exit,
                    took_ms: *took_ms,
                });
            }
            Event::FactsRequested { .. }
            | Event::FactsRead { .. }
            | Event::TargetUnreachable { .. }
            | Event::LeftoverJob { .. } => self.apply_to_target(&record.event, at),
            _ => self.apply_to_pair(&record.event, at),
        }
    }

    /// The pair at a place in the plan.
    pub fn pair(&self, id: PairId) -> Option<&PairState> {
        self.pairs.get(id.index())
    }

    /// The pair of a step (by index) on a target (by index).
    pub fn cell(&self, step: usize, target: usize) -> Option<usize> {
        self.cells.get(&(step, target)).copied()
    }

    /// The target's state.
    pub fn target(&self, target: &Target) -> Option<&TargetState> {
        self.targets.iter().find(|t| t.target == *target)
    }

    /// The pair of a step on a target, by their names.
    pub fn find(&self, step: &StepAddr, target: &Target) -> Option<&PairState> {
        let pairs = &self.steps.get(*self.step_index.get(step)?)?.pairs;
        let mut pairs = pairs.iter().filter_map(|p| self.pairs.get(*p));
        pairs.find(|p| p.info.target == *target)
    }

    /// How long the run has taken, in milliseconds.
    pub fn elapsed_ms(&self, now_ms: i64) -> u64 {
        match (&self.end, &self.run) {
            (Some(end), _) => end.took_ms,
            (None, Some(run)) => text::since(run.started_ms, now_ms),
            (None, None) => 0,
        }
    }

    /// How many pairs ended how, by their word.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for outcome in self.pairs.iter().filter_map(PairState::outcome) {
            *counts.entry(outcome.word()).or_default() += 1;
        }
        counts
    }

    /// How many pairs have not ended.
    pub fn open(&self) -> usize {
        self.targets.iter().map(|t| t.open).sum()
    }

    /// The exit code that the recorded end and the outcomes ask for together; `None` while the run goes on or where
    /// it ended without a last event.
    pub fn exit(&self) -> Option<ExitCode> {
        let end = self.end?;
        // A run that never got its lock, its journal or its saved plan says so by its end: what it did not start was
        // interrupted by nobody.
        let refused = matches!(end.exit, ExitCode::Locked | ExitCode::Failed);
        let outcomes = self.pairs.iter().filter_map(PairState::outcome);
        let outcomes = outcomes.filter(|o| !(refused && matches!(o, Outcome::Interrupted(_))));
        let open = (self.open() > 0 && end.exit == ExitCode::Done).then_some(ExitCode::Failed);
        let codes = outcomes.map(ExitCode::of).chain(open).chain([end.exit]);
        Some(ExitCode::strongest(codes))
    }

    fn start(&mut self, started: &RunStarted, at: i64) {
        *self = Self {
            last_ms: at,
            commands: std::mem::take(&mut self.commands),
            run: Some(RunView {
                id: started.run.clone(),
                resumes: started.resumes.clone(),
                cluster: started.cluster.clone(),
                playbook: started.playbook.clone(),
                limit: started.arguments.limit.clone(),
                resumable: started.arguments.exec.is_none() && started.arguments.command.is_none(),
                again: started.arguments.command.clone(),
                started_ms: at,
            }),
            ..Self::default()
        };
        let mut target_index = BTreeMap::new();
        for (at, info) in started.pairs.iter().enumerate() {
            let target = *target_index.entry(info.target.clone()).or_insert_with(|| {
                self.targets.push(TargetState {
                    target: info.target.clone(),
                    pairs: Vec::new(),
                    open: 0,
                    reading: None,
                    leftover: None,
                    unreachable: None,
                });
                self.targets.len() - 1
            });
            let step = *self.step_index.entry(info.step.clone()).or_insert_with(|| {
                self.steps.push(StepState {
                    step: info.step.clone(),
                    pairs: Vec::new(),
                });
                self.steps.len() - 1
            });
            if let Some(target) = self.targets.get_mut(target) {
                target.pairs.push(at);
                target.open += 1;
            }
            if let Some(step) = self.steps.get_mut(step) {
                step.pairs.push(at);
            }
            self.cells.insert((step, target), at);
            self.pairs.push(PairState {
                info: info.clone(),
                step,
                target,
                phase: Phase::Waiting,
                diff: None,
                attempts: 0,
                took_ms: 0,
                tail: VecDeque::new(),
            });
        }
    }

    fn apply_to_target(&mut self, event: &Event, at: i64) {
        let (Event::FactsRequested { target, .. }
        | Event::FactsRead { target, .. }
        | Event::TargetUnreachable { target, .. }
        | Event::LeftoverJob { target, .. }) = event
        else {
            return;
        };
        let Some(state) = self.targets.iter_mut().find(|t| t.target == *target) else {
            return;
        };
        match event {
            Event::FactsRequested { round, facts, .. } => {
                state.leftover = None;
                state.reading = Some(Reading {
                    round: *round,
                    facts: *facts,
                    since_ms: at,
                });
            }
            Event::FactsRead { .. } => state.reading = None,
            Event::TargetUnreachable { failure, .. } => {
                state.reading = None;
                state.leftover = None;
                state.unreachable = Some(failure.clone());
            }
            Event::LeftoverJob { job, waiting, .. } => {
                state.leftover = waiting.then(|| job.clone());
            }
            _ => {}
        }
    }

    fn apply_to_pair(&mut self, event: &Event, at: i64) {
        let (Event::StepDecided { pair, .. }
        | Event::StepStarted { pair, .. }
        | Event::StepOutput { pair, .. }
        | Event::StepRetry { pair, .. }
        | Event::GateWaiting { pair, .. }
        | Event::StepFinished { pair, .. }) = event
        else {
            return;
        };
        let Some(state) = self.pairs.get_mut(pair.index()) else {
            return;
        };
        if state.outcome().is_some() {
            return;
        }
        state.apply(event, at);
        let ended = state.outcome().is_some();
        if let Some(target) = self.targets.get_mut(state.target) {
            // Whatever moves on a target proves that nothing is awaited there any more.
            target.leftover = None;
            target.open -= usize::from(ended);
        }
    }
}
