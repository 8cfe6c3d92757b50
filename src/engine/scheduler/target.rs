//! One target: when to read it, what to ask for, what to do with the answers.

use std::collections::BTreeSet;

use super::decide::Step;
use super::{Command, Lock, Mode, Phase, Scheduler, Stop, TargetState};
use crate::facts::fact::{Answer, Cost, Fact, FactError, FactValue};
use crate::facts::known::FactRef;
use crate::model::event::Event;
use crate::model::id::{JobId, PairId, Target};
use crate::model::outcome::{Failure, Outcome};
use crate::plan::Work;
use crate::steps::Want;
use crate::transport::{HostError, HostErrorKind};

/// How many open pairs of a target a later read looks ahead over; the first read takes all of them.
pub(super) const LOOK_AHEAD: usize = 256;

/// Rounds of facts a pair may ask for before it must decide.
const MAX_ROUNDS: u32 = 3;

impl Scheduler {
    /// Does the next thing on a target that is not busy: finishes what can be decided, then applies, reads, or waits.
    pub(super) fn visit(&mut self, target: usize) {
        let Some(state) = self.targets.get(target) else {
            return;
        };
        if state.busy || state.unreachable.is_some() {
            return;
        }
        if !state.leftovers.is_empty() {
            return self.next_leftover(target);
        }
        if !state.greeted {
            let facts = self.first_facts(target);
            if !facts.is_empty() {
                return self.read(target, facts);
            }
            if let Some(state) = self.targets.get_mut(target) {
                state.greeted = true;
            }
        }
        let active: Vec<PairId> = self
            .targets
            .get(target)
            .map(|s| s.active.iter().copied().collect())
            .unwrap_or_default();
        let mut missing: BTreeSet<FactRef> = BTreeSet::new();
        let mut verifying = false;
        let mut candidate = None;
        let mut asking: Vec<PairId> = Vec::new();
        for pair in active {
            match self.progress(pair) {
                Step::Moved => {}
                Step::Needs(facts) => {
                    asking.push(pair);
                    verifying |= self.is_phase(pair, |phase| *phase == Phase::Verifying);
                    self.remember_asked(pair, &facts);
                    missing.extend(facts);
                }
                Step::Parked => drop(self.parked.insert(target)),
                Step::Apply(ready) => drop(candidate.get_or_insert(ready)),
            }
        }
        // One step at a time: what was applied is proven before the next one is. What ended meanwhile may have blocked it.
        match candidate
            .filter(|ready| !verifying && self.is_phase(ready.pair, |phase| *phase == Phase::Ready))
        {
            Some(ready) => self.apply(target, *ready),
            None => self.ask(target, missing, &asking),
        }
    }

    fn remember_asked(&mut self, pair: PairId, facts: &[FactRef]) {
        if let Some(state) = self.pairs.get_mut(pair.index()) {
            state.asked.extend(
                facts
                    .iter()
                    .filter(|fact| fact.target.is_none())
                    .map(|fact| fact.fact.clone()),
            );
        }
    }

    /// Asks for missing facts: here in one round, elsewhere by leaving a note there.
    fn ask(&mut self, target: usize, missing: BTreeSet<FactRef>, asking: &[PairId]) {
        let mut here: BTreeSet<Fact> = BTreeSet::new();
        for fact in missing {
            match fact.target.filter(|other| self.index_of(other) != target) {
                None => drop(here.insert(fact.fact)),
                Some(other) => self.ask_elsewhere(&other, fact.fact, target),
            }
        }
        if let Some(state) = self.targets.get_mut(target) {
            here.append(&mut state.wanted);
        }
        if here.is_empty() {
            return;
        }
        for pair in asking {
            let Some(state) = self.pairs.get_mut(pair.index()) else {
                continue;
            };
            if state.epoch != self.epoch {
                (state.epoch, state.rounds) = (self.epoch, 0);
            }
            state.rounds += 1;
            if state.rounds > MAX_ROUNDS {
                let failure = Failure::new(format!(
                    "its kind asked for facts in more than {MAX_ROUNDS} rounds"
                ))
                .hint("this is a mistake in hmco-boot: please report it with the step");
                self.finish(*pair, Outcome::Failed(failure));
            }
        }
        here.extend(self.facts_ahead(target, LOOK_AHEAD));
        self.read(target, here);
    }

    fn ask_elsewhere(&mut self, other: &Target, fact: Fact, waiting: usize) {
        let index = self.index_of(other);
        self.awaiting.insert(waiting);
        let Some(state) = self.targets.get_mut(index) else {
            return;
        };
        match state.unreachable.clone() {
            // An answer all the same, so that the one who asks can decide (or refuse) instead of waiting for ever.
            Some(failure) => {
                let error =
                    FactError::Failed(format!("{other} did not answer: {}", failure.message));
                self.store.insert(other, [(fact, Err(error))]);
                self.dirty.insert(waiting);
            }
            None => {
                state.wanted.insert(fact);
                self.dirty.insert(index);
            }
        }
    }

    /// The place of a target in `targets`; one that has no pairs in this plan gets a place when it is first asked.
    pub(super) fn index_of(&mut self, target: &Target) -> usize {
        if let Some(index) = self.target_index.get(target) {
            return *index;
        }
        let index = self.targets.len();
        self.targets.push(TargetState::new(target.clone()));
        self.target_index.insert(target.clone(), index);
        index
    }

    fn read(&mut self, target: usize, facts: BTreeSet<Fact>) {
        let Some(state) = self.targets.get_mut(target) else {
            return;
        };
        state.busy = true;
        state.discard = false;
        state.round += 1;
        state.reading.clone_from(&facts);
        self.executions += 1;
        let (name, round) = (state.target.clone(), state.round);
        let count = u32::try_from(facts.len()).unwrap_or(u32::MAX);
        self.emit(Event::FactsRequested {
            target: name.clone(),
            round,
            facts: count,
        });
        self.out.push(Command::Read {
            target: name,
            facts: facts.into_iter().collect(),
        });
    }

    /// Everything that all open pairs want of a target, and what earlier runs left there.
    fn first_facts(&mut self, target: usize) -> BTreeSet<Fact> {
        let mut facts = self.facts_ahead(target, usize::MAX);
        if let Some(state) = self.targets.get_mut(target) {
            facts.append(&mut state.wanted);
        }
        let anything_to_do = |state: &TargetState| {
            state.pairs.iter().any(|pair| {
                self.is_phase(*pair, |phase| !matches!(phase, Phase::Done(_)))
                    && self
                        .plan
                        .pair(*pair)
                        .is_some_and(|pair| matches!(pair.work, Work::Wish(_)))
            })
        };
        if !facts.is_empty() || self.targets.get(target).is_some_and(anything_to_do) {
            facts.insert(Fact::RunState);
        }
        facts
    }

    /// Facts of a target that its open pairs will want and that are not known: read along with the next execution.
    pub(super) fn facts_ahead(&self, target: usize, pairs: usize) -> BTreeSet<Fact> {
        let Some(state) = self.targets.get(target) else {
            return BTreeSet::new();
        };
        let open = state
            .pairs
            .iter()
            .filter(|pair| self.is_phase(**pair, |phase| !matches!(phase, Phase::Done(_))));
        let mut facts = BTreeSet::new();
        for pair in open.take(pairs) {
            let waiting = self.is_phase(*pair, |phase| *phase == Phase::Waiting);
            for wanted in self.wants(*pair) {
                let own = wanted
                    .target
                    .as_ref()
                    .is_none_or(|other| *other == state.target);
                // A slow fact is read when a step really needs it, not on suspicion.
                if own && !(waiting && wanted.fact.cost() == Cost::Cli) {
                    facts.insert(wanted.fact);
                }
            }
        }
        facts
    }

    /// All facts that a pair would ask for now and that are not known.
    pub(super) fn wants(&self, pair: PairId) -> Vec<FactRef> {
        let Some(info) = self.plan.pair(pair) else {
            return Vec::new();
        };
        let known = self.store.view(&info.target);
        let mut wanted = self.condition_facts(info);
        wanted.retain(|fact| !known.has(fact));
        if let Work::Wish(wish) = &info.work
            && let Want::More(more) = wish.facts(&known)
        {
            wanted.extend(more);
        }
        if let Some(gate) = &info.gate
            && let Want::More(more) = gate.wish.facts(&known)
        {
            wanted.extend(more);
        }
        wanted
    }

    pub(super) fn read_ended(
        &mut self,
        target: &Target,
        result: Result<Vec<Answer>, HostError>,
        took_ms: u64,
    ) {
        let index = self.index_of(target);
        self.executions = self.executions.saturating_sub(1);
        let Some(state) = self.targets.get_mut(index) else {
            return;
        };
        state.busy = false;
        self.dirty.insert(index);
        match result {
            Ok(answers) => {
                state.tries = 0;
                let bad = |answer: &&Answer| !matches!(answer.1, Ok(_) | Err(FactError::NotFound));
                let failed = u32::try_from(answers.iter().filter(bad).count()).unwrap_or(u32::MAX);
                let greeting = !state.greeted;
                if !state.discard {
                    state.greeted = true;
                }
                let discard = state.discard;
                self.emit(Event::FactsRead {
                    target: target.clone(),
                    failed,
                    took_ms,
                });
                if !discard {
                    self.learn(index, target, answers, greeting);
                }
            }
            Err(error) => self.not_reached(index, error),
        }
    }

    /// Takes answers in.
    pub(super) fn learn(
        &mut self,
        index: usize,
        target: &Target,
        answers: Vec<Answer>,
        greeting: bool,
    ) {
        if let Some(stale) = self
            .expectation
            .as_ref()
            .and_then(|expected| expected.contradicted_by(target, &answers))
        {
            self.emit(Event::Warning { failure: stale });
            self.halt(
                Stop::StalePlan,
                "not started: the saved plan no longer fits its targets",
            );
        }
        self.store.insert(target, answers);
        self.dirty.append(&mut self.awaiting);
        if greeting
            && self.options.mode == Mode::Run
            && let Some(Ok(FactValue::RunState(run_state))) =
                self.store.get(target, &Fact::RunState)
            && let Some(state) = self.targets.get_mut(index)
        {
            state.leftovers = run_state.jobs.iter().map(|job| job.id.clone()).collect();
        }
    }

    /// A target did not answer a read: try again, or give up on it.
    fn not_reached(&mut self, index: usize, error: HostError) {
        let (tries, pause) = self.options.reach;
        let Some(state) = self.targets.get_mut(index) else {
            return;
        };
        state.tries += 1;
        let may_pass = matches!(
            error.kind,
            HostErrorKind::Unreachable { transient: true }
                | HostErrorKind::Lost
                | HostErrorKind::Busy
        );
        if may_pass && state.tries < tries && self.stop.is_none() {
            // What it was asked for by others must not be forgotten.
            let reading = std::mem::take(&mut state.reading);
            state.wanted.extend(reading);
            state.busy = true;
            self.after(pause, super::Purpose::Reach(index));
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
        let pairs = state.pairs.clone();
        let wanted: BTreeSet<Fact> = std::mem::take(&mut state.wanted)
            .into_iter()
            .chain(std::mem::take(&mut state.reading))
            .collect();
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
        for pair in pairs {
            let outcome = match self.pairs.get(pair.index()).map(|state| &state.phase) {
                Some(Phase::Done(_)) | None => continue,
                Some(Phase::Verifying | Phase::Applying { .. } | Phase::Recovering { .. }) => Outcome::Unknown(
                    Failure::new("it was applied, but its target did not answer afterwards")
                        .evidence(failure.message.clone())
                        .hint("when the target is back, run `hmco-boot resume`: it looks again before it does anything"),
                ),
                Some(_) => Outcome::Unreachable(failure.clone()),
            };
            self.finish(pair, outcome);
        }
    }

    /// Jobs that earlier runs left behind are awaited before anything else happens on a target; only under the lock,
    /// for a running one may belong to whoever holds it.
    fn next_leftover(&mut self, target: usize) {
        if self.lock != Lock::Held {
            self.parked.insert(target);
            return;
        }
        let Some(state) = self.targets.get_mut(target) else {
            return;
        };
        let (Some(job), name) = (state.leftovers.pop(), state.target.clone()) else {
            return;
        };
        state.busy = true;
        self.executions += 1;
        self.emit(Event::LeftoverJob {
            target: name.clone(),
            job: job.clone(),
            waiting: true,
        });
        self.out.push(Command::Attach { target: name, job });
    }

    /// A leftover job's end: nothing known of the target counts any more.
    pub(super) fn leftover_ended(&mut self, target: &Target, job: &JobId) {
        let index = self.index_of(target);
        self.executions = self.executions.saturating_sub(1);
        if let Some(state) = self.targets.get_mut(index) {
            state.busy = false;
            if state.leftovers.is_empty() {
                state.greeted = false;
            }
        }
        self.forget(target, |_| true);
        self.dirty.insert(index);
        self.emit(Event::LeftoverJob {
            target: target.clone(),
            job: job.clone(),
            waiting: false,
        });
    }
}
