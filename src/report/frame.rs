//! The live view as a pure function: a header, the grid, what runs now and since when, what waits for what; never more
//! lines than the height, never more columns than the width.

use super::details::COUNT_ORDER;
use super::grid;
use super::state::{PairState, Phase, Reading, State};
use super::style::{Ink, Line};
use super::text;
use super::waits::Wait;
use crate::model::event::CancelLevel;
use crate::model::id::Target;

/// What the view may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Canvas {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Whether more than ASCII can be shown.
    pub unicode: bool,
}

/// The view of a run at a moment.
pub fn frame(state: &State, canvas: Canvas, now_ms: i64) -> Vec<Line> {
    let Canvas {
        width,
        height,
        unicode,
    } = canvas;
    let mut lines = Vec::new();
    if state.run.is_none() {
        lines.push(Line::of(Ink::Soft, "starting"));
    } else {
        lines.push(title(state, now_ms, canvas));
        lines.push(bar(state, canvas));
        lines.extend(note(state));
        body(state, canvas, now_ms, &mut lines);
    }
    lines.truncate(height);
    lines
        .into_iter()
        .map(|line| line.fit(width, unicode))
        .collect()
}

fn body(state: &State, canvas: Canvas, now_ms: i64, lines: &mut Vec<Line>) {
    let rest = canvas.height.saturating_sub(lines.len());
    let now = running(state, canvas.unicode, now_ms);
    let waits = waiting(state);
    let gaps = rest >= 12;
    let sections = usize::from(!now.is_empty()) + usize::from(!waits.is_empty()) + 1;
    let rest = rest.saturating_sub(if gaps { sections } else { 0 });
    let share = shares(
        rest,
        now.len(),
        waits.len(),
        grid::wanted(state, canvas.width),
    );
    let gap = |lines: &mut Vec<Line>| {
        if gaps {
            lines.push(Line::new());
        }
    };
    let grid = grid::lines(state, canvas.width, share.grid, canvas.unicode);
    if !grid.is_empty() {
        gap(lines);
        lines.extend(grid);
    }
    for (what, room, more) in [
        (now, share.running, "running"),
        (waits, share.waiting, "waiting"),
    ] {
        if what.is_empty() || room == 0 {
            continue;
        }
        gap(lines);
        lines.extend(capped(what, room, more));
    }
}

/// Lines for each section.
struct Shares {
    running: usize,
    waiting: usize,
    grid: usize,
}

/// Divides `rest` lines: what runs gets up to two fifths, what waits a fifth, the grid what is left; what one does not
/// want goes to the others. A grid of one line says nothing.
fn shares(rest: usize, running: usize, waiting: usize, grid: usize) -> Shares {
    let mut share = Shares {
        running: running.min((rest * 2 / 5).max(1)),
        waiting: waiting.min((rest / 5).max(1)),
        grid: 0,
    };
    let left = rest.saturating_sub(share.running + share.waiting);
    share.grid = if left < 2 { 0 } else { grid.min(left) };
    let mut left = rest.saturating_sub(share.running + share.waiting + share.grid);
    let more = left.min(running - share.running);
    share.running += more;
    left -= more;
    share.waiting += left.min(waiting - share.waiting);
    share
}

fn capped(mut lines: Vec<Line>, room: usize, what: &str) -> Vec<Line> {
    if lines.len() > room {
        let more = lines.len() - room.saturating_sub(1);
        lines.truncate(room.saturating_sub(1));
        lines.push(Line::of(Ink::Soft, format!("and {more} more {what}")));
    }
    lines
}

fn title(state: &State, now_ms: i64, canvas: Canvas) -> Line {
    let Some(run) = &state.run else {
        return Line::new();
    };
    let time = text::elapsed(state.elapsed_ms(now_ms));
    let mut line = Line::of(Ink::Strong, &run.playbook).plain(format!(" on {}", run.cluster));
    if let Some(limit) = &run.limit {
        line.push(Ink::Plain, format!(" (only {limit})"));
    }
    line.push(Ink::Soft, format!("  {}", run.id));
    if let Some(earlier) = &run.resumes {
        line.push(Ink::Soft, format!(" after {earlier}"));
    }
    let room = canvas.width.saturating_sub(text::width(&time) + 2);
    let mut line = line.fit(room, canvas.unicode);
    line.pad_to(room + 2);
    line.with(Ink::Strong, time)
}

/// A bar of what has ended, and the counts.
fn bar(state: &State, canvas: Canvas) -> Line {
    let total = state.pairs.len();
    let ended = total - state.open();
    let wide = (canvas.width / 4).clamp(8, 40);
    let full = (ended * wide).checked_div(total).unwrap_or(wide);
    let counts = state.counts();
    let bad = COUNT_ORDER.iter().take(4).any(|w| counts.contains_key(w));
    let (on, off) = if canvas.unicode {
        ("━", "─")
    } else {
        ("=", "-")
    };
    let ink = if bad { Ink::Bad } else { Ink::Good };
    let mut line = Line::of(ink, on.repeat(full)).with(Ink::Soft, off.repeat(wide - full));
    line.push(Ink::Plain, format!("  {ended}/{total}"));
    let active = state.pairs.iter().filter(|p| p.is_active()).count();
    if active > 0 {
        line.push(Ink::Strong, format!("  {active} running"));
    }
    for word in COUNT_ORDER {
        let Some(n) = counts.get(word) else { continue };
        let ink = match word {
            "failed" | "unreachable" => Ink::Bad,
            "unknown" | "interrupted" | "blocked" => Ink::Warn,
            "changed" => Ink::Good,
            _ => Ink::Plain,
        };
        line.push(Ink::Plain, "  ");
        line.push(ink, format!("{n} {word}"));
    }
    line
}

/// What overshadows the rest: that the run is being stopped.
fn note(state: &State) -> Option<Line> {
    let words = match state.cancel? {
        CancelLevel::Drain => {
            "stopping: what runs may end, nothing new starts; Ctrl-C again: stop now"
        }
        CancelLevel::Abort if state.run.as_ref().is_some_and(|run| !run.resumable) => {
            "stopping now: what runs on a target may go on there, the next run or exec awaits it"
        }
        CancelLevel::Abort => {
            "stopping now: what runs on a target goes on there, `resume` finds it"
        }
    };
    Some(Line::of(Ink::Warn, words))
}

/// Something that goes on.
struct Activity {
    since_ms: i64,
    subject: String,
    what: String,
    time: String,
    detail: String,
}

/// A line for each thing that goes on, longest first; readings of many targets in one.
fn running(state: &State, unicode: bool, now_ms: i64) -> Vec<Line> {
    let mut rows = Vec::new();
    for target in &state.targets {
        if let Some(job) = &target.leftover {
            rows.push(Activity {
                since_ms: i64::MIN,
                subject: target.target.to_string(),
                what: "awaits a job".to_owned(),
                time: String::new(),
                detail: format!("{job} of an earlier run still runs"),
            });
        }
    }
    rows.extend(readings(state, now_ms));
    let active = state.pairs.iter().filter(|p| p.is_active());
    rows.extend(active.map(|p| activity(p, now_ms)));
    rows.sort_by_key(|row| row.since_ms);
    let widest = |of: fn(&Activity) -> &str| rows.iter().map(|r| text::width(of(r))).max();
    let subject = widest(|r| &r.subject).unwrap_or(0).min(20);
    let what = widest(|r| &r.what).unwrap_or(0).min(32);
    let row = |row: &Activity| {
        let fit = |t: &str, max| text::fit(&text::harmless(t), max, unicode);
        let mut line = Line::of(Ink::Strong, fit(&row.subject, subject));
        line.pad_to(subject + 2);
        line.push(Ink::Plain, fit(&row.what, what));
        line.pad_to(subject + what + 4);
        line.push(Ink::Plain, format!("{:>6}  ", row.time));
        line.with(Ink::Soft, &row.detail)
    };
    rows.iter().map(row).collect()
}

/// What is being read: a line per target, or one for all where they are many.
fn readings(state: &State, now_ms: i64) -> Vec<Activity> {
    let targets = state
        .targets
        .iter()
        .filter_map(|t| Some((&t.target, t.reading?)));
    let targets = targets.collect::<Vec<_>>();
    let first = targets
        .iter()
        .map(|(_, r)| r.since_ms)
        .min()
        .unwrap_or(now_ms);
    if targets.len() > READINGS {
        let facts = targets.iter().map(|(_, r)| r.facts as usize).sum();
        return vec![Activity {
            since_ms: first,
            subject: text::count(targets.len(), "target", "targets"),
            what: "reading".to_owned(),
            time: text::elapsed(text::since(first, now_ms)),
            detail: text::count(facts, "fact", "facts"),
        }];
    }
    let one = |(target, reading): &(&Target, Reading)| Activity {
        since_ms: reading.since_ms,
        subject: target.to_string(),
        what: "reading".to_owned(),
        time: text::elapsed(text::since(reading.since_ms, now_ms)),
        detail: format!(
            "{}, round {}",
            text::count(reading.facts as usize, "fact", "facts"),
            reading.round
        ),
    };
    targets.iter().map(one).collect()
}

/// More targets than this that are read at once are told in one line.
const READINGS: usize = 3;

/// What there is to say of a pair that something is done for.
fn activity(pair: &PairState, now_ms: i64) -> Activity {
    let last = pair.tail.back().cloned().unwrap_or_default();
    let (since_ms, detail) = match &pair.phase {
        Phase::Running { since_ms, attempt } if *attempt > 1 => {
            (*since_ms, format!("(attempt {attempt}) {last}"))
        }
        Phase::Gate { since_ms, reason } => (*since_ms, format!("gate: {reason}")),
        Phase::Retry {
            at_ms,
            attempt,
            message,
        } => {
            let left = text::elapsed(text::since(now_ms, *at_ms));
            (
                *at_ms,
                format!("again in {left}; attempt {attempt} failed: {message}"),
            )
        }
        Phase::Running { since_ms, .. } => (*since_ms, last),
        _ => (now_ms, String::new()),
    };
    let time = match pair.phase {
        Phase::Retry { .. } => String::new(),
        _ => text::elapsed(text::since(since_ms, now_ms)),
    };
    Activity {
        since_ms,
        subject: pair.info.target.to_string(),
        what: pair.info.step.to_string(),
        time,
        detail,
    }
}

/// For each target on which nothing goes on: its next step and what that waits for; alike ones in one line.
fn waiting(state: &State) -> Vec<Line> {
    let mut rows: Vec<(usize, Wait, usize)> = Vec::new();
    for target in &state.targets {
        let pairs = || {
            target
                .pairs
                .iter()
                .filter_map(|p| Some((*p, state.pairs.get(*p)?)))
        };
        if target.reading.is_some() || target.leftover.is_some() || pairs().any(|p| p.1.is_active())
        {
            continue;
        }
        let Some((at, next)) = pairs().find(|(_, p)| p.is_waiting()) else {
            continue;
        };
        let wait = state.waiting_on(next);
        let step = |p: usize| state.pairs.get(p).map(|p| p.step);
        match rows
            .iter_mut()
            .find(|r| step(r.0) == Some(next.step) && r.1 == wait)
        {
            Some(row) => row.2 += 1,
            None => rows.push((at, wait, 0)),
        }
    }
    let line = |(pair, wait, others): &(usize, Wait, usize)| {
        let label = |p: &usize| {
            state
                .pairs
                .get(*p)
                .map(PairState::label)
                .unwrap_or_default()
        };
        let mut line = Line::new().plain(label(pair));
        let (mut verb, mut others_words) = ("waits", String::new());
        if *others > 0 {
            verb = "wait";
            others_words = format!(
                " and {}",
                text::count(*others, "other target", "other targets")
            );
        }
        line.push(Ink::Plain, others_words);
        let reason = match wait {
            Wait::Pairs(first, 0) => format!("for {}", label(first)),
            Wait::Pairs(first, more) => format!("for {} and {more} more", label(first)),
            Wait::Busy(pair) => format!("until {} has ended", label(pair)),
            Wait::Leftover(job) => format!("for job {job} of an earlier run"),
            Wait::Reading => "for its facts".to_owned(),
            Wait::Turn => match *others {
                0 => "for its turn".to_owned(),
                _ => "for their turn".to_owned(),
            },
        };
        line.with(Ink::Soft, format!(" {verb} {reason}"))
    };
    rows.iter().map(line).collect()
}
