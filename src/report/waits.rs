//! What waits for what: read off the state of a run, for the pairs that have not begun.

use super::state::{PairState, State};
use crate::model::id::{JobId, StepAddr};

/// What a pair that has not begun waits for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wait {
    /// Its target is being read.
    Reading,
    /// An earlier run's job on its target.
    Leftover(JobId),
    /// Other pairs: the one to show, and how many more.
    Pairs(usize, usize),
    /// The pair that its target is busy with.
    Busy(usize),
    /// Nothing that the events tell: its turn (limits, serial steps, locks).
    Turn,
}

impl State {
    /// What a pair that waits is waiting for.
    pub fn waiting_on(&self, pair: &PairState) -> Wait {
        let target = self.targets.get(pair.target);
        if let Some(job) = target.and_then(|t| t.leftover.clone()) {
            return Wait::Leftover(job);
        }
        let unmet = self.unmet(pair);
        let active = |p: &&usize| self.pairs.get(**p).is_some_and(PairState::is_active);
        if let Some(first) = unmet.iter().find(active).or_else(|| unmet.first()) {
            return Wait::Pairs(*first, unmet.len() - 1);
        }
        if target.is_some_and(|t| t.reading.is_some()) {
            return Wait::Reading;
        }
        let busy = target.and_then(|t| t.pairs.iter().find(active));
        busy.map_or(Wait::Turn, |p| Wait::Busy(*p))
    }

    /// The pairs that must still end before this one, by the plan's rule: a step with the same target counts there
    /// only, another one everywhere.
    fn unmet(&self, pair: &PairState) -> Vec<usize> {
        let mut unmet = Vec::new();
        for step in self.steps_named(&pair.info.waits_for) {
            let here = self.cell(step, pair.target);
            let elsewhere = self.steps.get(step).map(|s| s.pairs.as_slice());
            let pairs = match &here {
                Some(here) => std::slice::from_ref(here),
                None => elsewhere.unwrap_or_default(),
            };
            let open = |p: &&usize| self.pairs.get(**p).is_some_and(|p| p.outcome().is_none());
            unmet.extend(pairs.iter().filter(open).copied());
        }
        unmet
    }

    /// The steps that addresses mean: themselves, or, for playbook and `each` steps, all inside.
    fn steps_named(&self, addresses: &[StepAddr]) -> Vec<usize> {
        let mut found = Vec::new();
        for address in addresses {
            if let Some(step) = self.step_index.get(address) {
                found.push(*step);
                continue;
            }
            let inside = |s: &StepAddr| {
                let rest = s.as_str().strip_prefix(address.as_str());
                rest.is_some_and(|r| r.starts_with('/') || r.starts_with('['))
            };
            let steps = self.steps.iter().enumerate();
            found.extend(steps.filter(|(_, s)| inside(&s.step)).map(|(i, _)| i));
        }
        found
    }
}
