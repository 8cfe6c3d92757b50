//! A target's first answer, its silence, and the jobs that earlier runs left on it.

use super::{Awaited, Busy, Command, Lock, PairState, Phase, Scheduler};
use crate::facts::fact::{Fact, FactError, FactValue};
use crate::model::event::Event;
use crate::model::id::{JobId, Target};
use crate::model::outcome::{Failure, Outcome};
use crate::transport::{HostError, HostErrorKind};

impl Scheduler {
    /// Looks for jobs of earlier runs in a target's first answers. Where nothing may be changed they are left alone: they
    /// may belong to somebody who holds the lock that this run does not need.
    pub(super) fn greet(&mut self, index: usize, target: &Target) {
        let Some(state) = self.targets.get(index) else {
            return;
        };
        let may_change = self.may_change(state);
        let ours = |job: &JobId| may_change || self.options.prior_jobs.contains_key(job);
        let (leftovers, unsure) = match self.store.get(target, &Fact::RunState) {
            Some(Ok(FactValue::RunState(run_state))) => {
                let jobs = run_state.jobs.iter().map(|job| job.id.clone());
                let jobs = jobs.filter(|job| ours(job) && !state.attended.contains(job));
                (jobs.collect(), None)
            }
            Some(Err(error)) => (Vec::new(), Some(error.to_string())),
            Some(Ok(_)) => (Vec::new(), Some("the answer makes no sense".to_owned())),
            None => (Vec::new(), Some("it was not asked".to_owned())),
        };
        if let Some(state) = self.targets.get_mut(index) {
            (state.leftovers, state.unsure) = (leftovers, unsure);
        }
    }

    /// A target answered: later failures are counted anew.
    pub(super) fn reached(&mut self, index: usize) {
        if let Some(state) = self.targets.get_mut(index) {
            state.tries = 0;
        }
    }

    /// Whether a failed execution may be tried once more; counts it.
    pub(super) fn may_try_again(&mut self, index: usize, error: &HostError) -> bool {
        let may_pass = matches!(
            error.kind,
            HostErrorKind::Unreachable { transient: true }
                | HostErrorKind::Lost
                | HostErrorKind::Busy
        );
        let Some(state) = self.targets.get_mut(index) else {
            return false;
        };
        state.tries += 1;
        may_pass && state.tries < self.options.reach.0
    }

    /// Leaves a target alone until the next try.
    pub(super) fn pause(&mut self, index: usize) {
        if let Some(state) = self.targets.get_mut(index) {
            state.busy = Busy::Pause;
        }
        self.after(self.options.reach.1, super::Purpose::Reach(index));
    }

    /// A target did not answer a read: try again, or give up on it.
    pub(super) fn not_reached(&mut self, index: usize, error: HostError) {
        if self.stop.is_none() && self.may_try_again(index, &error) {
            self.pause(index);
        } else {
            self.give_up_on(index, error.failure);
        }
    }

    /// All open pairs of a target end as unreachable.
    pub(super) fn give_up_on(&mut self, index: usize, failure: Failure) {
        let Some(state) = self.targets.get_mut(index) else {
            return;
        };
        state.unreachable = Some(failure.clone());
        state.leftovers.clear();
        let target = state.target.clone();
        let open = state.open.clone();
        let wanted = std::mem::take(&mut state.wanted);
        let error = FactError::Failed(format!("{target} did not answer: {}", failure.message));
        self.store.insert(
            &target,
            wanted.into_iter().map(|fact| (fact, Err(error.clone()))),
        );
        self.dirty.append(&mut self.awaiting);
        self.emit(Event::TargetUnreachable {
            target,
            failure: failure.clone(),
        });
        let ends = open.into_iter().filter_map(|pair| {
            let state = self.pairs.get(pair.index())?;
            Some((pair, unreached(state, &failure)))
        });
        // All of them before what they block, which would else be said of each other.
        let ends = ends.collect();
        self.finish_all(ends);
    }

    /// Jobs that earlier runs left behind are awaited before anything else happens on a target; only under the lock,
    /// for a running one may belong to whoever holds it.
    pub(super) fn next_leftover(&mut self, target: usize) {
        if self.lock != Lock::Held {
            self.wants_lock = true;
            self.parked.insert(target);
            return;
        }
        let Some(state) = self.targets.get_mut(target) else {
            return;
        };
        let (Some(job), name) = (state.leftovers.pop(), state.target.clone()) else {
            return;
        };
        state.busy = Busy::Leftover(job.clone());
        self.executions += 1;
        self.emit(Event::LeftoverJob {
            target: name.clone(),
            job: job.clone(),
            waiting: true,
        });
        self.out.push(Command::Attach { target: name, job });
    }

    /// A leftover job's end: nothing known of the target counts any more.
    pub(super) fn leftover_ended(&mut self, index: usize, target: &Target, job: &JobId) {
        if let Some(state) = self.targets.get_mut(index) {
            state.attended.insert(job.clone());
            if state.leftovers.is_empty() {
                state.greeted = false;
            }
        }
        self.forget(target, |_| true);
        self.emit(Event::LeftoverJob {
            target: target.clone(),
            job: job.clone(),
            waiting: false,
        });
    }
}

/// How an open pair ends whose target does not answer.
fn unreached(state: &PairState, failure: &Failure) -> Outcome {
    let unknown = |message: &str| {
        Outcome::Unknown(
            Failure::new(message)
                .evidence(failure.message.clone())
                .hint("when the target is back, run `hmco-boot resume`: it looks again before it does anything"),
        )
    };
    match state.phase {
        Phase::Verifying | Phase::Applying { .. } | Phase::Recovering { .. } => {
            unknown("it was applied, but its target did not answer afterwards")
        }
        Phase::Ready if state.lost_once => {
            unknown("its job is gone without a verdict, and its target did not answer afterwards")
        }
        Phase::Polling {
            what: Awaited::Gate { changed: true },
            ..
        } => Outcome::Unreachable(
            failure
                .clone()
                .evidence("it was changed; its gate was not seen to hold"),
        ),
        _ => Outcome::Unreachable(failure.clone()),
    }
}
