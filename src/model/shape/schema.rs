//! Reading JSON schemas as schemars makes them.

use serde_json::{Map, Value as Json};

use crate::model::value::Data;

/// References and alternatives inside each other before the walk gives up; schemars makes three at most.
pub(super) const HOPS: usize = 16;

/// What a `$ref` points at, or the schema itself.
pub(super) fn resolve<'s>(root: &'s Json, schema: &'s Json) -> &'s Json {
    let mut schema = schema;
    for _ in 0..HOPS {
        let Some(target) = schema.get("$ref").and_then(Json::as_str) else {
            return schema;
        };
        let Some(found) = target.strip_prefix('#').and_then(|path| root.pointer(path)) else {
            return schema;
        };
        schema = found;
    }
    schema
}

/// The schema of keys that have none of their own; `None` = there may be no such keys. A table with `properties` is
/// closed even where its type forgot `deny_unknown_fields`: an unknown key must never be ignored in silence.
pub(super) fn rest_schema(rules: &Map<String, Json>) -> Option<&Json> {
    const ANY: &Json = &Json::Bool(true);
    if let Some(patterns) = rules.get("patternProperties").and_then(Json::as_object) {
        return patterns.values().next();
    }
    match rules.get("additionalProperties") {
        Some(Json::Bool(false)) => None,
        Some(schema) => Some(schema),
        None if rules.contains_key("properties") => None,
        None => Some(ANY),
    }
}

/// The types a schema names, without `null`, which TOML does not have.
pub(super) fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(one)) if one != "null" => vec![one],
        Some(Json::Array(many)) => many
            .iter()
            .filter_map(Json::as_str)
            .filter(|kind| *kind != "null")
            .collect(),
        _ => Vec::new(),
    }
}

/// Alternatives with references followed, nested alternatives taken apart and `null` left out.
pub(super) fn flatten<'s>(root: &'s Json, alternatives: &'s Json, hops: usize) -> Vec<&'s Json> {
    let mut all = Vec::new();
    for schema in alternatives.as_array().into_iter().flatten() {
        let schema = resolve(root, schema);
        let inner = schema.get("oneOf").or_else(|| schema.get("anyOf"));
        match inner {
            Some(inner) if hops > 0 => all.extend(flatten(root, inner, hops - 1)),
            _ if schema.get("type").and_then(Json::as_str) == Some("null") => {}
            _ => all.push(schema),
        }
    }
    all
}

/// Whether a secret is welcome: the schema, or one of its alternatives, has the mark of
/// [`crate::model::sensitive::Text`].
pub(super) fn accepts_text(root: &Json, schema: &Json, hops: usize) -> bool {
    let schema = resolve(root, schema);
    schema.get("x-text") == Some(&Json::Bool(true))
        || schema
            .get("oneOf")
            .or_else(|| schema.get("anyOf"))
            .is_some_and(|inner| {
                flatten(root, inner, hops)
                    .iter()
                    .any(|s| s.get("x-text") == Some(&Json::Bool(true)))
            })
}

/// The words of a schema that allows only certain words.
pub(super) fn fixed_words(schema: &Json) -> Option<Vec<&str>> {
    if let Some(word) = schema.get("const") {
        return Some(word.as_str().into_iter().collect());
    }
    let words = schema.get("enum")?.as_array()?;
    Some(words.iter().filter_map(Json::as_str).collect())
}

/// Tag and schema of each variant, where every alternative is a table with exactly one key.
pub(super) fn tags<'s>(schemas: &[&'s Json]) -> Option<Vec<(&'s str, &'s Json)>> {
    schemas
        .iter()
        .map(|schema| {
            let properties = schema.get("properties")?.as_object()?;
            let required = schema.get("required")?.as_array()?;
            let (tag, inner) = properties.iter().next()?;
            (properties.len() == 1 && required.len() == 1).then_some((tag.as_str(), inner))
        })
        .collect()
}

/// Whether a value is of a JSON schema type.
pub(super) fn fits(kind: &str, data: &Data) -> bool {
    match data {
        Data::String(_) | Data::Tainted(_) => kind == "string",
        Data::Integer(_) => matches!(kind, "integer" | "number"),
        Data::Float(_) => kind == "number",
        Data::Bool(_) => kind == "boolean",
        Data::Datetime(_) => false,
        Data::List(_) => kind == "array",
        Data::Table(_) => kind == "object",
    }
}

/// The numbers of a schema's integer format.
pub(super) fn format_range(format: &str) -> (i64, i64) {
    match format {
        "uint8" => (0, i64::from(u8::MAX)),
        "uint16" => (0, i64::from(u16::MAX)),
        "uint32" => (0, i64::from(u32::MAX)),
        "uint" | "uint64" | "uint128" => (0, i64::MAX),
        "int8" => (i64::from(i8::MIN), i64::from(i8::MAX)),
        "int16" => (i64::from(i16::MIN), i64::from(i16::MAX)),
        "int32" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

/// The list below a keyword; empty where there is none.
pub(super) fn list<'s>(rules: &'s Map<String, Json>, key: &str) -> &'s [Json] {
    rules
        .get(key)
        .and_then(Json::as_array)
        .map_or(&[], Vec::as_slice)
}
