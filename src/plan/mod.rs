//! A plan: inventory x playbook, as a DAG of (step, target) pairs. Built without asking any target; what can only be
//! known from facts is decided by the engine.
//!
//! Vertices are pairs and joins. A join stands for "all of these": it keeps a barrier between 1,000 and 1,000 targets
//! at 2,000 edges instead of a million, and it is where a barrier's `tolerate` is counted.

pub mod adhoc;
pub mod build;
pub mod chain;
mod expand;
mod fingerprint;
mod growth;
mod items;
mod order;
mod pairs;
pub mod saved;
mod targets;
mod wish;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::model::action::Action;
use crate::model::id::{PairId, StepAddr, Target};
use crate::model::playbook::Retry;
use crate::model::template::Scope;
use crate::model::units::TimeSpan;
use crate::model::value::Span;
use crate::steps::Wish;
use crate::steps::registry::KindInfo;

/// What a run sets out to do.
#[derive(Debug)]
pub struct Plan {
    /// The playbook's path.
    pub playbook: String,
    /// Its title.
    pub title: String,
    /// The pairs; a [`PairId`] is an index into it.
    pub pairs: Vec<Pair>,
    /// All targets of the pairs, in inventory order: the order of locks and reports.
    pub targets: Vec<Target>,
    /// What waits for what.
    pub graph: DiGraph<Vertex, ()>,
    /// A keyed fingerprint of all of it: equal = the same wishes in the same order.
    pub fingerprint: String,
}

/// A vertex of the plan's graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Vertex {
    /// A (step, target).
    Pair(PairId),
    /// Complete when all its predecessors are; good while at most `tolerate` of them ended badly.
    Join {
        /// How many may end badly.
        tolerate: u32,
    },
}

/// One step on one target.
#[derive(Debug)]
pub struct Pair {
    /// Its position in the plan.
    pub id: PairId,
    /// The step.
    pub step: StepAddr,
    /// The step without the item of an `each`: what `serial` counts together.
    pub series: StepAddr,
    /// The target.
    pub target: Target,
    /// The kind.
    pub kind: &'static KindInfo,
    /// What is to be done.
    pub work: Work,
    /// Conditions that need facts; those that do not are already decided.
    pub whens: Vec<When>,
    /// At most so many targets of the series at once.
    pub serial: Option<u32>,
    /// For errors that can pass.
    pub retry: Option<Retry>,
    /// Limit of one apply, where one is named ([`Pair::limit`]).
    pub timeout: Option<TimeSpan>,
    /// Must hold after the step.
    pub gate: Option<Gate>,
    /// Its vertex.
    pub vertex: NodeIndex,
}

/// What a pair is to do.
#[derive(Clone, Debug)]
pub enum Work {
    /// Nothing, and why.
    Skip(String),
    /// Bring this about.
    Wish(Arc<dyn Wish>),
}

/// A condition over facts.
#[derive(Clone, Debug)]
pub struct When {
    /// The expression.
    pub expression: String,
    /// Where it is written.
    pub span: Span,
    /// What it can see besides `facts`.
    pub scope: Scope,
}

/// A gate, rendered for one target.
#[derive(Clone, Debug)]
pub struct Gate {
    /// The check.
    pub wish: Arc<dyn Wish>,
    /// How long to wait for it.
    pub timeout: TimeSpan,
    /// How often to look.
    pub interval: TimeSpan,
}

/// The limit of an apply whose step names none and that waits for nothing.
pub const DEFAULT_TIMEOUT: TimeSpan = TimeSpan(Duration::from_secs(600));

/// What an apply gets for all else that it does, besides the waits that its actions have limits for.
const BESIDES_WAITING: Duration = Duration::from_secs(300);

impl Plan {
    /// A pair by its number.
    pub fn pair(&self, id: PairId) -> Option<&Pair> {
        self.pairs.get(id.index())
    }

    /// `STEP@TARGET`, for messages.
    pub fn label(&self, id: PairId) -> String {
        self.pair(id).map_or_else(|| id.to_string(), Pair::label)
    }

    /// The pairs a pair waits for directly, seen through joins.
    pub fn needs(&self, id: PairId) -> BTreeSet<PairId> {
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut queue: Vec<NodeIndex> = self.pair(id).map(|pair| pair.vertex).into_iter().collect();
        while let Some(vertex) = queue.pop() {
            for before in self.graph.neighbors_directed(vertex, Direction::Incoming) {
                match self.graph.node_weight(before) {
                    Some(Vertex::Pair(pair)) => drop(found.insert(*pair)),
                    _ if seen.insert(before) => queue.push(before),
                    _ => {}
                }
            }
        }
        found
    }

    /// For each pair, the steps it waits for directly, seen through joins; in plan order.
    pub fn needed_steps(&self) -> Vec<Vec<StepAddr>> {
        let before = self.before();
        let named = |pair: &Pair| {
            let steps = before.get(pair.vertex.index()).into_iter().flatten();
            steps
                .filter_map(|(id, _)| Some(self.pair(*id)?.step.clone()))
                .collect()
        };
        self.pairs.iter().map(named).collect()
    }

    /// Which step waits for which directly, seen through joins; true where a pair of it waits for another target.
    pub fn step_edges(&self) -> BTreeMap<(StepAddr, StepAddr), bool> {
        let before = self.before();
        let mut edges = BTreeMap::new();
        for pair in &self.pairs {
            for (id, on) in before.get(pair.vertex.index()).into_iter().flatten() {
                let Some(step) = self.pair(*id).map(|first| &first.step) else {
                    continue;
                };
                *edges
                    .entry((step.clone(), pair.step.clone()))
                    .or_insert(false) |= *on != On::One(&pair.target);
            }
        }
        edges
    }

    /// For each vertex, the steps it waits for and on which targets. One pair stands for its step: a join of 1,000
    /// targets of one step says the step once.
    fn before(&self) -> Vec<BTreeMap<PairId, On<'_>>> {
        let mut found: Vec<BTreeMap<PairId, On<'_>>> =
            vec![BTreeMap::new(); self.graph.node_count()];
        let order = petgraph::algo::toposort(&self.graph, None).unwrap_or_default();
        let first_of: HashMap<&StepAddr, PairId> = self
            .pairs
            .iter()
            .rev()
            .map(|pair| (&pair.step, pair.id))
            .collect();
        for vertex in order {
            let mut steps: BTreeMap<PairId, On<'_>> = BTreeMap::new();
            let mut add = |id: PairId, on| {
                let known = steps.entry(id).or_insert(on);
                if *known != on {
                    *known = On::Several;
                }
            };
            for before in self.graph.neighbors_directed(vertex, Direction::Incoming) {
                match self.graph.node_weight(before) {
                    Some(Vertex::Pair(id)) => {
                        if let Some(pair) = self.pair(*id)
                            && let Some(first) = first_of.get(&pair.step)
                        {
                            add(*first, On::One(&pair.target));
                        }
                    }
                    _ => {
                        let through = found.get(before.index()).into_iter().flatten();
                        through.for_each(|(id, on)| add(*id, *on));
                    }
                }
            }
            if let Some(slot) = found.get_mut(vertex.index()) {
                *slot = steps;
            }
        }
        found
    }
}

/// How long actions may wait, one after the other.
pub fn waits(actions: &[Action]) -> Duration {
    let waits = actions.iter().map(Action::waits);
    waits.fold(Duration::ZERO, Duration::saturating_add)
}

/// On which targets a step is waited for.
#[derive(Clone, Copy, PartialEq, Debug)]
enum On<'a> {
    One(&'a Target),
    Several,
}

impl Pair {
    /// Limit of one apply of these actions: as named, else the default, or longer where they may wait for longer by limits of
    /// their own, which the playbook names too (`ready_timeout`).
    pub fn limit(&self, actions: &[Action]) -> TimeSpan {
        self.timeout.unwrap_or_else(|| {
            let whole = waits(actions).saturating_add(BESIDES_WAITING);
            TimeSpan(whole.max(DEFAULT_TIMEOUT.0))
        })
    }

    /// `STEP@TARGET`, for messages.
    pub fn label(&self) -> String {
        format!("{}@{}", self.step, self.target)
    }
}
