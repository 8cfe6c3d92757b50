//! A plan as a graph: text, Graphviz, Mermaid, SVG. Takes a small view of its own; the same view gives the same text.

mod dot;
mod mermaid;
mod svg;
mod text;

use serde::Serialize;

pub use dot::dot;
pub use mermaid::mermaid;
pub use svg::svg;
pub use text::text;

/// What is drawn.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct GraphView {
    /// The heading.
    pub title: String,
    /// The nodes, in the order of the plan.
    pub nodes: Vec<GraphNode>,
    /// What waits for what. An edge to or from an unknown id is left out.
    pub edges: Vec<GraphEdge>,
}

/// A node: a step, for all its targets.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct GraphNode {
    /// Unique; only used to tie edges to nodes.
    pub id: String,
    /// Its name for people.
    pub label: String,
    /// What it works on.
    pub targets: Vec<String>,
    /// The step's kind.
    pub kind: String,
    /// The playbook step it is inside, if any.
    pub group: Option<String>,
    /// Whether applying it disturbs what runs on its targets.
    pub disruptive: bool,
}

/// `to` waits for `from`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct GraphEdge {
    /// The node that ends first.
    pub from: String,
    /// The node that waits.
    pub to: String,
    /// Whether it waits for all targets, not only for its own.
    pub barrier: bool,
}

impl GraphView {
    /// The edges as indices of nodes; unknown ids and an edge given twice are left out.
    fn links(&self) -> Vec<(usize, usize, bool)> {
        let ids = self
            .nodes
            .iter()
            .enumerate()
            .map(|(at, n)| (n.id.as_str(), at));
        let ids = ids.collect::<std::collections::BTreeMap<_, _>>();
        let mut seen = std::collections::BTreeSet::new();
        let link = |e: &GraphEdge| {
            let link = (
                *ids.get(e.from.as_str())?,
                *ids.get(e.to.as_str())?,
                e.barrier,
            );
            seen.insert((link.0, link.1)).then_some(link)
        };
        self.edges.iter().filter_map(link).collect()
    }

    /// Groups in the order of their first nodes, with their nodes.
    fn groups(&self) -> Vec<(Option<&str>, Vec<usize>)> {
        let mut groups: Vec<(Option<&str>, Vec<usize>)> = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let group = node.group.as_deref();
            match groups.iter_mut().find(|(name, _)| *name == group) {
                Some((_, nodes)) => nodes.push(at),
                None => groups.push((group, vec![at])),
            }
        }
        groups
    }
}

impl GraphNode {
    /// `file on 8 targets`, `k3s_server on pi5-01`, marked where it disturbs.
    fn detail(&self) -> String {
        let place = match self.targets.as_slice() {
            [] => String::new(),
            few if few.len() <= 2 => format!(" on {}", super::text::and_list(few)),
            many => format!(
                " on {}",
                super::text::count(many.len(), "target", "targets")
            ),
        };
        let mark = if self.disruptive { ", disruptive" } else { "" };
        super::text::harmless(&format!("{}{place}{mark}", self.kind))
    }
}

/// The length of the longest way to each node. Nodes of a ring, which a checked plan has not, stay where they were
/// reached first.
fn levels(nodes: usize, links: &[(usize, usize, bool)]) -> Vec<usize> {
    let mut levels = vec![0; nodes];
    let mut open = vec![0; nodes];
    let mut after = vec![Vec::new(); nodes];
    for (from, to, _) in links {
        if let (Some(open), Some(after)) = (open.get_mut(*to), after.get_mut(*from)) {
            *open += 1;
            after.push(*to);
        }
    }
    let mut ready = (0..nodes)
        .filter(|n| open.get(*n) == Some(&0))
        .collect::<Vec<_>>();
    while let Some(node) = ready.pop() {
        let level = levels.get(node).copied().unwrap_or(0) + 1;
        for next in after.get(node).into_iter().flatten() {
            if let (Some(l), Some(open)) = (levels.get_mut(*next), open.get_mut(*next)) {
                *l = level.max(*l);
                *open -= 1;
                if *open == 0 {
                    ready.push(*next);
                }
            }
        }
    }
    levels
}
