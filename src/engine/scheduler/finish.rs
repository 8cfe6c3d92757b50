//! How pairs end, what their end does to those that wait, and how the whole run ends.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::NodeIndex;

use super::{Awaited, Busy, Cause, Command, Phase, Scheduler, Stop};
use crate::model::event::{CancelLevel, Event};
use crate::model::id::PairId;
use crate::model::outcome::{ExitCode, Failure, Outcome};
use crate::plan::{Pair, Vertex, Work};

impl Scheduler {
    /// A pair ended: record it, and let those that wait for it know. What it blocks ends with it.
    pub(super) fn finish(&mut self, pair: PairId, outcome: Outcome) {
        self.finish_all(vec![(pair, outcome)]);
    }

    /// Ends several pairs that end for one reason, before what they block.
    pub(super) fn finish_all(&mut self, pairs: Vec<(PairId, Outcome)>) {
        let plan = self.plan.clone();
        let mut ended = Vec::new();
        for (pair, outcome) in pairs {
            let Some(info) = plan.pair(pair) else {
                continue;
            };
            let cause = passed_on(info, &outcome);
            if self.end_with(pair, outcome.clone(), cause.clone()) {
                ended.push((info, outcome, cause));
            }
        }
        while let Some((info, outcome, cause)) = ended.pop() {
            let mut blocked = self.propagate(info.vertex, cause.as_ref());
            if info.serial.is_some() {
                if let Some(cause) = cause.filter(|_| !outcome.satisfies()) {
                    blocked.extend(self.stopped_in_series(info, &cause));
                }
                self.wake_parked();
            }
            for (pair, cause) in blocked {
                let Some(info) = plan.pair(pair) else {
                    continue;
                };
                let outcome = blocked_by(info, &cause);
                if self.end_with(pair, outcome.clone(), Some(cause.clone())) {
                    ended.push((info, outcome, Some(cause)));
                }
            }
        }
    }

    /// Marks a pair as done that nobody need wait for any more. False where it already was.
    fn end(&mut self, pair: PairId, outcome: Outcome) -> bool {
        self.end_with(pair, outcome, None)
    }

    /// Marks a pair as done. `cause`: what those that wait for it are blocked by. False where it already was.
    fn end_with(&mut self, pair: PairId, outcome: Outcome, cause: Option<Cause>) -> bool {
        let Some(state) = self.pairs.get_mut(pair.index()) else {
            return false;
        };
        if matches!(state.phase, Phase::Done(_)) {
            return false;
        }
        state.phase = Phase::Done(outcome.clone());
        state.passed_on = cause;
        let target = state.target;
        if let Some(state) = self.targets.get_mut(target) {
            state.active.remove(&pair);
            state.open.remove(&pair);
        }
        if let Some(info) = self.plan.pair(pair)
            && info.serial.is_some()
            && let Some(series) = self.series.get_mut(&info.series)
        {
            series.open.remove(&pair);
        }
        self.open -= 1;
        if self.is_provisional(pair, target, &outcome) {
            if let Some(state) = self.targets.get_mut(target) {
                state.provisional.push(pair);
            }
            return true;
        }
        if !self.looks_again(target) {
            self.tell_provisional(target);
        }
        self.tell(pair, outcome);
        true
    }

    /// Says that a pair has ended; the runner knows the time.
    pub(super) fn tell(&mut self, pair: PairId, outcome: Outcome) {
        self.emit(Event::StepFinished {
            pair,
            outcome,
            took_ms: 0,
        });
    }

    /// Counts an ended vertex at those that wait for it. Gives the pairs that it blocks.
    pub(super) fn propagate(
        &mut self,
        vertex: NodeIndex,
        failed: Option<&Cause>,
    ) -> Vec<(PairId, Cause)> {
        let plan = self.plan.clone();
        let mut queue = vec![(vertex, failed.cloned())];
        let mut blocked = Vec::new();
        while let Some((vertex, failed)) = queue.pop() {
            if let Some(state) = self.vertices.get_mut(vertex.index()) {
                state.passed = true;
            }
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
                    Some((Vertex::Pair(pair), cause)) => match self.ended_before(pair, next) {
                        Some(passed_on) => queue.push((next, cause.or(passed_on))),
                        None => blocked.extend(cause.map(|cause| (pair, cause))),
                    },
                    None => {}
                }
            }
        }
        blocked
    }

    /// What a pair has to pass on that ended before what it waits for was open again, and has told nobody since.
    fn ended_before(&self, pair: PairId, vertex: NodeIndex) -> Option<Option<Cause>> {
        let state = self.pairs.get(pair.index())?;
        let open = !self.vertices.get(vertex.index())?.passed;
        (open && matches!(state.phase, Phase::Done(_))).then(|| state.passed_on.clone())
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

    /// With `serial`, a target that did not end well stops those after it: a rollout must not eat a cluster. One that
    /// has been started goes on to its own end. Gives those that are stopped now; one whose conditions have not been looked
    /// at yet is stopped when they have, for nothing stops what is not to be done.
    fn stopped_in_series(&mut self, failed: &Pair, cause: &Cause) -> Vec<(PairId, Cause)> {
        let plan = self.plan.clone();
        let series = self.series.get(&failed.series).into_iter();
        let later = series.flat_map(|series| series.open.range(failed.id..));
        let later: Vec<PairId> = later.copied().collect();
        let mut stopped = Vec::new();
        for pair in later {
            let (Some(info), Some(state)) = (plan.pair(pair), self.pairs.get_mut(pair.index()))
            else {
                continue;
            };
            if state.attempts > 0 || !matches!(state.phase, Phase::Waiting | Phase::Ready) {
                continue;
            }
            let open = !info.whens.is_empty() && !state.conditions_hold;
            if open || matches!(info.work, Work::Skip(_)) {
                state.doomed.get_or_insert_with(|| cause.clone());
            } else {
                stopped.push((pair, cause.clone()));
            }
        }
        stopped
    }

    /// Nothing new starts. What is between apply and verdict goes on; all else ends as interrupted for `reason`.
    pub(super) fn halt(&mut self, stop: Stop, reason: &str) {
        if (self.stop.as_ref()).is_none_or(|before| stop.rank() < before.rank()) {
            self.stop = Some(stop);
        }
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
            let text = match self.pairs.get(pair.index()) {
                Some(state) => stopped(state, reason),
                None => continue,
            };
            self.end(pair, Outcome::Interrupted(text));
        }
    }

    pub(super) fn cancel(&mut self, level: CancelLevel) {
        self.emit(Event::CancelRequested { level });
        match level {
            CancelLevel::Drain => self.halt(Stop::Cancelled(level), "the run was stopped"),
            CancelLevel::Abort => {
                self.halt(Stop::Cancelled(level), "the run was stopped");
                let left = match self.plan.is_adhoc() {
                    true => {
                        "stopped while it ran; its job may still run there, the next run or exec awaits it"
                    }
                    false => {
                        "stopped while it was applied; its job may still run there, `resume` finds it"
                    }
                };
                let running: Vec<PairId> = self.plan.pairs.iter().map(|pair| pair.id).collect();
                for pair in running {
                    let text = if self.is_phase(pair, |phase| *phase == Phase::Verifying) {
                        "stopped after it was applied and before that was proven"
                    } else {
                        left
                    };
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
        if !std::mem::replace(&mut self.journal_broken, true) {
            self.emit(Event::Warning { failure });
            self.halt(Stop::Journal, "the journal cannot be written");
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
            self.upload_is_over(pair);
        }
        if let Some(state) = self.targets.get_mut(target) {
            state.busy = Busy::Free;
        }
        self.dirty.insert(target);
    }

    pub(super) fn finish_run(&mut self) {
        self.over = true;
        for target in 0..self.targets.len() {
            self.tell_provisional(target);
        }
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
}

/// What a pair's end means for those that wait for it.
fn passed_on(info: &Pair, outcome: &Outcome) -> Option<Cause> {
    match outcome {
        outcome if outcome.satisfies() => None,
        Outcome::Blocked { step, target } => Some((step.clone(), target.clone())),
        _ => Some((info.step.clone(), info.target.clone())),
    }
}

/// How a pair ends that may not go on. One that is not to be done in any case is not said to be blocked; what waits for it
/// is, all the same: leaving something out never lets others run.
fn blocked_by(info: &Pair, (step, target): &Cause) -> Outcome {
    match &info.work {
        Work::Skip(reason) => Outcome::Skipped(reason.clone()),
        Work::Wish(_) => Outcome::Blocked {
            step: step.clone(),
            target: target.clone(),
        },
    }
}

/// What is said of a pair that a stop ends before its own end.
fn stopped(state: &super::PairState, reason: &str) -> String {
    match state.phase {
        Phase::Polling {
            what: Awaited::Gate { changed: true },
            ..
        } => {
            format!("changed, but its gate was not awaited: {reason}")
        }
        Phase::Polling {
            what: Awaited::Check,
            ..
        } => format!("it did not hold yet, and was waited for no longer: {reason}"),
        Phase::Polling {
            what: Awaited::Gate { changed: false },
            ..
        } => {
            format!("as wished, but its gate was not awaited: {reason}")
        }
        _ if state.attempts > 0 => format!("tried without success, and not again: {reason}"),
        _ => format!("not started: {reason}"),
    }
}
