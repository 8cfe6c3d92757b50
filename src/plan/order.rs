//! The order rule: which vertices a pair waits for. See "Order" in the docs of playbooks.
//!
//! For step B at target n that needs A: where A has n, A at n; else all targets of A. A step that uses a playbook is
//! needed through each of the steps inside by that same rule; a step with `each` has at n all its items there. A need may
//! say otherwise: all targets of A in any case, or only its first.
//!
//! A target may be in a step without a pair: `--limit` removed it, or its list of items is empty. There is nothing to
//! wait for then, but what would have waited for it goes on waiting for what it would have waited for: leaving a target
//! out never lets two steps run in another order.

use std::collections::{BTreeMap, HashMap};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use super::Vertex;
use super::targets::TargetId;
use crate::model::playbook::{Across, Step};

/// Where a step ends on one target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// Complete when the step is, here; `None`: it is from the start.
    pub vertex: Option<NodeIndex>,
    /// There is a pair, not only an order to keep.
    pub real: bool,
    /// The vertex stands behind the chain of its playbook (see `growth`).
    pub behind_chain: bool,
}

/// One expanded step without steps inside.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    /// Its end on each target.
    pub spots: BTreeMap<TargetId, Spot>,
    /// Barriers over all its targets, by what they tolerate.
    all: BTreeMap<u32, Vec<NodeIndex>>,
}

/// All leaves of one step of a playbook: one, or all of the playbook it uses.
pub(super) type Leaves = Vec<usize>;

/// The order in which the steps of a playbook are expanded: each after those it names or, without `needs`, after all
/// above it; otherwise as in the file. `None` where they form a cycle.
pub(super) fn expansion_order(steps: &[Step]) -> Option<Vec<usize>> {
    let position: HashMap<&str, usize> = steps
        .iter()
        .enumerate()
        .map(|(at, step)| (step.id.as_str(), at))
        .collect();
    let mut done = vec![false; steps.len()];
    let mut order = Vec::with_capacity(steps.len());
    // All steps before this one are done.
    let mut first_open = 0;
    while order.len() < steps.len() {
        let is_done = |at: usize| done.get(at).copied().unwrap_or(false);
        while is_done(first_open) {
            first_open += 1;
        }
        let open = steps.iter().enumerate().skip(first_open);
        let (at, _) = open.into_iter().find(|(at, step)| {
            !is_done(*at)
                && match &step.needs {
                    None => *at == first_open,
                    Some(needs) => needs
                        .iter()
                        .filter_map(|need| position.get(need.step.as_str()))
                        .all(|needed| is_done(*needed)),
                }
        })?;
        if let Some(flag) = done.get_mut(at) {
            *flag = true;
        }
        order.push(at);
    }
    Some(order)
}

/// Builds the graph.
#[derive(Debug, Default)]
pub(super) struct Order {
    pub graph: DiGraph<Vertex, ()>,
    leaves: Vec<Leaf>,
}

/// A need, resolved.
#[derive(Debug)]
pub(super) struct Edge {
    pub leaves: Leaves,
    pub across: Across,
    pub tolerate: u32,
}

impl Order {
    /// A new leaf.
    pub fn leaf(&mut self, leaf: Leaf) -> usize {
        self.leaves.push(leaf);
        self.leaves.len() - 1
    }

    /// Where a leaf ends, on each target.
    pub fn spots(&self, leaf: usize) -> impl Iterator<Item = (TargetId, Spot)> + '_ {
        let spots = self.leaves.get(leaf).map(|leaf| &leaf.spots);
        spots
            .into_iter()
            .flatten()
            .map(|(target, spot)| (*target, *spot))
    }

    /// The leaves of several items of a step that uses a playbook, as one such use: item by item they are the same.
    pub fn merged(&mut self, items: &[Leaves]) -> Leaves {
        let [first, others @ ..] = items else {
            return Leaves::new();
        };
        if others.is_empty() {
            return first.clone();
        }
        let mut merged = Leaves::new();
        for at in 0..first.len() {
            let mut found: BTreeMap<TargetId, Vec<Spot>> = BTreeMap::new();
            for leaf in items.iter().filter_map(|leaves| leaves.get(at)) {
                for (target, spot) in self.spots(*leaf) {
                    found.entry(target).or_default().push(spot);
                }
            }
            let mut leaf = Leaf::default();
            for (target, spots) in found {
                leaf.spots.insert(target, self.spot(&spots));
            }
            merged.push(self.leaf(leaf));
        }
        merged
    }

    /// One end for several on the same target.
    pub fn spot(&mut self, spots: &[Spot]) -> Spot {
        let vertices = spots.iter().filter_map(|spot| spot.vertex).collect();
        Spot {
            vertex: self.join(vertices, 0),
            real: spots.iter().any(|spot| spot.real),
            behind_chain: spots.iter().all(|spot| spot.behind_chain),
        }
    }

    /// A vertex that is complete when all of `before` are: none, the one itself, or a join.
    pub fn join(&mut self, before: Vec<NodeIndex>, tolerate: u32) -> Option<NodeIndex> {
        let before = if tolerate == 0 {
            self.reduced(before)
        } else {
            sorted(before)
        };
        match before.as_slice() {
            [] => None,
            [one] if tolerate == 0 => Some(*one),
            many => {
                let join = self.graph.add_node(Vertex::Join { tolerate });
                for vertex in many {
                    self.graph.add_edge(*vertex, join, ());
                }
                Some(join)
            }
        }
    }

    /// Where a leaf ends on one target.
    pub fn spot_of(&self, leaf: usize, target: TargetId) -> Option<Spot> {
        self.leaves.get(leaf)?.spots.get(&target).copied()
    }

    /// What a pair on `target` waits for because of one need.
    pub fn by_rule(&mut self, edge: &Edge, target: TargetId) -> Vec<NodeIndex> {
        let mut before = Vec::new();
        for leaf in &edge.leaves {
            match (edge.across, self.spot_of(*leaf, target)) {
                (Across::Same, Some(own)) => before.extend(own.vertex),
                (Across::First, _) => before.extend(self.first_of(*leaf)),
                (Across::Same | Across::All, _) => before.extend(self.all_of(*leaf, edge.tolerate)),
            }
        }
        before
    }

    /// The first target of a leaf that is really there, and what those before it would have waited for.
    fn first_of(&self, leaf: usize) -> Vec<NodeIndex> {
        let mut found = false;
        let until_real = self.spots(leaf).take_while(|(_, spot)| {
            let before = !found;
            found |= spot.real;
            before
        });
        until_real.filter_map(|(_, spot)| spot.vertex).collect()
    }

    /// The barrier over all targets of a leaf, made once. Only what it really has counts for `tolerate`.
    fn all_of(&mut self, leaf: usize, tolerate: u32) -> Vec<NodeIndex> {
        if let Some(made) = self
            .leaves
            .get(leaf)
            .and_then(|leaf| leaf.all.get(&tolerate))
        {
            return made.clone();
        }
        let (real, left_out): (Vec<_>, Vec<_>) = self.spots(leaf).partition(|(_, spot)| spot.real);
        let vertices = |spots: Vec<(TargetId, Spot)>| -> Vec<NodeIndex> {
            spots.iter().filter_map(|(_, spot)| spot.vertex).collect()
        };
        let (real, left_out) = (vertices(real), vertices(left_out));
        let barrier = if tolerate == 0 {
            let all = real.into_iter().chain(left_out).collect();
            self.join(all, 0).into_iter().collect::<Vec<_>>()
        } else {
            let real = self.join(real, tolerate);
            let left_out = self.join(left_out, 0);
            real.into_iter().chain(left_out).collect()
        };
        if let Some(leaf) = self.leaves.get_mut(leaf) {
            leaf.all.insert(tolerate, barrier.clone());
        }
        barrier
    }

    /// Whether a step has a target here.
    pub fn has_targets(&self, leaves: &Leaves) -> bool {
        leaves.iter().any(|leaf| self.spots(*leaf).next().is_some())
    }

    /// Draws the edges into a new pair.
    pub fn connect(&mut self, before: &[NodeIndex], pair: NodeIndex) {
        for vertex in before {
            self.graph.add_edge(*vertex, pair, ());
        }
    }

    /// Without what another of them waits for itself: a pair that may go on has all good before it.
    pub fn reduced(&self, before: Vec<NodeIndex>) -> Vec<NodeIndex> {
        let before = sorted(before);
        if before.len() < 2 {
            return before;
        }
        let mut covered: Vec<NodeIndex> = before
            .iter()
            .filter(|vertex| matches!(self.graph.node_weight(**vertex), Some(Vertex::Pair(_))))
            .flat_map(|vertex| self.graph.neighbors_directed(*vertex, Direction::Incoming))
            .collect();
        covered.sort_unstable();
        before
            .into_iter()
            .filter(|vertex| covered.binary_search(vertex).is_err())
            .collect()
    }

    /// Whether one of `before` is `vertex`, or waits for it directly and lets nothing bad pass.
    pub fn stands_behind(&self, before: &[NodeIndex], vertex: NodeIndex) -> bool {
        before.contains(&vertex)
            || self.graph.neighbors(vertex).any(|next| {
                let strict = self
                    .graph
                    .node_weight(next)
                    .is_some_and(|next| next.tolerates() == 0);
                strict && before.binary_search(&next).is_ok()
            })
    }
}

fn sorted(mut vertices: Vec<NodeIndex>) -> Vec<NodeIndex> {
    vertices.sort_unstable();
    vertices.dedup();
    vertices
}
