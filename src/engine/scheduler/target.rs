//! One target: when to read it, what to ask for, what to do with the answers.

use std::collections::BTreeSet;

use super::decide::Step;
use super::{Busy, Command, Mode, PairState, Phase, Scheduler, Stop, TargetState};
use crate::facts::fact::{Answer, Cost, Fact, FactError};
use crate::facts::known::FactRef;
use crate::model::event::Event;
use crate::model::id::{PairId, Target};
use crate::model::outcome::{Failure, Outcome};
use crate::plan::Work;
use crate::steps::Want;
use crate::transport::HostError;

/// How many open pairs of a target a later read looks ahead over; the first read takes all of them.
pub(super) const LOOK_AHEAD: usize = 256;

/// Rounds of facts a pair may ask for before it must decide.
pub(super) const MAX_ROUNDS: u32 = 3;

impl Scheduler {
    /// Does the next thing on a target that is not busy: finishes what can be decided, then applies, reads, or waits.
    pub(super) fn visit(&mut self, target: usize) {
        let Some(state) = self.targets.get(target) else {
            return;
        };
        if state.busy != Busy::Free || state.unreachable.is_some() {
            return;
        }
        if !state.leftovers.is_empty() {
            return self.next_leftover(target);
        }
        if !state.greeted && !self.is_left_alone(target) {
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
                    // Rounds are counted where facts of its own target are missing: others answer in their own time.
                    let elsewhere = |fact: &FactRef| {
                        let other = fact.target.as_ref().and_then(|t| self.target_index.get(t));
                        fact.target.is_some() && other != Some(&target)
                    };
                    if !facts.iter().all(elsewhere) {
                        asking.push(pair);
                    }
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

    /// A cluster is not asked before a step needs it: until then there may be none. In a preview it is not asked at all
    /// for what can only be known when K3s has been set up.
    fn is_left_alone(&self, target: usize) -> bool {
        self.targets.get(target).is_some_and(|state| {
            state.target == Target::Cluster
                && state.wanted.is_empty()
                && (state.active.is_empty() || !state.touched.is_empty())
        })
    }

    fn remember_asked(&mut self, pair: PairId, facts: &[FactRef]) {
        if let (Some(info), Some(state)) = (self.plan.pair(pair), self.pairs.get_mut(pair.index()))
        {
            let own = |fact: &&FactRef| fact.target.as_ref().is_none_or(|t| *t == info.target);
            state
                .asked
                .extend(facts.iter().filter(own).map(|fact| fact.fact.clone()));
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
        state.busy = Busy::Reading;
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
        facts.extend(self.asked_before(target));
        if let Some(state) = self.targets.get_mut(target) {
            facts.append(&mut state.wanted);
        }
        let anything_to_do = |state: &TargetState| {
            state.open.iter().any(|pair| {
                let pair = self.plan.pair(*pair);
                pair.is_some_and(|pair| matches!(pair.work, Work::Wish(_)))
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
        let mut facts = BTreeSet::new();
        for pair in state.open.iter().take(pairs) {
            let needed = self.needs_facts_now(*pair);
            for wanted in self.wants(*pair) {
                let own = wanted
                    .target
                    .as_ref()
                    .is_none_or(|other| *other == state.target);
                // A slow fact is read when a step really needs it, not on suspicion.
                if own && (needed || wanted.fact.cost() != Cost::Cli) {
                    facts.insert(wanted.fact);
                }
            }
        }
        facts
    }

    /// Whether whatever a pair asks for is certain to be used.
    fn needs_facts_now(&self, pair: PairId) -> bool {
        let (Some(info), Some(state)) = (self.plan.pair(pair), self.pairs.get(pair.index())) else {
            return false;
        };
        match state.phase {
            Phase::Verifying | Phase::Polling { paused: false, .. } => true,
            Phase::Ready => (info.whens.is_empty() || state.conditions_hold) && self.has_turn(info),
            _ => false,
        }
    }

    /// All facts that a pair would ask for now and that are not known.
    pub(super) fn wants(&self, pair: PairId) -> Vec<FactRef> {
        let Some(info) = self.plan.pair(pair) else {
            return Vec::new();
        };
        let Work::Wish(wish) = &info.work else {
            return Vec::new();
        };
        let known = self.store.view(&info.target);
        let decided = |state: &PairState| state.conditions_hold;
        let mut wanted = match self.pairs.get(pair.index()).is_some_and(decided) {
            true => Vec::new(),
            false => self.condition_facts(info),
        };
        wanted.retain(|fact| !known.has(fact));
        if let Want::More(more) = wish.facts(&known) {
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
        self.upload_may_follow();
        let Some(state) = self.targets.get_mut(index) else {
            return;
        };
        if state.busy != Busy::Reading {
            return;
        }
        state.busy = Busy::Free;
        let asked = std::mem::take(&mut state.reading);
        let outdated = std::mem::take(&mut state.outdated);
        let (discard, greeting) = (state.discard, !state.greeted);
        self.executions = self.executions.saturating_sub(1);
        self.dirty.insert(index);
        let answers = match result {
            Ok(answers) => complete(answers, &asked),
            Err(error) => {
                // What others asked for must not be forgotten.
                state.wanted.extend(asked);
                return self.not_reached(index, error);
            }
        };
        if discard {
            state.wanted.extend(asked);
        } else {
            state.greeted = true;
        }
        self.reached(index);
        let bad = |answer: &&Answer| !matches!(answer.1, Ok(_) | Err(FactError::NotFound));
        let failed = u32::try_from(answers.iter().filter(bad).count()).unwrap_or(u32::MAX);
        self.emit(Event::FactsRead {
            target: target.clone(),
            failed,
            took_ms,
        });
        if !discard {
            let (old, answers): (Vec<Answer>, Vec<Answer>) = answers
                .into_iter()
                .partition(|(fact, _)| outdated.contains(fact));
            if let Some(state) = self.targets.get_mut(index) {
                state.wanted.extend(old.into_iter().map(|(fact, _)| fact));
            }
            self.learn(target, answers);
            if greeting && self.options.mode == Mode::Run {
                self.greet(index, target);
            }
        }
    }

    /// Takes answers in.
    pub(super) fn learn(&mut self, target: &Target, answers: Vec<Answer>) {
        if let Some(stale) = self
            .expectation
            .as_ref()
            .and_then(|expected| expected.contradicted_by(target, &answers))
        {
            // Once is enough.
            self.expectation = None;
            self.emit(Event::Warning { failure: stale });
            self.halt(Stop::StalePlan, "the saved plan no longer fits its targets");
        }
        self.store.insert(target, answers);
        self.dirty.append(&mut self.awaiting);
    }
}

/// Answers with an error for each question that has none: whoever asked must not wait for ever.
fn complete(mut answers: Vec<Answer>, asked: &BTreeSet<Fact>) -> Vec<Answer> {
    let answered: BTreeSet<&Fact> = answers.iter().map(|(fact, _)| fact).collect();
    let missing: Vec<Fact> = asked
        .iter()
        .filter(|fact| !answered.contains(fact))
        .cloned()
        .collect();
    let error = || FactError::Failed("the target gave no answer to this".to_owned());
    answers.extend(missing.into_iter().map(|fact| (fact, Err(error()))));
    answers
}
