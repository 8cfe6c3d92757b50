//! How the order of one use of a playbook grows, step by step: the default order, and what the playbook as a whole waits
//! for.

use std::collections::{BTreeMap, HashMap};

use petgraph::graph::NodeIndex;

use super::order::{Edge, Leaves, Order, Spot};
use super::targets::TargetId;
use crate::model::id::StepId;
use crate::model::playbook::{Across, Body, Step};

/// How one playbook instance has grown so far.
#[derive(Debug, Default)]
pub(super) struct Growth {
    /// Leaves of each step so far, by id.
    steps: HashMap<StepId, Leaves>,
    /// What the step that is expanded now waits for by default.
    above: Above,
    /// For each target, a vertex that is complete when every step so far of this playbook is, on that target.
    chain: HashMap<TargetId, NodeIndex>,
    /// What every step of this playbook waits for, on each target.
    entry: HashMap<TargetId, Option<NodeIndex>>,
}

/// The steps above the one that is expanded now.
#[derive(Debug, Default)]
struct Above {
    /// Of the nearest that has a target at all: a step without one must not cut the order in two.
    nearest: Leaves,
    /// All of them, where steps below were expanded already because others need them: then the chain says too much.
    apart: Option<Leaves>,
}

impl Growth {
    /// The step at this place of the playbook is expanded next.
    pub fn begin(&mut self, order: &Order, steps: &[Step], at: usize) {
        let leaves = |step: &Step| self.steps.get(&step.id);
        let above = steps.get(..at).unwrap_or_default();
        let nearest = above
            .iter()
            .rev()
            .filter_map(leaves)
            .find(|leaves| order.has_targets(leaves));
        let in_file_order = self.steps.len() == at;
        self.above = Above {
            nearest: nearest.cloned().unwrap_or_default(),
            apart: (!in_file_order)
                .then(|| above.iter().filter_map(leaves).flatten().copied().collect()),
        };
    }

    /// The leaves of a step.
    pub fn leaves(&self, step: &StepId) -> Option<&Leaves> {
        self.steps.get(step)
    }

    /// What a step of this playbook without `needs` waits for on `target`: the step above by the rule, every earlier
    /// step on that target, and what the playbook itself waits for.
    fn default_order(
        &mut self,
        order: &mut Order,
        outer: &mut dyn Outer,
        target: TargetId,
    ) -> Vec<NodeIndex> {
        let above = Edge {
            leaves: std::mem::take(&mut self.above.nearest),
            across: Across::Same,
            tolerate: 0,
        };
        let mut before = order.by_rule(&above, target);
        self.above.nearest = above.leaves;
        if let Some(apart) = &self.above.apart {
            let own = apart
                .iter()
                .filter_map(|leaf| order.spot_of(*leaf, target)?.vertex);
            before.extend(own);
            before.extend(self.entry(order, outer, target));
            return before;
        }
        match self.chain.get(&target) {
            Some(chain) => before.push(*chain),
            None => before.extend(self.entry(order, outer, target)),
        }
        before
    }

    /// What every step of this playbook waits for on `target`.
    fn entry(
        &mut self,
        order: &mut Order,
        outer: &mut dyn Outer,
        target: TargetId,
    ) -> Option<NodeIndex> {
        if let Some(known) = self.entry.get(&target) {
            return *known;
        }
        let before = outer.before(order, target);
        let entry = order.join(before, 0);
        self.entry.insert(target, entry);
        entry
    }

    /// Whether what waits for `before` waits for every earlier step of this playbook on `target`.
    pub fn is_behind_chain(&self, order: &Order, before: &[NodeIndex], target: TargetId) -> bool {
        self.chain
            .get(&target)
            .is_none_or(|chain| order.stands_behind(before, *chain))
    }

    /// A step is expanded: later steps see it.
    pub fn step_done(&mut self, order: &mut Order, step: &Step, leaves: Leaves) {
        // All of a playbook in default order stands behind what the playbook as a whole waits for.
        let is_leaf = matches!(step.body, Body::Kind { .. });
        let all_behind = !is_leaf && step.needs.is_none();
        let mut by_target: BTreeMap<TargetId, Vec<Spot>> = BTreeMap::new();
        for leaf in &leaves {
            for (target, spot) in order.spots(*leaf) {
                by_target.entry(target).or_default().push(spot);
            }
        }
        for (target, spots) in by_target {
            let mut ends: Vec<NodeIndex> = spots.iter().filter_map(|spot| spot.vertex).collect();
            // What already stands behind the chain is its new end.
            if let Some(chain) = self.chain.get(&target)
                && !spots.iter().any(|spot| {
                    spot.vertex.is_some() && (all_behind || is_leaf && spot.behind_chain)
                })
            {
                ends.push(*chain);
            }
            if let Some(end) = order.join(ends, 0) {
                self.chain.insert(target, end);
            }
        }
        self.steps.insert(step.id.clone(), leaves);
    }
}

/// What the playbook step around an instance waits for.
pub(super) trait Outer {
    /// On this target.
    fn before(&mut self, order: &mut Order, target: TargetId) -> Vec<NodeIndex>;
}

/// The outermost playbook waits for nothing.
pub(super) struct Outermost;

impl Outer for Outermost {
    fn before(&mut self, _: &mut Order, _: TargetId) -> Vec<NodeIndex> {
        Vec::new()
    }
}

/// A step's place in its playbook: what its pairs, or all of the playbook it uses, wait for.
pub(super) struct Place<'a> {
    /// The playbook it is in.
    pub growth: &'a mut Growth,
    /// What that playbook itself waits for.
    pub outer: &'a mut dyn Outer,
    /// The step's `needs`; `None` = default order.
    pub needs: Option<&'a [Edge]>,
}

impl Outer for Place<'_> {
    fn before(&mut self, order: &mut Order, target: TargetId) -> Vec<NodeIndex> {
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
