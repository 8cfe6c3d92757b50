//! From the objects of a manifest to those that are wished: namespaces filled in by what is known of their kinds, those
//! of roles' subjects too, and what nobody may declare taken out.

use serde_json::{Map, Value};

use super::discovery::Discovery;
use super::document::strip;
use super::key::{kind, meta, text};

/// Where objects are to live that do not say it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Places<'a> {
    /// The namespace of those that name none.
    pub namespace: Option<&'a str>,
    /// The namespace whose objects go there as well (many releases say `default` and mean any).
    pub instead_of: Option<&'a str>,
}

/// Whether objects of a kind live in namespaces: as the API says it, or as the definitions among the objects do.
/// `None` = nobody knows this kind.
pub fn is_namespaced(object: &Value, served: &Discovery, brought: &Discovery) -> Option<bool> {
    let version = object.get("apiVersion")?.as_str()?;
    let found = served
        .get(version, kind(object))
        .or_else(|| brought.get(version, kind(object)));
    found.map(|resource| resource.namespaced)
}

/// Brings an object into the form in which it is compared and applied.
pub fn adjust(object: &mut Value, namespaced: bool, places: Places<'_>) {
    strip(object);
    let here = meta(object, "namespace").map(str::to_owned);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        match (namespaced, &here) {
            (false, _) => drop(metadata.remove("namespace")),
            (true, Some(named)) if places.instead_of == Some(named) => {
                set(metadata, places.namespace);
            }
            (true, Some(_)) => {}
            // Where nothing is said, `kubectl` takes `default` too.
            (true, None) => set(metadata, Some(places.namespace.unwrap_or("default"))),
        }
    }
    subjects(object, places);
}

fn set(metadata: &mut Map<String, Value>, namespace: Option<&str>) {
    if let Some(namespace) = namespace {
        metadata.insert("namespace".to_owned(), Value::from(namespace));
    }
}

/// Those whom a role is given to have a namespace of their own.
fn subjects(object: &mut Value, places: Places<'_>) {
    if !matches!(kind(object), "RoleBinding" | "ClusterRoleBinding") {
        return;
    }
    let Some(namespace) = places.namespace else {
        return;
    };
    let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        if text(subject, "/kind") != Some("ServiceAccount") {
            continue;
        }
        let named = text(subject, "/namespace");
        let fills = named.is_none_or(|named| named.is_empty() || places.instead_of == Some(named));
        if let Some(subject) = subject.as_object_mut().filter(|_| fills) {
            subject.insert("namespace".to_owned(), Value::from(namespace));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_and_subjects_without_a_namespace_get_the_wished_one_and_those_with_one_keep_it() {
        let places = Places {
            namespace: Some("argocd"),
            instead_of: Some("default"),
        };
        let placed = |mut object: Value, namespaced: bool| {
            adjust(&mut object, namespaced, places);
            object
        };
        let object = |namespace: Value| json!({ "kind": "Role", "metadata": { "name": "a", "namespace": namespace } });
        assert_eq!(
            placed(json!({ "kind": "Role", "metadata": { "name": "a" } }), true),
            object(json!("argocd"))
        );
        assert_eq!(
            placed(object(json!("default")), true),
            object(json!("argocd"))
        );
        assert_eq!(placed(object(json!("other")), true), object(json!("other")));
        assert_eq!(
            placed(object(json!("x")), false),
            json!({ "kind": "Role", "metadata": { "name": "a" } }),
            "a kind without namespaces has none"
        );
        let binding = json!({
            "kind": "ClusterRoleBinding", "metadata": { "name": "a" },
            "subjects": [
                { "kind": "ServiceAccount", "name": "s" },
                { "kind": "ServiceAccount", "name": "s", "namespace": "other" },
                { "kind": "Group", "name": "g" }
            ]
        });
        assert_eq!(
            placed(binding, false)["subjects"],
            json!([
                { "kind": "ServiceAccount", "name": "s", "namespace": "argocd" },
                { "kind": "ServiceAccount", "name": "s", "namespace": "other" },
                { "kind": "Group", "name": "g" }
            ])
        );
    }
}
