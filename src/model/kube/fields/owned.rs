//! What a field manager owns of an object.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The label of members of an ApplySet (KEP-3659).
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// What a manager owns by server-side apply: its `fieldsV1`.
pub(super) fn owned<'a>(live: &'a Value, manager: &str) -> Option<&'a Map<String, Value>> {
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

/// Fields (`.spec.replicas`) that a manager owns in one object and not in the other.
pub fn newly_owned(before: &Value, after: &Value, manager: &str) -> Vec<String> {
    let of = |object: &Value| {
        let mut paths = BTreeSet::new();
        if let Some(owned) = owned(object, manager) {
            collect(owned, "", &mut paths);
        }
        paths
    };
    let (before, after) = (of(before), of(after));
    before.symmetric_difference(&after).cloned().collect()
}

fn collect(owned: &Map<String, Value>, at: &str, paths: &mut BTreeSet<String>) {
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
