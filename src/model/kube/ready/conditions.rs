//! The conditions of an object's status, and whether they are of the object as it is now.

use serde_json::Value;

use super::Readiness;
use crate::model::kube::key::{number, text};

/// An entry of `status.conditions`.
pub(super) fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|condition| text(condition, "/type") == Some(name))
}

pub(super) fn is_true(object: &Value, name: &str) -> bool {
    condition(object, name).and_then(|found| text(found, "/status")) == Some("True")
}

/// A condition in words: `Available is False (MinimumReplicasUnavailable): Deployment does not have ...`.
pub(super) fn told(name: &str, condition: &Value) -> String {
    let status = text(condition, "/status").unwrap_or("Unknown");
    let mut words = format!("{name} is {status}");
    if let Some(reason) = text(condition, "/reason").filter(|reason| !reason.is_empty()) {
        words.push_str(&format!(" ({reason})"));
    }
    if let Some(message) = text(condition, "/message").filter(|message| !message.is_empty()) {
        words.push_str(&format!(": {message}"));
    }
    words
}

/// Whether a condition has this status, for the object as it is now.
pub(super) fn condition_is(object: &Value, name: &str, wanted: &str) -> Readiness {
    match condition(object, name) {
        None => Readiness::Waiting(format!("it has no condition {name} yet")),
        Some(found) if text(found, "/status") == Some(wanted) && is_observed(object, found) => {
            Readiness::Ready
        }
        Some(found) if text(found, "/status") == Some(wanted) => Readiness::Waiting(format!(
            "its controller has not seen its last change ({name} is of before)"
        )),
        Some(found) => Readiness::Waiting(told(name, found)),
    }
}

/// Whether a condition, or the status as a whole, is of the object as it is now.
fn is_observed(object: &Value, condition: &Value) -> bool {
    let generation = number(object, "/metadata/generation");
    let seen = number(condition, "/observedGeneration")
        .or_else(|| number(object, "/status/observedGeneration"));
    match (generation, seen) {
        (Some(generation), Some(seen)) => seen >= generation,
        _ => true,
    }
}
