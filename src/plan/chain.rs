//! A plan without a playbook: steps of a command of the tool's own, each after those that it names.

use std::sync::Arc;

use petgraph::graph::DiGraph;

use super::{Pair, Plan, Vertex, Work, fingerprint};
use crate::model::fingerprint::Fingerprinter;
use crate::model::id::{PairId, StepAddr, Target};
use crate::model::units::TimeSpan;
use crate::steps::Wish;
use crate::steps::registry::{self, KindInfo};
use crate::steps::{Class, command::Command};

/// A step of a command.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its name.
    pub step: &'static str,
    /// Where.
    pub target: Target,
    /// What it is, for people and records.
    pub kind: &'static KindInfo,
    /// What it brings about.
    pub wish: Arc<dyn Wish>,
    /// Limit of one apply.
    pub timeout: TimeSpan,
    /// The links before it, by their place in the list.
    pub after: Vec<usize>,
}

/// What a link of this name is. Nobody can write it in a playbook.
pub const fn kind(name: &'static str, summary: &'static str, class: Class) -> KindInfo {
    KindInfo {
        name,
        summary,
        class,
        disruptive: false,
        serial: None,
        ..registry::info::<Command>()
    }
}

/// The plan of these links.
pub fn plan(command: &str, title: &str, links: &[Link], fingerprinter: &Fingerprinter) -> Plan {
    let mut graph = DiGraph::new();
    let mut pairs: Vec<Pair> = Vec::new();
    let mut targets: Vec<Target> = Vec::new();
    for (number, link) in (0..).zip(links) {
        let id = PairId(number);
        let vertex = graph.add_node(Vertex::Pair(id));
        for before in &link.after {
            if let Some(before) = pairs.get(*before) {
                graph.add_edge(before.vertex, vertex, ());
            }
        }
        if !targets.contains(&link.target) {
            targets.push(link.target.clone());
        }
        pairs.push(Pair {
            id,
            step: StepAddr::new(link.step),
            series: StepAddr::new(link.step),
            target: link.target.clone(),
            kind: link.kind,
            work: Work::Wish(link.wish.clone()),
            whens: Vec::new(),
            serial: None,
            retry: None,
            timeout: Some(link.timeout),
            gate: None,
            vertex,
        });
    }
    Plan {
        playbook: command.to_owned(),
        title: title.to_owned(),
        fingerprint: fingerprint::of(&pairs, &graph, fingerprinter),
        pairs,
        targets,
        graph,
    }
}
