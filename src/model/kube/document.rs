//! From the text of a manifest to objects. YAML 1.2 with several documents (JSON is YAML), empty documents left out.
//!
//! Scalars are read as `kubectl` would where YAML 1.1 and 1.2 agree. Where they do not, `0644` is octal, as in every
//! `defaultMode` there is; a bare `yes` or `on` is text, and so is the bare `=` of prometheus-operator's enums.

use serde_json::{Map, Value};

use super::key::{ObjectKey, meta};

/// Text of manifests above this is refused: the largest known release has 4.5 MB.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;

/// How a secret gets into YAML as the text that it is.
pub const TEMPLATES: &str = "a template as `{{ secret('NAME') | tojson }}`";

/// Why a text is no manifest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DocumentError {
    /// It cannot be read as YAML. The text says where.
    #[error("this is not YAML: {0}")]
    Yaml(String),
    /// A document is no object of Kubernetes.
    #[error("document {number} is not a Kubernetes object: {what}")]
    NotAnObject {
        /// Its place, from 1, empty ones not counted.
        number: usize,
        /// What it lacks.
        what: String,
    },
    /// A value of a Secret is a number, a switch or nothing, where only a text can be stored.
    #[error(
        "document {number}: `{place}` of the Secret is no text, but what YAML makes of it: put it in quotes, {TEMPLATES}"
    )]
    NotText {
        /// Its place, from 1, empty ones not counted.
        number: usize,
        /// Which value.
        place: String,
    },
    /// It is too large.
    #[error("the text has {0} bytes, more than the {MAX_BYTES} that are read")]
    TooLarge(usize),
}

/// All objects of a text, in its order; lists (`kind: List`) opened.
pub fn parse(text: &str) -> Result<Vec<Value>, DocumentError> {
    if text.len() > MAX_BYTES {
        return Err(DocumentError::TooLarge(text.len()));
    }
    let documents = yaml(text)?;
    let mut objects = Vec::new();
    let mut number = 0;
    for document in documents {
        if document.is_null() {
            continue;
        }
        number += 1;
        for object in opened(document) {
            check(&object).map_err(|what| DocumentError::NotAnObject { number, what })?;
            if let Some(place) = super::secret::not_text(&object) {
                return Err(DocumentError::NotText { number, place });
            }
            objects.push(object);
        }
    }
    Ok(objects)
}

/// The one document of a text that need be no object of Kubernetes.
pub fn any(text: &str) -> Result<Value, DocumentError> {
    Ok(yaml(text)?.into_iter().next().unwrap_or(Value::Null))
}

fn yaml(text: &str) -> Result<Vec<Value>, DocumentError> {
    // Limits against documents that are made to grow; real manifests have no aliases at all.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: None,
            max_events: 4_000_000,
            max_nodes: 2_000_000,
            max_total_scalar_bytes: MAX_BYTES,
            max_documents: 10_000,
        },
    };
    serde_saphyr::from_multiple_with_options::<Value>(text, options)
        .map_err(|error| DocumentError::Yaml(first_line(&error.to_string())))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn opened(document: Value) -> Vec<Value> {
    let is_list = super::key::kind(&document).ends_with("List")
        && document
            .get("metadata")
            .is_none_or(|m| m.get("name").is_none());
    match document {
        Value::Object(mut map) if is_list => match map.remove("items") {
            Some(Value::Array(items)) => items,
            other => {
                map.extend(other.map(|items| ("items".to_owned(), items)));
                vec![Value::Object(map)]
            }
        },
        other => vec![other],
    }
}

fn check(object: &Value) -> Result<(), String> {
    if !object.is_object() {
        return Err("it is no mapping".to_owned());
    }
    for key in ["apiVersion", "kind"] {
        if object
            .get(key)
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            return Err(format!("it has no {key}"));
        }
    }
    if ObjectKey::of(object).is_none() {
        let what = match meta(object, "generateName") {
            Some(_) => "it has generateName and no name, so nobody could find it again",
            None => "it has no metadata.name",
        };
        return Err(format!("{} {what}", super::key::kind(object)));
    }
    Ok(())
}

/// Drops what only a server says, and what it does not store: nobody may declare these.
pub fn strip(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in [
            "creationTimestamp",
            "deletionTimestamp",
            "generation",
            "managedFields",
            "resourceVersion",
            "selfLink",
            "uid",
        ] {
            metadata.remove(key);
        }
    }
    super::secret::plain_data(object);
    for pointer in ["/metadata", "/spec/template/metadata"] {
        let metadata = object.pointer_mut(pointer).and_then(Value::as_object_mut);
        if let Some(metadata) = metadata {
            metadata.retain(|key, value| !value.is_null() && !is_nothing(key, value));
        }
    }
}

/// Labels and annotations of which there are none: a server does not store that somebody owns them, so whoever declares
/// them finds it missing again and again.
fn is_nothing(key: &str, value: &Value) -> bool {
    matches!(key, "annotations" | "labels") && value.as_object().is_some_and(Map::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn several_documents_are_read_and_empty_ones_are_no_documents() {
        let text = "# nothing\n---\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n# only words\n---\n\
                    apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n---\n";
        let objects = parse(text).unwrap();
        let names: Vec<_> = objects.iter().filter_map(|o| meta(o, "name")).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(parse("").unwrap(), Vec::<Value>::new());
    }

    #[test]
    fn scalars_mean_what_they_mean_to_kubectl_and_an_equals_sign_is_text() {
        let text = "apiVersion: v1\nkind: X\nmetadata: {name: a}\nmode: 0644\nenum: [=, '!=', =~]\nport: 80\n\
                    flag: true\nswitch: \"on\"\nnone: null\nfloat: 0.5\nversion: \"1.10\"\n";
        let object = parse(text).unwrap().remove(0);
        assert_eq!(object["mode"], json!(420));
        assert_eq!(object["enum"], json!(["=", "!=", "=~"]));
        assert_eq!(object["port"], json!(80));
        assert_eq!(object["flag"], json!(true));
        assert_eq!(object["switch"], json!("on"));
        assert_eq!(object["none"], json!(null));
        assert_eq!(object["float"], json!(0.5));
        assert_eq!(object["version"], json!("1.10"));
    }

    #[test]
    fn a_list_is_its_items_and_a_custom_kind_that_ends_with_list_is_itself() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n";
        assert_eq!(parse(text).unwrap().len(), 1);
        let text =
            "apiVersion: example.org/v1\nkind: PriceList\nmetadata: {name: p}\nitems: [1, 2]\n";
        assert_eq!(parse(text).unwrap()[0]["items"], json!([1, 2]));
    }

    #[test]
    fn what_is_no_object_is_told_by_its_place_and_what_it_lacks() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert!(error("a: [").starts_with("this is not YAML"));
        assert_eq!(
            error("apiVersion: v1\nkind: Pod\nmetadata: {generateName: x-}\n"),
            "document 1 is not a Kubernetes object: Pod it has generateName and no name, so nobody could find it again"
        );
        assert!(error("---\n---\n- 1\n").contains("document 1"));
        assert!(error("kind: Pod\nmetadata: {name: x}\n").ends_with("it has no apiVersion"));
    }

    #[test]
    fn a_key_that_is_there_twice_is_a_mistake_and_never_the_last_one_silently() {
        let text =
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\ndata: {k: w}\n";
        assert!(matches!(parse(text), Err(DocumentError::Yaml(_))));
    }

    #[test]
    fn that_there_are_no_annotations_is_not_declared() {
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a", "annotations": {} },
            "spec": { "template": { "metadata": { "labels": { "a": "b" }, "annotations": {} }, "spec": { "volumes": [
                { "name": "v", "emptyDir": {} }
            ] } } }
        });
        strip(&mut object);
        assert_eq!(object["metadata"], json!({ "name": "a" }));
        let template = &object["spec"]["template"];
        assert_eq!(template["metadata"], json!({ "labels": { "a": "b" } }));
        assert_eq!(
            template["spec"]["volumes"][0]["emptyDir"],
            json!({}),
            "this means something"
        );
    }

    #[test]
    fn what_only_a_server_says_is_dropped() {
        let mut object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "a", "creationTimestamp": null, "uid": "1", "labels": { "a": "b" } },
            "status": {}
        });
        strip(&mut object);
        assert_eq!(
            object,
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "labels": { "a": "b" } } })
        );
    }
}
