//! What was found as wished before the lock was held. Whoever held it until then may have changed that, so on a target that
//! may still be changed it is decided again under the lock, by facts that are read again in any case. Where nothing is to
//! be changed, what was read once counts.

use std::collections::BTreeSet;

use super::{Lock, Mode, Phase, Purpose, Scheduler, waiting_vertices};
use crate::facts::fact::Fact;
use crate::model::id::PairId;
use crate::model::outcome::Outcome;
use crate::plan::Work;

impl Scheduler {
    /// Whether a target is still to be read again under the lock.
    pub(super) fn looks_again(&self, target: usize) -> bool {
        self.options.mode == Mode::Run
            && self.lock != Lock::Held
            && self.stop.is_none()
            && (self.targets.get(target))
                .is_some_and(|state| state.unreachable.is_none() && self.may_change(state))
    }

    /// Whether a pair that has just ended so is to be decided again.
    pub(super) fn is_provisional(&self, pair: PairId, target: usize, outcome: &Outcome) -> bool {
        let by_facts = self.plan.pair(pair).is_some_and(|info| match outcome {
            Outcome::Unchanged => true,
            Outcome::Skipped(_) => matches!(info.work, Work::Wish(_)),
            _ => false,
        });
        by_facts && self.looks_again(target)
    }

    /// What was found on a target stands.
    pub(super) fn tell_provisional(&mut self, target: usize) {
        let Some(state) = self.targets.get_mut(target) else {
            return;
        };
        for pair in std::mem::take(&mut state.provisional) {
            if let Some(Phase::Done(outcome)) = self.pairs.get(pair.index()).map(|p| &p.phase) {
                let outcome = outcome.clone();
                self.tell(pair, outcome);
            }
        }
    }

    /// The lock is held on these targets: what was found as wished there is open again, and all that waits for it waits
    /// again. Nothing has been applied yet.
    pub(super) fn decide_anew(&mut self, locked: &[usize]) {
        let mut again: Vec<PairId> = Vec::new();
        for target in locked {
            if let Some(state) = self.targets.get_mut(*target) {
                again.append(&mut state.provisional);
            }
        }
        for target in 0..self.targets.len() {
            self.tell_provisional(target);
        }
        for state in &mut self.pairs {
            // Conditions look at facts, too.
            if matches!(state.phase, Phase::Ready | Phase::Waiting) {
                state.conditions_hold = false;
            }
        }
        if again.is_empty() {
            return;
        }
        for pair in again {
            self.reopen(pair);
        }
        self.wait_again();
    }

    fn reopen(&mut self, pair: PairId) {
        let Some(state) = self.pairs.get_mut(pair.index()) else {
            return;
        };
        state.phase = Phase::Waiting;
        state.conditions_hold = false;
        state.time_is_up = false;
        let target = state.target;
        if let Some(state) = self.targets.get_mut(target) {
            state.open.insert(pair);
        }
        if let Some(info) = self.plan.pair(pair)
            && info.serial.is_some()
            && let Some(series) = self.series.get_mut(&info.series)
        {
            series.open.insert(pair);
        }
        self.open += 1;
        self.forget_polls(pair);
    }

    /// Everything that has not begun waits for what is not done.
    fn wait_again(&mut self) {
        let plan = self.plan.clone();
        self.vertices = waiting_vertices(&plan);
        for pair in &plan.pairs {
            if self.is_phase(pair.id, |phase| *phase == Phase::Ready) {
                self.set_phase(pair.id, Phase::Waiting);
            }
        }
        self.begin_at_roots();
        for pair in &plan.pairs {
            let (Some(state), Some(vertex)) = (
                self.pairs.get(pair.id.index()),
                self.vertices.get(pair.vertex.index()),
            ) else {
                continue;
            };
            let cause = state.passed_on.clone();
            // What blocks others blocks them at once; what lets them go on waits for what it had waited for.
            let tells = !vertex.passed && (vertex.remaining == 0 || cause.is_some());
            if tells && matches!(state.phase, Phase::Done(_)) {
                // Those that it blocks have ended by it before.
                drop(self.propagate(pair.vertex, cause.as_ref()));
            }
        }
        for pair in &plan.pairs {
            let waits = |state: &super::VertexState| state.remaining > 0;
            let polls = |phase: &Phase| matches!(phase, Phase::Polling { .. });
            if self.vertices.get(pair.vertex.index()).is_some_and(waits)
                && self.is_phase(pair.id, polls)
            {
                self.forget_polls(pair.id);
                self.set_phase(pair.id, Phase::Waiting);
            }
        }
    }

    /// How long a pair waited before counts no more.
    fn forget_polls(&mut self, pair: PairId) {
        self.timers.retain(|_, purpose| {
            !matches!(purpose, Purpose::Poll(of) | Purpose::PollLimit(of, _) if *of == pair)
        });
    }

    /// What pairs of a target had asked for when it was read before: asked at once, and not in rounds again.
    pub(super) fn asked_before(&self, target: usize) -> BTreeSet<Fact> {
        let Some(state) = self.targets.get(target) else {
            return BTreeSet::new();
        };
        let pairs = state
            .open
            .iter()
            .filter_map(|pair| self.pairs.get(pair.index()));
        let asked = pairs.flat_map(|pair| pair.asked.iter());
        asked
            .filter(|fact| self.store.get(&state.target, fact).is_none())
            .cloned()
            .collect()
    }
}
