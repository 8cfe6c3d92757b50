//! Templates in string values, and `when` expressions (minijinja).
//!
//! Strict: an undefined name is a mistake, never an empty text. Bounded: fuel, nesting and output are limited, and there
//! is nothing to include or import, so a template ends and touches nothing outside its scope. A secret is opened only
//! when a template asks for it, and then taints the whole rendered string.
//!
//! Different from stock Jinja where that would surprise in a configuration file: no HTML escaping, `true` and `false` are
//! printed as TOML, YAML and JSON write them, lists and tables print as JSON, and a value that is `none` is a mistake.

mod engine;
mod fault;
mod kept;
mod native;
mod scan;
mod scope;
mod survey;
#[cfg(test)]
mod survey_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::mistake::Mistake;
use super::value::{Data, Key, Span, Value};

use engine::{Attempt, Source};
use scope::{Root, Vault};

pub use scan::{is_template, lone_expression};
pub use survey::{
    check_expression, facts_named, names_mentioned, names_needed, names_used,
    names_used_by_expression, secrets_named, undefined_names,
};

/// Names that every template of a step can use. `node` has a value on nodes only.
pub const ALWAYS: [&str; 4] = ["node", "nodes", "groups", "cluster"];

/// What a template of one step on one target can see.
///
/// Names to values: vars, and `node`, `nodes`, `groups`, `cluster`, `item`, `facts`. A var of type secret is the table
/// `{"secret": "a/b"}` here and a tainted text is what [`Value::to_json`] makes of it: both open (and taint) only where a
/// template uses them. Values are shared: a clone costs nothing, and a list of all nodes is there once for all targets.
#[derive(Clone, Default)]
pub struct Scope {
    names: Arc<BTreeMap<Arc<str>, Arc<serde_json::Value>>>,
}

impl fmt::Debug for Scope {
    /// Names only: values may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl Scope {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&serde_json::Value> {
        self.names.get(name).map(Arc::as_ref)
    }

    /// The value of a name, to be shared with another scope.
    pub fn shared(&self, name: &str) -> Option<&Arc<serde_json::Value>> {
        self.names.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(Arc::as_ref)
    }

    /// Adds a name, or replaces its value.
    pub fn set(&mut self, name: &str, value: &Value) {
        self.insert(name, value.to_json());
    }

    /// Adds a name, or replaces its value, which may be shared with other scopes.
    pub fn insert(&mut self, name: &str, value: impl Into<Arc<serde_json::Value>>) {
        Arc::make_mut(&mut self.names).insert(name.into(), value.into());
    }

    /// With a name added.
    #[must_use]
    pub fn with(mut self, name: &str, value: serde_json::Value) -> Self {
        self.insert(name, value);
        self
    }
}

/// Gives the value of a secret by name; an error is the hint to show.
pub type SecretLookup<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// Renders every string inside `value`. A string that is one lone `{{ expression }}` becomes that expression's value
/// with its type (a list stays a list). One `secret()` taints the whole rendered string. The table `{ secret = "a/b" }`
/// becomes that secret. What a template gave has the template's place.
pub fn render(
    value: &Value,
    scope: &Scope,
    secrets: SecretLookup<'_>,
) -> Result<Value, Vec<Mistake>> {
    let vault = Arc::new(Vault::default());
    let mut renderer = Renderer {
        root: Root::new(scope, &vault),
        scope,
        vault,
        secrets,
        mistakes: Vec::new(),
    };
    let rendered = renderer.value(value);
    match rendered {
        Some(rendered) if renderer.mistakes.is_empty() => Ok(rendered),
        _ => Err(renderer.mistakes),
    }
}

/// The name in `{ secret = "name" }`, the table form of a secret.
pub fn secret_table(value: &Value) -> Option<(&str, Span)> {
    match value.entries() {
        [(key, name)] if key.name == "secret" => Some((name.as_str()?, name.span)),
        _ => None,
    }
}

/// Evaluates a `when` or `assert` expression. It must give true or false: a text or list that happens to be empty is
/// no decision. Undefined names and secrets are mistakes.
pub fn evaluate(expression: &str, span: Span, scope: &Scope) -> Result<bool, Mistake> {
    if let Some(mistake) = survey::secret_in_expression(expression, span) {
        return Err(mistake);
    }
    let vault = Arc::new(Vault::default());
    let root = Root::new(scope, &vault);
    let source = Source {
        text: expression,
        code: 0..expression.len(),
        span,
        scope,
    };
    let result = engine::expression(&source, &root, &vault);
    if vault.was_asked() {
        return Err(survey::secret_mistake(span));
    }
    match result {
        Attempt::Native(serde_json::Value::Bool(truth)) => Ok(truth),
        Attempt::Failed(mistake) => Err(*mistake),
        Attempt::Native(other) => Err(not_boolean(span, &other)),
        Attempt::Text(_) => Err(not_boolean(span, &serde_json::Value::String(String::new()))),
    }
}

fn not_boolean(span: Span, found: &serde_json::Value) -> Mistake {
    use serde_json::Value as Json;
    let (what, hint) = match found {
        Json::String(_) => ("a text", "compare it: `... == \"words\"` or `... != \"\"`"),
        Json::Number(_) => ("a number", "compare it: `... > 0`"),
        Json::Array(_) | Json::Object(_) => {
            ("a list or table", "ask for its size: `... | length > 0`")
        }
        Json::Null | Json::Bool(_) => ("nothing", "compare it with something"),
    };
    Mistake::error(
        "not-a-condition",
        span,
        format!("the expression gives {what}, not true or false"),
    )
    .hint(hint)
}

struct Renderer<'a> {
    root: Root,
    scope: &'a Scope,
    vault: Arc<Vault>,
    secrets: SecretLookup<'a>,
    mistakes: Vec<Mistake>,
}

/// The code of a mistake in a template that used a secret: with another value there may be none.
pub const WITH_SECRET: &str = "template-with-secret";

/// Different secrets one string may name.
const SECRETS_PER_STRING: usize = 256;

impl Renderer<'_> {
    /// `None` where it was a mistake; the others are still looked for.
    fn value(&mut self, value: &Value) -> Option<Value> {
        let data = match &value.data {
            Data::String(text) if is_template(text) => return self.text(text, value.span),
            Data::List(items) => {
                let items: Vec<Option<Value>> = items.iter().map(|item| self.value(item)).collect();
                Data::List(items.into_iter().collect::<Option<_>>()?)
            }
            Data::Table(_) if secret_table(value).is_some() => return self.secret_table(value),
            Data::Table(entries) => {
                let entries: Vec<Option<(Key, Value)>> = entries
                    .iter()
                    .map(|(key, item)| Some((key.clone(), self.value(item)?)))
                    .collect();
                Data::Table(entries.into_iter().collect::<Option<_>>()?)
            }
            other => other.clone(),
        };
        Some(Value {
            span: value.span,
            data,
        })
    }

    fn secret_table(&mut self, table: &Value) -> Option<Value> {
        let name = self.value(table.get("secret")?)?;
        let Some(text) = name.as_str() else {
            self.mistakes.push(
                Mistake::error(
                    "wrong-type",
                    name.span,
                    "the name of a secret must be a text",
                )
                .hint("write `{ secret = \"folder/name\" }`"),
            );
            return None;
        };
        let opened = self.open(text, name.span)?;
        Some(Value {
            span: table.span,
            data: Data::Tainted(opened),
        })
    }

    fn open(&mut self, name: &str, span: Span) -> Option<String> {
        match self.vault.known(name) {
            Some(value) => Some(value),
            None => match (self.secrets)(name) {
                Ok(value) => {
                    self.vault.learn(name, &value);
                    Some(value)
                }
                Err(hint) => {
                    self.mistakes.push(
                        Mistake::error(
                            "unknown-secret",
                            span,
                            format!("the secret `{name}` cannot be read"),
                        )
                        .hint(hint),
                    );
                    None
                }
            },
        }
    }

    fn text(&mut self, text: &str, span: Span) -> Option<Value> {
        let source = Source {
            text,
            code: lone_expression(text).unwrap_or(0..text.len()),
            span,
            scope: self.scope,
        };
        let lone = lone_expression(text).is_some();
        for _ in 0..SECRETS_PER_STRING {
            self.vault.begin();
            let attempt = if lone {
                engine::expression(&source, &self.root, &self.vault)
            } else {
                engine::text(&source, &self.root, &self.vault)
            };
            // minijinja's functions cannot borrow the lookup, so a secret that was asked for and is not known yet is
            // opened here and the (pure) template rendered again.
            if let Some(name) = self.vault.wanted() {
                self.open(&name, span)?;
                continue;
            }
            return self.finish(attempt, span);
        }
        self.mistakes.push(Mistake::error(
            "template-error",
            span,
            format!("the template asks for more than {SECRETS_PER_STRING} secrets"),
        ));
        None
    }

    fn finish(&mut self, attempt: Attempt, span: Span) -> Option<Value> {
        let tainted = self.vault.was_used();
        let data = match attempt {
            Attempt::Failed(mut mistake) => {
                if tainted {
                    mistake.code = WITH_SECRET;
                }
                self.mistakes.push(*mistake);
                return None;
            }
            Attempt::Text(text) if tainted => Data::Tainted(text),
            Attempt::Text(text) => Data::String(text),
            Attempt::Native(json) => {
                let mut lower = native::Lower {
                    span,
                    tainted,
                    open: &mut |name| self.open(name, span),
                };
                match lower.value(&json) {
                    Ok(value) => return Some(value),
                    Err(native::Refused::Told) => return None,
                    Err(native::Refused::Because(words)) => {
                        let hint = "give it a value, or a default: `... | default(\"x\")`";
                        self.mistakes
                            .push(Mistake::error("template-error", span, words).hint(hint));
                        return None;
                    }
                }
            }
        };
        Some(Value { span, data })
    }
}
