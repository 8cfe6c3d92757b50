//! Where the values of vars come from, and which of several counts for one target.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::model::id::{NodeName, Target};
use crate::model::inventory::{Group, Inventory, Node};
use crate::model::mistake::Mistake;
use crate::model::template::{self, names_used, secret_table};
use crate::model::value::{Data, Value};

use super::{VarDecl, VarType};

/// Where the values of one playbook's vars come from, for one target.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// What the playbook takes.
    pub declared: &'a BTreeMap<String, VarDecl>,
    /// Its `[vars]`, groups and nodes. Values may be templates over [`super::resolve`]'s `base` and other vars.
    pub inventory: &'a Inventory,
    /// The target.
    pub target: &'a Target,
    /// The playbook step's `vars`, already rendered in the outer scope.
    pub given: &'a BTreeMap<String, Value>,
    /// `--var`, read by [`VarType::parse_cli`]: for the outermost playbook; empty for inner ones.
    pub command_line: &'a BTreeMap<String, Value>,
    /// Only these vars, and those that their values name; `None` = all. What no step names at a target need not be set
    /// for it, and no secret in it is opened.
    pub wanted: Option<&'a BTreeSet<String>>,
    /// Values that are the same for many targets.
    pub constants: &'a Constants,
}

/// Values without templates, checked and converted once: a list of 1,000 entries is not copied for 1,000 targets. They are
/// known by their address: it is for the layers of one inventory and its playbooks, and must not outlive them.
#[derive(Default)]
pub struct Constants {
    made: RefCell<HashMap<(*const Value, VarType), Arc<serde_json::Value>>>,
}

impl fmt::Debug for Constants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Constants")
    }
}

impl Constants {
    pub(super) fn get(&self, value: &Value, kind: VarType) -> Option<Arc<serde_json::Value>> {
        let made = self.made.borrow();
        made.get(&(std::ptr::from_ref(value), kind)).cloned()
    }

    pub(super) fn keep(&self, value: &Value, kind: VarType) -> Arc<serde_json::Value> {
        let json = Arc::new(value.to_json());
        let place = (std::ptr::from_ref(value), kind);
        self.made.borrow_mut().insert(place, Arc::clone(&json));
        json
    }
}

/// The value that counts.
pub(super) enum Choice<'a> {
    /// Rendered already.
    Ready(&'a Value),
    /// Written in a file, with the names that its templates use.
    Raw(&'a Value, BTreeSet<String>),
}

/// Where in the inventory a target is.
pub(super) struct Place<'a> {
    node: Option<&'a Node>,
    groups: Vec<&'a Group>,
}

impl<'a> Place<'a> {
    pub(super) fn of(layers: &Layers<'a>) -> Self {
        let Target::Node(name) = layers.target else {
            return Self {
                node: None,
                groups: Vec::new(),
            };
        };
        // Groups that set no var of this playbook are not searched for the node.
        let sets = |group: &&Group| {
            group
                .vars
                .keys()
                .any(|name| layers.declared.contains_key(name))
        };
        let groups = layers.inventory.groups.iter().filter(sets);
        Self {
            node: layers.inventory.node(name),
            groups: groups.filter(|group| group.nodes.contains(name)).collect(),
        }
    }
}

pub(super) fn choose<'a>(
    layers: &Layers<'a>,
    place: &Place<'a>,
    name: &str,
    declared: &'a VarDecl,
) -> Result<Choice<'a>, Box<Mistake>> {
    let raw = |value: &'a Value| {
        let mut names = BTreeSet::new();
        names_of(value, &mut names);
        Choice::Raw(value, names)
    };
    if let Some(value) = layers
        .command_line
        .get(name)
        .or_else(|| layers.given.get(name))
    {
        return Ok(Choice::Ready(value));
    }
    if let Some(node) = place.node {
        if let Some(value) = node.vars.get(name) {
            return Ok(raw(value));
        }
        if let Some(value) = of_groups(&place.groups, &node.name, name)? {
            return Ok(raw(value));
        }
    }
    layers
        .inventory
        .vars
        .get(name)
        .or(declared.default.as_ref())
        .map(raw)
        .ok_or_else(|| Box::new(missing(layers, name, declared)))
}

fn of_groups<'a>(
    groups: &[&'a Group],
    node: &NodeName,
    name: &str,
) -> Result<Option<&'a Value>, Box<Mistake>> {
    let mut first: Option<(&str, &Value)> = None;
    for group in groups {
        let Some(value) = group.vars.get(name) else {
            continue;
        };
        match first {
            Some((other, before)) if !same(before, value) => {
                let words = format!(
                    "the groups `{other}` and `{}` of node `{node}` set `{name}` differently",
                    group.name
                );
                return Err(Box::new(
                    Mistake::error("group-conflict", value.span, words)
                        .label(format!("group `{}`", group.name))
                        .related(before.span, format!("group `{other}`"))
                        .hint(format!(
                            "set `{name}` for the node itself, or in one group only"
                        )),
                ));
            }
            Some(_) => {}
            None => first = Some((group.name.as_str(), value)),
        }
    }
    Ok(first.map(|(_, value)| value))
}

/// Equal in what they say, wherever they are written.
fn same(a: &Value, b: &Value) -> bool {
    a.to_json() == b.to_json()
}

fn missing(layers: &Layers<'_>, name: &str, declared: &VarDecl) -> Mistake {
    let doc = if declared.doc.is_empty() {
        String::new()
    } else {
        format!(" ({})", declared.doc)
    };
    let words = format!("nothing sets the var `{name}`{doc} for `{}`", layers.target);
    let example = declared.kind.example();
    let command = match declared.kind {
        VarType::List | VarType::Table => format!("--var '{name}=...'"),
        _ => format!("--var {name}=..."),
    };
    Mistake::error("missing-var", declared.span, words)
        .label(format!("{} without a default", declared.kind.with_article()))
        .hint(format!(
            "set `{name} = {example}` in `[vars]` of the inventory, for a group or a node, in the `vars` of the step \
             that uses the playbook, or by `{command}`"
        ))
}

fn names_of(value: &Value, names: &mut BTreeSet<String>) {
    match &value.data {
        Data::String(text) if template::is_template(text) => {
            names.extend(names_used(text).iter().cloned());
        }
        Data::List(items) => items.iter().for_each(|item| names_of(item, names)),
        Data::Table(entries) => entries.iter().for_each(|(_, item)| names_of(item, names)),
        _ => {}
    }
}

/// Whether rendering would give the value itself, and open nothing.
pub(super) fn is_constant(value: &Value) -> bool {
    match &value.data {
        Data::String(text) => !template::is_template(text),
        Data::Tainted(_) => false,
        Data::List(items) => items.iter().all(is_constant),
        // A secret by name is one at the top only: further inside it is opened.
        Data::Table(entries) => {
            secret_table(value).is_none() && entries.iter().all(|(_, item)| is_constant(item))
        }
        Data::Integer(_) | Data::Float(_) | Data::Bool(_) | Data::Datetime(_) => true,
    }
}
