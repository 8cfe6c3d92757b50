//! From a decision to a verdict: the job, what came back, the same decision again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::decide::{ReadyToApply, Step, cannot_read};
use super::{Busy, Command, Phase, Purpose, Scheduler};
use crate::facts::fact::Fact;
use crate::model::action::{Action, CHANGED_MEANWHILE, Job, JobEnd, JobStatus};
use crate::model::event::{DiffLine, Event, Side};
use crate::model::id::{JobId, PairId, Target};
use crate::model::outcome::{Failure, Outcome};
use crate::model::playbook::Retry;
use crate::model::units::TimeSpan;
use crate::plan::{Pair, Work, waits};
use crate::steps::{Decision, Want, Wish};
use crate::transport::{Applied, HostError, HostErrorKind};

/// How many lines of a job's output a failure shows.
const EVIDENCE_LINES: usize = 12;

impl Scheduler {
    /// Starts an apply: the record first, then the job, then all facts that it makes doubtful, in one execution.
    pub(super) fn apply(&mut self, target: usize, ready: ReadyToApply) {
        let plan = self.plan.clone();
        let Some(info) = plan.pair(ready.pair) else {
            return;
        };
        let Some(state) = self.pairs.get_mut(ready.pair.index()) else {
            return;
        };
        state.attempts += 1;
        state.edits = edits(&ready.actions);
        let limit = info.limit(&ready.actions);
        state.limit = limit.0;
        state.waits = waits(&ready.actions);
        state.purposes = ready.actions.iter().map(Action::purpose).collect();
        let attempt = state.attempts;
        let job = JobId::new(format!("{}-{}-{attempt}", self.options.run, ready.pair.0));
        self.set_phase(
            ready.pair,
            Phase::Applying {
                job: job.clone(),
                upload: ready.upload,
            },
        );
        if let Some(state) = self.targets.get_mut(target) {
            state.busy = Busy::Job(ready.pair);
            state.round = 0;
        }
        self.executions += 1;
        if ready.upload {
            self.upload_begins();
        }
        if let Some(series) = self.series.get_mut(&info.series) {
            series.jobs += 1;
        }
        let facts = self.made_doubtful(info, target);
        self.emit(Event::StepDecided {
            pair: ready.pair,
            diff: Some(ready.diff),
        });
        self.emit_durable(Event::StepStarted {
            pair: ready.pair,
            attempt,
            job: job.clone(),
        });
        let job = Job {
            id: job,
            label: info.label(),
            actions: ready.actions,
            timeout: limit,
            fence: Some(self.options.run.clone()),
        };
        self.out.push(Command::Apply {
            pair: ready.pair,
            target: info.target.clone(),
            job,
            facts,
        });
    }

    /// Forgets what an apply may change, and gives what is to be read after it.
    fn made_doubtful(&mut self, info: &Pair, target: usize) -> Vec<Fact> {
        if let Work::Wish(wish) = &info.work {
            let touches = wish.touches();
            self.forget(&info.target, |fact| touches.intersects(fact));
            if let Some(expected) = &mut self.expectation {
                expected.forget(&info.target, |fact| touches.intersects(fact));
            }
        }
        if let Some(gate) = &info.gate {
            // What was read before the apply says nothing about the gate; it is read in the same execution.
            self.forget_seen_by(info, gate.wish.as_ref());
        }
        let mut facts = self.facts_ahead(target, super::target::LOOK_AHEAD);
        facts.extend(self.forgotten(info));
        if let Some(state) = self.targets.get_mut(target) {
            // What others wait for comes along, so that a busy target does not keep them waiting to its end.
            facts.append(&mut state.wanted);
        }
        facts.into_iter().collect()
    }

    /// Facts that a pair decided by and that are no longer known, so that one execution applies and verifies.
    fn forgotten(&self, info: &Pair) -> Vec<Fact> {
        let asked = self.pairs.get(info.id.index()).map(|state| &state.asked);
        let unknown = |fact: &&Fact| self.store.get(&info.target, fact).is_none();
        asked
            .into_iter()
            .flatten()
            .filter(unknown)
            .cloned()
            .collect()
    }

    pub(super) fn applied(&mut self, pair: PairId, result: Result<Applied, HostError>) {
        let plan = self.plan.clone();
        let Some(info) = plan.pair(pair) else { return };
        let Some(Phase::Applying { job, upload }) = self
            .pairs
            .get(pair.index())
            .map(|state| state.phase.clone())
        else {
            return;
        };
        let index = self.index_of(&info.target);
        match result {
            Ok(applied) => {
                self.release(pair);
                self.reached(index);
                self.job_is_over(&info.target);
                self.learn(&info.target, applied.answers);
                self.job_ended(pair, applied.end);
            }
            Err(error) if error.kind == HostErrorKind::Lost => {
                // The job may run on: find out before anything else happens there. The target stays busy.
                self.forget(&info.target, |_| true);
                self.set_phase(
                    pair,
                    Phase::Recovering {
                        job: job.clone(),
                        upload,
                    },
                );
                self.emit(Event::LeftoverJob {
                    target: info.target.clone(),
                    job: job.clone(),
                    waiting: true,
                });
                self.out.push(Command::Attach {
                    target: info.target.clone(),
                    job,
                });
            }
            Err(error) => {
                self.release(pair);
                self.not_applied(pair, index, error);
            }
        }
    }

    /// The job was not started.
    fn not_applied(&mut self, pair: PairId, index: usize, error: HostError) {
        match error.kind {
            HostErrorKind::Unreachable { transient } => {
                let (attempts, pause) = self.options.reach;
                let pause = TimeSpan(pause);
                let policy = Retry {
                    attempts,
                    delay: pause,
                    max_delay: pause,
                };
                if !(transient && self.retry_or(pair, Some(policy), &error.failure)) {
                    self.set_phase(pair, Phase::Ready);
                    self.give_up_on(index, error.failure);
                }
            }
            HostErrorKind::Fenced => self.fenced(pair, index, error.failure),
            HostErrorKind::NotStarted | HostErrorKind::Busy => {
                if !self.retry(pair, &error.failure) {
                    self.finish(pair, Outcome::Failed(error.failure));
                }
            }
            HostErrorKind::Protocol | HostErrorKind::Lost => {
                let failure = error
                    .failure
                    .hint("run `hmco-boot resume`: it looks again before it does anything");
                self.finish(pair, Outcome::Unknown(failure));
            }
        }
    }

    /// A job ended by itself or by its time limit.
    pub(super) fn job_ended(&mut self, pair: PairId, end: JobEnd) {
        match end.status {
            JobStatus::Succeeded => {
                let plan = self.plan.clone();
                let Some(info) = plan.pair(pair) else { return };
                match &info.work {
                    Work::Wish(wish) if wish.verifiable() => self.set_phase(pair, Phase::Verifying),
                    _ => drop(self.enter_gate(info, true)),
                }
            }
            JobStatus::Failed {
                action,
                exit: CHANGED_MEANWHILE,
                retryable: true,
            } if self.is_edit(pair, action) => self.changed_meanwhile(pair, &end),
            JobStatus::Failed {
                action,
                exit,
                retryable,
            } => {
                let failure = with_output(self.not_done(pair, action, exit), &end);
                let failure = self.explained(pair, failure, &end);
                if !(retryable && self.retry(pair, &failure)) {
                    self.finish(pair, Outcome::Failed(failure));
                }
            }
            JobStatus::TimedOut => {
                let failure = with_output(self.too_long(pair), &end);
                let failure = self.explained(pair, failure, &end);
                if !self.retry(pair, &failure) {
                    self.finish(pair, Outcome::Failed(failure));
                }
            }
            JobStatus::Lost => self.job_lost(pair),
        }
    }

    /// A job that did not end in time.
    fn too_long(&self, pair: PairId) -> Failure {
        let state = self.pairs.get(pair.index());
        let (limit, waits) =
            state.map_or_else(Default::default, |state| (state.limit, state.waits));
        let failure = Failure::new(format!(
            "it did not end within {} and was ended",
            TimeSpan(limit)
        ));
        failure.hint(match waits > limit {
            true => format!(
                "by its own keys it may wait for {}: give it a longer `timeout` than that, or none",
                TimeSpan(waits)
            ),
            false => "give it longer with `timeout`, or find out what it waits for".to_owned(),
        })
    }

    /// An action that failed, by what it was for; where that is not known, by its exit status.
    fn not_done(&self, pair: PairId, action: u32, exit: i32) -> Failure {
        let exited = Failure::exited(exit);
        let state = self.pairs.get(pair.index());
        let purpose = usize::try_from(action)
            .ok()
            .and_then(|action| state?.purposes.get(action)?.as_ref());
        let of_cluster = (self.plan.pair(pair)).is_some_and(|info| info.target == Target::Cluster);
        match purpose {
            // No program ran that could have ended with a status.
            Some(purpose) if of_cluster => Failure::new(format!("could not {purpose}")),
            Some(purpose) => Failure::new(format!("could not {purpose}")).evidence(exited.message),
            None => exited,
        }
    }

    /// A failed apply as its kind explains it.
    fn explained(&self, pair: PairId, failure: Failure, end: &JobEnd) -> Failure {
        match self.plan.pair(pair).map(|info| &info.work) {
            Some(Work::Wish(wish)) => wish.explain(failure, end),
            _ => failure,
        }
    }

    /// Plans another try, where the step's policy has one left. False where not.
    pub(super) fn retry(&mut self, pair: PairId, failure: &Failure) -> bool {
        self.retry_or(pair, None, failure)
    }

    /// The same, with a policy for steps that have none.
    fn retry_or(&mut self, pair: PairId, otherwise: Option<Retry>, failure: &Failure) -> bool {
        let policy = self.plan.pair(pair).and_then(|info| info.retry);
        let Some(policy) = policy.or(otherwise) else {
            return false;
        };
        let Some(state) = self.pairs.get_mut(pair.index()) else {
            return false;
        };
        state.failures += 1;
        if self.stop.is_some() || state.failures >= policy.attempts {
            return false;
        }
        let attempt = state.attempts;
        let delay = backoff(policy.delay.0, policy.max_delay.0, state.failures);
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.emit(Event::StepRetry {
            pair,
            attempt,
            delay_ms,
            failure: failure.clone(),
        });
        self.set_phase(pair, Phase::Retrying);
        self.after(delay, Purpose::Retry(pair));
        true
    }

    /// The same decision over what the target says now.
    pub(super) fn verify(&mut self, pair: PairId, wish: &dyn Wish) -> Step {
        let plan = self.plan.clone();
        let Some(info) = plan.pair(pair) else {
            return Step::Moved;
        };
        let known = self.store.view(&info.target);
        if let Want::More(facts) = wish.facts(&known) {
            return Step::Needs(facts);
        }
        match wish.decide(&known) {
            Ok(Decision::Unchanged) => {
                self.warn(info, wish);
                self.enter_gate(info, true)
            }
            Ok(Decision::Drift { diff, .. }) => {
                let mut failure = Failure::new("applied, but still differs");
                failure.evidence = diff.iter().take(EVIDENCE_LINES).map(signed).collect();
                self.end_step(pair, Outcome::Failed(failure))
            }
            Ok(Decision::Refused(failure)) => self.end_step(pair, Outcome::Failed(failure)),
            Ok(Decision::Unknown(mut failure)) => {
                failure.message = format!("applied, but {}", failure.message);
                self.end_step(pair, Outcome::Unknown(failure))
            }
            Err(unreadable) => {
                let mut failure = cannot_read(&unreadable);
                failure.message = format!("applied, but {}", failure.message);
                self.end_step(pair, Outcome::Unknown(failure))
            }
        }
    }
}

fn backoff(first: Duration, longest: Duration, attempt: u32) -> Duration {
    let factor = 2_u32.saturating_pow(attempt.saturating_sub(1));
    first.saturating_mul(factor).min(longest)
}

/// Numbers of the actions that write a file only while it is the one they were decided on.
fn edits(actions: &[Action]) -> BTreeSet<u32> {
    let is_edit = |action: &Action| {
        matches!(
            action,
            Action::WriteFile {
                replaces: Some(_),
                ..
            }
        )
    };
    let edits = (0..).zip(actions).filter(|(_, action)| is_edit(action));
    edits.map(|(number, _)| number).collect()
}

pub(super) fn with_output(mut failure: Failure, end: &JobEnd) -> Failure {
    let text = if end.stderr.trim().is_empty() {
        &end.stdout
    } else {
        &end.stderr
    };
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(EVIDENCE_LINES);
    failure
        .evidence
        .extend(lines.iter().skip(skipped).map(|line| (*line).to_owned()));
    failure
}

fn signed(line: &DiffLine) -> String {
    let sign = match line.side {
        Side::Old => '-',
        Side::New => '+',
        Side::Both => ' ',
    };
    format!("{sign} {}", line.text)
}
