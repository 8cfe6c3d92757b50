//! What a template gave, as text where text is wanted.

use schemars::Schema;
use serde_json::Value as Json;

use crate::model::value::{Data, Value};

use super::schema::{HOPS, fits, flatten, resolve, rest_schema, types};
use super::words::written;

/// Turns integers, floats and booleans that a template gave into text where `schema` wants a string: a lone
/// `{{ port }}` keeps its type, and only the schema knows whether that was meant. `original` is the value before
/// rendering: what is not a template there was written by hand and is left alone, so that its type is checked.
pub fn coerce(original: &Value, rendered: Value, schema: &Schema) -> Value {
    walk(
        Some(original),
        rendered,
        schema.as_value(),
        schema.as_value(),
    )
}

/// `original` is `None` inside of what a template gave.
fn walk(original: Option<&Value>, rendered: Value, root: &Json, schema: &Json) -> Value {
    let span = rendered.span;
    let schema = variant(root, resolve(root, schema), &rendered.data);
    let ours = original.is_none_or(|value| value.as_str().is_some());
    let original = if ours { None } else { original };
    let data = match rendered.data {
        data @ (Data::Integer(_) | Data::Float(_) | Data::Bool(_)) if ours => {
            match written(&data).filter(|_| wants_text(root, schema, &data)) {
                Some(text) => Data::String(text),
                None => data,
            }
        }
        Data::List(items) => Data::List(
            items
                .into_iter()
                .enumerate()
                .map(|(n, item)| {
                    let before = original.and_then(|value| match &value.data {
                        Data::List(items) => items.get(n),
                        _ => None,
                    });
                    let inner = schema
                        .get("prefixItems")
                        .and_then(|p| p.get(n))
                        .or_else(|| schema.get("items"));
                    walk(before, item, root, inner.unwrap_or(&Json::Null))
                })
                .collect(),
        ),
        Data::Table(entries) => Data::Table(
            entries
                .into_iter()
                .map(|(key, item)| {
                    let before = original.and_then(|value| value.get(&key.name));
                    let own = schema.get("properties").and_then(|p| p.get(&key.name));
                    let inner = own.or_else(|| schema.as_object().and_then(rest_schema));
                    let item = walk(before, item, root, inner.unwrap_or(&Json::Null));
                    (key, item)
                })
                .collect(),
        ),
        other => other,
    };
    Value { span, data }
}

/// Of several alternatives the first that fits what is there; the schema itself where it has none.
fn variant<'s>(root: &'s Json, schema: &'s Json, data: &Data) -> &'s Json {
    let Some(alternatives) = schema.get("oneOf").or_else(|| schema.get("anyOf")) else {
        return schema;
    };
    flatten(root, alternatives, HOPS)
        .into_iter()
        .find(|s| {
            types(s).iter().any(|kind| fits(kind, data))
                && (s.get("properties").is_none()
                    || matches!(data, Data::Table(entries)
                        if entries.iter().all(|(k, _)| s.pointer(&format!("/properties/{}", k.name)).is_some())))
        })
        .unwrap_or(schema)
}

fn wants_text(root: &Json, schema: &Json, data: &Data) -> bool {
    let candidates = match schema.get("oneOf").or_else(|| schema.get("anyOf")) {
        Some(alternatives) => flatten(root, alternatives, HOPS),
        None => vec![schema],
    };
    let any =
        |test: &dyn Fn(&str) -> bool| candidates.iter().any(|s| types(s).into_iter().any(test));
    any(&|kind| kind == "string") && !any(&|kind| fits(kind, data))
}
