//! JSON schemas for editors, from the same types that the loader checks with: one for inventories, one for playbooks.

use serde_json::{Map, Value as Json, json};

use super::raw;
use crate::steps::Class;
use crate::steps::registry::{KindInfo, kinds};

/// Both schemas: `{ "inventory": ..., "playbook": ... }`.
pub fn schema() -> Json {
    json!({ "inventory": inventory(), "playbook": playbook(kinds()) })
}

/// The schema of `inventory/*.toml`.
pub fn inventory() -> Json {
    schemars::schema_for!(raw::Inventory).to_value()
}

/// The schema of `playbooks/**/*.toml`, with the given kinds.
pub fn playbook(kinds: &[KindInfo]) -> Json {
    let mut defs = Map::new();
    let mut root = part(schemars::schema_for!(raw::Playbook), "", &mut defs);
    let var = part(schemars::schema_for!(raw::Var), "", &mut defs);
    let step = step(kinds, &mut defs);
    defs.insert("Var".to_owned(), var);
    defs.insert("Step".to_owned(), step);
    put(
        &mut root,
        "vars",
        json!({
            "description": "What this playbook takes.",
            "type": "object",
            "additionalProperties": { "$ref": "#/$defs/Var" },
        }),
    );
    put(
        &mut root,
        "step",
        json!({ "description": "The steps, in order.", "type": "array", "items": { "$ref": "#/$defs/Step" } }),
    );
    if let Some(object) = root.as_object_mut() {
        object.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        object.insert("$defs".to_owned(), Json::Object(defs));
    }
    root
}

fn step(kinds: &[KindInfo], defs: &mut Map<String, Json>) -> Json {
    let mut step = part(schemars::schema_for!(raw::Step), "", defs);
    let mut rest = part(schemars::schema_for!(raw::StepRest), "", defs);
    if let Json::Object(properties) = rest
        .get_mut("properties")
        .map(Json::take)
        .unwrap_or_default()
    {
        for (key, value) in properties {
            put(&mut step, &key, value);
        }
    }
    let mut gate = part(schemars::schema_for!(raw::Gate), "", defs);
    let mut one_of = vec![json!({ "required": ["playbook"] })];
    let mut checks = Vec::new();
    let mut playbook = part(schemars::schema_for!(raw::UsePlaybook), "playbook.", defs);
    describe(&mut playbook, "Uses another playbook as a step.");
    defs.insert("playbook".to_owned(), playbook);
    put(&mut step, "playbook", json!({ "$ref": "#/$defs/playbook" }));
    for kind in kinds {
        let mut body = part((kind.schema)(), &format!("{}.", kind.name), defs);
        describe(&mut body, kind.summary);
        with_templates(&mut body);
        defs.insert(kind.name.to_owned(), body);
        let reference = json!({ "$ref": format!("#/$defs/{}", kind.name) });
        put(&mut step, kind.name, reference.clone());
        one_of.push(json!({ "required": [kind.name] }));
        if kind.class == Class::Check {
            put(&mut gate, kind.name, reference);
            checks.push(json!({ "required": [kind.name] }));
        }
    }
    describe(
        &mut gate,
        "Must hold on a target after the step before the next target starts.",
    );
    if let Some(object) = gate.as_object_mut()
        && !checks.is_empty()
    {
        object.insert("oneOf".to_owned(), Json::Array(checks));
    }
    defs.insert("Gate".to_owned(), gate);
    put(&mut step, "gate", json!({ "$ref": "#/$defs/Gate" }));
    if let Some(object) = step.as_object_mut() {
        object.insert("oneOf".to_owned(), Json::Array(one_of));
    }
    describe(
        &mut step,
        "A step: its own keys, and exactly one table that is its kind.",
    );
    step
}

/// A type's schema as a part of another: its definitions go to `defs`, under names with a prefix of its own.
fn part(schema: schemars::Schema, prefix: &str, defs: &mut Map<String, Json>) -> Json {
    let mut schema = schema.to_value();
    rename_references(&mut schema, prefix);
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        if let Some(Json::Object(own)) = object.remove("$defs") {
            defs.extend(
                own.into_iter()
                    .map(|(name, value)| (format!("{prefix}{name}"), value)),
            );
        }
    }
    schema
}

fn rename_references(schema: &mut Json, prefix: &str) {
    match schema {
        Json::Object(object) => {
            for (key, value) in object {
                match value {
                    Json::String(target) if key == "$ref" => {
                        if let Some(name) = target.strip_prefix("#/$defs/") {
                            *target = format!("#/$defs/{prefix}{name}");
                        }
                    }
                    other => rename_references(other, prefix),
                }
            }
        }
        Json::Array(items) => items
            .iter_mut()
            .for_each(|item| rename_references(item, prefix)),
        _ => {}
    }
}

/// Adds a property to the schema of an object.
fn put(schema: &mut Json, key: &str, value: Json) {
    if let Some(object) = schema.as_object_mut() {
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert(key.to_owned(), value);
        }
    }
}

fn describe(schema: &mut Json, text: &str) {
    if let Some(object) = schema.as_object_mut() {
        object.entry("description").or_insert_with(|| json!(text));
    }
}

/// Before it is rendered, any value below a kind's key may be a template.
fn with_templates(body: &mut Json) {
    let Some(properties) = body.get_mut("properties").and_then(Json::as_object_mut) else {
        return;
    };
    for value in properties.values_mut() {
        if value.get("type").is_some_and(|kind| kind == "string") {
            continue;
        }
        let own = value.take();
        let description = own.get("description").cloned();
        *value = json!({ "anyOf": [own, { "type": "string", "pattern": "\\{\\{" }] });
        if let (Some(object), Some(text)) = (value.as_object_mut(), description) {
            object.insert("description".to_owned(), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shape::STEP_KEYS;

    #[test]
    fn every_kind_and_every_key_of_a_step_is_in_the_schema() {
        let schema = playbook(kinds());
        let step = &schema["$defs"]["Step"];
        for key in STEP_KEYS {
            assert!(step["properties"].get(key).is_some(), "{key}");
        }
        for kind in kinds() {
            assert!(step["properties"].get(kind.name).is_some(), "{}", kind.name);
            assert!(schema["$defs"].get(kind.name).is_some(), "{}", kind.name);
        }
        assert_eq!(step["oneOf"].as_array().unwrap().len(), kinds().len() + 1);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Json, found: &mut Vec<String>) {
            match value {
                Json::Object(object) => {
                    for (key, value) in object {
                        match value.as_str() {
                            Some(target) if key == "$ref" => found.push(target.to_owned()),
                            _ => references(value, found),
                        }
                    }
                }
                Json::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        for schema in [inventory(), playbook(kinds())] {
            let mut found = Vec::new();
            references(&schema, &mut found);
            assert!(!found.is_empty());
            for target in found {
                let pointer = target.strip_prefix('#').unwrap();
                assert!(schema.pointer(pointer).is_some(), "{target}");
            }
        }
    }
}
