//! The graph for Mermaid, which Git forges draw inside Markdown.

use super::GraphView;
use crate::report::text::harmless;

/// The graph as a Mermaid flowchart: groups are subgraphs, barriers are dotted links, disruptive steps have a thick
/// border.
pub fn mermaid(graph: &GraphView) -> String {
    let mut out = String::new();
    if !graph.title.is_empty() {
        // The heading is YAML: JSON's quoting is a part of it.
        let title = serde_json::Value::from(harmless(&graph.title));
        out.push_str(&format!("---\ntitle: {title}\n---\n"));
    }
    out.push_str("flowchart TD\n");
    for (number, (group, nodes)) in graph.groups().into_iter().enumerate() {
        let indent = if group.is_some() { "    " } else { "  " };
        if let Some(group) = group {
            out.push_str(&format!("  subgraph g{number}[\"{}\"]\n", escaped(group)));
        }
        for at in nodes {
            if let Some(node) = graph.nodes.get(at) {
                let label = format!("{}<br/>{}", escaped(&node.label), escaped(&node.detail()));
                let class = if node.disruptive { ":::disruptive" } else { "" };
                out.push_str(&format!("{indent}n{at}[\"{label}\"]{class}\n"));
            }
        }
        if group.is_some() {
            out.push_str("  end\n");
        }
    }
    for (from, to, barrier) in graph.links() {
        let arrow = if barrier { "-.->" } else { "-->" };
        out.push_str(&format!("  n{from} {arrow} n{to}\n"));
    }
    if graph.nodes.iter().any(|n| n.disruptive) {
        out.push_str("  classDef disruptive stroke-width:4px\n");
    }
    out
}

/// Everything that Mermaid or HTML could read as more than a letter, as a numbered entity in Mermaid's notation.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in harmless(text).chars() {
        if c.is_alphanumeric() || " -_/.,:()@+=".contains(c) {
            out.push(c);
        } else {
            out.push_str(&format!("#{};", u32::from(c)));
        }
    }
    out
}
