//! What is said at the end of a run: the verdict, the counts, every failure with its cause, evidence and what to do,
//! what was not tried because of it, and the next command. Never says that all is well unless the exit code does.

use std::collections::BTreeMap;

use super::details::{COUNT_ORDER, count_words, failure_lines};
use super::state::{PairState, State, TargetState};
use super::style::{Ink, Line};
use super::text;
use crate::model::id::{StepAddr, Target};
use crate::model::outcome::{ExitCode, Failure, Outcome};

/// Names shown of a list before the rest is counted.
const NAMES: usize = 6;

/// The summary, wrapped to `width` columns.
pub fn lines(state: &State, width: usize) -> Vec<Line> {
    told(state, width, false)
}

/// The same at the head of all that is recorded of the run: what to do next is not to look there.
pub fn lines_of_record(state: &State, width: usize) -> Vec<Line> {
    told(state, width, true)
}

fn told(state: &State, width: usize, shown: bool) -> Vec<Line> {
    let width = width.clamp(20, 120);
    let mut lines = Vec::new();
    if state.run.is_none() {
        return vec![Line::of(Ink::Warn, "The run has no events.")];
    }
    lines.extend(verdict(state).wrap(0, width));
    let counts = count_words(&state.counts());
    if !counts.is_empty() && !nothing_to_change(state) {
        lines.extend(Line::new().plain(counts).wrap(2, width));
    }
    if let Some(failure) = &state.lock_refused {
        section(&mut lines, Ink::Bad, "locked", Line::new(), failure, width);
    }
    causes(state, &mut lines, width);
    unfinished(state, &mut lines, width);
    for warning in &state.warnings {
        section(
            &mut lines,
            Ink::Warn,
            "warning",
            Line::new(),
            warning,
            width,
        );
    }
    next(state, shown, &mut lines, width);
    lines
}

/// Whether a run went well and found nothing to do.
fn nothing_to_change(state: &State) -> bool {
    let counts = state.counts();
    let quiet = counts
        .keys()
        .all(|word| matches!(*word, "unchanged" | "skipped"));
    state.exit() == Some(ExitCode::Done) && quiet
}

fn verdict(state: &State) -> Line {
    let took = text::duration(state.elapsed_ms(state.last_ms));
    let Some(exit) = state.exit() else {
        if state.alive {
            return Line::of(Ink::Strong, "still running")
                .plain(format!(": its last event came after {took}"));
        }
        return Line::of(Ink::Warn, "not finished").plain(format!(
            ": the record of this run stops after {took}, without an end"
        ));
    };
    let code = |words: &str| {
        Line::of(Ink::Bad, words).plain(format!(" after {took} (exit {})", exit.number()))
    };
    match exit {
        ExitCode::Done if nothing_to_change(state) => {
            let checked = state.counts().get("unchanged").copied().unwrap_or(0);
            let skipped = state.counts().get("skipped").copied().unwrap_or(0);
            let mut words = format!(": {checked} checked on {}", places(state));
            if skipped > 0 {
                words.push_str(&format!(", {skipped} skipped"));
            }
            Line::of(Ink::Good, "nothing to change").plain(format!("{words} ({took})"))
        }
        ExitCode::Done => {
            Line::of(Ink::Good, "done").plain(format!(" in {took}, on {}", places(state)))
        }
        ExitCode::Failed => code("failed"),
        ExitCode::Usage => code("refused"),
        ExitCode::Unreachable => code("not all targets could be reached"),
        ExitCode::Drift => code("there are differences"),
        ExitCode::Locked if !state.locked.is_empty() => {
            Line::of(Ink::Bad, "stopped").plain(format!(
                ": somebody else got the lock meanwhile (exit {})",
                exit.number()
            ))
        }
        ExitCode::Locked => Line::of(Ink::Bad, "not started").plain(format!(
            ": somebody else holds the lock (exit {})",
            exit.number()
        )),
        ExitCode::Interrupted => code("interrupted"),
    }
}

/// `8 nodes and the cluster`.
fn places(state: &State) -> String {
    let has = |t: Target| state.targets.iter().any(|s| s.target == t);
    let is_node = |t: &&TargetState| matches!(t.target, Target::Node(_));
    let nodes = state.targets.iter().filter(is_node).count();
    let mut places = Vec::new();
    if nodes > 0 {
        places.push(text::count(nodes, "node", "nodes"));
    }
    if has(Target::Cluster) {
        places.push("the cluster".to_owned());
    }
    if has(Target::Controller) {
        places.push("this machine".to_owned());
    }
    if places.is_empty() {
        places.push("no targets".to_owned());
    }
    text::and_list(&places)
}

/// One cause and the pairs that share it.
struct Cause<'s> {
    outcome: &'s Outcome,
    pairs: Vec<&'s PairState>,
}

fn causes(state: &State, lines: &mut Vec<Line>, width: usize) {
    let blocked = blocked_by(state);
    let rank = |o: &Outcome| COUNT_ORDER.iter().position(|w| *w == o.word());
    let mut causes: Vec<Cause<'_>> = Vec::new();
    for pair in &state.pairs {
        let Some(outcome) = pair.outcome() else {
            continue;
        };
        if outcome.satisfies() || matches!(outcome, Outcome::Blocked { .. }) {
            continue;
        }
        // The lock's own section says why.
        if state.lock_refused.is_some() && matches!(outcome, Outcome::Interrupted(_)) {
            continue;
        }
        match causes.iter_mut().find(|c| c.outcome == outcome) {
            Some(cause) => cause.pairs.push(pair),
            None => causes.push(Cause {
                outcome,
                pairs: vec![pair],
            }),
        }
    }
    // Of those that were stopped, the ones that had begun come first: there a target may be half changed.
    causes.sort_by_key(|c| (rank(c.outcome), c.pairs.iter().all(|p| p.attempts == 0)));
    let mut told = Vec::new();
    for cause in &causes {
        let ink = Ink::of(cause.outcome);
        let subject = subject(&cause.pairs);
        let reason = match cause.outcome {
            Outcome::Interrupted(why) => Failure::new(why.clone()),
            outcome => outcome.failure().cloned().unwrap_or_default(),
        };
        section(lines, ink, cause.outcome.word(), subject, &reason, width);
        let stopped = cause.pairs.iter().flat_map(|p| {
            let key = (p.info.step.clone(), p.info.target.clone());
            let stopped = blocked.get(&key).cloned().unwrap_or_default();
            told.push(key);
            stopped
        });
        let stopped = stopped.collect::<Vec<_>>();
        tell_blocked(lines, &stopped, "because of it", width);
    }
    let rest = blocked.iter().filter(|(key, _)| !told.contains(key));
    for ((step, target), stopped) in rest {
        lines.push(Line::new());
        tell_blocked(
            lines,
            stopped,
            &format!("because of {step}@{target}"),
            width,
        );
    }
}

/// The blocked pairs by what blocked them in the first place.
fn blocked_by(state: &State) -> BTreeMap<(StepAddr, Target), Vec<&PairState>> {
    let mut by: BTreeMap<(StepAddr, Target), Vec<&PairState>> = BTreeMap::new();
    for pair in &state.pairs {
        let mut root = None;
        let mut next = pair.outcome();
        // A chain longer than the plan would be a ring.
        for _ in 0..=state.pairs.len() {
            let Some(Outcome::Blocked { step, target }) = next else {
                break;
            };
            root = Some((step.clone(), target.clone()));
            next = state.find(step, target).and_then(|p| p.outcome());
        }
        if let Some(root) = root {
            by.entry(root).or_default().push(pair);
        }
    }
    by
}

fn tell_blocked(lines: &mut Vec<Line>, pairs: &[&PairState], why: &str, width: usize) {
    if pairs.is_empty() {
        return;
    }
    let names = pairs.iter().map(|p| p.label()).collect::<Vec<_>>();
    let verb = if pairs.len() == 1 { "was" } else { "were" };
    let line = Line::of(Ink::Warn, text::count(pairs.len(), "step", "steps")).plain(format!(
        " {verb} not tried {why}: {}",
        text::some_of(&names, NAMES)
    ));
    lines.extend(line.wrap(2, width));
}

/// Which pairs a cause is about, as short as it can be said.
fn subject(pairs: &[&PairState]) -> Line {
    let Some(first) = pairs.first() else {
        return Line::new();
    };
    let target = first.info.target.to_string();
    let names = |of: fn(&PairState) -> String| pairs.iter().map(|p| of(p)).collect::<Vec<_>>();
    if pairs.len() == 1 {
        let took = match first.took_ms {
            0..1000 => String::new(),
            ms => format!(" after {}", text::duration(ms)),
        };
        Line::of(Ink::Strong, first.label()).plain(took)
    } else if pairs.iter().all(|p| p.info.target == first.info.target) {
        let steps = names(|p| p.info.step.to_string());
        let count = text::count(steps.len(), "step", "steps");
        Line::of(Ink::Strong, target).plain(format!(" ({count}: {})", text::some_of(&steps, NAMES)))
    } else if pairs.iter().all(|p| p.info.step == first.info.step) {
        let targets = names(|p| p.info.target.to_string());
        Line::of(Ink::Strong, first.info.step.as_str())
            .plain(format!(" on {}", text::some_of(&targets, NAMES)))
    } else {
        Line::of(Ink::Strong, text::some_of(&names(PairState::label), NAMES))
    }
}

/// A blank line, a heading, and below it what happened, the evidence, and what to do.
fn section(
    lines: &mut Vec<Line>,
    ink: Ink,
    word: &str,
    subject: Line,
    failure: &Failure,
    width: usize,
) {
    lines.push(Line::new());
    let mut heading = Line::of(ink, word);
    if subject.width() > 0 {
        heading.push(Ink::Plain, "  ");
        heading.append(subject);
    }
    lines.extend(heading.wrap(0, width));
    lines.extend(failure_lines(failure, width));
}

/// What a run that stopped without an end left open.
fn unfinished(state: &State, lines: &mut Vec<Line>, width: usize) {
    let open = state.pairs.iter().filter(|p| p.outcome().is_none());
    let (begun, rest): (Vec<_>, Vec<_>) = open.partition(|p| p.is_active());
    if begun.is_empty() && rest.is_empty() {
        return;
    }
    lines.push(Line::new());
    if !begun.is_empty() {
        let names = begun.iter().map(|p| p.label()).collect::<Vec<_>>();
        let words = format!(
            " {}: {}",
            if state.alive {
                "running"
            } else {
                "begun and not seen to end (a target may have been changed)"
            },
            text::some_of(&names, NAMES)
        );
        let count = text::count(begun.len(), "step", "steps");
        lines.extend(Line::of(Ink::Warn, count).plain(words).wrap(2, width));
    }
    if !rest.is_empty() {
        let count = text::count(rest.len(), "step", "steps");
        lines.extend(
            Line::of(Ink::Warn, count)
                .plain(" not begun")
                .wrap(2, width),
        );
    }
}

fn next(state: &State, shown: bool, lines: &mut Vec<Line>, width: usize) {
    let Some(run) = &state.run else { return };
    let exit = state.exit();
    let mut rows = Vec::new();
    let began = exit != Some(ExitCode::Locked) || !state.locked.is_empty();
    if began && run.resumable {
        let failures = state
            .pairs
            .iter()
            .filter_map(|pair| pair.outcome()?.failure());
        let (yes, what) = match failures.into_iter().any(Failure::is_not_agreed) {
            true => (" --yes", "agree to what disturbs, and do what is left"),
            false => ("", "try again what is left"),
        };
        rows.push((format!("hmco-boot resume {}{yes}", run.id), what));
    }
    if let Some(command) = run.again.as_ref().filter(|_| began) {
        let again = format!("hmco-boot {command}");
        rows.push((again, "again: what is done is not done twice"));
    }
    if !shown {
        let show = format!("hmco-boot runs show {}", run.id);
        rows.push((show, "all that is recorded of this run"));
    }
    if exit == Some(ExitCode::Done) || (exit.is_none() && state.alive) || rows.is_empty() {
        return;
    }
    lines.push(Line::new());
    lines.push(Line::new().plain("next:"));
    let complete =
        |(command, what): (String, _)| (state.commands.complete(&command).into_owned(), what);
    let rows: Vec<_> = rows.into_iter().map(complete).collect();
    let wide = rows.iter().map(|(c, _)| text::width(c)).max().unwrap_or(0);
    for (command, what) in rows {
        let mut line = Line::of(Ink::Strong, command);
        line.pad_to(wide + 2);
        lines.extend(line.with(Ink::Soft, what).wrap(2, width));
    }
}
