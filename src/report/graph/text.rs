//! The graph as a listing: by levels, each step with its kind, its targets and what it waits for.

use super::{GraphView, levels};
use crate::report::style::{Ink, Line};
use crate::report::text;

/// The listing, wrapped to `width` columns. A step stands one level after the last of those it waits for, so that all
/// steps of a level may run at the same time.
pub fn text(graph: &GraphView, width: usize) -> Vec<Line> {
    let width = width.max(20);
    let links = graph.links();
    let levels = levels(graph.nodes.len(), &links);
    let mut lines = vec![Line::of(Ink::Strong, &graph.title)];
    let most = levels.iter().max().copied().unwrap_or(0);
    for level in 0..=most {
        let at = || {
            levels
                .iter()
                .enumerate()
                .filter(|(_, l)| **l == level)
                .map(|(n, _)| n)
        };
        if at().next().is_none() {
            continue;
        }
        lines.push(Line::new());
        lines.push(Line::of(Ink::Strong, format!("{}.", level + 1)));
        for node in at() {
            lines.extend(node_lines(graph, &links, node, width));
        }
    }
    let steps = text::count(graph.nodes.len(), "step", "steps");
    let stages = text::count(
        if graph.nodes.is_empty() { 0 } else { most + 1 },
        "level",
        "levels",
    );
    lines.push(Line::new());
    lines.push(Line::new().plain(format!("{steps} in {stages}")));
    lines
}

fn node_lines(
    graph: &GraphView,
    links: &[(usize, usize, bool)],
    at: usize,
    width: usize,
) -> Vec<Line> {
    let Some(node) = graph.nodes.get(at) else {
        return Vec::new();
    };
    let mut head = Line::of(Ink::Strong, &node.label);
    let ink = if node.disruptive {
        Ink::Warn
    } else {
        Ink::Plain
    };
    head.push(ink, format!("  {}", node.detail()));
    let mut lines = head.wrap(4, width);
    let waits = links
        .iter()
        .filter(|(_, to, _)| *to == at)
        .filter_map(|(from, _, barrier)| {
            let name = &graph.nodes.get(*from)?.label;
            Some(match barrier {
                true => format!("{name} (on all its targets)"),
                false => name.clone(),
            })
        });
    let waits = waits.collect::<Vec<_>>();
    if !waits.is_empty() {
        let words = format!("after {}", text::and_list(&waits));
        lines.extend(Line::of(Ink::Soft, words).wrap(8, width));
    }
    lines
}
