//! Server-side apply on JSON: which fields an object sets, in terms of `fieldsV1`; conflicts; what is merged and removed.
//! Of schemas it knows the few lists with keys that tests use; all others are replaced as one.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::cluster::{ApiError, ApiErrorKind};
use crate::model::kube::FieldConflict;

/// A field as `fieldsV1` names it, from the object down.
type Path = Vec<String>;

/// Keys of the items of a list, by the list's name; with what a missing key stands for.
fn keys(list: &str) -> Option<&'static [(&'static str, Option<&'static str>)]> {
    match list {
        "containers" | "initContainers" | "env" | "volumes" | "webhooks" => Some(&[("name", None)]),
        // Of a container, and of a Service; in both the protocol is TCP unless it is said.
        "ports" => Some(&[
            ("containerPort", None),
            ("port", None),
            ("protocol", Some("TCP")),
        ]),
        "conditions" => Some(&[("type", None)]),
        _ => None,
    }
}

fn is_set(list: &str) -> bool {
    list == "finalizers"
}

/// `k:{...}` of an item.
fn item_name(list: &str, item: &Value) -> Option<String> {
    let mut name = Map::new();
    for (key, default) in keys(list)? {
        match (item.get(*key), default) {
            (Some(value), _) => drop(name.insert((*key).to_owned(), value.clone())),
            (None, Some(default)) => drop(name.insert((*key).to_owned(), json!(default))),
            (None, None) => {}
        }
    }
    Some(format!("k:{}", Value::Object(name)))
}

/// All fields that an object sets, as `fieldsV1`.
pub(super) fn fields(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
        map.remove("status");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            for key in [
                "name",
                "namespace",
                "managedFields",
                "resourceVersion",
                "generation",
                "uid",
            ] {
                metadata.remove(key);
            }
            if metadata.is_empty() {
                map.remove("metadata");
            }
        }
    }
    of(&object, "")
}

fn of(value: &Value, name: &str) -> Value {
    let mut found = Map::new();
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                found.insert(format!("f:{key}"), of(value, key));
            }
        }
        Value::Array(items) if is_set(name) => {
            found.insert(".".to_owned(), json!({}));
            found.extend(items.iter().map(|item| (format!("v:{item}"), json!({}))));
        }
        Value::Array(items) if keys(name).is_some() => {
            for item in items {
                let mut inside = of(item, "");
                if let Some(map) = inside.as_object_mut() {
                    map.insert(".".to_owned(), json!({}));
                }
                found.extend(item_name(name, item).map(|name| (name, inside)));
            }
        }
        _ => {}
    }
    Value::Object(found)
}

fn paths(fields: &Value) -> BTreeSet<Path> {
    fn walk(fields: &Value, at: &Path, found: &mut BTreeSet<Path>) {
        let Some(map) = fields.as_object().filter(|map| !map.is_empty()) else {
            found.insert(at.clone());
            return;
        };
        for (key, inner) in map {
            if key == "." {
                found.insert(at.clone());
                continue;
            }
            let mut deeper = at.clone();
            deeper.push(key.clone());
            walk(inner, &deeper, found);
        }
    }
    let mut found = BTreeSet::new();
    walk(fields, &Path::new(), &mut found);
    found
}

/// A scalar as `v:` has it.
fn written(item: &Value) -> String {
    item.to_string()
}

/// The value at a path.
fn get<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    let mut at = value;
    let mut list = "";
    for part in path {
        at = match part.split_once(':')? {
            ("f", name) => {
                list = name;
                at.get(name)?
            }
            ("k", _) => at
                .as_array()?
                .iter()
                .find(|item| item_name(list, item).as_ref() == Some(part))?,
            (_, value) => at.as_array()?.iter().find(|item| written(item) == value)?,
        };
    }
    Some(at)
}

/// Takes away what is at a path.
fn remove(value: &mut Value, path: &[String], list: &str) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    match (first.split_once(':'), rest.is_empty()) {
        (Some(("f", name)), true) => {
            if let Some(map) = value.as_object_mut() {
                map.remove(name);
            }
        }
        (Some(("f", name)), false) => {
            if let Some(inner) = value.get_mut(name) {
                remove(inner, rest, name);
            }
        }
        (Some(("k", _)), _) => {
            let Some(items) = value.as_array_mut() else {
                return;
            };
            let is_it = |item: &Value| item_name(list, item).as_ref() == Some(first);
            match rest.is_empty() {
                true => items.retain(|item| !is_it(item)),
                false => items
                    .iter_mut()
                    .filter(|item| is_it(item))
                    .for_each(|item| remove(item, rest, "")),
            }
        }
        (Some((_, text)), _) => {
            if let Some(items) = value.as_array_mut() {
                items.retain(|item| written(item) != text);
            }
        }
        (None, _) => {}
    }
}

/// Lays a wish over what is live.
fn overlay(live: &mut Value, wish: &Value, name: &str) {
    match (&mut *live, wish) {
        (Value::Object(live), Value::Object(wish)) => {
            for (key, value) in wish.iter().filter(|(_, value)| !value.is_null()) {
                match live.get_mut(key) {
                    Some(place) => overlay(place, value, key),
                    None => drop(live.insert(key.clone(), value.clone())),
                }
            }
        }
        (Value::Array(live), Value::Array(wish)) if keys(name).is_some() => {
            for item in wish {
                let wanted = item_name(name, item);
                match live
                    .iter_mut()
                    .find(|other| item_name(name, other) == wanted)
                {
                    Some(place) => overlay(place, item, ""),
                    None => live.push(item.clone()),
                }
            }
        }
        (Value::Array(live), Value::Array(wish)) if is_set(name) => {
            for item in wish {
                if !live.contains(item) {
                    live.push(item.clone());
                }
            }
        }
        (live, wish) => *live = wish.clone(),
    }
}

fn entries(object: &Value) -> Vec<Value> {
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    entries.cloned().unwrap_or_default()
}

fn is_ours(entry: &Value, manager: &str) -> bool {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    text("manager") == Some(manager) && text("operation") == Some("Apply")
}

/// Fields that others own and that would be changed; with `force` they own them no more.
fn contested(
    (live, wish): (Option<&Value>, &Value),
    wanted: &BTreeSet<Path>,
    others: &mut [Value],
    force: bool,
) -> Vec<FieldConflict> {
    let mut conflicts = Vec::new();
    for entry in others {
        let theirs = paths(entry.get("fieldsV1").unwrap_or(&Value::Null));
        let differs = |path: &&Path| live.and_then(|live| get(live, path)) != get(wish, path);
        for path in wanted.intersection(&theirs).filter(differs) {
            if force {
                remove_field(entry, path);
            } else {
                conflicts.push(FieldConflict {
                    manager: format!(
                        "{} using {}",
                        entry["manager"],
                        entry["apiVersion"].as_str().unwrap_or_default()
                    ),
                    field: path
                        .iter()
                        .map(|part| format!(".{}", part.trim_start_matches("f:")))
                        .collect(),
                });
            }
        }
    }
    conflicts
}

/// The object after an apply, or its conflicts.
pub(super) fn apply(
    live: Option<&Value>,
    wish: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, ApiError> {
    let new = fields(wish);
    let wanted = paths(&new);
    let mut merged = live.cloned().unwrap_or_else(|| json!({}));
    let mut others = entries(&merged);
    let before = others
        .iter()
        .position(|entry| is_ours(entry, manager))
        .map(|at| others.remove(at));
    let conflicts = contested((live, wish), &wanted, &mut others, force);
    if !conflicts.is_empty() {
        let message = format!("Apply failed with {} conflicts", conflicts.len());
        return Err(ApiError {
            conflicts,
            ..ApiError::new(ApiErrorKind::Conflict, message)
        });
    }
    let of_others: BTreeSet<Path> = others
        .iter()
        .flat_map(|entry| paths(entry.get("fieldsV1").unwrap_or(&Value::Null)))
        .collect();
    let owned = before
        .as_ref()
        .and_then(|entry| entry.get("fieldsV1"))
        .map(paths)
        .unwrap_or_default();
    for path in owned
        .difference(&wanted)
        .filter(|path| !of_others.contains(*path))
    {
        remove(&mut merged, path, "");
    }
    overlay(&mut merged, wish, "");
    defaults(&mut merged);
    others.insert(0, json!({
        "manager": manager, "operation": "Apply", "apiVersion": wish["apiVersion"], "fieldsType": "FieldsV1",
        "fieldsV1": new
    }));
    if let Some(metadata) = merged.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("managedFields".to_owned(), Value::Array(others));
    }
    Ok(merged)
}

fn remove_field(entry: &mut Value, path: &[String]) {
    let mut at = entry.get_mut("fieldsV1");
    let Some((last, before)) = path.split_last() else {
        return;
    };
    for part in before {
        at = at.and_then(|at| at.get_mut(part));
    }
    if let Some(map) = at.and_then(Value::as_object_mut) {
        map.remove(last);
    }
}

/// Values that an API server fills in.
fn defaults(object: &mut Value) {
    match object {
        Value::Object(map) => {
            if let Some(Value::Array(ports)) = map.get_mut("ports") {
                for port in ports {
                    if let Some(port) = port.as_object_mut() {
                        port.entry("protocol").or_insert_with(|| json!("TCP"));
                    }
                }
            }
            map.iter_mut()
                .filter(|(key, _)| *key != "metadata")
                .for_each(|(_, value)| defaults(value));
        }
        Value::Array(items) => items.iter_mut().for_each(defaults),
        _ => {}
    }
}
