//! Whether a live object is as wished, told from the object alone: all wished fields are there with the wished values, and
//! the field manager owns exactly them. `metadata.managedFields` says what it owns in terms of the kind's own schema (which
//! lists are sets, which have keys), so no schema is needed here. Where this says no, only a dry run can tell: a server
//! may have written a value in another way (`0.5` as `500m`), or a webhook changed it.

use serde_json::{Map, Value};

use super::key::text;

/// The label of members of an ApplySet (KEP-3659).
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// Whether `live` is what an apply of `wish` by `manager` would leave as it is, for certain.
pub fn is_as_wished(wish: &Value, live: &Value, manager: &str) -> bool {
    // A manager that has applied nothing but a name has no entry.
    let nothing = Map::new();
    covers_object(wish, live, owned(live, manager).unwrap_or(&nothing))
}

/// What a manager owns by server-side apply: its `fieldsV1`.
pub fn owned<'a>(live: &'a Value, manager: &str) -> Option<&'a Map<String, Value>> {
    let entries = live.pointer("/metadata/managedFields")?.as_array()?;
    let text = |entry: &'a Value, key: &str| entry.get(key).and_then(Value::as_str);
    entries
        .iter()
        .find(|entry| {
            text(entry, "manager") == Some(manager)
                && text(entry, "operation") == Some("Apply")
                && text(entry, "subresource").is_none_or(str::is_empty)
        })?
        .get("fieldsV1")?
        .as_object()
}

/// The labels and annotations that a manager owns by server-side apply, as a `metadata` with these; null where there are none.
/// Membership in a set is not among them: it is that of one step.
pub fn owned_marks(live: &Value, manager: &str) -> Value {
    let mut metadata = Map::new();
    for kind in ["labels", "annotations"] {
        let fields = owned(live, manager).and_then(|fields| fields.get("f:metadata"));
        let fields = fields.and_then(|fields| fields.get(format!("f:{kind}")));
        let values = live.get("metadata").and_then(|metadata| metadata.get(kind));
        let mut kept = Map::new();
        for field in fields
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::keys)
        {
            if let Some(name) = field.strip_prefix("f:").filter(|name| *name != PART_OF)
                && let Some(value) = values.and_then(|values| values.get(name))
            {
                kept.insert(name.to_owned(), value.clone());
            }
        }
        if !kept.is_empty() {
            metadata.insert(kind.to_owned(), Value::Object(kept));
        }
    }
    match metadata.is_empty() {
        true => Value::Null,
        false => Value::Object(metadata),
    }
}

/// Whether a manager itself set a label: controllers copy labels from one object to another.
pub fn owns_label(live: &Value, manager: &str, label: &str) -> bool {
    let fields = owned(live, manager).and_then(|fields| fields.get("f:metadata"));
    let fields = fields.and_then(|fields| fields.get("f:labels"));
    fields.is_some_and(|fields| fields.get(format!("f:{label}")).is_some())
}

/// At the top: names and types of objects belong to nobody.
fn covers_object(wish: &Value, live: &Value, owned: &Map<String, Value>) -> bool {
    let (Some(wish), Some(live)) = (wish.as_object(), live.as_object()) else {
        return false;
    };
    if ["apiVersion", "kind"]
        .iter()
        .any(|key| wish.get(*key) != live.get(*key))
    {
        return false;
    }
    let mut metadata = wish.get("metadata").cloned().unwrap_or_default();
    if let Some(metadata) = metadata.as_object_mut() {
        for key in ["name", "namespace"] {
            let of_live = live.get("metadata").and_then(|metadata| metadata.get(key));
            if metadata.remove(key).as_ref() != of_live {
                return false;
            }
        }
        metadata.retain(|_, value| !value.is_null());
    }
    let has_more = metadata.as_object().is_some_and(|map| !map.is_empty());
    let others = wish
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .filter(|(key, _)| !["apiVersion", "kind", "metadata"].contains(key));
    let metadata = has_more.then_some(("metadata", &metadata));
    covered_entries(others.chain(metadata), live, owned)
}

fn map_covered(
    wish: &Map<String, Value>,
    live: &Map<String, Value>,
    owned: &Map<String, Value>,
) -> bool {
    let entries = wish.iter().map(|(key, value)| (key.as_str(), value));
    covered_entries(entries, live, owned)
}

fn covered_entries<'a>(
    wish: impl Iterator<Item = (&'a str, &'a Value)>,
    live: &Map<String, Value>,
    owned: &Map<String, Value>,
) -> bool {
    let fields = owned.keys().filter(|key| key.starts_with("f:")).count();
    let others = owned.keys().any(|key| !key.starts_with("f:") && key != ".");
    // A key with null is a key that is not there.
    let wished: Vec<(&str, &Value)> = wish.filter(|(_, value)| !value.is_null()).collect();
    !others
        && fields == wished.len()
        && wished.into_iter().all(|(key, wish)| {
            let owned = owned.get(&format!("f:{key}")).and_then(Value::as_object);
            match (owned, live.get(key)) {
                (Some(owned), Some(live)) => covered(wish, live, owned),
                _ => false,
            }
        })
}

fn covered(wish: &Value, live: &Value, owned: &Map<String, Value>) -> bool {
    if owned.is_empty() {
        // Owned as a whole: a scalar, or what is replaced as one.
        return is_same(wish, live);
    }
    match (wish, live) {
        (Value::Object(wish), Value::Object(live)) => map_covered(wish, live, owned),
        (Value::Array(wish), Value::Array(live)) => list_covered(wish, live, owned),
        _ => false,
    }
}

/// What a server adds to objects that are replaced as a whole, by the keys that such an object has: part of an object of
/// pods, of roles' bindings, of network policies (defaults of Kubernetes' API reference).
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("fieldPath", "apiVersion", "v1"),
    ("resource", "divisor", "0"),
    ("port", "protocol", "TCP"),
];

/// Whether a value is the wished one, defaults of the server included.
fn is_same(wish: &Value, live: &Value) -> bool {
    match (wish, live) {
        (Value::Object(wish), Value::Object(live)) => {
            let is_default = |key: &str, value: &Value| {
                DEFAULTS.iter().any(|(beside, name, default)| {
                    *name == key && value == default && wish.contains_key(*beside)
                })
            };
            let wished = |key: &str| wish.get(key).filter(|value| !value.is_null());
            wish.iter()
                .filter(|(_, value)| !value.is_null())
                .all(|(key, wish)| live.get(key).is_some_and(|live| is_same(wish, live)))
                && live
                    .iter()
                    .all(|(key, value)| wished(key).is_some() || is_default(key, value))
        }
        (Value::Array(wish), Value::Array(live)) => {
            wish.len() == live.len() && wish.iter().zip(live).all(|(a, b)| is_same(a, b))
        }
        _ => wish == live,
    }
}

fn list_covered(wish: &[Value], live: &[Value], owned: &Map<String, Value>) -> bool {
    let entries: Vec<(&String, &Value)> = owned.iter().filter(|(key, _)| *key != ".").collect();
    if entries.len() != wish.len() {
        return false;
    }
    let mut places = Vec::new();
    let covered = entries.into_iter().all(|(key, owned)| {
        match (key.strip_prefix("k:"), key.strip_prefix("v:")) {
            (Some(keys), _) => {
                let place = item_covered(wish, live, keys, owned);
                places.extend(place);
                place.is_some()
            }
            (_, Some(value)) => serde_json::from_str::<Value>(value)
                .is_ok_and(|value| wish.contains(&value) && live.contains(&value)),
            _ => false,
        }
    });
    // An apply moves items that it shares with others into the wished order, which may mean something: of init containers,
    // of variables that use one another.
    places.sort_unstable();
    covered && places.is_sorted_by(|(_, a), (_, b)| a < b)
}

/// One item of a list with keys: `keys` is a JSON object of them. Its places in both lists, where it is covered.
fn item_covered(
    wish: &[Value],
    live: &[Value],
    keys: &str,
    owned: &Value,
) -> Option<(usize, usize)> {
    let (Ok(Value::Object(keys)), Some(owned)) = (serde_json::from_str(keys), owned.as_object())
    else {
        return None;
    };
    let is_it = |item: &&Value, may_lack: bool| {
        keys.iter().all(|(key, value)| match item.get(key) {
            Some(own) => own == value,
            // A key that has a default (the protocol of a port) need not be wished.
            None => may_lack,
        })
    };
    let exact = wish.iter().enumerate().find(|(_, item)| is_it(item, false));
    let mut others = wish
        .iter()
        .enumerate()
        .filter(|(_, item)| is_it(item, true));
    let (at, item) = match (exact, others.next(), others.next()) {
        (Some(found), _, _) | (None, Some(found), None) => found,
        _ => return None,
    };
    let mut live = live.iter().enumerate();
    let (live_at, live) = live.find(|(_, item)| is_it(item, false))?;
    map_covered(item.as_object()?, live.as_object()?, owned).then_some((at, live_at))
}

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

/// Fields (`.spec.replicas`) that a manager owns in one object and not in the other.
pub fn newly_owned(before: &Value, after: &Value, manager: &str) -> Vec<String> {
    let of = |object: &Value| {
        let mut paths = std::collections::BTreeSet::new();
        if let Some(owned) = owned(object, manager) {
            collect(owned, "", &mut paths);
        }
        paths
    };
    let (before, after) = (of(before), of(after));
    before.symmetric_difference(&after).cloned().collect()
}

fn collect(owned: &Map<String, Value>, at: &str, paths: &mut std::collections::BTreeSet<String>) {
    for (key, inner) in owned {
        let path = match (key.strip_prefix("f:"), key.split_once(':')) {
            (Some(name), _) => format!("{at}.{name}"),
            (None, Some((_, item))) => format!("{at}[{item}]"),
            (None, None) => at.to_owned(),
        };
        match inner.as_object().filter(|inner| !inner.is_empty()) {
            Some(inner) => collect(inner, &path, paths),
            None => drop(paths.insert(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "dns", "namespace": "n", "uid": "1", "labels": { "a": "b", "theirs": "x" },
                "managedFields": [{
                    "manager": "hmco-boot", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
                    "fieldsV1": {
                        "f:metadata": { "f:labels": { "f:a": {} } },
                        "f:spec": {
                            "f:ports": {
                                "k:{\"port\":53,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} },
                                "k:{\"port\":53,\"protocol\":\"UDP\"}": { ".": {}, "f:port": {}, "f:protocol": {} }
                            },
                            "f:selector": {}
                        }
                    }
                }, {
                    "manager": "other", "operation": "Update", "fieldsV1": { "f:metadata": { "f:labels": { "f:theirs": {} } } }
                }]
            },
            "spec": {
                "ports": [{ "port": 53, "protocol": "TCP", "targetPort": 53 }, { "port": 53, "protocol": "UDP", "targetPort": 53 }],
                "selector": { "app": "dns" }, "clusterIP": "10.43.0.10"
            }
        })
    }

    fn wish() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "dns", "namespace": "n", "labels": { "a": "b" } },
            "spec": { "ports": [{ "port": 53, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }], "selector": { "app": "dns" } }
        })
    }

    #[test]
    fn an_object_whose_wished_fields_are_live_and_ours_is_as_wished_whatever_others_added() {
        // The key of the TCP port is there by default; owned is only what was wished.
        let mut wish = wish();
        let mut live = live();
        assert!(
            !is_as_wished(&wish, &live, "hmco-boot"),
            "protocol of TCP is wished and not owned"
        );
        live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:ports"]["k:{\"port\":53,\"protocol\":\"TCP\"}"]
            ["f:protocol"] = json!({});
        assert!(is_as_wished(&wish, &live, "hmco-boot"));
        assert!(!is_as_wished(&wish, &live, "somebody-else"));
        // Items in another order: an apply would move them.
        wish["spec"]["ports"].as_array_mut().unwrap().reverse();
        assert!(!is_as_wished(&wish, &live, "hmco-boot"));
    }

    #[test]
    fn what_others_change_between_two_looks_is_no_difference() {
        let mut tried = live();
        tried["metadata"]["resourceVersion"] = json!("7");
        let mut live = tried.clone();
        assert!(is_left_as_it_is(&live, &tried, "hmco-boot"));
        live["metadata"]["annotations"] = json!({ "deployment.kubernetes.io/revision": "1" });
        assert!(
            !is_left_as_it_is(&live, &tried, "hmco-boot"),
            "of one version"
        );
        live["metadata"]["resourceVersion"] = json!("8");
        assert!(is_left_as_it_is(&live, &tried, "hmco-boot"));
        for change in [json!({ "app": "x" }), json!({})] {
            let mut other = live.clone();
            other["spec"]["selector"] = change;
            assert!(!is_left_as_it_is(&other, &tried, "hmco-boot"));
        }
        let mut other = live.clone();
        other["spec"]["ports"].as_array_mut().unwrap().remove(0);
        assert!(!is_left_as_it_is(&other, &tried, "hmco-boot"));
        other = live.clone();
        other["metadata"]["labels"]["a"] = json!("c");
        assert!(!is_left_as_it_is(&other, &tried, "hmco-boot"));
    }

    #[test]
    fn marks_that_somebody_set_are_his_and_membership_in_a_set_is_not_kept() {
        let mut live = live();
        assert_eq!(
            owned_marks(&live, "hmco-boot"),
            json!({ "labels": { "a": "b" } })
        );
        assert_eq!(owned_marks(&live, "somebody-else"), Value::Null);
        assert!(owns_label(&live, "hmco-boot", "a"));
        assert!(!owns_label(&live, "hmco-boot", "theirs"));
        live["metadata"]["labels"][PART_OF] = json!("x");
        live["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:labels"]
            [format!("f:{PART_OF}")] = json!({});
        assert_eq!(
            owned_marks(&live, "hmco-boot"),
            json!({ "labels": { "a": "b" } })
        );
    }

    #[test]
    fn a_value_that_differs_a_field_more_and_a_field_less_are_seen() {
        let live = live();
        let mut same = wish();
        same["spec"]["ports"] = json!([{ "port": 53 }]);
        assert!(!is_as_wished(&same, &live, "hmco-boot"), "one port less");
        let mut other = wish();
        other["spec"]["selector"] = json!({ "app": "x" });
        assert!(!is_as_wished(&other, &live, "hmco-boot"));
        let mut more = wish();
        more["metadata"]["labels"]["c"] = json!("d");
        assert!(!is_as_wished(&more, &live, "hmco-boot"));
        let mut less = wish();
        less["metadata"].as_object_mut().unwrap().remove("labels");
        assert!(
            !is_as_wished(&less, &live, "hmco-boot"),
            "a label that is ours is not wished any more"
        );
        let mut elsewhere = wish();
        elsewhere["metadata"]["namespace"] = json!("m");
        assert!(!is_as_wished(&elsewhere, &live, "hmco-boot"));
    }

    #[test]
    fn what_is_replaced_as_a_whole_may_have_the_servers_defaults_and_nothing_else() {
        let live = |source: Value| {
            json!({
                "apiVersion": "v1", "kind": "X",
                "metadata": { "name": "x", "managedFields": [{
                    "manager": "hmco-boot", "operation": "Apply", "fieldsV1": { "f:spec": { "f:source": {} } }
                }] },
                "spec": { "source": source }
            })
        };
        let wish = json!({
            "apiVersion": "v1", "kind": "X", "metadata": { "name": "x" }, "spec": { "source": { "fieldPath": "a" } }
        });
        let is = |source: Value| is_as_wished(&wish, &live(source), "hmco-boot");
        assert!(is(json!({ "fieldPath": "a" })));
        assert!(is(json!({ "fieldPath": "a", "apiVersion": "v1" })));
        assert!(!is(json!({ "fieldPath": "a", "apiVersion": "v2" })));
        assert!(!is(json!({ "fieldPath": "a", "other": "v1" })));
        assert!(!is(json!({ "fieldPath": "b", "apiVersion": "v1" })));
    }

    #[test]
    fn an_object_that_is_only_a_name_is_as_wished_when_it_is_there() {
        let wish =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "web" } });
        let mut live = wish.clone();
        live["status"] = json!({ "phase": "Active" });
        assert!(is_as_wished(&wish, &live, "hmco-boot"));
        live["metadata"]["managedFields"] = json!([{
            "manager": "hmco-boot", "operation": "Apply", "fieldsV1": { "f:metadata": { "f:labels": { "f:a": {} } } }
        }]);
        assert!(
            !is_as_wished(&wish, &live, "hmco-boot"),
            "a label of ours is not wished any more"
        );
    }

    #[test]
    fn sets_of_scalars_and_keys_with_null_are_understood() {
        let live = json!({
            "apiVersion": "v1", "kind": "X",
            "metadata": { "name": "x", "finalizers": ["a", "b"], "managedFields": [{
                "manager": "hmco-boot", "operation": "Apply",
                "fieldsV1": { "f:metadata": { "f:finalizers": { ".": {}, "v:\"a\"": {} } } }
            }] }
        });
        let wish = json!({ "apiVersion": "v1", "kind": "X", "metadata": { "name": "x", "finalizers": ["a"] }, "spec": null });
        assert!(is_as_wished(&wish, &live, "hmco-boot"));
        let wish = json!({ "apiVersion": "v1", "kind": "X", "metadata": { "name": "x", "finalizers": ["c"] } });
        assert!(!is_as_wished(&wish, &live, "hmco-boot"));
    }

    #[test]
    fn what_a_manager_would_own_more_or_less_is_named() {
        let before = json!({ "metadata": { "managedFields": [] } });
        assert_eq!(
            newly_owned(&before, &live(), "hmco-boot"),
            [
                ".metadata.labels.a",
                ".spec.ports[{\"port\":53,\"protocol\":\"TCP\"}]",
                ".spec.ports[{\"port\":53,\"protocol\":\"TCP\"}].port",
                ".spec.ports[{\"port\":53,\"protocol\":\"UDP\"}]",
                ".spec.ports[{\"port\":53,\"protocol\":\"UDP\"}].port",
                ".spec.ports[{\"port\":53,\"protocol\":\"UDP\"}].protocol",
                ".spec.selector",
            ]
        );
    }
}
