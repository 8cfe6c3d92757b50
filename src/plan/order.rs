//! The order rule: which vertices a pair waits for. See "Order" in the docs of playbooks.
//!
//! For step B at target n that needs A: where A has n, A at n; else all targets of A. A step that uses a playbook, or
//! has items, is needed through each of the steps inside by that same rule.

use std::collections::BTreeMap;

use petgraph::graph::{DiGraph, NodeIndex};

use super::Vertex;
use crate::model::id::{StepId, Target};
use crate::model::playbook::Step;

/// One expanded step without steps inside: its targets.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    /// Its pair on each target.
    pub pairs: BTreeMap<Target, NodeIndex>,
    /// Joins of all its pairs, by what they tolerate.
    all: BTreeMap<u32, NodeIndex>,
}

/// All leaves of one step of a playbook: one, or one per item, or all of the playbook it uses.
pub(super) type Leaves = Vec<usize>;

/// The order in which the steps of a playbook are expanded: each after those it names or, without `needs`, after all
/// above it; otherwise as in the file. `None` where they form a cycle.
pub(super) fn expansion_order(steps: &[Step]) -> Option<Vec<usize>> {
    let position: BTreeMap<&StepId, usize> = steps
        .iter()
        .enumerate()
        .map(|(at, step)| (&step.id, at))
        .collect();
    let mut done = vec![false; steps.len()];
    let mut order = Vec::with_capacity(steps.len());
    while order.len() < steps.len() {
        let is_done = |at: &usize| done.get(*at).copied().unwrap_or(false);
        let free = steps.iter().enumerate().find(|(at, step)| {
            !is_done(at)
                && match &step.needs {
                    None => (0..*at).all(|above| is_done(&above)),
                    Some(needs) => needs
                        .iter()
                        .filter_map(|need| position.get(&need.step))
                        .all(is_done),
                }
        });
        let (at, _) = free?;
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
    pub leaves: Vec<Leaf>,
}

/// How one playbook instance has grown so far.
#[derive(Debug, Default)]
pub(super) struct Growth {
    /// Leaves of each step so far, by id.
    pub steps: BTreeMap<StepId, Leaves>,
    /// Leaves of the step above the one that is expanded now: the nearest that has a target here, for a step without
    /// one (a selector that matches nothing, `--limit`) must not cut the order in two.
    pub above: Leaves,
    /// For each target, a vertex that is complete when every earlier step of this playbook is, on that target.
    chain: BTreeMap<Target, NodeIndex>,
    /// What every step of this playbook waits for, on each target.
    entry: BTreeMap<Target, Option<NodeIndex>>,
}

/// A need, resolved.
#[derive(Debug)]
pub(super) struct Edge {
    pub leaves: Leaves,
    pub across_all: bool,
    pub tolerate: u32,
}

impl Order {
    /// A vertex that is complete when all of `before` are: none, the one itself, or a join.
    pub fn join(&mut self, mut before: Vec<NodeIndex>, tolerate: u32) -> Option<NodeIndex> {
        before.sort_unstable();
        before.dedup();
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

    /// What a pair on `target` waits for because of one need.
    pub fn by_rule(&mut self, edge: &Edge, target: &Target) -> Vec<NodeIndex> {
        let mut before = Vec::new();
        for leaf in &edge.leaves {
            let Some(pairs) = self.leaves.get(*leaf).map(|leaf| &leaf.pairs) else {
                continue;
            };
            match pairs.get(target) {
                Some(own) if !edge.across_all => before.push(*own),
                _ => before.extend(self.all_of(*leaf, edge.tolerate)),
            }
        }
        before
    }

    /// The barrier over all targets of a leaf, made once.
    fn all_of(&mut self, leaf: usize, tolerate: u32) -> Option<NodeIndex> {
        let found = self.leaves.get(leaf)?;
        if let Some(join) = found.all.get(&tolerate) {
            return Some(*join);
        }
        let before = found.pairs.values().copied().collect();
        let join = self.join(before, tolerate)?;
        self.leaves.get_mut(leaf)?.all.insert(tolerate, join);
        Some(join)
    }

    /// Whether a step has a target here.
    pub fn has_pairs(&self, leaves: &Leaves) -> bool {
        leaves.iter().any(|leaf| {
            self.leaves
                .get(*leaf)
                .is_some_and(|leaf| !leaf.pairs.is_empty())
        })
    }

    /// Draws the edges into a new pair.
    pub fn connect(&mut self, before: Vec<NodeIndex>, pair: NodeIndex) {
        let mut before = before;
        before.sort_unstable();
        before.dedup();
        for vertex in before {
            self.graph.add_edge(vertex, pair, ());
        }
    }
}

impl Growth {
    /// What a step of this playbook without `needs` waits for on `target`: the step above by the rule, every earlier
    /// step on that target, and what the playbook itself waits for.
    pub fn default_order(
        &mut self,
        order: &mut Order,
        outer: &mut dyn Outer,
        target: &Target,
    ) -> Vec<NodeIndex> {
        let above = Edge {
            leaves: self.above.clone(),
            across_all: false,
            tolerate: 0,
        };
        let mut before = order.by_rule(&above, target);
        match self.chain.get(target) {
            Some(chain) => before.push(*chain),
            None => before.extend(self.entry(order, outer, target)),
        }
        before
    }

    /// What every step of this playbook waits for on `target`.
    pub fn entry(
        &mut self,
        order: &mut Order,
        outer: &mut dyn Outer,
        target: &Target,
    ) -> Option<NodeIndex> {
        if let Some(known) = self.entry.get(target) {
            return *known;
        }
        let before = outer.before(order, target);
        let entry = order.join(before, 0);
        self.entry.insert(target.clone(), entry);
        entry
    }

    /// A step is expanded: later steps see it.
    pub fn step_done(&mut self, order: &mut Order, id: &StepId, leaves: Leaves) {
        let mut by_target: BTreeMap<Target, Vec<NodeIndex>> = BTreeMap::new();
        for leaf in leaves.iter().filter_map(|leaf| order.leaves.get(*leaf)) {
            for (target, pair) in &leaf.pairs {
                by_target.entry(target.clone()).or_default().push(*pair);
            }
        }
        for (target, mut pairs) in by_target {
            // A pair in default order already stands behind the chain: then it is the chain's new end.
            if let Some(chain) = self.chain.get(&target)
                && !pairs
                    .iter()
                    .all(|pair| order.graph.contains_edge(*chain, *pair))
            {
                pairs.push(*chain);
            }
            if let Some(end) = order.join(pairs, 0) {
                self.chain.insert(target, end);
            }
        }
        self.steps.insert(id.clone(), leaves);
    }
}

/// What the playbook step around an instance waits for.
pub(super) trait Outer {
    /// On this target.
    fn before(&mut self, order: &mut Order, target: &Target) -> Vec<NodeIndex>;
}

/// The outermost playbook waits for nothing.
pub(super) struct Outermost;

impl Outer for Outermost {
    fn before(&mut self, _: &mut Order, _: &Target) -> Vec<NodeIndex> {
        Vec::new()
    }
}

/// A playbook step waits for what its own place in the outer playbook says.
pub(super) struct Inside<'a> {
    /// The outer playbook.
    pub growth: &'a mut Growth,
    /// What the outer playbook itself waits for.
    pub outer: &'a mut dyn Outer,
    /// The playbook step's `needs`; `None` = default order.
    pub needs: Option<&'a [Edge]>,
}

impl Outer for Inside<'_> {
    fn before(&mut self, order: &mut Order, target: &Target) -> Vec<NodeIndex> {
        match self.needs {
            None => self.growth.default_order(order, self.outer, target),
            Some(needs) => {
                let mut before: Vec<NodeIndex> = needs
                    .iter()
                    .flat_map(|need| order.by_rule(need, target))
                    .collect();
                before.extend(self.growth.entry(order, self.outer, target));
                before
            }
        }
    }
}
