//! The last step: from a value that fits its schema to the type itself, and from serde's error back to a place.

use schemars::Schema;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use serde_path_to_error::{Path, Segment};

use crate::model::mistake::Mistake;
use crate::model::value::{Data, Value};

use super::schema::{HOPS, flatten, resolve};

/// Mistakes of one value that are looked for after the first; more would not be read at once.
const AT_ONCE: usize = 20;

/// Decodes. serde stops at its first mistake; to show the others too, the value at fault is replaced by an example
/// from the schema (or left out where it is optional) and decoding is tried again, only to hear the next mistake.
pub(super) fn decode<T: DeserializeOwned>(
    value: &Value,
    schema: &Schema,
) -> Result<T, Vec<Mistake>> {
    let mut json = value.to_json();
    let mut mistakes: Vec<Mistake> = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(json.clone()) {
            Ok(decoded) if mistakes.is_empty() => return Ok(decoded),
            Ok(_) => return Err(in_order(mistakes)),
            Err(error) => error,
        };
        let path = steps(error.path());
        let span = find(value, &path).span;
        let echo = |m: &Mistake| {
            m.span
                .is_some_and(|s| span.start <= s.start && s.end <= span.end)
        };
        if mistakes.iter().any(echo) {
            // Around or at a value that was replaced: the replacement's fault, not the user's.
            return Err(in_order(mistakes));
        }
        let words = error.inner().to_string();
        mistakes.push(Mistake::error("invalid-value", span, words));
        if mistakes.len() >= AT_ONCE || !mend(&mut json, &path, schema.as_value()) {
            return Err(in_order(mistakes));
        }
    }
}

/// serde meets keys by name; people read from the top.
fn in_order(mut mistakes: Vec<Mistake>) -> Vec<Mistake> {
    mistakes.sort_by_key(|mistake| mistake.span);
    mistakes
}

enum Step {
    Key(String),
    Item(usize),
}

fn steps(path: &Path) -> Vec<Step> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { variant } => Some(Step::Key(variant.clone())),
            Segment::Seq { index } => Some(Step::Item(*index)),
            Segment::Unknown => None,
        })
        .collect()
}

/// The value at a path, or the nearest one around it.
fn find<'v>(value: &'v Value, path: &[Step]) -> &'v Value {
    let mut at = value;
    for step in path {
        let inner = match (step, &at.data) {
            (Step::Key(key), _) => at.get(key),
            (Step::Item(n), Data::List(items)) => items.get(*n),
            _ => None,
        };
        match inner {
            Some(inner) => at = inner,
            None => return at,
        }
    }
    at
}

/// Makes the value at `path` harmless. False where nothing harmless is known.
fn mend(json: &mut Json, path: &[Step], root: &Json) -> bool {
    let Some((last, parents)) = path.split_last() else {
        return false;
    };
    let mut at = json;
    let mut schema = root;
    for step in parents {
        let Some(inner) = down(at, step) else {
            return false;
        };
        at = inner;
        schema = below(root, schema, step).0;
    }
    let (own, required) = below(root, schema, last);
    let example = alternatives(root, own)
        .into_iter()
        .find_map(|s| s.get("examples")?.get(0).cloned());
    if let (Some(example), Some(place)) = (example, down(at, last)) {
        let changed = *place != example;
        *place = example;
        return changed;
    }
    match (last, at) {
        (Step::Key(key), Json::Object(entries)) if !required => entries.remove(key).is_some(),
        _ => false,
    }
}

fn down<'j>(json: &'j mut Json, step: &Step) -> Option<&'j mut Json> {
    match step {
        Step::Key(key) => json.get_mut(key),
        Step::Item(n) => json.get_mut(n),
    }
}

fn alternatives<'s>(root: &'s Json, schema: &'s Json) -> Vec<&'s Json> {
    let schema = resolve(root, schema);
    match schema.get("oneOf").or_else(|| schema.get("anyOf")) {
        Some(inner) => flatten(root, inner, HOPS),
        None => vec![schema],
    }
}

/// The schema one step below (`null` where nothing is said), and whether the table must have it.
fn below<'s>(root: &'s Json, schema: &'s Json, step: &Step) -> (&'s Json, bool) {
    let inside = |schema: &'s Json| match step {
        Step::Key(key) => schema
            .get("properties")
            .and_then(|p| p.get(key))
            .or_else(|| schema.get("additionalProperties").filter(|s| s.is_object())),
        Step::Item(n) => schema
            .get("prefixItems")
            .and_then(|p| p.get(n))
            .or_else(|| schema.get("items")),
    };
    let must = |schema: &Json| match (step, schema.get("required").and_then(Json::as_array)) {
        (Step::Key(key), Some(required)) => required.iter().any(|r| r == key),
        _ => false,
    };
    alternatives(root, schema)
        .into_iter()
        .find_map(|s| Some((inside(s)?, must(s))))
        .unwrap_or((&Json::Null, true))
}
