//! What lines are made of in more than one view: counts, differences, failures.

use std::collections::BTreeMap;

use super::style::{Ink, Line};
use super::text;
use crate::model::event::{DiffLine, Side};
use crate::model::outcome::Failure;

/// A count of pairs by how they ended: `5 changed, 28 unchanged, 1 failed`; the worst first.
pub fn count_words(counts: &BTreeMap<&'static str, usize>) -> String {
    let words = COUNT_ORDER.iter().filter_map(|word| {
        let n = counts.get(word).filter(|n| **n > 0)?;
        Some(format!("{n} {word}"))
    });
    words.collect::<Vec<_>>().join(", ")
}

/// The outcomes' words, worst first.
pub const COUNT_ORDER: [&str; 8] = [
    "failed",
    "unreachable",
    "unknown",
    "interrupted",
    "blocked",
    "changed",
    "unchanged",
    "skipped",
];

/// A difference, indented, in signs and colours; at most `most` lines.
pub fn diff_lines(diff: &[DiffLine], most: usize) -> Vec<Line> {
    let shown = diff.iter().take(most).map(|line| {
        let (ink, sign) = match line.side {
            Side::Old => (Ink::Bad, '-'),
            Side::New => (Ink::Good, '+'),
            Side::Both => (Ink::Plain, ' '),
        };
        let text = text::harmless_exact(&line.text);
        Line::new()
            .plain("    ")
            .with(ink, format!("{sign} {text}"))
    });
    let mut lines = shown.collect::<Vec<_>>();
    let more = diff.len().saturating_sub(most);
    if more > 0 {
        let words = text::count(more, "more line", "more lines");
        lines.push(Line::of(Ink::Soft, format!("      ({words})")));
    }
    lines
}

/// What happened, the evidence, what to do: indented and wrapped.
pub fn failure_lines(failure: &Failure, width: usize) -> Vec<Line> {
    let mut lines = Line::new().plain(&failure.message).wrap(2, width);
    for evidence in failure
        .evidence
        .iter()
        .flat_map(|e| text::harmless_lines(e))
    {
        lines.extend(Line::new().plain(format!("| {evidence}")).wrap(4, width));
    }
    if let Some(hint) = &failure.hint {
        let hint = Line::of(Ink::Strong, "to do:").plain(format!(" {hint}"));
        lines.extend(hint.wrap(2, width));
    }
    lines
}
