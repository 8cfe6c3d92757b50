//! Values of Secrets: stored in base64, compared without being seen. What is read from an API has digests where a Secret
//! has values, so that no fact and no message ever holds one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::key::{group_of, kind};

/// kubectl keeps a whole object in it, values included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whether an object is a Secret of Kubernetes itself.
pub fn is_secret(object: &Value) -> bool {
    let api_version = object.get("apiVersion").and_then(Value::as_str);
    kind(object) == "Secret" && api_version.is_some_and(|version| group_of(version).is_empty())
}

/// Moves `stringData` of a Secret into `data`, as the server would: it does not store `stringData`, so its fields
/// could be owned by nobody and never removed again.
pub fn plain_data(object: &mut Value) {
    if !is_secret(object) {
        return;
    }
    let Some(map) = object.as_object_mut() else {
        return;
    };
    let Some(Value::Object(texts)) = map.remove("stringData") else {
        return;
    };
    let data = map
        .entry("data")
        .or_insert_with(|| Value::Object(Map::new()));
    if !data.is_object() {
        *data = Value::Object(Map::new());
    }
    if let Some(data) = data.as_object_mut() {
        for (key, text) in texts {
            let text = text.as_str().unwrap_or_default();
            data.insert(key, Value::from(STANDARD.encode(text)));
        }
    }
}

/// The first value of a Secret that is no text, by its place: what YAML reads of `pin: 12345678`, of `on: true`, of nothing.
/// Only texts can be stored.
pub fn not_text(object: &Value) -> Option<String> {
    if !is_secret(object) {
        return None;
    }
    ["data", "stringData"].iter().find_map(|place| {
        let values = object.get(*place)?.as_object()?;
        let (key, _) = values.iter().find(|(_, value)| !value.is_string())?;
        Some(format!("{place}.{key}"))
    })
}

/// Puts digests where a Secret has values; other objects stay as they are.
pub fn scrub(object: &mut Value) {
    if !is_secret(object) {
        return;
    }
    for key in ["data", "stringData"] {
        let data = object.get_mut(key).and_then(Value::as_object_mut);
        for value in data.into_iter().flat_map(Map::values_mut) {
            *value = digest(value);
        }
    }
    let annotations = object.pointer_mut("/metadata/annotations");
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
}

/// Of the bytes that a value stands for: base64 may be written in several ways.
fn digest(value: &Value) -> Value {
    let text = value.as_str().unwrap_or_default();
    let joined: String = text.split_whitespace().collect();
    let bytes = STANDARD.decode(joined).unwrap_or_else(|_| text.into());
    let digest = Sha256::digest(&bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Value::from(format!("sha256:{hex}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_values_have_equal_digests_however_they_are_written_and_no_value_is_left() {
        let mut wished = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" },
            "stringData": { "password": "canary-7Q2x" }
        });
        plain_data(&mut wished);
        assert_eq!(
            wished["data"]["password"],
            json!(STANDARD.encode("canary-7Q2x"))
        );
        let mut live = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "s", "annotations": { LAST_APPLIED: "{\"canary-7Q2x\":1}", "a": "b" } },
            "data": { "password": STANDARD.encode("canary-7Q2x") }
        });
        scrub(&mut wished);
        scrub(&mut live);
        assert_eq!(wished["data"], live["data"]);
        assert!(!live.to_string().contains("canary"));
        assert!(!live.to_string().contains(&STANDARD.encode("canary-7Q2x")));
        assert_eq!(live["metadata"]["annotations"], json!({ "a": "b" }));
    }

    #[test]
    fn a_value_that_is_no_text_is_found_by_its_place() {
        let secret = |values: Value| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": values });
        assert_eq!(not_text(&secret(json!({ "a": "1" }))), None);
        for value in [json!(1234), json!(true), json!(null), json!(["x"])] {
            let found = not_text(&secret(json!({ "a": "1", "pin": value })));
            assert_eq!(found.as_deref(), Some("stringData.pin"));
        }
    }

    #[test]
    fn a_custom_resource_called_secret_is_left_as_it_is() {
        let mut object =
            json!({ "apiVersion": "example.org/v1", "kind": "Secret", "data": { "a": "b" } });
        let before = object.clone();
        scrub(&mut object);
        assert_eq!(object, before);
    }
}
