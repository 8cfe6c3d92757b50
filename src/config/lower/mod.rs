//! Spanned tables to the model, table by table: a mistake in one does not hide those of the next. What belongs together
//! across tables and files is compared by [`super::check`].

mod bastion;
mod gate;
pub mod inventory;
pub mod playbook;
mod rules;
mod step;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::source::Sources;
use crate::model::mistake::{Mistake, nearest};
use crate::model::shape;
use crate::model::value::{Data, Key, Span, Value};
use crate::steps::registry::KindInfo;

/// What lowering works with.
pub struct Lowering<'a> {
    /// The texts, to find places inside strings.
    pub sources: &'a Sources,
    /// The kinds there are.
    pub kinds: &'a [KindInfo],
    /// Schemas of the kinds seen so far.
    pub schemas: std::collections::HashMap<&'static str, schemars::Schema>,
    /// What was found wrong so far.
    pub mistakes: Vec<Mistake>,
}

impl<'a> Lowering<'a> {
    /// Nothing found yet.
    pub fn new(sources: &'a Sources, kinds: &'a [KindInfo]) -> Self {
        Self {
            sources,
            kinds,
            schemas: std::collections::HashMap::new(),
            mistakes: Vec::new(),
        }
    }

    /// Decodes a table, noting every mistake in it.
    fn decode<T: DeserializeOwned + JsonSchema + 'static>(&mut self, table: &Value) -> Option<T> {
        match shape::decode(table) {
            Ok(decoded) => Some(decoded),
            Err(mistakes) => {
                self.mistakes.extend(mistakes);
                None
            }
        }
    }

    /// The entries of a table; a mistake where it is none.
    fn table<'v>(&mut self, value: &'v Value, what: &str) -> &'v [(Key, Value)] {
        match &value.data {
            Data::Table(entries) => entries,
            other => {
                self.error(
                    "wrong-type",
                    value.span,
                    format!("{what} must be a table, not {}", type_name(other)),
                    "write `[NAME]` on a line of its own, or `{ key = value }`",
                );
                &[]
            }
        }
    }

    /// Notes keys that are not in `known`.
    fn unknown_keys(&mut self, entries: &[(Key, Value)], known: &[&str], place: &str) {
        for (key, _) in entries {
            if !known.contains(&key.name.as_str()) {
                self.mistakes.push(unknown_key(key, known, place));
            }
        }
    }

    fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.mistakes
            .push(Mistake::error(code, span, message).hint(hint));
    }
}

fn unknown_key(key: &Key, known: &[&str], place: &str) -> Mistake {
    let hint = match nearest(&key.name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{place} has: {}", listed(known)),
    };
    Mistake::error(
        "unknown-key",
        key.span,
        format!("{place} has no key `{}`", key.name),
    )
    .hint(hint)
}

/// `a, b and c`, each in backticks.
pub(super) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// What a value is, in words.
pub(super) fn type_name(data: &Data) -> &'static str {
    match data {
        Data::String(_) | Data::Tainted(_) => "a string",
        Data::Integer(_) => "an integer",
        Data::Float(_) => "a number",
        Data::Bool(_) => "a truth value",
        Data::Datetime(_) => "a date or time",
        Data::List(_) => "a list",
        Data::Table(_) => "a table",
    }
}

/// A copy of a table with only those entries.
fn only(table: &Value, keep: impl Fn(&Key) -> bool) -> Value {
    let entries = table.entries().iter().filter(|(key, _)| keep(key));
    Value {
        span: table.span,
        data: Data::Table(entries.cloned().collect()),
    }
}
