//! Gates: a check that must hold on a target after a step, before anything that waits for it goes on.

use super::decide::{Step, cannot_read};
use super::{Mode, Phase, Purpose, Scheduler};
use crate::facts::known::Store;
use crate::model::event::{DiffLine, Event};
use crate::model::id::PairId;
use crate::model::outcome::{Failure, Outcome};
use crate::plan::{Gate, Pair};
use crate::steps::{Decision, Want};

impl Scheduler {
    /// A pair is as wished: it is done, or its gate comes first.
    pub(super) fn enter_gate(&mut self, info: &Pair, changed: bool) -> Step {
        if info.gate.is_none() || self.options.mode == Mode::Preview {
            return self.pass(info.id, changed);
        }
        if self.stop.is_some() {
            let reason = "changed, but its gate was not awaited: the run was stopped";
            return self.end_step(info.id, Outcome::Interrupted(reason.to_owned()));
        }
        self.set_phase(
            info.id,
            Phase::Gating {
                changed,
                polls: 0,
                paused: false,
            },
        );
        Step::Moved
    }

    fn pass(&mut self, pair: PairId, changed: bool) -> Step {
        self.end_step(
            pair,
            if changed {
                Outcome::Changed
            } else {
                Outcome::Unchanged
            },
        )
    }

    /// Looks whether a gate holds.
    pub(super) fn poll_gate(&mut self, info: &Pair, changed: bool, polls: u32) -> Step {
        let Some(gate) = &info.gate else {
            return self.pass(info.id, changed);
        };
        let known = self.store.view(&info.target);
        if let Want::More(facts) = gate.wish.facts(&known) {
            return Step::Needs(facts);
        }
        let reason = match gate.wish.decide(&known) {
            Ok(Decision::Unchanged) => return self.pass(info.id, changed),
            Ok(Decision::Drift { diff, .. }) => words(&diff),
            Ok(Decision::Refused(failure)) => failure.message,
            Err(unreadable) => cannot_read(&unreadable).message,
        };
        let interval = gate.interval.0.max(std::time::Duration::from_millis(1));
        let limit = u32::try_from(gate.timeout.0.as_millis().div_ceil(interval.as_millis()))
            .unwrap_or(u32::MAX);
        let expired = |state: &super::PairState| state.gate_expired;
        if polls >= limit || self.pairs.get(info.id.index()).is_some_and(expired) {
            let failure = Failure::new(format!("its gate did not hold within {}", gate.timeout))
                .evidence(reason)
                .hint("find out on the target why, or give it longer with the gate's `timeout`");
            return self.end_step(info.id, Outcome::Failed(failure));
        }
        self.emit(Event::GateWaiting {
            pair: info.id,
            reason,
        });
        self.set_phase(
            info.id,
            Phase::Gating {
                changed,
                polls: polls + 1,
                paused: true,
            },
        );
        if polls == 0 {
            // Looking takes time too: counting looks alone would wait longer than the limit.
            self.after(gate.timeout.0, Purpose::GateLimit(info.id));
        }
        self.after(interval, Purpose::Gate(info.id));
        Step::Moved
    }

    /// The pause is over: look again at fresh facts.
    pub(super) fn gate_again(&mut self, pair: PairId) {
        let plan = self.plan.clone();
        let Some(info) = plan.pair(pair) else { return };
        let Some(gate) = &info.gate else { return };
        let Some(Phase::Gating {
            changed,
            polls,
            paused: true,
        }) = self
            .pairs
            .get(pair.index())
            .map(|state| state.phase.clone())
        else {
            return;
        };
        self.forget_gate(info, gate);
        self.set_phase(
            pair,
            Phase::Gating {
                changed,
                polls,
                paused: false,
            },
        );
    }

    /// What a gate looks at is to be read anew.
    pub(super) fn forget_gate(&mut self, info: &Pair, gate: &Gate) {
        let empty = Store::default();
        let mut asked = match gate.wish.facts(&empty.view(&info.target)) {
            Want::More(facts) => facts,
            Want::Done => Vec::new(),
        };
        if let Want::More(more) = gate.wish.facts(&self.store.view(&info.target)) {
            asked.extend(more);
        }
        for fact in asked {
            let target = fact.target.as_ref().unwrap_or(&info.target);
            self.forget(target, |known| *known == fact.fact);
        }
    }
}

fn words(diff: &[DiffLine]) -> String {
    diff.iter()
        .map(|line| line.text.as_str())
        .collect::<Vec<_>>()
        .join("; ")
}
