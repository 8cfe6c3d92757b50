//! How pairs end, what their end does to those that wait, and how the whole run ends.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::NodeIndex;

use super::{Command, Lock, Phase, Scheduler, Stop};
use crate::model::event::{CancelLevel, Event};
use crate::model::id::{PairId, StepAddr, Target};
use crate::model::outcome::{ExitCode, Failure, Outcome};
use crate::plan::{Pair, Vertex, Work};
use crate::steps::Class;

/// The pair that a blocked one is blocked by in the end.
type Cause = (StepAddr, Target);

impl Scheduler {
    /// A pair ended: record it, and let those that wait for it know. What it blocks ends with it.
    pub(super) fn finish(&mut self, pair: PairId, outcome: Outcome) {
        let mut ending = vec![(pair, outcome)];
        while let Some((pair, outcome)) = ending.pop() {
            if !self.end(pair, outcome.clone()) {
                continue;
            }
            let plan = self.plan.clone();
            let Some(info) = plan.pair(pair) else {
                continue;
            };
            let failed = !outcome.satisfies();
            let cause = match outcome {
                Outcome::Blocked { step, target } => (step, target),
                _ => (info.step.clone(), info.target.clone()),
            };
            let mut blocked = self.propagate(info.vertex, failed.then_some(&cause));
            if info.serial.is_some() {
                if failed {
                    blocked.extend(
                        self.later_in_series(info)
                            .into_iter()
                            .map(|pair| (pair, cause.clone())),
                    );
                }
                self.wake_parked();
            }
            ending.extend(
                blocked
                    .into_iter()
                    .map(|(pair, (step, target))| (pair, Outcome::Blocked { step, target })),
            );
        }
    }

    /// Marks a pair as done. False where it already was.
    fn end(&mut self, pair: PairId, outcome: Outcome) -> bool {
        let Some(state) = self.pairs.get_mut(pair.index()) else {
            return false;
        };
        if matches!(state.phase, Phase::Done(_)) {
            return false;
        }
        state.phase = Phase::Done(outcome.clone());
        let target = state.target;
        if let Some(state) = self.targets.get_mut(target) {
            state.active.remove(&pair);
        }
        self.open -= 1;
        // The runner knows the time.
        self.emit(Event::StepFinished {
            pair,
            outcome,
            took_ms: 0,
        });
        true
    }

    /// Counts an ended vertex at those that wait for it. Gives the pairs that it blocks.
    fn propagate(&mut self, vertex: NodeIndex, failed: Option<&Cause>) -> Vec<(PairId, Cause)> {
        let plan = self.plan.clone();
        let mut queue = vec![(vertex, failed.cloned())];
        let mut blocked = Vec::new();
        while let Some((vertex, failed)) = queue.pop() {
            for next in plan.graph.neighbors(vertex) {
                let Some(state) = self.vertices.get_mut(next.index()) else {
                    continue;
                };
                state.remaining = state.remaining.saturating_sub(1);
                if let Some(cause) = &failed {
                    state.failed += 1;
                    state.cause.get_or_insert_with(|| cause.clone());
                }
                if state.remaining > 0 {
                    continue;
                }
                match self.resolve(next) {
                    Some((Vertex::Join { .. }, cause)) => queue.push((next, cause)),
                    Some((Vertex::Pair(pair), Some(cause))) => blocked.push((pair, cause)),
                    Some((Vertex::Pair(_), None)) | None => {}
                }
            }
        }
        blocked
    }

    /// A vertex has all it waited for, and this is what it may not go on for. A pair that may go on becomes ready.
    pub(super) fn resolve(&mut self, vertex: NodeIndex) -> Option<(Vertex, Option<Cause>)> {
        let kind = self.plan.graph.node_weight(vertex)?.clone();
        let state = self.vertices.get_mut(vertex.index())?;
        let bad = state.failed > kind.tolerates();
        let cause = if bad { state.cause.take() } else { None };
        if let (Vertex::Pair(pair), None) = (&kind, &cause)
            && self.is_phase(*pair, |phase| *phase == Phase::Waiting)
        {
            self.set_phase(*pair, Phase::Ready);
        }
        Some((kind, cause))
    }

    /// With `serial`, a target that did not end well stops those after it: a rollout must not eat a cluster.
    fn later_in_series(&self, failed: &Pair) -> Vec<PairId> {
        let unstarted =
            |phase: &Phase| matches!(phase, Phase::Waiting | Phase::Ready | Phase::Retrying);
        let pairs = self
            .series
            .get(&failed.series)
            .map(|series| series.pairs.as_slice())
            .unwrap_or_default();
        let later = pairs.iter().skip_while(|pair| **pair != failed.id).skip(1);
        later
            .copied()
            .filter(|pair| self.is_phase(*pair, unstarted))
            .collect()
    }

    /// Nothing new starts. What is between apply and verdict goes on; all else ends as interrupted for `reason`.
    pub(super) fn halt(&mut self, stop: Stop, reason: &str) {
        self.stop = Some(stop);
        let waiting: Vec<PairId> = (0..self.pairs.len())
            .filter_map(|at| u32::try_from(at).ok().map(PairId))
            .filter(|pair| {
                !self.is_phase(*pair, |phase| {
                    matches!(
                        phase,
                        Phase::Applying { .. }
                            | Phase::Recovering { .. }
                            | Phase::Verifying
                            | Phase::Done(_)
                    )
                })
            })
            .collect();
        for pair in waiting {
            let text = match self.pairs.get(pair.index()).map(|state| &state.phase) {
                Some(Phase::Gating { changed: true, .. }) => {
                    format!("changed, but its gate was not awaited: {reason}")
                }
                _ => reason.to_owned(),
            };
            self.end(pair, Outcome::Interrupted(text));
        }
    }

    pub(super) fn cancel(&mut self, level: CancelLevel) {
        self.emit(Event::CancelRequested { level });
        match level {
            CancelLevel::Drain => {
                self.halt(Stop::Cancelled(level), "not started: the run was stopped")
            }
            CancelLevel::Abort => {
                self.halt(Stop::Cancelled(level), "not started: the run was stopped");
                let running: Vec<PairId> = self.plan.pairs.iter().map(|pair| pair.id).collect();
                for pair in running {
                    let text = "stopped while it was applied; its job may still run there, `resume` finds it";
                    self.end(pair, Outcome::Interrupted(text.to_owned()));
                }
                self.finish_run();
            }
        }
    }

    pub(super) fn journal_failed(&mut self, failure: Failure, unstarted: Option<PairId>) {
        if let Some(pair) = unstarted {
            self.release(pair);
            self.end(
                pair,
                Outcome::Interrupted("not started: the journal cannot be written".to_owned()),
            );
        }
        if !matches!(self.stop, Some(Stop::Journal)) {
            self.emit(Event::Warning { failure });
            self.halt(Stop::Journal, "not started: the journal cannot be written");
        }
    }

    /// Gives back what a started apply holds: its target, an execution, an upload.
    pub(super) fn release(&mut self, pair: PairId) {
        let Some(state) = self.pairs.get(pair.index()) else {
            return;
        };
        let (Phase::Applying { upload, .. } | Phase::Recovering { upload, .. }) = &state.phase
        else {
            return;
        };
        let (upload, target) = (*upload, state.target);
        self.executions = self.executions.saturating_sub(1);
        if upload {
            self.uploads = self.uploads.saturating_sub(1);
            self.wake_parked();
        }
        if let Some(state) = self.targets.get_mut(target) {
            state.busy = false;
        }
        self.dirty.insert(target);
    }

    pub(super) fn finish_run(&mut self) {
        self.over = true;
        let mut counts = BTreeMap::new();
        let mut codes = BTreeSet::new();
        for pair in &self.pairs {
            let Phase::Done(outcome) = &pair.phase else {
                continue;
            };
            *counts.entry(outcome.word().to_owned()).or_insert(0) += 1;
            codes.insert(self.code_of(outcome).number());
        }
        let stop_code = match &self.stop {
            None => ExitCode::Done,
            Some(Stop::Cancelled(_)) => ExitCode::Interrupted,
            Some(Stop::LockRefused) => ExitCode::Locked,
            Some(Stop::Journal | Stop::StalePlan) => ExitCode::Failed,
        };
        let all = [
            ExitCode::Interrupted,
            ExitCode::Failed,
            ExitCode::Unreachable,
        ];
        let exit = ExitCode::strongest(
            all.into_iter()
                .filter(|code| codes.contains(&code.number()))
                .chain([stop_code]),
        );
        self.emit_durable(Event::RunFinished {
            counts,
            exit,
            took_ms: 0,
        });
        self.out.push(Command::Finished(exit));
    }

    /// A pair that was never started because of a lock or the journal was not interrupted by anybody.
    fn code_of(&self, outcome: &Outcome) -> ExitCode {
        match (outcome, &self.stop) {
            (Outcome::Interrupted(_), Some(Stop::LockRefused)) => ExitCode::Done,
            (Outcome::Interrupted(_), Some(Stop::Journal | Stop::StalePlan)) => ExitCode::Failed,
            _ => ExitCode::of(outcome),
        }
    }

    /// Targets that a remaining pair may change, in the order of locks.
    pub(super) fn changing_targets(&self) -> Vec<Target> {
        let may_change = |pair: &PairId| {
            self.is_phase(*pair, |phase| !matches!(phase, Phase::Done(_)))
                && self.plan.pair(*pair).is_some_and(|pair| {
                    pair.kind.class != Class::Check && matches!(pair.work, Work::Wish(_))
                })
        };
        self.targets
            .iter()
            .filter(|state| state.unreachable.is_none() && state.pairs.iter().any(may_change))
            .map(|state| state.target.clone())
            .collect()
    }

    /// Asks for the locks once every target has been looked at, so that only what still matters is locked.
    pub(super) fn ask_for_lock(&mut self) {
        let being_greeted = |state: &super::TargetState| {
            state.busy && !state.greeted && state.unreachable.is_none()
        };
        if self.lock == Lock::Free && self.stop.is_none() && !self.targets.iter().any(being_greeted)
        {
            self.lock = Lock::Asked;
            let targets = self.changing_targets();
            self.out.push(Command::Lock { targets });
        }
    }
}
