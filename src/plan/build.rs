//! From inventory and playbook to a [`Plan`]: the entry, and the scopes that templates see.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::expand::Builder;
use super::fingerprint;
use super::{Pair, Plan, Vertex};
use crate::model::fingerprint::Fingerprinter;
use crate::model::id::Target;
use crate::model::inventory::{Connection, Inventory};
use crate::model::mistake::Mistake;
use crate::model::playbook::Playbook;
use crate::model::selector::Selector;
use crate::model::template::{Scope, SecretLookup};
use crate::model::value::Value;

/// What a plan is built from.
pub struct Request<'a> {
    /// The nodes.
    pub inventory: &'a Inventory,
    /// All playbooks, by path.
    pub playbooks: &'a BTreeMap<String, Playbook>,
    /// The one to run.
    pub playbook: &'a Playbook,
    /// `--limit`.
    pub limit: Option<&'a Selector>,
    /// `--var`.
    pub vars: &'a BTreeMap<String, Value>,
    /// Opened secrets.
    pub secrets: SecretLookup<'a>,
    /// For [`Plan::fingerprint`].
    pub fingerprinter: &'a Fingerprinter,
}

/// Builds a plan, or says every mistake that only shows when templates are rendered.
pub fn build(request: &Request<'_>) -> Result<Plan, Vec<Mistake>> {
    let limit = match request.limit {
        None => None,
        Some(selector) => Some(selected(selector, request.inventory)?),
    };
    let mut builder = Builder::new(request, limit);
    builder.outermost();
    let Builder {
        mut mistakes,
        pairs,
        order,
        ..
    } = builder;
    if petgraph::algo::toposort(&order.graph, None).is_err() {
        mistakes.push(Mistake {
            span: None,
            ..Mistake::error(
                "cycle",
                crate::model::value::Span::new(crate::model::value::FileId(0), 0..0),
                "the plan has a cycle",
            )
        });
    }
    if !mistakes.is_empty() {
        return Err(deduplicated(mistakes));
    }
    let mut targets: Vec<Target> = pairs
        .iter()
        .map(|pair| pair.target.clone())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let positions: BTreeMap<Target, usize> = request
        .inventory
        .nodes
        .iter()
        .enumerate()
        .map(|(at, node)| (Target::Node(node.name.clone()), at))
        .collect();
    targets.sort_by_key(|target| {
        positions
            .get(target)
            .copied()
            .unwrap_or_else(|| request.inventory.order(target))
    });
    let fingerprint = fingerprint::of(&pairs, &order.graph, request.fingerprinter);
    Ok(Plan {
        playbook: request.playbook.path.clone(),
        title: request.playbook.title.clone(),
        pairs,
        targets,
        graph: order.graph,
        fingerprint,
    })
}

fn selected(selector: &Selector, inventory: &Inventory) -> Result<BTreeSet<Target>, Vec<Mistake>> {
    match selector.targets(inventory) {
        Ok(targets) => Ok(targets.into_iter().collect()),
        Err(error) => Err(vec![Mistake {
            code: "bad-selector",
            severity: crate::model::mistake::Severity::Error,
            message: format!("--limit {selector}: {}", error.message),
            span: None,
            label: String::new(),
            related: Vec::new(),
            hint: error.hint,
        }]),
    }
}

/// The same mistake shows once for every target; people need it once.
fn deduplicated(mistakes: Vec<Mistake>) -> Vec<Mistake> {
    let mut seen = BTreeSet::new();
    mistakes
        .into_iter()
        .filter(|mistake| seen.insert((mistake.span, mistake.code, mistake.message.clone())))
        .collect()
}

/// What templates see before any var: `cluster`, and on a node `node`.
pub(super) fn base_scope(inventory: &Inventory, target: &Target) -> Scope {
    let cluster = &inventory.cluster;
    let mut scope = Scope::default();
    scope.names.insert(
        "cluster".to_owned(),
        json!({ "name": cluster.name, "domain": cluster.domain, "api_address": cluster.api_address }),
    );
    let Target::Node(name) = target else {
        return scope;
    };
    let Some(node) = inventory.node(name) else {
        return scope;
    };
    let address = match &node.connection {
        Connection::Local { .. } => None,
        Connection::Ssh(ssh) => Some(ssh.address.as_str()),
    };
    let groups: Vec<&str> = inventory
        .groups_of(name)
        .map(|group| group.name.as_str())
        .collect();
    scope.names.insert(
        "node".to_owned(),
        json!({
            "name": node.name.as_str(),
            "address": address,
            "roles": node.roles,
            "arch": node.arch,
            "labels": node.labels,
            "groups": groups,
        }),
    );
    scope
}

impl Pair {
    /// Whether it can never disturb what runs on its target.
    pub fn is_disruptive(&self) -> bool {
        self.kind.disruptive && matches!(self.work, super::Work::Wish(_))
    }
}

impl Vertex {
    /// How many of its predecessors may end badly.
    pub fn tolerates(&self) -> u32 {
        match self {
            Self::Pair(_) => 0,
            Self::Join { tolerate } => *tolerate,
        }
    }
}
