//! The graph for Graphviz.

use super::{GraphNode, GraphView};
use crate::report::text::harmless;

/// The graph in the DOT language: groups are clusters, barriers are dashed edges, disruptive steps have a thick border.
pub fn dot(graph: &GraphView) -> String {
    let mut out = String::from("digraph plan {\n");
    out.push_str("  graph [rankdir=TB, fontname=\"sans-serif\"");
    out.push_str(&format!(", label={}, labelloc=t];\n", quoted(&graph.title)));
    out.push_str("  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
    for (number, (group, nodes)) in graph.groups().into_iter().enumerate() {
        let indent = if group.is_some() { "    " } else { "  " };
        if let Some(group) = group {
            let label = quoted(group);
            out.push_str(&format!(
                "  subgraph cluster_{number} {{\n    label={label};\n"
            ));
        }
        for at in nodes {
            if let Some(node) = graph.nodes.get(at) {
                out.push_str(&format!("{indent}n{at} [{}];\n", attributes(node)));
            }
        }
        if group.is_some() {
            out.push_str("  }\n");
        }
    }
    for (from, to, barrier) in graph.links() {
        let style = if barrier {
            " [style=dashed, tooltip=\"waits for all targets\"]"
        } else {
            ""
        };
        out.push_str(&format!("  n{from} -> n{to}{style};\n"));
    }
    out.push_str("}\n");
    out
}

fn attributes(node: &GraphNode) -> String {
    let label = format!("{}\n{}", harmless(&node.label), node.detail());
    let thick = if node.disruptive { ", penwidth=3" } else { "" };
    let targets = quoted(&node.targets.join(", "));
    format!("label={}, tooltip={targets}{thick}", quoted(&label))
}

/// A quoted string; a line feed becomes a line break of the label, every backslash stands for itself.
fn quoted(text: &str) -> String {
    let lines = text
        .split('\n')
        .map(|l| harmless(l).replace('\\', "\\\\").replace('"', "\\\""));
    format!("\"{}\"", lines.collect::<Vec<_>>().join("\\n"))
}
