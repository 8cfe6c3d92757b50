//! Whether an apply that was tried would change a live object.

use serde_json::{Map, Value};

use super::owned::owned;
use crate::model::kube::key::text;

/// Whether an apply that was tried would leave a live object as it is, but for who owns what: compared as a whole where both
/// are of one version. Where they are not, others (the object's own controllers) have changed it between the two looks, so only
/// what the manager would own can be compared.
pub fn is_left_as_it_is(live: &Value, tried: &Value, manager: &str) -> bool {
    let version = |object| text(object, "/metadata/resourceVersion");
    match (version(live), version(tried), owned(tried, manager)) {
        (Some(live_version), Some(version), Some(owned)) if live_version != version => {
            values(live, owned) == values(tried, owned)
        }
        _ => comparable(live) == comparable(tried),
    }
}

/// The values of owned fields, each with its place.
fn values<'a>(value: &'a Value, owned: &'a Map<String, Value>) -> Vec<(String, &'a Value)> {
    let mut found = Vec::new();
    collect_values(value, owned, "", &mut found);
    found
}

fn collect_values<'a>(
    value: &'a Value,
    owned: &Map<String, Value>,
    at: &str,
    found: &mut Vec<(String, &'a Value)>,
) {
    if owned.is_empty() {
        found.push((at.to_owned(), value));
    }
    for (key, inner) in owned {
        let child = match key.split_once(':') {
            Some(("f", name)) => value.get(name),
            Some(("k", keys)) => item_of(value, keys),
            Some(("v", wanted)) => serde_json::from_str::<Value>(wanted)
                .ok()
                .and_then(|wanted| value.as_array()?.iter().find(|item| **item == wanted)),
            _ => continue,
        };
        if let (Some(child), Some(inner)) = (child, inner.as_object()) {
            collect_values(child, inner, &format!("{at}/{key}"), found);
        }
    }
}

/// The item of a list with keys that has these.
fn item_of<'a>(list: &'a Value, keys: &str) -> Option<&'a Value> {
    let Ok(Value::Object(keys)) = serde_json::from_str(keys) else {
        return None;
    };
    list.as_array()?
        .iter()
        .find(|item| keys.iter().all(|(key, value)| item.get(key) == Some(value)))
}

/// What is left of an object when all is taken off that says nothing of its wished state: for comparing a dry run with
/// what is live.
pub fn comparable(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in [
            "managedFields",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "uid",
            "selfLink",
        ] {
            metadata.remove(key);
        }
    }
    object
}
