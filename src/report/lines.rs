//! What happened, in lines: one per event that matters, details indented below it. Used by plain output and for what
//! scrolls away above the live view. The first word of a line is stable; so is `STEP@TARGET` after it.

use std::collections::BTreeMap;

use super::details::{count_words, diff_lines};
use super::state::{Phase, State};
use super::style::{Ink, Line};
use super::text;
use crate::model::event::{CancelLevel, DiffLine, Event, Record, RunStarted};
use crate::model::id::{PairId, Target};
use crate::model::outcome::{ExitCode, Failure, Outcome};

/// Columns of the word that says what happened.
const WORD: usize = 11;
/// Lines of a difference that are shown where not all are asked for.
const DIFF_MAX: usize = 40;

/// How much is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// What a person who watches the live view wants to keep.
    Results,
    /// What a log should hold.
    Log,
    /// Everything.
    All,
}

/// Turns events into lines.
#[derive(Debug)]
pub struct Narrator {
    detail: Detail,
    /// Differences already shown: the same comparison may be made again, once the locks are held.
    shown: BTreeMap<PairId, Vec<DiffLine>>,
    gates: BTreeMap<PairId, String>,
}

impl Narrator {
    /// A narrator who has told nothing yet.
    pub fn new(detail: Detail) -> Self {
        Self {
            detail,
            shown: BTreeMap::new(),
            gates: BTreeMap::new(),
        }
    }

    /// The lines for an event that `state` has already taken in; the first begins with its word, the others are
    /// indented.
    pub fn tell(&mut self, state: &State, record: &Record) -> Vec<Line> {
        match &record.event {
            Event::RunStarted(started) => vec![began(started, state)],
            Event::TargetUnreachable { target, failure } => {
                failed(Ink::Bad, "unreachable", &target.to_string(), None, failure)
            }
            Event::LeftoverJob {
                target,
                job,
                waiting,
            } => {
                let what = if *waiting {
                    "still runs; it is awaited"
                } else {
                    "has ended"
                };
                let words = format!("job {job} of an earlier run {what}");
                vec![head(Ink::Warn, "leftover", target).plain(words)]
            }
            Event::FactsRequested { .. } | Event::FactsRead { .. } | Event::Locked { .. } => {
                self.tell_reading(&record.event)
            }
            Event::LockRefused { failure } => failed(Ink::Bad, "locked", "", None, failure),
            Event::CancelRequested { level } => vec![stopping(*level, state)],
            Event::Warning { failure } => failed(Ink::Warn, "warning", "", None, failure),
            Event::RunFinished { exit, took_ms, .. } => {
                if self.detail == Detail::Results {
                    return Vec::new();
                }
                vec![ended(state, *exit, *took_ms)]
            }
            Event::Other => Vec::new(),
            _ => self.tell_step(state, &record.event),
        }
    }

    fn tell_reading(&self, event: &Event) -> Vec<Line> {
        let all = self.detail == Detail::All;
        match event {
            Event::FactsRequested {
                target,
                round,
                facts,
            } if all => {
                let facts = text::count(*facts as usize, "fact", "facts");
                vec![head(Ink::Soft, "reading", target).plain(format!("{facts} (round {round})"))]
            }
            Event::FactsRead {
                target,
                failed,
                took_ms,
            } if all || (*failed > 0 && self.detail == Detail::Log) => {
                let mut line = head(Ink::Soft, "read", target).plain(took(*took_ms));
                if *failed > 0 {
                    let facts = text::count(*failed as usize, "fact", "facts");
                    line.push(Ink::Warn, format!("  {facts} could not be read"));
                }
                vec![line]
            }
            Event::Locked { targets } if all => {
                let targets = targets.iter().map(Target::to_string).collect::<Vec<_>>();
                vec![head(Ink::Soft, "locks", text::some_of(&targets, 8))]
            }
            _ => Vec::new(),
        }
    }

    fn tell_step(&mut self, state: &State, event: &Event) -> Vec<Line> {
        match event {
            Event::StepDecided { pair, diff } => self.decided(state, *pair, diff.as_deref()),
            Event::StepStarted { pair, attempt, .. } if self.detail != Detail::Results => {
                let mut line = head(Ink::Plain, "started", label(state, *pair));
                if *attempt > 1 {
                    line.push(Ink::Plain, format!("(attempt {attempt})"));
                }
                vec![line]
            }
            Event::StepOutput { pair, text } if self.detail == Detail::All => {
                let line = |l: String| {
                    head(Ink::Soft, "output", label(state, *pair)).plain(format!("| {l}"))
                };
                text::harmless_lines(text).into_iter().map(line).collect()
            }
            Event::StepRetry {
                pair,
                attempt,
                delay_ms,
                failure,
            } => {
                let again = format!(
                    "attempt {attempt} failed, again in {}:",
                    text::duration(*delay_ms)
                );
                failed(
                    Ink::Warn,
                    "retry",
                    &label(state, *pair),
                    Some(&again),
                    failure,
                )
            }
            Event::GateWaiting { pair, reason } if self.detail != Detail::Results => {
                if self.gates.insert(*pair, reason.clone()).as_ref() == Some(reason) {
                    return Vec::new();
                }
                vec![head(Ink::Warn, "waits", label(state, *pair)).plain(reason)]
            }
            Event::StepFinished {
                pair,
                outcome,
                took_ms,
            } => self.finished(state, *pair, outcome, *took_ms),
            Event::Checkpoint { pair, name, .. } if self.detail == Detail::All => {
                vec![head(Ink::Soft, "checkpoint", label(state, *pair)).plain(name)]
            }
            _ => Vec::new(),
        }
    }

    fn decided(&mut self, state: &State, pair: PairId, diff: Option<&[DiffLine]>) -> Vec<Line> {
        let open = state.pair(pair).is_some_and(|p| p.is_waiting());
        let Some(diff) = diff.filter(|_| open && self.detail != Detail::Results) else {
            return Vec::new();
        };
        let before = self.shown.insert(pair, diff.to_vec());
        if before.as_deref() == Some(diff) {
            return Vec::new();
        }
        let most = if self.detail == Detail::All {
            usize::MAX
        } else {
            DIFF_MAX
        };
        let mut lines = vec![head(Ink::Plain, "differs", label(state, pair))];
        lines.extend(diff_lines(diff, most));
        lines
    }

    fn finished(&self, state: &State, pair: PairId, outcome: &Outcome, took_ms: u64) -> Vec<Line> {
        let label = label(state, pair);
        let word = outcome.word();
        let ink = Ink::of(outcome);
        let results = self.detail == Detail::Results;
        match outcome {
            Outcome::Unchanged | Outcome::Skipped(_) if self.detail != Detail::All => Vec::new(),
            Outcome::Unchanged => vec![head(ink, word, label)],
            Outcome::Changed => vec![head(ink, word, label).plain(took(took_ms))],
            Outcome::Skipped(why) => vec![head(ink, word, label).plain(why)],
            Outcome::Blocked { .. } | Outcome::Interrupted(_) if results => Vec::new(),
            // Said once for the whole run.
            Outcome::Interrupted(_) if state.lock_refused.is_some() => Vec::new(),
            Outcome::Blocked { step, target } => {
                vec![head(ink, word, label).plain(format!("by {step}@{target}"))]
            }
            Outcome::Interrupted(why) => vec![head(ink, word, label).plain(why)],
            // Said once for the whole target.
            Outcome::Unreachable(_) if results => Vec::new(),
            Outcome::Unreachable(_) if known_unreachable(state, pair) => {
                vec![head(ink, word, label)]
            }
            Outcome::Failed(failure)
            | Outcome::Unknown(failure)
            | Outcome::Unreachable(failure) => {
                let mut lines = failed(ink, word, &label, Some(&took(took_ms)), failure);
                if self.detail != Detail::All {
                    lines.extend(tail(state, pair, failure));
                }
                lines
            }
        }
    }
}

/// A target that is done, where what was as wished is not told one by one.
pub fn target_done(state: &State, target: usize) -> Option<Line> {
    let target = state.targets.get(target)?;
    let pairs = || {
        target
            .pairs
            .iter()
            .filter_map(|p| state.pairs.get(*p)?.outcome())
    };
    let unchanged = pairs().filter(|o| **o == Outcome::Unchanged).count();
    let skipped = pairs().filter(|o| matches!(o, Outcome::Skipped(_))).count();
    let of = text::count(target.pairs.len(), "step", "steps");
    let (word, words) = match (unchanged, skipped) {
        (0, 0) => return None,
        (n, 0) => ("unchanged", format!("{n} of {of}")),
        (0, n) => ("skipped", format!("{n} of {of}")),
        (n, more) => ("unchanged", format!("{n} of {of}, {more} skipped")),
    };
    Some(head(Ink::Soft, word, &target.target).plain(words))
}

/// A pair that has been active for long, for logs that would else be silent.
pub fn still_running(state: &State, pair: usize, now_ms: i64) -> Option<Line> {
    let pair = state.pairs.get(pair)?;
    let (Phase::Running { since_ms, .. } | Phase::Gate { since_ms, .. }) = &pair.phase else {
        return None;
    };
    let time = text::elapsed(text::since(*since_ms, now_ms));
    let mut line = head(Ink::Plain, "running", pair.label()).plain(format!("(for {time})"));
    if let Some(last) = pair.tail.back() {
        line.push(Ink::Soft, format!("  last output: {last}"));
    }
    Some(line)
}

fn head(ink: Ink, word: &str, subject: impl ToString) -> Line {
    let mut line = Line::of(ink, word);
    line.pad_to(WORD);
    let subject = subject.to_string();
    if !subject.is_empty() {
        line.push(Ink::Plain, " ");
        line.push(Ink::Strong, subject);
        line.push(Ink::Plain, "  ");
    } else {
        line.push(Ink::Plain, " ");
    }
    line
}

fn failed(ink: Ink, word: &str, subject: &str, note: Option<&str>, failure: &Failure) -> Vec<Line> {
    let mut first = head(ink, word, subject);
    if let Some(note) = note {
        first.push(
            Ink::Plain,
            format!("{note}{}", if note.ends_with(':') { " " } else { "  " }),
        );
    }
    first.push(Ink::Plain, &failure.message);
    let mut lines = vec![first];
    let evidence = failure
        .evidence
        .iter()
        .flat_map(|e| text::harmless_lines(e));
    lines.extend(evidence.map(|e| Line::new().plain(format!("    {e}"))));
    if let Some(hint) = &failure.hint {
        lines.push(
            Line::new()
                .plain("    ")
                .with(Ink::Strong, "to do: ")
                .plain(hint),
        );
    }
    lines
}

/// The last output of a pair that failed, without what its evidence already shows.
fn tail(state: &State, pair: PairId, failure: &Failure) -> Vec<Line> {
    let Some(pair) = state.pair(pair) else {
        return Vec::new();
    };
    let known = failure.evidence.join("\n");
    let known = text::harmless_lines(&known);
    let new = pair
        .tail
        .iter()
        .filter(|l| !known.iter().any(|k| k.contains(l.as_str())));
    new.map(|l| Line::of(Ink::Plain, format!("    | {l}")))
        .collect()
}

fn known_unreachable(state: &State, pair: PairId) -> bool {
    let target = state.pair(pair).and_then(|p| state.targets.get(p.target));
    target.is_some_and(|t| t.unreachable.is_some())
}

fn began(started: &RunStarted, state: &State) -> Line {
    let steps = text::count(state.pairs.len(), "step", "steps");
    let targets = text::count(state.targets.len(), "target", "targets");
    let mut line = head(Ink::Plain, "run", &started.run);
    line.push(
        Ink::Plain,
        format!(
            "{} on {}: {steps} on {targets}",
            started.playbook, started.cluster
        ),
    );
    if let Some(limit) = &started.arguments.limit {
        line.push(Ink::Plain, format!(", limited to {limit}"));
    }
    if let Some(earlier) = &started.resumes {
        line.push(Ink::Plain, format!(", goes on with {earlier}"));
    }
    line
}

fn stopping(level: CancelLevel, state: &State) -> Line {
    let resumable = state.run.as_ref().is_none_or(|run| run.resumable);
    head(Ink::Warn, "stopping", "").plain(stopping_words(level, resumable))
}

/// What becomes of a run, or of a command that `resume` does not go on with, when a person stops it.
pub fn stopping_words(level: CancelLevel, resumable: bool) -> &'static str {
    match level {
        CancelLevel::Drain => "nothing new starts; what runs may end (Ctrl-C again: stop now)",
        CancelLevel::Abort if resumable => {
            "now; what runs on a target goes on there and `resume` finds it"
        }
        CancelLevel::Abort => {
            "now; what runs on a target may go on there, and the next run or exec awaits it"
        }
    }
}

fn ended(state: &State, exit: ExitCode, took_ms: u64) -> Line {
    let exit = state.exit().unwrap_or(exit);
    let (ink, word) = match exit {
        ExitCode::Done => (Ink::Good, "done"),
        _ => (Ink::Bad, "ended"),
    };
    let mut line = head(ink, word, "").plain(took(took_ms));
    if exit != ExitCode::Done {
        line.push(Ink::Bad, format!("  exit {}", exit.number()));
    }
    line.push(Ink::Plain, format!("  {}", count_words(&state.counts())));
    line
}

fn label(state: &State, pair: PairId) -> String {
    state
        .pair(pair)
        .map_or_else(|| pair.to_string(), |p| p.label())
}

fn took(ms: u64) -> String {
    format!("({})", text::duration(ms))
}
