//! Selectors: which targets a step is for.
//!
//! ```text
//! union        = intersection { "|" intersection }
//! intersection = inverse { "&" inverse }
//! inverse      = "!" inverse | atom
//! atom         = "(" union ")" | ("first" | "rest") "(" union ")" | ("role:" | "group:" | "arch:") NAME | WORD
//! WORD         = "all" | "cluster" | "controller" | a node's name | a glob over nodes' names with * and ?
//! ```
//!
//! Blanks are free. `all` and `!` are about nodes: `!x` is every node that `x` does not select, so that neither ever
//! means the cluster or the controller by accident. `first(x)` is the first target of `x` in inventory order, `rest(x)`
//! all others. An expression is evaluated on the whole inventory; `--limit` only removes targets afterwards.

mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use super::id::Target;
use super::inventory::{Inventory, Node};
use super::mistake::nearest;

/// A parsed selector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    source: String,
    expression: Expression,
}

/// Why a selector's text is none, with the bytes at fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SelectorError {
    /// Byte range in the selector's text.
    pub at: Range<usize>,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SelectorError {}

/// What a selector selects, and parts of it that select nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selection {
    /// In inventory order: nodes, then cluster, then controller.
    pub targets: Vec<Target>,
    /// Globs, roles and architectures that match no node at all: probably misspelt, but an inventory may well have no
    /// `agent` yet.
    pub idle: Vec<SelectorError>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Expression {
    Any(Vec<Expression>),
    All(Vec<Expression>),
    Not(Box<Expression>),
    First(Box<Expression>),
    Rest(Box<Expression>),
    Word(Word),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Word {
    kind: WordKind,
    text: String,
    at: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WordKind {
    AllNodes,
    Cluster,
    Controller,
    Node,
    Glob,
    Role,
    Group,
    Arch,
}

impl Selector {
    /// Parses a selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Ok(Self {
            source: text.to_owned(),
            expression: parse::parse(text)?,
        })
    }

    /// The targets it selects, in inventory order. An unknown node or group is an error at its own bytes.
    pub fn targets(&self, inventory: &Inventory) -> Result<Vec<Target>, SelectorError> {
        self.select(inventory).map(|selection| selection.targets)
    }

    /// The targets, and the parts of the selector that match nothing in this inventory.
    pub fn select(&self, inventory: &Inventory) -> Result<Selection, SelectorError> {
        let mut view = View {
            inventory,
            idle: Vec::new(),
        };
        let chosen = view.evaluate(&self.expression)?;
        Ok(Selection {
            targets: chosen
                .into_iter()
                .map(|position| view.target(position))
                .collect(),
            idle: view.idle,
        })
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.source)
    }
}

/// An inventory, its targets numbered: nodes as in the file, then the cluster, then the controller.
struct View<'a> {
    inventory: &'a Inventory,
    idle: Vec<SelectorError>,
}

impl View<'_> {
    fn target(&self, position: usize) -> Target {
        match self.inventory.nodes.get(position) {
            Some(node) => Target::Node(node.name.clone()),
            None if position == self.inventory.nodes.len() => Target::Cluster,
            None => Target::Controller,
        }
    }

    fn evaluate(&mut self, expression: &Expression) -> Result<BTreeSet<usize>, SelectorError> {
        Ok(match expression {
            Expression::Any(parts) => {
                let mut chosen = BTreeSet::new();
                for part in parts {
                    chosen.append(&mut self.evaluate(part)?);
                }
                chosen
            }
            Expression::All(parts) => {
                let mut chosen: Option<BTreeSet<usize>> = None;
                for part in parts {
                    let next = self.evaluate(part)?;
                    chosen = Some(match chosen {
                        Some(before) => before.intersection(&next).copied().collect(),
                        None => next,
                    });
                }
                chosen.unwrap_or_default()
            }
            Expression::Not(inner) => {
                let without = self.evaluate(inner)?;
                (0..self.inventory.nodes.len())
                    .filter(|position| !without.contains(position))
                    .collect()
            }
            Expression::First(inner) => self.evaluate(inner)?.into_iter().take(1).collect(),
            Expression::Rest(inner) => self.evaluate(inner)?.into_iter().skip(1).collect(),
            Expression::Word(word) => self.word(word)?,
        })
    }

    fn word(&mut self, word: &Word) -> Result<BTreeSet<usize>, SelectorError> {
        let text = word.text.as_str();
        let nodes = self.inventory.nodes.len();
        Ok(match word.kind {
            WordKind::AllNodes => (0..nodes).collect(),
            WordKind::Cluster => [nodes].into(),
            WordKind::Controller => [nodes + 1].into(),
            WordKind::Node => {
                let chosen = self.nodes(|node| node.name.as_str() == text);
                if chosen.is_empty() {
                    return Err(self.unknown_node(word));
                }
                chosen
            }
            WordKind::Group => {
                let Some(group) = self
                    .inventory
                    .groups
                    .iter()
                    .find(|g| g.name.as_str() == text)
                else {
                    let known = self.inventory.groups.iter().map(|g| g.name.as_str());
                    return Err(unknown(word, "group", known));
                };
                self.nodes(|node| group.nodes.contains(&node.name))
            }
            WordKind::Glob | WordKind::Role | WordKind::Arch => self.matching(word),
        })
    }

    /// The nodes with a property; that none has it is told, but no error.
    fn matching(&mut self, word: &Word) -> BTreeSet<usize> {
        let text = word.text.as_str();
        let all = &self.inventory.nodes;
        let (chosen, message, hint) = match word.kind {
            WordKind::Role => {
                let known = all.iter().flat_map(|node| &node.roles);
                (
                    self.nodes(|node| node.roles.iter().any(|role| role == text)),
                    format!("no node has the role `{text}`"),
                    hint(text, "role:", known.map(String::as_str)),
                )
            }
            WordKind::Arch => {
                let known = all.iter().filter_map(|node| node.arch.as_deref());
                let how = "give the nodes their `arch = \"arm64\"` in the inventory";
                (
                    self.nodes(|node| node.arch.as_deref() == Some(text)),
                    format!("no node has the architecture `{text}`"),
                    hint(text, "arch:", known).or_else(|| Some(how.to_owned())),
                )
            }
            _ => (
                self.nodes(|node| glob(text, node.name.as_str())),
                format!("no node is named like `{text}`"),
                None,
            ),
        };
        if chosen.is_empty() {
            self.idle.push(SelectorError {
                at: word.at.clone(),
                message,
                hint,
            });
        }
        chosen
    }

    fn nodes(&self, test: impl Fn(&Node) -> bool) -> BTreeSet<usize> {
        let numbered = self.inventory.nodes.iter().enumerate();
        numbered
            .filter(|(_, node)| test(node))
            .map(|(position, _)| position)
            .collect()
    }

    fn unknown_node(&self, word: &Word) -> SelectorError {
        let text = word.text.as_str();
        let nodes = self.inventory.nodes.iter().map(|node| node.name.as_str());
        let error = unknown(word, "node", nodes.chain(["all", "cluster", "controller"]));
        // `storage` where `group:storage` was meant is the commonest slip.
        let group = self
            .inventory
            .groups
            .iter()
            .any(|g| g.name.as_str() == text);
        let role = self
            .inventory
            .nodes
            .iter()
            .any(|n| n.roles.iter().any(|r| r == text));
        let hint = match (group, role) {
            (true, _) => Some(format!("it is a group: write `group:{text}`")),
            (false, true) => Some(format!("it is a role: write `role:{text}`")),
            _ => error.hint,
        };
        SelectorError { hint, ..error }
    }
}

fn unknown<'a>(
    word: &Word,
    what: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> SelectorError {
    let prefix = if word.kind == WordKind::Group {
        "group:"
    } else {
        ""
    };
    let text = word.text.as_str();
    SelectorError {
        at: word.at.clone(),
        message: format!("the inventory has no {what} `{text}`"),
        hint: hint(text, prefix, known.clone()).or_else(|| {
            let some: Vec<String> = known.take(8).map(|name| format!("`{name}`")).collect();
            (!some.is_empty()).then(|| format!("it has {}", some.join(", ")))
        }),
    }
}

fn hint<'a>(text: &str, prefix: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    nearest(text, known).map(|near| format!("did you mean `{prefix}{near}`?"))
}

/// Whether `name` matches `pattern`: `*` is any run of characters, `?` is one. Linear in both for each `*`.
fn glob(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on after the last `*` when what follows it does not fit here.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(c) if *c == '?' || name.get(n) == Some(c) => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    p = after;
                    n = from + 1;
                    retry = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}
