//! What is looked at again and again until it holds or its time is over: a check that waits, and a gate, which must hold on
//! a target after a step before anything that waits for the step goes on.

use std::sync::Arc;
use std::time::Duration;

use super::decide::{Step, cannot_read, check_failed};
use super::{Awaited, Busy, Mode, Phase, Purpose, Scheduler};
use crate::facts::fact::Fact;
use crate::facts::known::{FactRef, Store};
use crate::model::event::{DiffLine, Event};
use crate::model::id::{PairId, Target};
use crate::model::outcome::{Failure, Outcome};
use crate::plan::{Pair, Work};
use crate::steps::{Decision, Poll, Want, Wish};

/// Rounds of questions of one wish: more than any kind needs.
const ROUNDS: usize = 8;

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
        self.begin_polls(info.id, Awaited::Gate { changed });
        Step::Moved
    }

    /// A check that waits begins to. What was read before something was applied is too old for it.
    pub(super) fn enter_check(&mut self, info: &Pair, wish: &dyn Wish) -> Step {
        if self.jobs_ended {
            self.forget_seen_by(info, wish);
        }
        self.begin_polls(info.id, Awaited::Check);
        Step::Moved
    }

    fn begin_polls(&mut self, pair: PairId, what: Awaited) {
        if let Some(state) = self.pairs.get_mut(pair.index()) {
            state.time_is_up = false;
        }
        self.set_phase(
            pair,
            Phase::Polling {
                what,
                polls: 0,
                paused: false,
            },
        );
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

    /// It holds.
    fn held(&mut self, info: &Pair, what: Awaited) -> Step {
        match what {
            Awaited::Check => self.enter_gate(info, false),
            Awaited::Gate { changed } => self.pass(info.id, changed),
        }
    }

    /// Looks whether it holds.
    pub(super) fn poll(&mut self, info: &Pair, what: Awaited, polls: u32) -> Step {
        let Some((wish, every)) = awaited(info, what) else {
            return self.held(info, what);
        };
        let known = self.store.view(&info.target);
        if let Want::More(facts) = wish.facts(&known) {
            return Step::Needs(facts);
        }
        let missing = match wish.decide(&known) {
            Ok(Decision::Unchanged) => return self.held(info, what),
            Ok(Decision::Refused(failure)) if what == Awaited::Check => {
                return self.end_step(info.id, Outcome::Failed(failure));
            }
            Ok(Decision::Drift { diff, .. }) => Missing::Differs(diff),
            Ok(Decision::Refused(failure) | Decision::Unknown(failure)) => {
                Missing::Failure(failure)
            }
            Err(unreadable) => Missing::Failure(cannot_read(&unreadable)),
        };
        let interval = every.interval.0.max(Duration::from_millis(1));
        let looks = every.timeout.0.as_millis().div_ceil(interval.as_millis());
        let limit = u32::try_from(looks).unwrap_or(u32::MAX);
        let is_up = |state: &super::PairState| state.time_is_up;
        if polls >= limit || self.pairs.get(info.id.index()).is_some_and(is_up) {
            let failure = missing.in_the_end(what, every);
            return self.end_step(info.id, Outcome::Failed(failure));
        }
        self.emit(Event::GateWaiting {
            pair: info.id,
            reason: missing.words(),
        });
        self.set_phase(
            info.id,
            Phase::Polling {
                what,
                polls: polls + 1,
                paused: true,
            },
        );
        if polls == 0 {
            // Looking takes time too: counting looks alone would wait longer than the limit.
            self.after(every.timeout.0, Purpose::PollLimit(info.id, what));
        }
        self.after(interval, Purpose::Poll(info.id));
        Step::Moved
    }

    /// Its time is over: one last look.
    pub(super) fn time_is_up(&mut self, pair: PairId, over: Awaited) {
        if self.is_phase(
            pair,
            |phase| matches!(phase, Phase::Polling { what, .. } if *what == over),
        ) {
            if let Some(state) = self.pairs.get_mut(pair.index()) {
                state.time_is_up = true;
            }
            self.poll_again(pair);
        }
    }

    /// The pause is over: look again at fresh facts.
    pub(super) fn poll_again(&mut self, pair: PairId) {
        let plan = self.plan.clone();
        let Some(info) = plan.pair(pair) else { return };
        let Some(Phase::Polling {
            what,
            polls,
            paused: true,
        }) = self
            .pairs
            .get(pair.index())
            .map(|state| state.phase.clone())
        else {
            return;
        };
        if let Some((wish, _)) = awaited(info, what) {
            self.forget_seen_by(info, wish.as_ref());
        }
        self.set_phase(
            pair,
            Phase::Polling {
                what,
                polls,
                paused: false,
            },
        );
    }

    /// What a wish looks at is to be read anew.
    pub(super) fn forget_seen_by(&mut self, info: &Pair, wish: &dyn Wish) {
        let facts = self.asked_by(&info.target, wish);
        self.forget_facts(info, &facts);
    }

    /// These facts are to be read anew.
    pub(super) fn forget_facts(&mut self, info: &Pair, facts: &[FactRef]) {
        for fact in facts {
            let target = fact.target.as_ref().unwrap_or(&info.target);
            self.forget(target, |known| *known == fact.fact);
            self.outdate(target, &fact.fact);
        }
    }

    /// All that a wish looks at, as far as is known: its later rounds follow from the answers to its earlier ones.
    pub(super) fn asked_by(&self, own: &Target, wish: &dyn Wish) -> Vec<FactRef> {
        let mut seen = Store::default();
        let mut asked = Vec::new();
        for _ in 0..ROUNDS {
            let Want::More(facts) = wish.facts(&seen.view(own)) else {
                break;
            };
            for fact in &facts {
                let target = fact.target.as_ref().unwrap_or(own);
                if let Some(answer) = self.store.get(target, &fact.fact) {
                    seen.insert(target, [(fact.fact.clone(), answer.clone())]);
                }
            }
            let is_all = facts.iter().all(|fact| {
                let target = fact.target.as_ref().unwrap_or(own);
                seen.get(target, &fact.fact).is_some()
            });
            asked.extend(facts);
            if !is_all {
                break;
            }
        }
        asked
    }

    /// What is being read at this moment may have been seen before the moment.
    fn outdate(&mut self, target: &Target, fact: &Fact) {
        let index = self.index_of(target);
        if let Some(state) = self.targets.get_mut(index)
            && state.busy == Busy::Reading
            && state.reading.contains(fact)
        {
            state.outdated.insert(fact.clone());
        }
    }

    /// A job ended: what the controller sees of other machines (their ports, their names, their answers) may have changed
    /// with it.
    pub(super) fn job_is_over(&mut self, target: &Target) {
        self.jobs_ended = true;
        if *target != Target::Controller {
            self.forget(&Target::Controller, Fact::is_volatile);
        }
        if *target != Target::Cluster {
            // Any job on a node may be one that K3s, or what runs in it, depends on.
            self.forget(&Target::Cluster, Fact::is_of_cluster);
        }
    }
}

/// The wish that is looked at, and how often.
fn awaited(info: &Pair, what: Awaited) -> Option<(Arc<dyn Wish>, Poll)> {
    match what {
        Awaited::Check => {
            let Work::Wish(wish) = &info.work else {
                return None;
            };
            Some((wish.clone(), wish.poll()?))
        }
        Awaited::Gate { .. } => {
            let gate = info.gate.as_ref()?;
            let every = Poll {
                interval: gate.interval,
                timeout: gate.timeout,
            };
            Some((gate.wish.clone(), every))
        }
    }
}

/// Why it does not hold yet.
enum Missing {
    Differs(Vec<DiffLine>),
    Failure(Failure),
}

impl Missing {
    fn words(&self) -> String {
        match self {
            Self::Differs(diff) => words(diff),
            Self::Failure(failure) => failure.message.clone(),
        }
    }

    /// Why it failed after all that time.
    fn in_the_end(self, what: Awaited, every: Poll) -> Failure {
        let limit = every.timeout;
        if what != Awaited::Check {
            return Failure::new(format!("its gate did not hold within {limit}"))
                .evidence(self.words())
                .hint("find out on the target why, or give it longer with the gate's `timeout`");
        }
        let failure = match self {
            Self::Differs(diff) => check_failed(&diff),
            Self::Failure(failure) => failure,
        };
        let failure = failure.evidence(format!(
            "it was waited for {limit}, looking every {}",
            every.interval
        ));
        match failure.hint {
            Some(_) => failure,
            None => failure.hint("find out on the target why, or give it longer with `timeout`"),
        }
    }
}

/// What differs, in one line.
pub(super) fn words(diff: &[DiffLine]) -> String {
    diff.iter()
        .map(|line| line.text.as_str())
        .collect::<Vec<_>>()
        .join("; ")
}
