//! Whether a live object is as wished, told from the object alone: all wished fields are there with the wished values, and the
//! field manager owns exactly them. Where this says no, only a dry run can tell: a server may have written a value in another way
//! (`0.5` as `500m`), or a webhook changed it.

use serde_json::{Map, Value};

use super::owned::owned;

/// Whether `live` is what an apply of `wish` by `manager` would leave as it is, for certain.
pub fn is_as_wished(wish: &Value, live: &Value, manager: &str) -> bool {
    // A manager that has applied nothing but a name has no entry.
    let nothing = Map::new();
    covers_object(wish, live, owned(live, manager).unwrap_or(&nothing))
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
