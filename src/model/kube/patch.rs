//! Changes to an object as a person writes them: a table that is laid over it. As a JSON merge patch (RFC 7386), but
//! lists whose items have names are merged by name, so that one container can be changed without saying the others.

use serde_json::{Map, Value};

/// Lays a patch over an object. `null` removes a key; a list replaces a list, unless all items of both have a `name`:
/// then items of the same name are patched, and others are added.
pub fn overlay(object: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Some(map) = object.as_object_mut() else {
        return;
    };
    for (key, change) in changes {
        if change.is_null() {
            map.remove(key);
            continue;
        }
        let place = map.entry(key.clone()).or_insert(Value::Null);
        match (place.as_array_mut(), change.as_array()) {
            (Some(items), Some(changes)) if by_name(items) && by_name(changes) => {
                named(items, changes);
            }
            _ => overlay(place, change),
        }
    }
}

fn by_name(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| name(item).is_some())
}

fn name(item: &Value) -> Option<&str> {
    item.get("name")?.as_str()
}

fn named(items: &mut Vec<Value>, changes: &[Value]) {
    for change in changes {
        let same = items.iter_mut().find(|item| name(item) == name(change));
        match same {
            Some(item) => overlay(item, change),
            None => items.push(change.clone()),
        }
    }
}

/// Replaces the images of all containers of a pod template: `from` is what stands before the tag or digest, `to` what
/// shall stand there; where `to` has a tag or digest of its own, it replaces that too. Gives how many it replaced.
pub fn image(object: &mut Value, from: &str, to: &str) -> usize {
    let mut replaced = 0;
    match object {
        Value::Object(map) => {
            for (key, value) in map {
                if matches!(
                    key.as_str(),
                    "containers" | "initContainers" | "ephemeralContainers"
                ) && let Some(containers) = value.as_array_mut()
                {
                    for container in containers {
                        replaced += usize::from(image_of(container, from, to));
                    }
                } else {
                    replaced += image(value, from, to);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                replaced += image(item, from, to);
            }
        }
        _ => {}
    }
    replaced
}

fn image_of(container: &mut Value, from: &str, to: &str) -> bool {
    let Some(image) = container.get_mut("image") else {
        return false;
    };
    let Some(text) = image.as_str() else {
        return false;
    };
    let (name, rest) = split_image(text);
    if name != from {
        return false;
    }
    let new = match split_image(to) {
        (_, "") => format!("{to}{rest}"),
        _ => to.to_owned(),
    };
    *image = Value::from(new);
    true
}

/// An image's name, and its tag or digest with the sign before it.
fn split_image(image: &str) -> (&str, &str) {
    if let Some(at) = image.find('@') {
        return image.split_at(at);
    }
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    match image.get(last..).and_then(|tail| tail.find(':')) {
        Some(colon) => image.split_at(last + colon),
        None => (image, ""),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_changes_what_it_names_and_leaves_the_rest() {
        let mut object = json!({
            "spec": {
                "replicas": 1, "paused": true,
                "containers": [{ "name": "a", "image": "x", "args": ["1", "2"] }, { "name": "b" }]
            }
        });
        overlay(
            &mut object,
            &json!({
                "metadata": { "labels": { "k": "v" } },
                "spec": {
                    "replicas": 2, "paused": null,
                    "containers": [{ "name": "a", "args": ["3"] }, { "name": "c" }]
                }
            }),
        );
        assert_eq!(
            object,
            json!({
                "metadata": { "labels": { "k": "v" } },
                "spec": {
                    "replicas": 2,
                    "containers": [{ "name": "a", "image": "x", "args": ["3"] }, { "name": "b" }, { "name": "c" }]
                }
            })
        );
    }

    #[test]
    fn an_image_keeps_its_tag_unless_the_new_one_has_its_own() {
        let mut object = json!({ "spec": { "containers": [
            { "image": "quay.io/metallb/speaker:v1" }, { "image": "reg:5000/a@sha256:00" }, { "image": "other:v1" }
        ] } });
        assert_eq!(
            image(
                &mut object,
                "quay.io/metallb/speaker",
                "mirror:5000/speaker"
            ),
            1
        );
        assert_eq!(image(&mut object, "reg:5000/a", "b:v2"), 1);
        assert_eq!(image(&mut object, "nothing", "b"), 0);
        assert_eq!(
            object["spec"]["containers"],
            json!([{ "image": "mirror:5000/speaker:v1" }, { "image": "b:v2" }, { "image": "other:v1" }])
        );
    }
}
