//! Targets x steps as compact cells: a row per target, a column per step, grouped by the outermost playbook step. Where
//! cells do not fit, a row tells numbers instead; where rows do not fit, those that matter most are shown and the rest
//! is counted.

use std::collections::BTreeMap;

use super::details::count_words;
use super::state::{PairState, Phase, State, TargetState};
use super::style::{Ink, Line};
use super::text;
use crate::model::outcome::Outcome;

/// Columns of a target's name, at most.
const NAME_MAX: usize = 20;

/// A sign for one (step, target): in Unicode, in ASCII, and what it means.
struct Sign(char, char, &'static str, Ink);

fn sign(pair: &PairState) -> Sign {
    match &pair.phase {
        Phase::Waiting => Sign('·', '.', "waiting", Ink::Soft),
        Phase::Decided { drift: false } => Sign('✓', '=', "unchanged", Ink::Soft),
        Phase::Decided { drift: true } => Sign('○', 'o', "differs", Ink::Plain),
        Phase::Running { .. } => Sign('▸', '>', "running", Ink::Strong),
        Phase::Gate { .. } => Sign('◇', 'g', "gate", Ink::Warn),
        Phase::Retry { .. } => Sign('↻', 'r', "retry", Ink::Warn),
        Phase::Finished(outcome) => match outcome {
            Outcome::Unchanged => Sign('✓', '=', "unchanged", Ink::Soft),
            Outcome::Changed => Sign('+', '+', "changed", Ink::Good),
            Outcome::Skipped(_) => Sign('-', '-', "skipped", Ink::Soft),
            Outcome::Failed(_) => Sign('✗', 'X', "failed", Ink::Bad),
            Outcome::Blocked { .. } => Sign('#', '#', "blocked", Ink::Warn),
            Outcome::Unreachable(_) => Sign('!', '!', "unreachable", Ink::Bad),
            Outcome::Interrupted(_) => Sign('^', '^', "interrupted", Ink::Warn),
            Outcome::Unknown(_) => Sign('?', '?', "unknown", Ink::Warn),
        },
    }
}

/// Steps that stand together in the grid: those of one outermost playbook step.
struct Group<'s> {
    label: &'s str,
    steps: std::ops::Range<usize>,
    columns: usize,
}

/// How the columns are laid out.
struct Columns<'s> {
    name: usize,
    groups: Vec<Group<'s>>,
    gap: usize,
    header: bool,
}

/// The grid in at most `height` lines of at most `width` columns: header, rows, legend; empty where not even one row
/// fits. Where rows do not fit one below the other, they stand side by side as far as the width allows.
pub fn lines(state: &State, width: usize, height: usize, unicode: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let columns = columns(state, width);
    let pane = pane_width(state, columns.as_ref(), width);
    let header = columns.as_ref().filter(|c| c.header && height > 2);
    let fixed = usize::from(header.is_some()) + usize::from(columns.is_some() && height > 4);
    let rows = height.saturating_sub(fixed);
    let panes = match columns {
        Some(_) => ((width + PANE_GAP) / (pane + PANE_GAP)).max(1),
        None => 1,
    };
    let panes = panes.min(state.targets.len().div_ceil(rows.max(1))).max(1);
    let order = by_weight(state, rows * panes);
    let all = order.len() <= rows * panes;
    // The line that counts the rest takes a row of every pane.
    let rows = if all {
        order.len().div_ceil(panes)
    } else {
        rows.saturating_sub(1)
    };
    if let Some(columns) = header {
        let head = heading(columns, unicode);
        lines.push(beside((0..panes).map(|_| head.clone()), pane));
    }
    for at in 0..rows {
        let places = (0..panes).filter_map(|p| order.get(p * rows + at));
        let row = places.map(|t| row(state, *t, columns.as_ref(), width, unicode));
        lines.push(beside(row, pane));
    }
    if !all && height > 0 {
        let rest = order.get(rows * panes..).unwrap_or_default();
        lines.push(Line::of(Ink::Soft, not_shown(state, rest)).fit(width, unicode));
    }
    if lines.len() < height && columns.is_some() {
        lines.push(legend(state, width, unicode));
    }
    lines
}

/// Columns between rows that stand side by side.
const PANE_GAP: usize = 4;

fn pane_width(state: &State, columns: Option<&Columns<'_>>, width: usize) -> usize {
    let Some(columns) = columns else { return width };
    let cells = columns.groups.iter().map(|g| g.columns).sum::<usize>();
    let gaps = columns.gap * columns.groups.len().saturating_sub(1);
    name_width(state) + 2 + cells + gaps
}

fn beside(parts: impl Iterator<Item = Line>, pane: usize) -> Line {
    let mut line = Line::new();
    for (at, part) in parts.enumerate() {
        line.pad_to(at * (pane + PANE_GAP));
        line.append(part);
    }
    line
}

/// How many lines the whole grid takes.
pub fn wanted(state: &State, width: usize) -> usize {
    let columns = columns(state, width);
    let header = usize::from(columns.as_ref().is_some_and(|c| c.header));
    state.targets.len() + header + usize::from(columns.is_some())
}

/// The targets, in the plan's order; where not all fit, those that need eyes come first: what failed, what runs,
/// what was stopped, what is read, what is open, what is done.
fn by_weight(state: &State, room: usize) -> Vec<usize> {
    let mut order = (0..state.targets.len()).collect::<Vec<_>>();
    if order.len() > room {
        order.sort_by_cached_key(|t| state.targets.get(*t).map(|t| class(state, t)));
    }
    order
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Failed,
    Running,
    Interrupted,
    Reading,
    Waiting,
    Done,
}

fn class(state: &State, target: &TargetState) -> Class {
    let any = |test: &dyn Fn(&PairState) -> bool| {
        let pairs = target.pairs.iter().filter_map(|p| state.pairs.get(*p));
        pairs.into_iter().any(test)
    };
    let bad = |p: &PairState| matches!(p.outcome(), Some(o) if !o.satisfies() && !matches!(o, Outcome::Blocked { .. } | Outcome::Interrupted(_)));
    let stopped = |p: &PairState| matches!(p.outcome(), Some(Outcome::Interrupted(_)));
    if target.unreachable.is_some() || any(&bad) {
        Class::Failed
    } else if any(&PairState::is_active) {
        Class::Running
    } else if any(&stopped) {
        Class::Interrupted
    } else if target.reading.is_some() {
        Class::Reading
    } else if target.open > 0 {
        Class::Waiting
    } else {
        Class::Done
    }
}

fn not_shown(state: &State, rest: &[usize]) -> String {
    let mut classes: BTreeMap<Class, usize> = BTreeMap::new();
    for target in rest.iter().filter_map(|t| state.targets.get(*t)) {
        *classes.entry(class(state, target)).or_default() += 1;
    }
    let word = |(class, n): (&Class, &usize)| {
        let word = match class {
            Class::Failed => "with failures",
            Class::Interrupted => "interrupted",
            Class::Running => "running",
            Class::Reading => "reading",
            Class::Waiting => "waiting",
            Class::Done => "done",
        };
        format!("{n} {word}")
    };
    let words = classes.iter().map(word).collect::<Vec<_>>();
    let more = text::count(rest.len(), "more target", "more targets");
    format!("and {more}: {}", words.join(", "))
}

/// The widest layout that fits, or none where cells do not fit at all.
fn columns(state: &State, width: usize) -> Option<Columns<'_>> {
    let name = name_width(state);
    let room = width.checked_sub(name + 2)?;
    if state.steps.is_empty() || state.steps.len() > room {
        return None;
    }
    for (label, gap) in [(24, 2), (12, 2), (8, 1), (4, 1), (1, 1), (0, 0)] {
        let groups = groups(state, label);
        let cells = groups.iter().map(|g| g.columns).sum::<usize>();
        if cells + gap * groups.len().saturating_sub(1) <= room {
            let header = label >= 4 || (label == 1 && groups.iter().any(|g| g.columns >= 4));
            return Some(Columns {
                name,
                groups,
                gap,
                header,
            });
        }
    }
    None
}

fn name_width(state: &State) -> usize {
    let names = state
        .targets
        .iter()
        .map(|t| text::width(&t.target.to_string()));
    names.max().unwrap_or(0).min(NAME_MAX)
}

/// Neighbours with the same first part of their address, each as wide as its cells, or its label up to `label_max`.
fn groups(state: &State, label_max: usize) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (at, step) in state.steps.iter().enumerate() {
        let address = step.step.as_str();
        let label = address.split(['/', '[']).next().unwrap_or(address);
        match groups.last_mut() {
            Some(last) if last.label == label => last.steps.end = at + 1,
            _ => groups.push(Group {
                label,
                steps: at..at + 1,
                columns: 0,
            }),
        }
    }
    for group in &mut groups {
        group.columns = group
            .steps
            .len()
            .max(text::width(group.label).min(label_max));
    }
    groups
}

fn heading(columns: &Columns<'_>, unicode: bool) -> Line {
    let mut line = Line::new();
    let mut at = columns.name + 2;
    for group in &columns.groups {
        line.pad_to(at);
        line.push(
            Ink::Soft,
            text::fit(&text::harmless(group.label), group.columns, unicode),
        );
        at += group.columns + columns.gap;
    }
    line
}

fn row(
    state: &State,
    target: usize,
    columns: Option<&Columns<'_>>,
    width: usize,
    unicode: bool,
) -> Line {
    let Some(view) = state.targets.get(target) else {
        return Line::new();
    };
    let wide = columns.map_or_else(|| name_width(state), |c| c.name);
    let ink = match class(state, view) {
        Class::Failed => Ink::Bad,
        Class::Running => Ink::Strong,
        _ => Ink::Plain,
    };
    let name = text::harmless(&view.target.to_string());
    let mut line = Line::of(ink, text::fit(&name, wide, unicode));
    let Some(columns) = columns else {
        line.pad_to(wide + 2);
        line.append(numbers(state, view));
        return line.fit(width, unicode);
    };
    let mut at = columns.name + 2;
    for group in &columns.groups {
        line.pad_to(at);
        for step in group.steps.clone() {
            match state.cell(step, target).and_then(|p| state.pairs.get(p)) {
                Some(pair) => {
                    let Sign(symbol, ascii, _, ink) = sign(pair);
                    line.push(ink, String::from(if unicode { symbol } else { ascii }));
                }
                None => line.push(Ink::Plain, " "),
            }
        }
        at += group.columns + columns.gap;
    }
    line
}

/// A row where cells do not fit: how far, how it went, what runs.
fn numbers(state: &State, target: &TargetState) -> Line {
    let pairs = || target.pairs.iter().filter_map(|p| state.pairs.get(*p));
    let mut counts = BTreeMap::new();
    for outcome in pairs().filter_map(PairState::outcome) {
        *counts.entry(outcome.word()).or_insert(0) += 1;
    }
    let total = target.pairs.len();
    let ended = total - target.open;
    let digits = total.to_string().len();
    let mut line = Line::new().plain(format!("{ended:>digits$}/{total}"));
    if let Some(running) = pairs().find(|p| p.is_active()) {
        line.push(Ink::Strong, format!("  {}", running.info.step));
    } else if target.reading.is_some() {
        line.push(Ink::Plain, "  reading");
    }
    let words = count_words(&counts);
    if !words.is_empty() {
        line.push(Ink::Plain, format!("  {words}"));
    }
    line
}

/// What the signs on the screen mean; only those that are there.
fn legend(state: &State, width: usize, unicode: bool) -> Line {
    let mut signs: BTreeMap<&'static str, Sign> = BTreeMap::new();
    for pair in &state.pairs {
        let sign = sign(pair);
        signs.entry(sign.2).or_insert(sign);
    }
    let mut line = Line::new();
    for word in LEGEND {
        let Some(Sign(symbol, ascii, word, ink)) = signs.get(word) else {
            continue;
        };
        line.push(*ink, String::from(if unicode { *symbol } else { *ascii }));
        line.push(Ink::Soft, format!(" {word}   "));
    }
    line.fit(width, unicode)
}

const LEGEND: [&str; 13] = [
    "failed",
    "unreachable",
    "unknown",
    "interrupted",
    "blocked",
    "running",
    "gate",
    "retry",
    "changed",
    "differs",
    "unchanged",
    "skipped",
    "waiting",
];
