//! Which value of a var counts for one target: the last of the playbook's default, the inventory's `[vars]`, groups, the
//! node, the playbook step's `vars`, `--var`.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::mistake::{Mistake, nearest};
use crate::model::template::{self, Scope, SecretLookup, secret_table};
use crate::model::value::{Span, Value};

use super::VarDecl;
use super::command_line::NOWHERE;
use super::layers::{Choice, Layers, Place, choose, is_constant};

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

/// `base` with the value of every declared var (or of those wanted) for one target, or every mistake. Values that are
/// templates are rendered here, over `base` (`node`, `nodes`, `groups`, `cluster`) and the other vars; vars that need
/// each other in a circle are a mistake. A var of type secret stays `{ secret = "name" }`: it opens where a template uses it.
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
