//! `assert`: expressions over facts that must hold.

mod paths;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::diff::shown;
use super::shared::list::OneOrMany;
use super::shared::place::guarded;
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Fact, NAMED, to_json};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::mistake::Mistake;
use crate::model::outcome::Failure;
use crate::model::template::{self, Scope};
use crate::model::value::{FileId, Span};

/// Expressions that must hold on the target. Changes nothing; where one is false the step fails.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assert {
    /// One expression or a list of them, all of which must be true, over `facts.NAME` (`os`, `boot`, `cgroup`, `sudo`,
    /// `clock`, `net`, `k3s_install`, `k3s_data`) and `read.NAME`. Vars come in as templates:
    /// `"facts.os.memory >= {{ min_memory }}"`, text in quotes: `"facts.os.arch == '{{ arch }}'"`.
    pub that: OneOrMany<String>,
    /// What to tell people where it does not hold: what is wrong, and what to do.
    #[serde(default)]
    pub message: Option<String>,
    /// Further facts to read, by the name the expressions use: `read = { motd = { stat = { path = "/etc/motd" } } }`
    /// is `read.motd.size`. What is not there is `none`.
    #[serde(default)]
    pub read: BTreeMap<String, Fact>,
}

/// Expressions come without their place: a wish is typed values only. The mistakes' words are used, their spans are not.
const NOWHERE: Span = Span {
    file: FileId(0),
    start: 0,
    end: 0,
};

impl Assert {
    /// The facts that the expressions name, by the name they use.
    fn named(&self) -> impl Iterator<Item = (&'static str, Fact)> {
        let used: BTreeSet<String> = self
            .that
            .0
            .iter()
            .flat_map(|expression| template::facts_named(expression))
            .collect();
        NAMED
            .into_iter()
            .filter(move |(name, _)| used.contains(*name))
    }

    /// What the expressions can see. What is not there is `none`.
    fn scope(&self, known: &Known<'_>) -> Result<Scope, Unreadable> {
        let value = |fact: &Fact| -> Result<serde_json::Value, Unreadable> {
            Ok(known.value(fact)?.map_or(serde_json::Value::Null, to_json))
        };
        let mut facts = serde_json::Map::new();
        for (name, fact) in self.named() {
            facts.insert(name.to_owned(), value(&fact)?);
        }
        let mut read = serde_json::Map::new();
        for (name, fact) in &self.read {
            read.insert(name.clone(), value(&guarded(fact))?);
        }
        Ok(Scope::default()
            .with("facts", facts.into())
            .with("read", read.into()))
    }

    /// The values that a false expression looked at, one line each.
    fn values(&self, expression: &str, scope: &Scope) -> Vec<DiffLine> {
        let hidden = |path: &paths::Path| {
            path.root == "read"
                && path
                    .parts
                    .first()
                    .and_then(|name| self.read.get(name))
                    .is_some_and(|fact| guarded(fact).is_sensitive())
        };
        paths::of(expression)
            .into_iter()
            .filter_map(|path| {
                let (name, value) = path.look_up(scope)?;
                let value = match value {
                    _ if hidden(&path) => "<not shown>".to_owned(),
                    serde_json::Value::Null => "none".to_owned(),
                    value => shown(&value.to_string()),
                };
                Some(DiffLine::both(format!("{name} = {value}")))
            })
            .collect()
    }

    fn expression_mistakes(&self, expression: &str) -> Vec<String> {
        let known = BTreeSet::from(["facts".to_owned(), "read".to_owned()]);
        let mut mistakes: Vec<String> = template::check_expression(expression, NOWHERE, &known)
            .into_iter()
            .map(in_words)
            .collect();
        let unknown = template::facts_named(expression)
            .into_iter()
            .filter(|name| !NAMED.iter().any(|(known, _)| known == name));
        for name in unknown {
            let near = crate::model::mistake::nearest(&name, NAMED.iter().map(|(known, _)| *known));
            let hint = near.map_or(String::new(), |near| {
                format!(", did you mean `facts.{near}`?")
            });
            mistakes.push(format!("there is no `facts.{name}`{hint}"));
        }
        let not_read: BTreeSet<_> = paths::of(expression)
            .into_iter()
            .filter(|path| path.root == "read")
            .filter_map(|path| path.parts.into_iter().next())
            .filter(|name| !self.read.contains_key(name))
            .collect();
        mistakes.extend(
            not_read
                .into_iter()
                .map(|name| format!("`read.{name}` is not among the facts of `read`")),
        );
        mistakes
    }
}

/// A mistake's message and hint as one sentence.
fn in_words(mistake: Mistake) -> String {
    match mistake.hint {
        Some(hint) => format!("{}: {hint}", mistake.message),
        None => mistake.message,
    }
}

impl Kind for Assert {
    type Drift = ();
    const NAME: &'static str = "assert";
    const SUMMARY: &'static str = "Expressions over facts that must hold.";
    const CLASS: Class = Class::Check;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if self.that.0.is_empty() {
            mistakes.push(("that", "nothing is asserted".to_owned()));
        }
        for expression in &self.that.0 {
            mistakes.extend(
                self.expression_mistakes(expression)
                    .into_iter()
                    .map(|message| ("that", format!("`{}`: {message}", shown(expression)))),
            );
        }
        for (name, fact) in &self.read {
            if !paths::is_name(name) {
                mistakes.push((
                    "read",
                    format!("{name:?} cannot be used as a name in an expression"),
                ));
            }
            if matches!(fact, Fact::Exec { argv, .. } if argv.first().is_none_or(String::is_empty))
            {
                mistakes.push(("read", format!("`{name}` names no program")));
            }
        }
        mistakes
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let named = self.named().map(|(_, fact)| fact);
        Want::all(known, named.chain(self.read.values().map(guarded)))
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let scope = self.scope(known)?;
        let mut diff = Vec::new();
        for expression in &self.that.0 {
            match template::evaluate(expression, NOWHERE, &scope) {
                Ok(true) => {}
                Ok(false) => {
                    diff.push(DiffLine::old(format!("not true: {}", shown(expression))));
                    diff.extend(self.values(expression, &scope));
                }
                Err(mistake) => {
                    return Ok(Decision::Refused(Failure {
                        message: format!("an expression has no answer here: {}", mistake.message),
                        evidence: vec![format!("that: {}", shown(expression))],
                        hint: mistake.hint,
                    }));
                }
            }
        }
        if diff.is_empty() {
            return Ok(Decision::Unchanged);
        }
        if let Some(message) = &self.message {
            diff.insert(0, DiffLine::both(message.trim_end()));
        }
        Ok(Decision::Drift { diff, drift: () })
    }

    fn apply(&self, _drift: &Self::Drift) -> Vec<Action> {
        Vec::new()
    }

    fn touches(&self) -> Touches {
        Touches::default()
    }
}

#[cfg(test)]
mod tests;
