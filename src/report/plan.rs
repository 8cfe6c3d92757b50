//! A dry run for people and programs: what would change where, what can only be decided later, and what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::Serialize;

use super::details::{diff_lines, failure_lines};
use super::json;
use super::style::{Ink, Line};
use super::text;
use crate::model::event::DiffLine;
use crate::model::id::{KindName, StepAddr, Target};
use crate::model::outcome::Failure;

/// Version of the JSON form.
const PLAN_VERSION: u32 = 1;

/// A dry run.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct PlanView {
    /// The heading.
    pub title: String,
    /// All (step, target), in plan order.
    pub entries: Vec<PlanEntry>,
    /// Targets that did not answer, and why.
    pub targets_unreachable: Vec<(String, Failure)>,
    /// What else a person should know.
    pub notes: Vec<String>,
}

/// A (step, target) of a dry run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PlanEntry {
    /// The step.
    pub step: StepAddr,
    /// The target.
    pub target: Target,
    /// The step's kind.
    pub kind: KindName,
    /// What was found.
    pub decision: PlanDecision,
    /// Whether applying it disturbs what runs on the target.
    pub disruptive: bool,
}

/// What a dry run found for a (step, target).
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanDecision {
    /// As wished.
    Unchanged,
    /// Would change.
    Drift(Vec<DiffLine>),
    /// Can only be decided once something else was done; why.
    Later(String),
    /// Is not to be done; why.
    Skipped(String),
    /// Could not be decided.
    Error(Failure),
}

#[derive(Serialize)]
struct PlanJson<'a> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    plan: &'a PlanView,
    counts: BTreeMap<&'static str, usize>,
}

impl PlanDecision {
    fn word(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Drift(_) => "change",
            Self::Later(_) => "later",
            Self::Skipped(_) => "skipped",
            Self::Error(_) => "error",
        }
    }
}

impl PlanView {
    /// How many entries have which decision: `change`, `later`, `error`, `unchanged`, `skipped`.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for entry in &self.entries {
            *counts.entry(entry.decision.word()).or_insert(0) += 1;
        }
        counts
    }

    /// The dry run as one line of JSON (no line end): `{"v":1,"type":"plan","plan":{...},"counts":{...}}`.
    pub fn to_json(&self) -> io::Result<String> {
        json::to_json(&PlanJson {
            v: PLAN_VERSION,
            kind: "plan",
            plan: self,
            counts: self.counts(),
        })
    }

    /// The dry run as lines; with `verbose` also what is as wished or skipped. Messages are wrapped to `width`,
    /// differences are not.
    pub fn lines(&self, width: usize, verbose: bool) -> Vec<Line> {
        let width = width.max(20);
        let mut lines = Line::of(Ink::Strong, &self.title).wrap(0, width);
        let unreachable: BTreeSet<&String> =
            self.targets_unreachable.iter().map(|(t, _)| t).collect();
        for entry in &self.entries {
            let quiet = match &entry.decision {
                PlanDecision::Unchanged | PlanDecision::Skipped(_) => true,
                // Said once for the whole target, below.
                PlanDecision::Error(_) => unreachable.contains(&entry.target.to_string()),
                PlanDecision::Drift(_) | PlanDecision::Later(_) => false,
            };
            if verbose || !quiet {
                lines.push(Line::new());
                lines.extend(entry.lines(width));
            }
        }
        for (target, failure) in &self.targets_unreachable {
            lines.push(Line::new());
            let head = Line::of(Ink::Bad, "unreachable")
                .plain(" ")
                .with(Ink::Strong, target);
            lines.extend(head.wrap(0, width));
            lines.extend(failure_lines(failure, width));
        }
        for note in &self.notes {
            lines.push(Line::new());
            lines.extend(
                Line::of(Ink::Warn, "note")
                    .plain(format!(" {note}"))
                    .wrap(0, width),
            );
        }
        lines.push(Line::new());
        lines.extend(self.verdict().wrap(0, width));
        lines
    }

    /// The last line: what a run would do.
    fn verdict(&self) -> Line {
        let counts = self.counts();
        let n = |word| counts.get(word).copied().unwrap_or(0);
        let mut line = Line::new();
        let uncertain = n("error") + n("later") + self.targets_unreachable.len();
        match n("change") {
            0 if uncertain == 0 => line.push(Ink::Good, "nothing to change"),
            0 => line.push(Ink::Strong, "no change found so far"),
            changes => line.push(Ink::Strong, text::count(changes, "change", "changes")),
        }
        let disruptive = self.entries.iter().filter(|e| {
            e.disruptive && matches!(e.decision, PlanDecision::Drift(_) | PlanDecision::Later(_))
        });
        let disruptive = disruptive.count();
        let mut parts = Vec::new();
        if disruptive > 0 {
            line.push(Ink::Plain, " (");
            line.push(Ink::Warn, format!("{disruptive} disruptive"));
            line.push(Ink::Plain, ")");
        }
        for (word, ink, says) in [
            ("error", Ink::Bad, "could not be decided"),
            ("later", Ink::Plain, "decided during the run"),
            ("unchanged", Ink::Plain, "as wished"),
            ("skipped", Ink::Plain, "skipped"),
        ] {
            if n(word) > 0 {
                parts.push((ink, format!("{} {says}", n(word))));
            }
        }
        if !self.targets_unreachable.is_empty() {
            let targets = text::count(self.targets_unreachable.len(), "target", "targets");
            parts.push((Ink::Bad, format!("{targets} not reached")));
        }
        for (at, (ink, words)) in parts.into_iter().enumerate() {
            let nothing = at == 0 && n("change") == 0;
            line.push(Ink::Plain, if nothing { ": " } else { ", " });
            line.push(ink, words);
        }
        line
    }
}

impl PlanEntry {
    fn lines(&self, width: usize) -> Vec<Line> {
        let (ink, word) = match &self.decision {
            PlanDecision::Unchanged => (Ink::Soft, "unchanged"),
            PlanDecision::Drift(_) => (Ink::Good, "change"),
            PlanDecision::Later(_) => (Ink::Plain, "later"),
            PlanDecision::Skipped(_) => (Ink::Soft, "skipped"),
            PlanDecision::Error(_) => (Ink::Bad, "error"),
        };
        let mut head = Line::of(ink, word).plain(" ");
        head.push(Ink::Strong, format!("{}@{}", self.step, self.target));
        head.push(Ink::Soft, format!("  {}", self.kind));
        if self.disruptive {
            head.push(Ink::Warn, "  disruptive");
        }
        let mut lines = head.wrap(0, width);
        match &self.decision {
            PlanDecision::Unchanged => {}
            PlanDecision::Drift(diff) => lines.extend(diff_lines(diff, usize::MAX)),
            PlanDecision::Later(why) | PlanDecision::Skipped(why) => {
                lines.extend(Line::new().plain(why).wrap(4, width));
            }
            PlanDecision::Error(failure) => lines.extend(failure_lines(failure, width)),
        }
        lines
    }
}
