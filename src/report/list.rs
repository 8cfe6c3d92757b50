//! Lists of runs, and one run at length.

use std::io;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::details::{count_words, diff_lines};
use super::json;
use super::state::{PairState, State};
use super::style::{Ink, Line};
use super::{summary, text};
use crate::model::event::{Event, Record, RunStarted};
use crate::model::id::RunId;
use crate::model::outcome::{ExitCode, Outcome};

/// A run in a list.
#[derive(Clone, PartialEq, Debug)]
pub struct RunRow<'a> {
    /// How it began.
    pub started: &'a RunStarted,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Its last event, where it ended by itself.
    pub finished: Option<&'a Record>,
    /// The run that went on with it, where one did.
    pub resumed_by: Option<&'a RunId>,
    /// The process that carries it out lives.
    pub alive: bool,
}

#[derive(Serialize)]
struct RunJson<'a> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    run: &'a RunId,
    cluster: &'a str,
    playbook: &'a str,
    at_ms: i64,
    pairs: usize,
    resumes: Option<&'a RunId>,
    resumed_by: Option<&'a RunId>,
    running: bool,
    finished: Option<&'a Event>,
}

impl RunRow<'_> {
    fn end(&self) -> Option<(ExitCode, u64, String)> {
        let Event::RunFinished {
            counts,
            exit,
            took_ms,
        } = &self.finished?.event
        else {
            return None;
        };
        let known = super::details::COUNT_ORDER.iter();
        let counts = known.filter_map(|w| Some((*w, *counts.get(*w)? as usize)));
        Some((*exit, *took_ms, count_words(&counts.collect())))
    }

    fn verdict(&self) -> (Ink, String) {
        match (self.end(), self.resumed_by) {
            (Some((ExitCode::Done, ..)), _) => (Ink::Good, "done".to_owned()),
            (Some((exit, ..)), None) => (Ink::Bad, exit_words(exit).to_owned()),
            (None, None) if self.alive => (Ink::Strong, "running".to_owned()),
            (None, None) => (Ink::Warn, "no end recorded".to_owned()),
            (_, Some(_)) => (Ink::Soft, "resumed".to_owned()),
        }
    }
}

fn exit_words(exit: ExitCode) -> &'static str {
    match exit {
        ExitCode::Done => "done",
        ExitCode::Failed => "failed",
        ExitCode::Usage => "refused",
        ExitCode::Unreachable => "unreachable",
        ExitCode::Drift => "differences",
        ExitCode::Locked => "locked",
        ExitCode::Interrupted => "interrupted",
    }
}

/// The least that is left of a playbook's name.
const PLAYBOOK: usize = 8;

/// A table of runs, in the order given, of at most `width` columns: the playbook's name gives way first.
pub fn runs(
    rows: &[RunRow<'_>],
    zone: &TimeZone,
    width: Option<usize>,
    unicode: bool,
) -> Vec<Line> {
    if rows.is_empty() {
        return vec![Line::new().plain("no runs yet: `hmco-boot run PLAYBOOK` makes the first")];
    }
    let heads = ["RUN", "BEGAN", "PLAYBOOK", "STATE", "TOOK", "STEPS"];
    let cells = rows.iter().map(|row| {
        let (ink, verdict) = row.verdict();
        let (took, counts) = match (row.end(), row.resumed_by) {
            (end, Some(by)) => (end.map(|e| text::duration(e.1)), format!("by {by}")),
            (Some((_, took, counts)), None) => (Some(text::duration(took)), counts),
            (None, None) => (None, text::count(row.started.pairs.len(), "step", "steps")),
        };
        let plain = |t: &str| (Ink::Plain, text::harmless(t));
        [
            (Ink::Strong, text::harmless(row.started.run.as_str())),
            plain(&when(row.at_ms, zone)),
            plain(&row.started.playbook),
            (ink, verdict),
            plain(&took.unwrap_or_default()),
            (Ink::Soft, counts),
        ]
    });
    let head = heads.map(|h| (Ink::Soft, h.to_owned()));
    let mut table = [head].into_iter().chain(cells).collect::<Vec<_>>();
    let lines = super::style::table(&table);
    let Some(width) = width else { return lines };
    let wide = lines.iter().map(Line::width).max().unwrap_or(0);
    let over = wide.saturating_sub(width);
    if over == 0 {
        return lines;
    }
    let playbooks = table.iter().map(|[_, _, (_, name), ..]| text::width(name));
    let room = playbooks.max().unwrap_or(0).saturating_sub(over);
    for [_, _, (_, name), ..] in &mut table {
        *name = text::fit(name, room.max(PLAYBOOK), unicode);
    }
    super::style::table(&table)
        .into_iter()
        .map(|line| line.fit(width, unicode))
        .collect()
}

/// A run of a list as one line of JSON (no line end).
pub fn run_json(row: &RunRow<'_>) -> io::Result<String> {
    json::to_json(&RunJson {
        v: 1,
        kind: "run",
        run: &row.started.run,
        cluster: &row.started.cluster,
        playbook: &row.started.playbook,
        at_ms: row.at_ms,
        pairs: row.started.pairs.len(),
        resumes: row.started.resumes.as_ref(),
        resumed_by: row.resumed_by,
        running: row.alive && row.finished.is_none(),
        finished: row.finished.map(|r| &r.event),
    })
}

/// A run at length: its summary, then every step by target, with the differences that were found.
pub fn show(state: &State, zone: &TimeZone, width: usize) -> Vec<Line> {
    let Some(run) = &state.run else {
        return summary::lines(state, width);
    };
    let mut lines = vec![
        Line::of(Ink::Strong, run.id.as_str())
            .plain(format!("  {} on {}", run.playbook, run.cluster)),
        Line::new().plain(format!("began {}", when(run.started_ms, zone))),
    ];
    if let Some(earlier) = &run.resumes {
        lines.push(Line::new().plain(format!("goes on with {earlier}")));
    }
    if let Some(limit) = &run.limit {
        lines.push(Line::new().plain(format!("limited to {limit}")));
    }
    lines.push(Line::new());
    lines.extend(summary::lines_of_record(state, width));
    for target in &state.targets {
        lines.push(Line::new());
        lines.push(Line::of(Ink::Strong, target.target.to_string()));
        for pair in target.pairs.iter().filter_map(|p| state.pairs.get(*p)) {
            lines.extend(pair_lines(pair, state.lock_refused.is_some(), width));
        }
    }
    lines
}

fn pair_lines(pair: &PairState, locked: bool, width: usize) -> Vec<Line> {
    let (ink, word) = match pair.outcome() {
        Some(outcome) => (Ink::of(outcome), outcome.word()),
        None if pair.attempts > 0 => (Ink::Warn, "begun"),
        None => (Ink::Warn, "not begun"),
    };
    let mut head = Line::of(ink, word);
    head.pad_to(12);
    head.push(Ink::Plain, pair.info.step.as_str());
    if pair.took_ms > 0 {
        head.push(Ink::Soft, format!("  ({})", text::duration(pair.took_ms)));
    }
    if pair.attempts > 1 {
        head.push(Ink::Warn, format!("  {} attempts", pair.attempts));
    }
    match pair.outcome() {
        Some(Outcome::Interrupted(_)) if locked => head.push(Ink::Soft, "  not started"),
        Some(Outcome::Skipped(why) | Outcome::Interrupted(why)) => {
            head.push(Ink::Soft, format!("  {why}"));
        }
        Some(Outcome::Blocked { step, target }) => {
            head.push(Ink::Soft, format!("  by {step}@{target}"));
        }
        _ => {}
    }
    let mut lines = head.wrap(2, width);
    lines.extend(diff_lines(
        pair.diff.as_deref().unwrap_or_default(),
        usize::MAX,
    ));
    lines
}

/// `2024-05-01 12:03:04`.
fn when(at_ms: i64, zone: &TimeZone) -> String {
    let Ok(time) = Timestamp::from_millisecond(at_ms) else {
        return "at an unknown time".to_owned();
    };
    time.to_zoned(zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}
