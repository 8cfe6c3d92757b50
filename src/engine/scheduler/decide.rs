//! One pair that is ready: its conditions, its facts, its decision.

use super::poll::words;
use super::target::MAX_ROUNDS;
use super::upload::is_upload;
use super::{Consent, Lock, Mode, Phase, Preview, Scheduler};
use crate::facts::fact::{NAMED, named_json};
use crate::facts::known::{FactRef, Known, Store, Unreadable};
use crate::model::action::Action;
use crate::model::event::{DiffLine, Event};
use crate::model::id::{PairId, Target};
use crate::model::outcome::{Failure, Outcome};
use crate::model::shell::quote;
use crate::model::template::{self, Scope};
use crate::plan::{Pair, Work};
use crate::steps::{Class, Decision, Poll, Want, Wish};

/// What came of looking at a pair.
pub(super) enum Step {
    /// It moved on, or needs nothing now.
    Moved,
    /// It needs facts.
    Needs(Vec<FactRef>),
    /// It waits for a lock, consent, its turn in a series, or an upload to end.
    Parked,
    /// It is to be applied now.
    Apply(Box<ReadyToApply>),
}

/// A pair that is to be applied.
pub(super) struct ReadyToApply {
    pub pair: PairId,
    pub actions: Vec<Action>,
    pub diff: Vec<DiffLine>,
    pub upload: bool,
}

impl Scheduler {
    /// Moves a pair that needs attention as far as what is known allows.
    pub(super) fn progress(&mut self, pair: PairId) -> Step {
        let plan = self.plan.clone();
        let Some(info) = plan.pair(pair) else {
            return Step::Moved;
        };
        let phase = self
            .pairs
            .get(pair.index())
            .map(|state| state.phase.clone());
        match (phase, &info.work) {
            (Some(Phase::Ready), Work::Skip(reason)) => {
                self.end_step(pair, Outcome::Skipped(reason.clone()))
            }
            (Some(Phase::Ready), Work::Wish(wish)) => self.ready(info, wish.as_ref()),
            (Some(Phase::Verifying), Work::Wish(wish)) => self.verify(pair, wish.as_ref()),
            (
                Some(Phase::Polling {
                    what,
                    polls,
                    paused: false,
                }),
                _,
            ) => self.poll(info, what, polls),
            _ => Step::Moved,
        }
    }

    pub(super) fn end_step(&mut self, pair: PairId, outcome: Outcome) -> Step {
        self.finish(pair, outcome);
        Step::Moved
    }

    fn ready(&mut self, info: &Pair, wish: &dyn Wish) -> Step {
        let doomed = self.doomed(info.id);
        if doomed.is_none() && !self.has_turn(info) {
            return Step::Parked;
        }
        if self.options.mode == Mode::Preview
            && let Some(reason) = self.undecidable(info, wish)
        {
            if let Some(stopped) = doomed {
                return self.end_step(info.id, stopped);
            }
            self.previews
                .insert(info.id, Preview::Later(reason.clone()));
            return self.end_step(info.id, Outcome::Skipped(reason));
        }
        match (self.conditions(info), doomed) {
            (Conditions::Need(facts), _) => return Step::Needs(facts),
            (Conditions::False(reason), _) => {
                return self.end_step(info.id, Outcome::Skipped(reason));
            }
            (_, Some(stopped)) => return self.end_step(info.id, stopped),
            (Conditions::Bad(failure), None) => {
                return self.end_step(info.id, Outcome::Failed(failure));
            }
            (Conditions::Hold, None) => {}
        }
        if awaited(info, wish).is_some() && self.options.mode == Mode::Run {
            return self.enter_check(info, wish);
        }
        let known = self.store.view(&info.target);
        if let Want::More(facts) = wish.facts(&known) {
            return Step::Needs(facts);
        }
        let decision = wish.decide(&known);
        if !matches!(decision, Ok(Decision::Unchanged))
            && let Some(facts) = self.looks_at_others_again(info, wish)
        {
            return Step::Needs(facts);
        }
        self.decided(info, wish, decision)
    }

    /// What follows from a decision.
    fn decided(
        &mut self,
        info: &Pair,
        wish: &dyn Wish,
        decision: Result<Decision<Vec<Action>>, Unreadable>,
    ) -> Step {
        let waits = awaited(info, wish);
        match decision {
            Err(unreadable) => self.end_step(info.id, Outcome::Failed(cannot_read(&unreadable))),
            Ok(Decision::Refused(failure)) => self.end_step(info.id, Outcome::Failed(failure)),
            Ok(Decision::Unknown(failure)) => self.end_step(info.id, Outcome::Unknown(failure)),
            Ok(Decision::Unchanged) => {
                self.previews.insert(info.id, Preview::Unchanged);
                self.warn(info, wish);
                // An earlier attempt of this run whose verdict was lost may have done it.
                let changed = self
                    .pairs
                    .get(info.id.index())
                    .is_some_and(|state| state.attempts > 0);
                self.enter_gate(info, changed)
            }
            Ok(Decision::Drift { diff, .. }) if info.kind.class == Class::Check => match waits {
                None => self.end_step(info.id, Outcome::Failed(check_failed(&diff))),
                Some(every) => self.would_wait(info, every, &diff),
            },
            Ok(Decision::Drift { diff, drift }) if self.options.mode == Mode::Preview => {
                self.would_touch(info, wish, &drift);
                self.previews.insert(info.id, Preview::Drift(diff));
                self.end_step(info.id, Outcome::Changed)
            }
            Ok(Decision::Drift { diff, drift }) => self.drifted(info, wish, diff, drift),
        }
    }

    /// A rollout takes its time: what a pair saw of other targets before the jobs of its series is looked at again before
    /// anything follows from it, or the next server would be restarted while another has gone down meanwhile. None: it is
    /// fresh, or there is nothing to look at.
    fn looks_at_others_again(&mut self, info: &Pair, wish: &dyn Wish) -> Option<Vec<FactRef>> {
        info.serial.filter(|_| self.options.mode == Mode::Run)?;
        let jobs = self.series.get(&info.series)?.jobs;
        let state = self.pairs.get_mut(info.id.index())?;
        if std::mem::replace(&mut state.looked_after, jobs) == jobs {
            return None;
        }
        let mut again = self.asked_by(&info.target, wish);
        again.retain(|fact| {
            let other = fact
                .target
                .as_ref()
                .filter(|target| **target != info.target);
            // Who did not answer is not waited for at each step of a rollout: it counts as not there.
            other.is_some_and(|target| matches!(self.store.get(target, &fact.fact), Some(Ok(_))))
        });
        self.forget_facts(info, &again);
        (!again.is_empty()).then_some(again)
    }

    /// In a preview, remembers what a drifting step would change: on its target, and where K3s is in it, of the cluster.
    fn would_touch(&mut self, info: &Pair, wish: &dyn Wish, actions: &[Action]) {
        let touches = match info.target {
            Target::Cluster => wish.touches().by(actions),
            _ => wish.touches(),
        };
        let own = self.index_of(&info.target);
        let cluster = self.target_index.get(&Target::Cluster).copied();
        let cluster = cluster.filter(|index| touches.k3s && *index != own);
        for index in [Some(own), cluster].into_iter().flatten() {
            if let Some(state) = self.targets.get_mut(index) {
                state.touched.push((touches.clone(), info.id));
            }
        }
    }

    /// How a pair ends whose series has been stopped, unless its conditions say that it was not to be done anyway.
    fn doomed(&self, pair: PairId) -> Option<Outcome> {
        let (step, target) = self.pairs.get(pair.index())?.doomed.clone()?;
        Some(Outcome::Blocked { step, target })
    }

    /// Tells what a person should know of a pair that is as wished.
    pub(super) fn warn(&mut self, info: &Pair, wish: &dyn Wish) {
        let state = self.pairs.get_mut(info.id.index());
        if state.is_some_and(|state| std::mem::replace(&mut state.warned, true)) {
            return;
        }
        if let Some(mut failure) = wish.warning(&self.store.view(&info.target)) {
            failure.message = format!("{}: {}", self.plan.label(info.id), failure.message);
            self.emit(Event::Warning { failure });
        }
    }

    /// In a preview, a check that does not hold yet and that a run would wait for.
    fn would_wait(&mut self, info: &Pair, every: Poll, diff: &[DiffLine]) -> Step {
        let (limit, missing) = (every.timeout, words(diff));
        let reason = format!("a run would wait for it, up to {limit}: {missing}");
        self.previews
            .insert(info.id, Preview::Later(reason.clone()));
        self.end_step(info.id, Outcome::Skipped(reason))
    }

    fn drifted(
        &mut self,
        info: &Pair,
        wish: &dyn Wish,
        diff: Vec<DiffLine>,
        actions: Vec<Action>,
    ) -> Step {
        if !wish.verifiable()
            && self
                .pairs
                .get(info.id.index())
                .is_some_and(|state| state.credited)
        {
            // The crashed run's job did it; nothing on the target can show that, but its verdict did.
            return self.enter_gate(info, true);
        }
        if self.lock != Lock::Held {
            self.wants_lock = true;
            return Step::Parked;
        }
        let index = self.index_of(&info.target);
        if let Some(why) = self.targets.get(index).and_then(|s| s.unsure.clone()) {
            let failure = Failure::new(format!(
                "could not find out whether a job of an earlier run is still on {}",
                info.target
            ))
            .evidence(why)
            .hint("see that hmco-boot's folder there can be read, then run `hmco-boot resume`");
            return self.end_step(info.id, Outcome::Failed(failure));
        }
        if let Some(why) = self.targets.get(index).and_then(|s| s.unlocked.clone()) {
            return self.end_step(info.id, Outcome::Failed(why));
        }
        let known = self.store.view(&info.target);
        if info.kind.disruptive && wish.disrupts(&known) {
            match self.consent {
                Consent::Given => {}
                Consent::Refused => {
                    return self.end_step(info.id, Outcome::Failed(self.not_agreed()));
                }
                Consent::Ask => {
                    self.ask_for_consent();
                    return Step::Parked;
                }
            }
        }
        let upload = is_upload(&actions);
        if upload && !self.may_upload(info) {
            return Step::Parked;
        }
        Step::Apply(Box::new(ReadyToApply {
            pair: info.id,
            actions,
            diff,
            upload,
        }))
    }

    fn not_agreed(&self) -> Failure {
        Failure::not_agreed().hint(format!(
            "look at `hmco-boot plan {}`, then agree with `hmco-boot resume {} --yes`",
            quote(&self.plan.playbook),
            self.options.run
        ))
    }

    fn ask_for_consent(&mut self) {
        if std::mem::replace(&mut self.asked, true) {
            return;
        }
        let open = |pair: &&Pair| self.is_phase(pair.id, |phase| !matches!(phase, Phase::Done(_)));
        let pairs = self
            .plan
            .pairs
            .iter()
            .filter(|pair| pair.is_disruptive())
            .filter(open)
            .map(|pair| pair.id)
            .collect();
        self.out.push(super::Command::Confirm { pairs });
    }

    /// Whether it is a pair's turn in its series (a rollout goes in order, also over targets that are as wished): fewer
    /// than its limit of those before it are still open.
    pub(super) fn has_turn(&self, info: &Pair) -> bool {
        let Some(series) = info.serial.and_then(|_| self.series.get(&info.series)) else {
            return true;
        };
        let mut first = series.open.iter().take(series.limit);
        first.any(|pair| *pair == info.id)
    }

    /// Facts that a pair's conditions look at.
    pub(super) fn condition_facts(&self, info: &Pair) -> Vec<FactRef> {
        info.whens
            .iter()
            .flat_map(|when| template::facts_named(&when.expression))
            .filter_map(|name| NAMED.iter().find(|(known, _)| *known == name))
            .map(|(_, fact)| FactRef::from(fact.clone()))
            .collect()
    }

    fn conditions(&mut self, info: &Pair) -> Conditions {
        if info.whens.is_empty()
            || self
                .pairs
                .get(info.id.index())
                .is_some_and(|state| state.conditions_hold)
        {
            return Conditions::Hold;
        }
        let known = self.store.view(&info.target);
        let missing: Vec<FactRef> = self
            .condition_facts(info)
            .into_iter()
            .filter(|fact| !known.has(fact))
            .collect();
        if !missing.is_empty() {
            return Conditions::Need(missing);
        }
        for fact in self.condition_facts(info) {
            if let Err(unreadable) = known.value(&fact.fact) {
                return Conditions::Bad(cannot_read(&unreadable));
            }
        }
        for when in &info.whens {
            match template::evaluate(
                &when.expression,
                when.span,
                &with_facts(&when.scope, &known),
            ) {
                Ok(true) => {}
                Ok(false) => return Conditions::False(format!("when: {}", when.expression)),
                Err(mistake) => {
                    let failure =
                        Failure::new(format!("`when` cannot be evaluated: {}", mistake.message))
                            .evidence(format!("when = {:?}", when.expression));
                    return Conditions::Bad(match mistake.hint {
                        Some(hint) => failure.hint(hint),
                        None => failure,
                    });
                }
            }
        }
        if let Some(state) = self.pairs.get_mut(info.id.index()) {
            state.conditions_hold = true;
        }
        Conditions::Hold
    }

    /// All that a wish asks for, round by round, as far as the answers are known.
    fn all_facts(&self, info: &Pair, wish: &dyn Wish) -> Vec<FactRef> {
        let mut told = Store::default();
        let mut all = Vec::new();
        for _ in 0..=MAX_ROUNDS {
            let Want::More(more) = wish.facts(&told.view(&info.target)) else {
                break;
            };
            let mut known = true;
            for fact in &more {
                let target = fact.target.as_ref().unwrap_or(&info.target);
                match self.store.get(target, &fact.fact) {
                    Some(answer) => told.insert(target, [(fact.fact.clone(), answer.clone())]),
                    None => known = false,
                }
            }
            all.extend(more);
            if !known {
                break;
            }
        }
        all
    }

    /// In a preview: why a pair cannot be decided before a drifting step has been applied.
    fn undecidable(&self, info: &Pair, wish: &dyn Wish) -> Option<String> {
        let mut facts = self.condition_facts(info);
        facts.extend(self.all_facts(info, wish));
        facts.iter().find_map(|fact| {
            let target = fact.target.as_ref().unwrap_or(&info.target);
            let state = self.targets.get(*self.target_index.get(target)?)?;
            let (_, by) = state
                .touched
                .iter()
                .find(|(touches, _)| touches.intersects(&fact.fact))?;
            Some(format!(
                "known only after {}: it may change {}",
                self.plan.label(*by),
                fact.fact.describe()
            ))
        })
    }
}

enum Conditions {
    Hold,
    Need(Vec<FactRef>),
    False(String),
    Bad(Failure),
}

/// A decision that a fact makes impossible.
pub(super) fn cannot_read(unreadable: &Unreadable) -> Failure {
    let failure = Failure::new(unreadable.to_string());
    match &unreadable.source {
        Some(source) => failure.evidence(source.to_string()),
        None => failure.evidence("it was never asked for: this is a mistake in hmco-boot"),
    }
}

/// How a check of a run waits for what it looks at.
fn awaited(info: &Pair, wish: &dyn Wish) -> Option<Poll> {
    wish.poll().filter(|_| info.kind.class == Class::Check)
}

pub(super) fn check_failed(diff: &[DiffLine]) -> Failure {
    let mut lines = diff.iter().map(|line| line.text.clone());
    let mut failure = Failure::new(
        lines
            .next()
            .unwrap_or_else(|| "the check does not hold".to_owned()),
    );
    failure.evidence.extend(lines);
    failure
}

fn with_facts(scope: &Scope, known: &Known<'_>) -> Scope {
    let mut scope = scope.clone();
    let facts = named_json(|fact| known.answer(fact));
    let facts: serde_json::Value = facts.into_iter().collect();
    scope.insert("facts", facts);
    scope
}
