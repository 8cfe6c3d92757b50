//! Events without values. Names, numbers and fingerprints stay as they are: who reads a record finds things by them.

use std::borrow::Cow;

use super::Redactor;
use crate::model::event::{DiffLine, Event};
use crate::model::outcome::{Failure, Outcome};

impl Redactor {
    /// Takes values out of the words of an event.
    pub fn event(&self, event: &mut Event) {
        if self.is_empty() {
            return;
        }
        match event {
            Event::TargetUnreachable { failure, .. }
            | Event::LockRefused { failure }
            | Event::StepRetry { failure, .. }
            | Event::Warning { failure } => self.failure(failure),
            Event::StepDecided { diff, .. } => diff.iter_mut().for_each(|diff| self.diff(diff)),
            Event::StepOutput { text, .. } | Event::GateWaiting { reason: text, .. } => {
                self.string(text);
            }
            Event::StepFinished { outcome, .. } => self.outcome(outcome),
            Event::Checkpoint { data, .. } => self.json(data),
            // Names and numbers only; arguments that hold a value are refused before there is a run.
            Event::RunStarted(_)
            | Event::FactsRequested { .. }
            | Event::FactsRead { .. }
            | Event::LeftoverJob { .. }
            | Event::Locked { .. }
            | Event::StepStarted { .. }
            | Event::CancelRequested { .. }
            | Event::RunFinished { .. }
            | Event::Other => {}
        }
    }

    /// Takes values out of an outcome.
    pub fn outcome(&self, outcome: &mut Outcome) {
        match outcome {
            Outcome::Skipped(text) | Outcome::Interrupted(text) => self.string(text),
            Outcome::Failed(failure)
            | Outcome::Unreachable(failure)
            | Outcome::Unknown(failure) => self.failure(failure),
            Outcome::Unchanged | Outcome::Changed | Outcome::Blocked { .. } => {}
        }
    }

    /// Takes values out of a failure, those in several of its lines, too.
    pub fn failure(&self, failure: &mut Failure) {
        self.string(&mut failure.message);
        failure.hint.iter_mut().for_each(|hint| self.string(hint));
        self.lines(&mut failure.evidence);
    }

    /// Takes values out of lines, which may be those of one text.
    pub fn lines(&self, lines: &mut Vec<String>) {
        if self.is_empty() || lines.is_empty() {
            return;
        }
        let text = lines.join("\n");
        if let Cow::Owned(text) = self.text(&text) {
            *lines = text.split('\n').map(str::to_owned).collect();
        }
    }

    /// Takes values out of a difference.
    pub fn diff(&self, diff: &mut [DiffLine]) {
        diff.iter_mut().for_each(|line| self.string(&mut line.text));
    }

    /// Takes values out of a string.
    pub fn string(&self, text: &mut String) {
        if let Cow::Owned(clean) = self.text(text) {
            *text = clean;
        }
    }
}
