//! What is awaited of an object, and whether it has come to it, by its status alone: pure predicates over one object.

mod conditions;
mod kinds;
mod pods;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::{ObjectKey, meta};
use conditions::condition_is;
pub use kinds::{has_rule, readiness};
pub use pods::pod_reason;

/// How far an object is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// It is what it shall be.
    Ready,
    /// Not yet; in words.
    Waiting(String),
    /// It will not come by waiting; in words.
    Failed(String),
}

/// What is awaited of an object.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
pub struct Awaited {
    /// The object.
    pub key: ObjectKey,
    /// What.
    pub what: Expected,
}

/// What can be awaited.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// Ready by the rule of its kind.
    Ready,
    /// Gone.
    Absent,
    /// The one with this `metadata.uid` is gone, whether or not another has its name.
    Gone {
        /// Its `metadata.uid`.
        uid: String,
    },
    /// An entry of `status.conditions` with this type has this status.
    Condition {
        /// `Available`.
        name: String,
        /// `True`.
        status: String,
    },
    /// What is at this JSON pointer is this text (numbers and truth values as their text).
    Field {
        /// `/status/phase`.
        pointer: String,
        /// `Bound`; `None` = anything but nothing.
        value: Option<String>,
    },
}

impl Expected {
    /// Whether an object (`None` = there is none) is as expected.
    pub fn of(&self, object: Option<&Value>) -> Readiness {
        let object = match (self, object) {
            (Self::Absent | Self::Gone { .. }, None) => return Readiness::Ready,
            (Self::Gone { uid }, Some(object)) if meta(object, "uid") != Some(uid.as_str()) => {
                return Readiness::Ready;
            }
            (Self::Absent | Self::Gone { .. }, Some(object)) => {
                return Readiness::Waiting(still_there(object));
            }
            (_, None) => return Readiness::Waiting("it is not there".to_owned()),
            (_, Some(object)) => object,
        };
        match self {
            Self::Ready | Self::Absent | Self::Gone { .. } => readiness(object),
            Self::Condition { name, status } => condition_is(object, name, status),
            Self::Field { pointer, value } => field_is(object, pointer, value.as_deref()),
        }
    }
}

fn still_there(object: &Value) -> String {
    let finalizers = object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array);
    let names: Vec<&str> = finalizers
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    match (
        object.pointer("/metadata/deletionTimestamp").is_some(),
        names.as_slice(),
    ) {
        (false, _) => "it is still there".to_owned(),
        (true, []) => "it is being deleted".to_owned(),
        (true, names) => format!(
            "it is being deleted and waits for its finalizers: {}",
            names.join(", ")
        ),
    }
}

fn field_is(object: &Value, pointer: &str, wanted: Option<&str>) -> Readiness {
    let found = match object.pointer(pointer) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    match (found, wanted) {
        (Some(found), Some(wanted)) if found == wanted => Readiness::Ready,
        (Some(found), None) if !found.is_empty() => Readiness::Ready,
        (Some(found), Some(wanted)) => {
            Readiness::Waiting(format!("{pointer} is {found:?}, not {wanted:?}"))
        }
        (_, Some(wanted)) => {
            Readiness::Waiting(format!("{pointer} is not there, and shall be {wanted:?}"))
        }
        (_, None) => Readiness::Waiting(format!("{pointer} is not there")),
    }
}
