//! The targets of an inventory: numbered, selected, and what templates see of them before any var.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::model::id::{NodeName, Target};
use crate::model::inventory::{Connection, Inventory, Node};
use crate::model::playbook::{Body, Playbook, Step};
use crate::model::selector::{Selector, SelectorError};
use crate::model::template::Scope;
use crate::steps::Scope as KindScope;
use crate::steps::registry;

/// A target by its place in inventory order: nodes, then the cluster, then the controller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct TargetId(u32);

impl TargetId {
    fn at(position: usize) -> Self {
        Self(u32::try_from(position).unwrap_or(u32::MAX))
    }

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// Some targets, in inventory order.
pub(super) type Chosen = Rc<[TargetId]>;

/// All targets of an inventory.
pub(super) struct Targets<'a> {
    inventory: &'a Inventory,
    playbooks: &'a BTreeMap<String, Playbook>,
    all: Vec<Target>,
    scopes: Vec<Scope>,
    ids: HashMap<Target, TargetId>,
    /// By the selector's text.
    selected: RefCell<HashMap<String, Result<Chosen, SelectorError>>>,
    /// By playbook: where any of its steps can be.
    reach: RefCell<HashMap<&'a str, Chosen>>,
}

impl<'a> Targets<'a> {
    pub fn of(inventory: &'a Inventory, playbooks: &'a BTreeMap<String, Playbook>) -> Self {
        let nodes = inventory
            .nodes
            .iter()
            .map(|node| Target::Node(node.name.clone()));
        let all: Vec<Target> = nodes.chain([Target::Cluster, Target::Controller]).collect();
        let ids = all.iter().cloned().zip((0..).map(TargetId::at)).collect();
        Self {
            scopes: scopes(inventory),
            inventory,
            playbooks,
            all,
            ids,
            selected: RefCell::default(),
            reach: RefCell::default(),
        }
    }

    /// The target of a number.
    pub fn target(&self, id: TargetId) -> Target {
        let target = self.all.get(id.index());
        target.cloned().unwrap_or(Target::Controller)
    }

    /// What templates see on it before any var.
    pub fn scope(&self, id: TargetId) -> Scope {
        self.scopes.get(id.index()).cloned().unwrap_or_default()
    }

    /// All of them.
    pub fn everything(&self) -> Chosen {
        (0..self.all.len()).map(TargetId::at).collect()
    }

    /// What a selector selects in the whole inventory.
    pub fn select(&self, selector: &Selector) -> Result<Chosen, SelectorError> {
        if let Some(known) = self.selected.borrow().get(selector.as_str()) {
            return known.clone();
        }
        let found = selector.targets(self.inventory).map(|targets| {
            targets
                .iter()
                .filter_map(|target| self.ids.get(target).copied())
                .collect()
        });
        let text = selector.as_str().to_owned();
        self.selected.borrow_mut().insert(text, found.clone());
        found
    }

    /// The targets of a step by its own words, wherever its playbook is used.
    pub fn of_step(&self, step: &'a Step) -> Result<Chosen, SelectorError> {
        let own = match (&step.on, &step.body) {
            (Some((selector, _)), _) => self.select(selector)?,
            (None, Body::Playbook { .. }) => self.everything(),
            (None, Body::Kind { kind, .. }) => {
                match registry::kind(kind.as_str()).map(|info| info.scope) {
                    Some(KindScope::Cluster) => self
                        .ids
                        .get(&Target::Cluster)
                        .copied()
                        .into_iter()
                        .collect(),
                    Some(KindScope::Machine | KindScope::Any) | None => Chosen::default(),
                }
            }
        };
        Ok(match &step.body {
            Body::Playbook { path, .. } => both(&own, &self.reach(path)),
            Body::Kind { .. } => own,
        })
    }

    /// Where any step of a playbook can be: nothing of it is looked at elsewhere, so that a var that only nodes have is
    /// not missed on the cluster.
    fn reach(&self, path: &str) -> Chosen {
        if let Some(known) = self.reach.borrow().get(path) {
            return known.clone();
        }
        let Some((path, playbook)) = self.playbooks.get_key_value(path) else {
            return Chosen::default();
        };
        // A playbook that uses itself is refused elsewhere; here it must only end.
        self.reach.borrow_mut().insert(path, Chosen::default());
        let mut found = BTreeSet::new();
        for targets in playbook
            .steps
            .iter()
            .filter_map(|step| self.of_step(step).ok())
        {
            found.extend(targets.iter().copied());
        }
        let found: Chosen = found.into_iter().collect();
        self.reach.borrow_mut().insert(path, found.clone());
        found
    }
}

/// Targets in both.
pub(super) fn both(a: &Chosen, b: &Chosen) -> Chosen {
    if a == b {
        return a.clone();
    }
    let in_b = |target: &&TargetId| b.binary_search(target).is_ok();
    a.iter().filter(in_b).copied().collect()
}

/// What templates see before any var: `cluster`, `nodes`, `groups`, and on a node `node`.
fn scopes(inventory: &Inventory) -> Vec<Scope> {
    let mut groups_of: HashMap<&NodeName, Vec<&str>> = HashMap::new();
    let mut groups = serde_json::Map::new();
    for group in &inventory.groups {
        let inside: BTreeSet<&NodeName> = group.nodes.iter().collect();
        for node in &inside {
            groups_of.entry(node).or_default().push(group.name.as_str());
        }
        let names = inventory.nodes.iter().map(|node| &node.name);
        let names: Vec<&str> = names
            .filter(|name| inside.contains(name))
            .map(NodeName::as_str)
            .collect();
        groups.insert(group.name.to_string(), names.into());
    }
    let nodes: Vec<Json> = inventory
        .nodes
        .iter()
        .map(|node| described(node, groups_of.get(&node.name).map_or(&[], Vec::as_slice)))
        .collect();
    let cluster = &inventory.cluster;
    let mut everywhere = Scope::default();
    everywhere.insert(
        "cluster",
        json!({ "name": cluster.name, "domain": cluster.domain, "api_address": cluster.api_address }),
    );
    everywhere.insert("groups", Json::Object(groups));
    everywhere.insert("nodes", Json::Array(nodes.clone()));
    let on_node = |node: Json| {
        let mut scope = everywhere.clone();
        scope.insert("node", Arc::new(node));
        scope
    };
    let mut scopes: Vec<Scope> = nodes.into_iter().map(on_node).collect();
    scopes.extend([everywhere.clone(), everywhere]);
    scopes
}

/// A node as templates see it.
fn described(node: &Node, groups: &[&str]) -> Json {
    let address = match &node.connection {
        Connection::Local { .. } => None,
        Connection::Ssh(ssh) => Some(ssh.address.as_str()),
    };
    json!({
        "name": node.name.as_str(),
        "address": address,
        "roles": node.roles,
        "arch": node.arch,
        "labels": node.labels,
        "groups": groups,
    })
}
