//! Which value of a var counts for one target: the last of the playbook's default, the inventory's `[vars]`, groups, the
//! node, the playbook step's `vars`, `--var`.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::id::Target;
use crate::model::inventory::Inventory;
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

/// The value of every declared var for one target, or every mistake. Values that are templates are rendered here, over
/// `base` (`node`, `cluster`, `item`) and the other vars; vars that need each other in a circle are a mistake. A var of
/// type secret stays `{ secret = "name" }`: it opens where a template uses it.
pub fn resolve(
    layers: &Layers<'_>,
    base: &Scope,
    secrets: SecretLookup<'_>,
) -> Result<BTreeMap<String, Value>, Vec<Mistake>> {
    let mut mistakes = unknown_names(layers.declared, layers.given);
    mistakes.extend(unknown_names(layers.declared, layers.command_line));
    let mut chosen = BTreeMap::new();
    for (name, declared) in layers.declared {
        match choose(layers, name, declared) {
            Ok(Choice::Ready(value)) => {
                chosen.insert(name.as_str(), Choice::Ready(value));
            }
            Ok(open) => {
                chosen.insert(name.as_str(), open);
            }
            Err(mistake) => mistakes.push(*mistake),
        }
    }
    let mut resolver = Resolver {
        declared: layers.declared,
        open: chosen,
        scope: base.clone(),
        done: BTreeMap::new(),
        failed: BTreeSet::new(),
        secrets,
        mistakes,
    };
    resolver.run();
    if resolver.mistakes.is_empty() {
        Ok(resolver.done)
    } else {
        Err(resolver.mistakes)
    }
}

/// The value that counts.
enum Choice<'a> {
    /// Rendered already.
    Ready(&'a Value),
    /// May hold templates.
    Raw(&'a Value),
}

fn choose<'a>(
    layers: &Layers<'a>,
    name: &str,
    declared: &'a VarDecl,
) -> Result<Choice<'a>, Box<Mistake>> {
    if let Some(value) = layers
        .command_line
        .get(name)
        .or_else(|| layers.given.get(name))
    {
        return Ok(Choice::Ready(value));
    }
    if let Target::Node(target) = layers.target
        && let Some(node) = layers.inventory.node(target)
    {
        if let Some(value) = node.vars.get(name) {
            return Ok(Choice::Raw(value));
        }
        if let Some(value) = of_groups(layers.inventory, target, name)? {
            return Ok(Choice::Raw(value));
        }
    }
    layers
        .inventory
        .vars
        .get(name)
        .or(declared.default.as_ref())
        .map(Choice::Raw)
        .ok_or_else(|| Box::new(missing(layers, name, declared)))
}

fn of_groups<'a>(
    inventory: &'a Inventory,
    node: &crate::model::id::NodeName,
    name: &str,
) -> Result<Option<&'a Value>, Box<Mistake>> {
    let groups = inventory.groups.iter().filter(|g| g.nodes.contains(node));
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
    declared: &'a BTreeMap<String, VarDecl>,
    open: BTreeMap<&'a str, Choice<'a>>,
    scope: Scope,
    done: BTreeMap<String, Value>,
    /// Vars with a mistake of their own: others that need them have none.
    failed: BTreeSet<&'a str>,
    secrets: SecretLookup<'a>,
    mistakes: Vec<Mistake>,
}

impl<'a> Resolver<'a> {
    fn run(&mut self) {
        let missing: Vec<&'a str> = self
            .declared
            .keys()
            .map(String::as_str)
            .filter(|name| !self.open.contains_key(name))
            .collect();
        self.failed.extend(missing);
        loop {
            let ready: Vec<&'a str> = self
                .open
                .iter()
                .filter(|(_, choice)| self.needs(choice).is_empty())
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
    fn needs(&self, choice: &Choice<'a>) -> Vec<&'a str> {
        let Choice::Raw(value) = choice else {
            return Vec::new();
        };
        let mut names = BTreeSet::new();
        names_of(value, &mut names);
        self.open
            .keys()
            .copied()
            .filter(|name| names.contains(*name))
            .collect()
    }

    fn settle(&mut self, name: &'a str, choice: &Choice<'a>) {
        let Some(declared) = self.declared.get(name) else {
            return;
        };
        let value = match choice {
            Choice::Ready(value) => (*value).clone(),
            Choice::Raw(value) => {
                let mut names = BTreeSet::new();
                names_of(value, &mut names);
                if names.iter().any(|name| self.failed.contains(name.as_str())) {
                    self.failed.insert(name);
                    return;
                }
                match self.render(value) {
                    Ok(value) => value,
                    Err(mistakes) => {
                        self.failed.insert(name);
                        self.mistakes.extend(mistakes);
                        return;
                    }
                }
            }
        };
        match declared.kind.check(&value) {
            Ok(()) => {
                self.scope.set(name, &value);
                self.done.insert(name.to_owned(), value);
            }
            Err(mut mistake) => {
                self.failed.insert(name);
                if mistake.label.is_empty() {
                    mistake.label = format!("`{name}` takes {}", declared.kind.with_article());
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
            Choice::Raw(value) | Choice::Ready(value) => value.span,
        };
        // Every open var needs an open one, so following the first of each must come back to where it was.
        let mut path = vec![*start];
        loop {
            let last = path.last().and_then(|name| self.open.get(name));
            let Some(next) = last.and_then(|choice| self.needs(choice).first().copied()) else {
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
                Choice::Raw(value) | Choice::Ready(value) => value.span,
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

fn names_of(value: &Value, names: &mut BTreeSet<String>) {
    match &value.data {
        Data::String(text) if template::is_template(text) => names.extend(names_used(text)),
        Data::List(items) => items.iter().for_each(|item| names_of(item, names)),
        Data::Table(entries) => entries.iter().for_each(|(_, item)| names_of(item, names)),
        _ => {}
    }
}
