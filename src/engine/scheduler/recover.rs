//! Jobs that go on without a connection, or are gone: finding out what became of them.

use super::apply::with_output;
use super::{Busy, Command, Phase, Purpose, Scheduler};
use crate::model::action::{JobEnd, JobStatus};
use crate::model::event::Event;
use crate::model::id::{JobId, PairId, Target};
use crate::model::outcome::{Failure, Outcome};
use crate::transport::HostError;

/// How often a file may be another one when it is to be written, before its pair fails.
const COLLISIONS: u32 = 3;

impl Scheduler {
    pub(super) fn attached(
        &mut self,
        target: &Target,
        job: &JobId,
        result: Result<JobEnd, HostError>,
    ) {
        let index = self.index_of(target);
        let recovers =
            |phase: &Phase| matches!(phase, Phase::Recovering { job: own, .. } if own == job);
        let pair = match self.targets.get(index).map(|state| &state.busy) {
            Some(Busy::Leftover(awaited)) if awaited == job => {
                return self.leftover_attached(index, target, job, result);
            }
            Some(Busy::Job(pair)) if self.is_phase(*pair, recovers) => *pair,
            _ => return,
        };
        if let Err(error) = &result
            && self.may_try_again(index, error)
        {
            // The target stays busy: nothing else may happen there before the job's end is known.
            return self.after(self.options.reach.1, Purpose::Attach(pair));
        }
        self.release(pair);
        match result {
            Ok(end) => {
                self.reached(index);
                self.job_is_over(target);
                self.emit(Event::LeftoverJob {
                    target: target.clone(),
                    job: job.clone(),
                    waiting: false,
                });
                self.job_ended(pair, end);
            }
            Err(error) => {
                let unknown = Failure::new("the connection was lost while it was applied; its job may still run there")
                    .evidence(error.failure.message.clone())
                    .hint("when the target is back, run `hmco-boot resume`: it awaits the job and looks again");
                self.finish(pair, Outcome::Unknown(unknown));
                self.give_up_on(index, error.failure);
            }
        }
    }

    /// The pause after a failed attach is over.
    pub(super) fn attach_again(&mut self, pair: PairId) {
        let (Some(info), Some(state)) = (self.plan.pair(pair), self.pairs.get(pair.index())) else {
            return;
        };
        if let Phase::Recovering { job, .. } = &state.phase {
            self.out.push(Command::Attach {
                target: info.target.clone(),
                job: job.clone(),
            });
        }
    }

    fn leftover_attached(
        &mut self,
        index: usize,
        target: &Target,
        job: &JobId,
        result: Result<JobEnd, HostError>,
    ) {
        self.executions = self.executions.saturating_sub(1);
        self.dirty.insert(index);
        if let Some(state) = self.targets.get_mut(index) {
            state.busy = Busy::Free;
        }
        match result {
            Ok(end) => {
                self.reached(index);
                self.job_is_over(target);
                self.leftover_ended(index, target, job);
                let credited = self
                    .options
                    .prior_jobs
                    .get(job)
                    .filter(|_| end.status == JobStatus::Succeeded)
                    .copied();
                if let Some(state) = credited.and_then(|pair| self.pairs.get_mut(pair.index())) {
                    state.credited = true;
                }
            }
            Err(error) => {
                if self.stop.is_none() && self.may_try_again(index, &error) {
                    if let Some(state) = self.targets.get_mut(index) {
                        state.leftovers.push(job.clone());
                    }
                    self.pause(index);
                } else {
                    self.give_up_on(index, error.failure);
                }
            }
        }
    }

    pub(super) fn is_edit(&self, pair: PairId, action: u32) -> bool {
        self.pairs
            .get(pair.index())
            .is_some_and(|state| state.edits.contains(&action))
    }

    /// A file was not written, for it is no longer the one that its new content was made from: everything on that target
    /// is looked at again, and the pair decided anew.
    pub(super) fn changed_meanwhile(&mut self, pair: PairId, end: &JobEnd) {
        let plan = self.plan.clone();
        let (Some(info), Some(state)) = (plan.pair(pair), self.pairs.get_mut(pair.index())) else {
            return;
        };
        state.collisions += 1;
        let collisions = state.collisions;
        let changed = "somebody else changed a file between its reading and its writing";
        if self.stop.is_some() {
            let reason = format!("{changed}; nothing was written to it");
            return self.finish(pair, Outcome::Interrupted(reason));
        }
        if self.expectation.is_some() {
            // Another decision than the one that was looked at and agreed to.
            let failure = with_output(Failure::new(changed), end)
                .hint("the saved plan was made from what is no longer there: make it anew");
            return self.finish(pair, Outcome::Failed(failure));
        }
        if collisions >= COLLISIONS {
            let message = format!("{changed}, {collisions} times; nothing was written to it");
            let failure = with_output(Failure::new(message), end).hint(
                "find out what else writes that file there (an editor, cloud-init, another tool), stop it, then run \
                 `hmco-boot resume`",
            );
            return self.finish(pair, Outcome::Failed(failure));
        }
        let message = format!("{}: {changed}; looking again", info.label());
        self.emit(Event::Warning {
            failure: with_output(Failure::new(message), end),
        });
        self.forget(&info.target, |_| true);
        self.set_phase(pair, Phase::Ready);
    }

    /// The job is gone without a verdict (the target restarted): look again, and do once more what is missing.
    pub(super) fn job_lost(&mut self, pair: PairId) {
        let failure = Failure::new(
            "its job is gone without a verdict: the target restarted, or somebody ended it",
        );
        let again = self
            .pairs
            .get_mut(pair.index())
            .is_some_and(|state| !std::mem::replace(&mut state.lost_once, true));
        if again && self.stop.is_none() {
            let message = format!(
                "{}: {}; looking again",
                self.plan.label(pair),
                failure.message
            );
            self.emit(Event::Warning {
                failure: Failure::new(message),
            });
            self.set_phase(pair, Phase::Ready);
        } else {
            self.finish(pair, Outcome::Interrupted(failure.message));
        }
    }
}
