//! The locks as the scheduler sees them: when to ask for them, what their holding, loss and return mean.

use super::{Busy, Command, Lock, Phase, Scheduler, Stop};
use crate::engine::locks::{LockNews, NotLocked};
use crate::model::event::Event;
use crate::model::id::{PairId, Target};
use crate::model::outcome::{Failure, Outcome};
use crate::plan::Work;
use crate::steps::Class;
use crate::transport::{HostError, HostErrorKind};

/// How often the lock of a target may be gone when a pair is to be applied.
const FENCED: u32 = 3;

impl Scheduler {
    /// Targets that a remaining pair may change, in the order of locks.
    pub(super) fn changing_targets(&self) -> Vec<Target> {
        self.targets
            .iter()
            .filter(|state| state.unreachable.is_none() && self.may_change(state))
            .map(|state| state.target.clone())
            .collect()
    }

    /// Whether an open pair may change a target.
    pub(super) fn may_change(&self, state: &super::TargetState) -> bool {
        state.open.iter().any(|pair| {
            self.plan.pair(*pair).is_some_and(|pair| {
                pair.kind.class != Class::Check && matches!(pair.work, Work::Wish(_))
            })
        })
    }

    /// Asks for the locks once every target has been looked at, so that only what still matters is locked.
    pub(super) fn ask_for_lock(&mut self) {
        let being_greeted = |state: &super::TargetState| {
            state.busy != Busy::Free && !state.greeted && state.unreachable.is_none()
        };
        let may_lock = self.lock == Lock::Free && self.stop.is_none();
        if may_lock && !self.targets.iter().any(being_greeted) {
            self.lock = Lock::Asked;
            let targets = self.changing_targets();
            self.lock_targets.clone_from(&targets);
            self.out.push(Command::Lock { targets });
        }
    }

    pub(super) fn locked(&mut self, result: Result<Vec<NotLocked>, Failure>) {
        if self.lock != Lock::Asked {
            return;
        }
        let missing = match result {
            Ok(missing) => missing,
            Err(failure) => return self.lock_lost(failure),
        };
        self.lock = Lock::Held;
        let mut targets = std::mem::take(&mut self.lock_targets);
        targets.retain(|target| missing.iter().all(|missing| missing.target != *target));
        let locked: Vec<usize> = targets.iter().map(|target| self.index_of(target)).collect();
        self.emit_durable(Event::Locked { targets });
        // What was read before the lock may have been changed by whoever held it.
        self.store.clear();
        self.epoch += 1;
        for state in &mut self.targets {
            state.greeted = false;
            state.discard = state.busy == Busy::Reading;
            state.leftovers.clear();
        }
        self.dirty.append(&mut self.awaiting);
        self.decide_anew(&locked);
        for NotLocked { target, error } in missing {
            let index = self.index_of(&target);
            match error.kind {
                HostErrorKind::Unreachable { .. } | HostErrorKind::Lost => {
                    self.give_up_on(index, error.failure);
                }
                _ => {
                    if let Some(state) = self.targets.get_mut(index) {
                        state.unlocked = Some(error.failure);
                    }
                }
            }
        }
        self.wake_parked();
    }

    /// Somebody else holds a lock that this run needs: nothing new starts.
    fn lock_lost(&mut self, failure: Failure) {
        self.emit(Event::LockRefused {
            failure: failure.clone(),
        });
        self.halt(Stop::LockRefused, &failure.message);
    }

    /// An apply was refused because its target's lock is not this run's any more: it is taken again, if nobody else has it,
    /// and everything is looked at again.
    pub(super) fn fenced(&mut self, pair: PairId, index: usize, failure: Failure) {
        let Some(state) = self.pairs.get_mut(pair.index()) else {
            return;
        };
        state.fenced += 1;
        if self.stop.is_some() {
            let reason = format!("not started: {}", failure.message);
            return self.finish(pair, Outcome::Interrupted(reason));
        }
        if state.fenced > FENCED {
            return self.finish(pair, Outcome::Failed(failure));
        }
        self.set_phase(pair, Phase::Ready);
        if let Some(state) = self.targets.get_mut(index) {
            state.busy = Busy::Locking;
            let target = state.target.clone();
            self.out.push(Command::Relock { target });
        }
    }

    pub(super) fn relocked(&mut self, target: &Target, result: Result<(), HostError>) {
        let index = self.index_of(target);
        let Some(state) = self.targets.get_mut(index) else {
            return;
        };
        if state.busy != Busy::Locking {
            return;
        }
        state.busy = Busy::Free;
        match result {
            Ok(()) => self.look_again(index),
            Err(error) if error.kind == HostErrorKind::Fenced => {
                self.lock_lost(error.failure);
            }
            Err(error) => self.give_up_on(index, error.failure),
        }
    }

    pub(super) fn lock_news(&mut self, news: LockNews) {
        if self.lock != Lock::Held {
            return;
        }
        match news {
            LockNews::Again(target) => {
                let index = self.index_of(&target);
                self.look_again(index);
            }
            LockNews::Lost(failure) => self.lock_lost(failure),
        }
    }

    /// The lock was gone for a while: somebody else may have held it and changed the target.
    fn look_again(&mut self, index: usize) {
        let Some(state) = self.targets.get_mut(index) else {
            return;
        };
        state.greeted = false;
        state.discard = state.busy == Busy::Reading;
        let target = state.target.clone();
        self.forget(&target, |_| true);
        self.dirty.insert(index);
    }
}
