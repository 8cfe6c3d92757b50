//! Templates in string values, and `when` expressions.

use std::collections::BTreeMap;

use super::mistake::Mistake;
use super::value::{Data, Span, Value};

/// What a template of one step on one target can see.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Names to values: vars, and `node`, `cluster`, `item`, `facts` tables.
    pub names: BTreeMap<String, serde_json::Value>,
}

/// Gives the value of a secret by name; an error is the hint to show.
pub type SecretLookup<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// Renders every string inside `value`. A string that is one lone `{{ expression }}` becomes that expression's value
/// with its type (a list stays a list). One `secret()` taints the whole rendered string.
pub fn render(
    value: &Value,
    _scope: &Scope,
    _secrets: SecretLookup<'_>,
) -> Result<Value, Vec<Mistake>> {
    Ok(Value {
        span: value.span,
        data: match &value.data {
            Data::String(s) => Data::String(s.clone()),
            other => other.clone(),
        },
    })
}

/// Whether a string holds a template: an expression, a statement or a comment.
pub fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// The name in `{ secret = "name" }`, the table form of a secret.
pub fn secret_table(value: &Value) -> Option<(&str, Span)> {
    match value.entries() {
        [(key, name)] if key.name == "secret" => Some((name.as_str()?, name.span)),
        _ => None,
    }
}

/// Evaluates a `when` or `assert` expression to a truth value. Undefined names and secrets are mistakes.
pub fn evaluate(_expression: &str, _span: Span, _scope: &Scope) -> Result<bool, Mistake> {
    Ok(true)
}

/// The names after `facts.` that an expression mentions, e.g. `os`.
pub fn facts_named(_expression: &str) -> Vec<String> {
    Vec::new()
}
