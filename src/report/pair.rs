//! What is known of one (step, target) from its events.

use std::collections::VecDeque;

use super::text;
use crate::model::event::{DiffLine, Event, PairInfo};
use crate::model::outcome::Outcome;

/// Lines of output kept of each pair.
pub const TAIL: usize = 20;
/// Characters kept of a line of output.
const TAIL_CHARS: usize = 500;

/// What is known of a (step, target).
#[derive(Clone, PartialEq, Debug)]
pub struct PairState {
    /// What the plan says.
    pub info: PairInfo,
    /// Index of its step in `State::steps`.
    pub step: usize,
    /// Index of its target in `State::targets`.
    pub target: usize,
    /// Where it is.
    pub phase: Phase,
    /// The difference found, where there was one.
    pub diff: Option<Vec<DiffLine>>,
    /// Attempts begun.
    pub attempts: u32,
    /// How long it took, once it ended.
    pub took_ms: u64,
    /// Its last lines of output, harmless.
    pub tail: VecDeque<String>,
}

/// Where a pair is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Not compared yet.
    Waiting,
    /// Compared: `drift` = it will be applied when its turn comes.
    Decided {
        /// Whether it differs.
        drift: bool,
    },
    /// Being applied.
    Running {
        /// Since when.
        since_ms: i64,
        /// From 1.
        attempt: u32,
    },
    /// Applied; what it must bring about is awaited.
    Gate {
        /// Since when.
        since_ms: i64,
        /// What is missing.
        reason: String,
    },
    /// Will be tried again.
    Retry {
        /// When.
        at_ms: i64,
        /// The attempt that failed.
        attempt: u32,
        /// Why.
        message: String,
    },
    /// Ended.
    Finished(Outcome),
}

impl PairState {
    /// `STEP@TARGET`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.info.step, self.info.target)
    }

    /// How it ended, once it did.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Finished(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether something is being done for it now.
    pub fn is_active(&self) -> bool {
        matches!(
            self.phase,
            Phase::Running { .. } | Phase::Gate { .. } | Phase::Retry { .. }
        )
    }

    /// Whether it waits to be compared or applied.
    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::Decided { .. })
    }
}

impl PairState {
    pub(super) fn apply(&mut self, event: &Event, at: i64) {
        match event {
            Event::StepDecided { diff, .. } => {
                if diff.is_some() {
                    self.diff.clone_from(diff);
                }
                // While it runs, this is the check after the apply.
                if self.is_waiting() {
                    self.phase = Phase::Decided {
                        drift: diff.is_some(),
                    };
                }
            }
            Event::StepStarted { attempt, .. } => {
                self.attempts = *attempt;
                self.tail.clear();
                self.phase = Phase::Running {
                    since_ms: at,
                    attempt: *attempt,
                };
            }
            Event::StepOutput { text, .. } => self.hear(text),
            Event::StepRetry {
                attempt,
                delay_ms,
                failure,
                ..
            } => {
                let delay = i64::try_from(*delay_ms).unwrap_or(i64::MAX);
                self.phase = Phase::Retry {
                    at_ms: at.saturating_add(delay),
                    attempt: *attempt,
                    message: failure.message.clone(),
                };
            }
            Event::GateWaiting { reason, .. } => {
                let since_ms = match &self.phase {
                    Phase::Gate { since_ms, .. } => *since_ms,
                    _ => at,
                };
                self.phase = Phase::Gate {
                    since_ms,
                    reason: reason.clone(),
                };
            }
            Event::StepFinished {
                outcome, took_ms, ..
            } => {
                self.took_ms = *took_ms;
                if outcome.satisfies() {
                    self.tail.clear();
                }
                self.phase = Phase::Finished(outcome.clone());
            }
            _ => {}
        }
    }

    fn hear(&mut self, output: &str) {
        for line in text::harmless_lines(output) {
            if line.trim().is_empty() {
                continue;
            }
            if self.tail.len() == TAIL {
                self.tail.pop_front();
            }
            self.tail.push_back(line.chars().take(TAIL_CHARS).collect());
        }
    }
}
