//! What must come of a random playbook, derived from the words of the order rule and nothing else: no graph, no joins,
//! no scheduler. For every pair it lists the sets of pairs it waits for, then settles all outcomes by repeated passes.

use std::collections::{BTreeMap, BTreeSet};

use hmco_boot::model::playbook::Across;

use super::spec::{Content, Fate, NEVER, Spec, StepSpec};

/// A pair: the step's address and the node.
pub type Key = (String, usize);

/// "All of these, of which so many may have failed."
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Barrier {
    pub members: BTreeSet<Key>,
    pub tolerate: u32,
}

#[derive(Clone, Debug)]
pub struct Expected {
    pub barriers: BTreeSet<Barrier>,
    pub fate: Fate,
    pub attempts: u32,
    /// The pairs of the same `serial = 1` step that come before it.
    pub series_before: Vec<Key>,
    pub dead: bool,
    /// At most so many targets of its step at once.
    pub serial: Option<u32>,
    /// Looks until its gate holds; 0 = it has none.
    pub gate: u32,
}

/// How a pair must end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Unchanged,
    Changed,
    Failed,
    Blocked,
    /// On a dead node: unreachable, or blocked before that was known.
    Unreachable,
}

impl Verdict {
    pub fn is_good(self) -> bool {
        matches!(self, Self::Unchanged | Self::Changed)
    }
}

struct Leaf {
    address: String,
    nodes: BTreeSet<usize>,
}

type Outer<'a> = &'a dyn Fn(usize) -> BTreeSet<Barrier>;

pub fn expected(spec: &Spec) -> BTreeMap<Key, Expected> {
    let mut found = BTreeMap::new();
    let everywhere = (0..spec.nodes).collect();
    walk(
        spec,
        "",
        &spec.steps,
        &everywhere,
        &|_| BTreeSet::new(),
        &mut found,
    );
    found
}

/// Gives the leaves of each step of one playbook.
fn walk(
    spec: &Spec,
    prefix: &str,
    steps: &[StepSpec],
    within: &BTreeSet<usize>,
    outer: Outer<'_>,
    found: &mut BTreeMap<Key, Expected>,
) -> Vec<Leaf> {
    let mut done: Vec<Vec<Leaf>> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let address = format!("{prefix}s{at}");
        let leaves = {
            let waits = |node: usize| &outer(node) | &own_waits(step, &done, node);
            match &step.content {
                Content::Leaf(nodes) => {
                    let nodes: BTreeSet<usize> = nodes.intersection(within).copied().collect();
                    for node in &nodes {
                        let before = nodes.range(..node).map(|before| (address.clone(), *before));
                        let expected = Expected {
                            barriers: waits(*node),
                            fate: fate(spec, &address, *node),
                            attempts: step.attempts,
                            series_before: if step.serial == Some(1) {
                                before.collect()
                            } else {
                                Vec::new()
                            },
                            dead: spec.dead == Some(*node),
                            serial: step.serial,
                            gate: gate(spec, &address, *node),
                        };
                        found.insert((address.clone(), *node), expected);
                    }
                    vec![Leaf { address, nodes }]
                }
                Content::Nested(inner, nodes) => {
                    let nodes = nodes.intersection(within).copied().collect();
                    walk(spec, &format!("{address}/"), inner, &nodes, &waits, found)
                }
            }
        };
        done.push(leaves);
    }
    done.into_iter().flatten().collect()
}

/// What a step of a playbook waits for at a node by its own place in it.
fn own_waits(step: &StepSpec, done: &[Vec<Leaf>], node: usize) -> BTreeSet<Barrier> {
    let Some(needs) = &step.needs else {
        let above = done
            .iter()
            .rev()
            .find(|leaves| leaves.iter().any(|leaf| !leaf.nodes.is_empty()));
        let above = above
            .into_iter()
            .flat_map(|leaves| rule(leaves, node, Across::Same, 0));
        let here = done
            .iter()
            .flatten()
            .filter(|leaf| leaf.nodes.contains(&node));
        return above
            .chain(here.map(|leaf| alone(&leaf.address, node)))
            .collect();
    };
    needs
        .iter()
        .flat_map(|need| rule(&done[need.step], node, need.across, need.tolerate))
        .collect()
}

/// Where the needed step has the node: there only. Else: everywhere. Or on its first node.
fn rule(leaves: &[Leaf], node: usize, across: Across, tolerate: u32) -> Vec<Barrier> {
    let first = |leaf: &Leaf| leaf.nodes.first().copied();
    leaves
        .iter()
        .filter(|leaf| across != Across::First || first(leaf).is_some())
        .map(|leaf| {
            if across == Across::First {
                alone(&leaf.address, first(leaf).unwrap())
            } else if leaf.nodes.contains(&node) && across == Across::Same {
                alone(&leaf.address, node)
            } else {
                let members = leaf
                    .nodes
                    .iter()
                    .map(|node| (leaf.address.clone(), *node))
                    .collect();
                Barrier { members, tolerate }
            }
        })
        .collect()
}

fn alone(address: &str, node: usize) -> Barrier {
    Barrier {
        members: BTreeSet::from([(address.to_owned(), node)]),
        tolerate: 0,
    }
}

/// Drawn from the spec's list by a hash of the pair's name, so that it does not depend on any order.
pub fn fate(spec: &Spec, address: &str, node: usize) -> Fate {
    spec.fates[hash(address, node) % spec.fates.len()]
}

/// How often a pair's gate is looked at until it holds; 0 = it has none.
pub fn gate(spec: &Spec, address: &str, node: usize) -> u32 {
    spec.gates[hash(address, node + 1) % spec.gates.len()]
}

fn hash(address: &str, node: usize) -> usize {
    address.bytes().fold(node * 7919 + 17, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(usize::from(byte))
    })
}

/// How every pair must end, by passes until nothing is open.
pub fn verdicts(expected: &BTreeMap<Key, Expected>) -> BTreeMap<Key, Verdict> {
    let mut settled: BTreeMap<Key, Verdict> = BTreeMap::new();
    while settled.len() < expected.len() {
        let before = settled.len();
        for (key, pair) in expected {
            if !settled.contains_key(key)
                && let Some(verdict) = settle(pair, &settled)
            {
                settled.insert(key.clone(), verdict);
            }
        }
        assert!(settled.len() > before, "the oracle itself is stuck");
    }
    settled
}

fn settle(pair: &Expected, settled: &BTreeMap<Key, Verdict>) -> Option<Verdict> {
    if pair.dead {
        return Some(Verdict::Unreachable);
    }
    for barrier in &pair.barriers {
        let mut bad = 0;
        for member in &barrier.members {
            bad += u32::from(!settled.get(member)?.is_good());
        }
        if bad > barrier.tolerate {
            return Some(Verdict::Blocked);
        }
    }
    for before in &pair.series_before {
        if !settled.get(before)?.is_good() {
            return Some(Verdict::Blocked);
        }
    }
    let verdict = match pair.fate {
        Fate::Converged => Verdict::Unchanged,
        Fate::Fine => Verdict::Changed,
        Fate::Flaky(times) if times < pair.attempts => Verdict::Changed,
        Fate::Fails | Fate::Flaky(_) | Fate::Liar => Verdict::Failed,
    };
    Some(match verdict {
        Verdict::Unchanged | Verdict::Changed if pair.gate == NEVER => Verdict::Failed,
        verdict => verdict,
    })
}
