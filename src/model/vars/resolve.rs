//! Which value of a var counts for one target: the last of the playbook's default, the inventory's `[vars]`, groups, the
//! node, the playbook step's `vars`, `--var`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::model::id::{NodeName, Target};
use crate::model::inventory::{Group, Inventory, Node};
use crate::model::mistake::{Mistake, nearest};
use crate::model::template::{self, Scope, SecretLookup, names_used, secret_table};
use crate::model::value::{Data, Span, Value};

use super::command_line::NOWHERE;
use super::{VarDecl, VarType};

/// Where the values of one playbook's vars come from, for one target.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// What the playbook takes.
    pub declared: &'a BTreeMap<String, VarDecl>,
    /// Its `[vars]`, groups and nodes. Values may be templates over [`resolve`]'s `base` and other vars.
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
    fn get(&self, value: &Value, kind: VarType) -> Option<Arc<serde_json::Value>> {
        let made = self.made.borrow();
        made.get(&(std::ptr::from_ref(value), kind)).cloned()
    }

    fn keep(&self, value: &Value, kind: VarType) -> Arc<serde_json::Value> {
        let json = Arc::new(value.to_json());
        let place = (std::ptr::from_ref(value), kind);
        self.made.borrow_mut().insert(place, Arc::clone(&json));
        json
    }
}

/// Names in a playbook step's `vars` (or in `--var`) that the playbook does not declare. They do not depend on a
/// target, so they are told once, apart from [`resolve`].
pub fn unknown_names(
    declared: &BTreeMap<String, VarDecl>,
    given: &BTreeMap<String, Value>,
) -> Vec<Mistake> {
    given
        .iter()
        .filter(|(name, _)| !declared.contains_key(*name))
        .map(|(name, value)| {
            let known = declared.keys().map(String::as_str);
            let hint = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if declared.is_empty() => "it declares no vars".to_owned(),
                None => {
                    let known: Vec<String> = known.map(|name| format!("`{name}`")).collect();
                    format!("it declares {}", known.join(", "))
                }
            };
            let words = format!("the playbook declares no var `{name}`");
            placed("unknown-var", value.span, words, name).hint(hint)
        })
        .collect()
}

/// A mistake at a value, which on the command line has no place in a file.
fn placed(code: &'static str, span: Span, words: impl Into<String>, name: &str) -> Mistake {
    let mut mistake = Mistake::error(code, span, words);
    on_command_line(&mut mistake, name);
    mistake
}

fn on_command_line(mistake: &mut Mistake, name: &str) {
    if mistake.span == Some(NOWHERE) {
        mistake.span = None;
        mistake.message = format!("--var {name}: {}", mistake.message);
    }
}

/// `base` with the value of every declared var (or of those wanted) for one target, or every mistake. Values that are templates are rendered here, over
/// `base` (`node`, `cluster`, `item`) and the other vars; vars that need each other in a circle are a mistake. A var of
/// type secret stays `{ secret = "name" }`: it opens where a template uses it.
pub fn resolve(
    layers: &Layers<'_>,
    base: &Scope,
    secrets: SecretLookup<'_>,
) -> Result<Scope, Vec<Mistake>> {
    let mut resolver = Resolver {
        layers: *layers,
        place: Place::of(layers),
        open: BTreeMap::new(),
        scope: base.clone(),
        failed: BTreeSet::new(),
        secrets,
        mistakes: Vec::new(),
    };
    resolver.choose();
    resolver.run();
    if resolver.mistakes.is_empty() {
        Ok(resolver.scope)
    } else {
        Err(resolver.mistakes)
    }
}

/// The value that counts.
enum Choice<'a> {
    /// Rendered already.
    Ready(&'a Value),
    /// Written in a file, with the names that its templates use.
    Raw(&'a Value, BTreeSet<String>),
}

/// Where in the inventory a target is.
struct Place<'a> {
    node: Option<&'a Node>,
    groups: Vec<&'a Group>,
}

impl<'a> Place<'a> {
    fn of(layers: &Layers<'a>) -> Self {
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

fn choose<'a>(
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

struct Resolver<'a> {
    layers: Layers<'a>,
    place: Place<'a>,
    open: BTreeMap<&'a str, Choice<'a>>,
    scope: Scope,
    /// Vars with a mistake of their own: others that need them have none.
    failed: BTreeSet<&'a str>,
    secrets: SecretLookup<'a>,
    mistakes: Vec<Mistake>,
}

impl<'a> Resolver<'a> {
    /// Opens the vars that are wanted, and those that they want in turn.
    fn choose(&mut self) {
        let declared = self.layers.declared;
        self.mistakes
            .extend(unknown_names(declared, self.layers.given));
        self.mistakes
            .extend(unknown_names(declared, self.layers.command_line));
        let mut queue: Vec<(&'a str, &'a VarDecl)> = declared
            .iter()
            .rev()
            .filter(|(name, _)| {
                let wanted = self.layers.wanted;
                wanted.is_none_or(|wanted| wanted.contains(*name))
            })
            .map(|(name, declared)| (name.as_str(), declared))
            .collect();
        while let Some((name, declaration)) = queue.pop() {
            if self.open.contains_key(name) || self.failed.contains(name) {
                continue;
            }
            match choose(&self.layers, &self.place, name, declaration) {
                Ok(choice) => {
                    if let Choice::Raw(_, names) = &choice {
                        let further = names.iter().filter_map(|name| declared.get_key_value(name));
                        queue.extend(further.map(|(name, further)| (name.as_str(), further)));
                    }
                    self.open.insert(name, choice);
                }
                Err(mistake) => {
                    self.failed.insert(name);
                    self.mistakes.push(*mistake);
                }
            }
        }
    }

    fn run(&mut self) {
        loop {
            let ready: Vec<&'a str> = self
                .open
                .iter()
                .filter(|(_, choice)| self.needs(choice).next().is_none())
                .map(|(name, _)| *name)
                .collect();
            if ready.is_empty() {
                break;
            }
            for name in ready {
                if let Some(choice) = self.open.remove(name) {
                    self.settle(name, &choice);
                }
            }
        }
        self.circle();
    }

    /// The open vars that a value needs first.
    fn needs<'s>(&'s self, choice: &'s Choice<'a>) -> impl Iterator<Item = &'a str> + 's {
        let names = match choice {
            Choice::Raw(_, names) => Some(names),
            Choice::Ready(_) => None,
        };
        names
            .into_iter()
            .flatten()
            .filter_map(|name| self.open.get_key_value(name.as_str()))
            .map(|(name, _)| *name)
    }

    fn settle(&mut self, name: &'a str, choice: &Choice<'a>) {
        let Some(declared) = self.layers.declared.get(name) else {
            return;
        };
        let kind = declared.kind;
        let rendered;
        let (value, constant) = match choice {
            Choice::Ready(value) => (*value, None),
            Choice::Raw(value, names) if names.is_empty() && is_constant(value) => {
                if let Some(json) = self.layers.constants.get(value, kind) {
                    self.scope.insert(name, json);
                    return;
                }
                (*value, Some(*value))
            }
            Choice::Raw(value, names) => {
                if names.iter().any(|name| self.failed.contains(name.as_str())) {
                    self.failed.insert(name);
                    return;
                }
                match self.render(value) {
                    Ok(value) => rendered = value,
                    Err(mistakes) => {
                        self.failed.insert(name);
                        self.mistakes.extend(mistakes);
                        return;
                    }
                }
                (&rendered, None)
            }
        };
        match kind.check(value) {
            Ok(()) => match constant {
                Some(constant) => {
                    let json = self.layers.constants.keep(constant, kind);
                    self.scope.insert(name, json);
                }
                None => self.scope.set(name, value),
            },
            Err(mut mistake) => {
                self.failed.insert(name);
                if mistake.label.is_empty() {
                    mistake.label = format!("`{name}` takes {}", kind.with_article());
                }
                mistake = mistake.related(declared.span, "declared here");
                on_command_line(&mut mistake, name);
                self.mistakes.push(mistake);
            }
        }
    }

    /// Renders a value, but leaves `{ secret = "name" }` as it is: a var holds the name.
    fn render(&self, value: &Value) -> Result<Value, Vec<Mistake>> {
        if secret_table(value).is_none_or(|(name, _)| template::is_template(name)) {
            template::render(value, &self.scope, self.secrets)
        } else {
            Ok(value.clone())
        }
    }

    fn circle(&mut self) {
        let Some((start, choice)) = self.open.iter().next() else {
            return;
        };
        let span = match choice {
            Choice::Raw(value, _) | Choice::Ready(value) => value.span,
        };
        // Every open var needs an open one, so following the first of each must come back to where it was.
        let mut path = vec![*start];
        loop {
            let last = path.last().and_then(|name| self.open.get(name));
            let Some(next) = last.and_then(|choice| self.needs(choice).next()) else {
                break;
            };
            let back = path.iter().position(|name| *name == next);
            path.push(next);
            if let Some(back) = back {
                path.drain(..back);
                break;
            }
        }
        let span = path
            .first()
            .and_then(|name| self.open.get(name))
            .map_or(span, |choice| match choice {
                Choice::Raw(value, _) | Choice::Ready(value) => value.span,
            });
        let words = format!(
            "vars need each other in a circle: `{}`",
            path.join("` -> `")
        );
        self.mistakes.push(
            Mistake::error("var-cycle", span, words)
                .hint("give one of them a value without the others"),
        );
    }
}

/// Whether rendering would give the value itself, and open nothing.
fn is_constant(value: &Value) -> bool {
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
