//! The rule of each kind that has one. What has none is ready when it is there.

use serde_json::Value;

use super::conditions::{condition, condition_is, is_true, told};
use super::pods::pod;
use super::{Readiness, field_is, still_there};
use crate::model::kube::key::{kind, number, text};

/// Whether an object is ready, by the rule of its kind.
pub fn readiness(object: &Value) -> Readiness {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Readiness::Waiting(still_there(object));
    }
    rule(kind(object)).map_or(Readiness::Ready, |rule| rule(object))
}

fn rule(kind: &str) -> Option<fn(&Value) -> Readiness> {
    Some(match kind {
        "Deployment" => deployment,
        "DaemonSet" => daemon_set,
        "StatefulSet" => stateful_set,
        "ReplicaSet" | "ReplicationController" => replicas,
        "Job" => job,
        "Pod" => pod,
        "PersistentVolumeClaim" => claim,
        "Namespace" => |object| field_is(object, "/status/phase", Some("Active")),
        "CustomResourceDefinition" => definition,
        "APIService" => |object| condition_is(object, "Available", "True"),
        "Node" => |object| condition_is(object, "Ready", "True"),
        _ => return None,
    })
}

/// Whether there is anything to await of what is applied: other kinds are ready when they are there. A Node is made ready by its
/// machine, not by what is applied.
pub fn has_rule(kind: &str) -> bool {
    kind != "Node" && rule(kind).is_some()
}

/// Whether its controller has seen its last change.
fn is_current(object: &Value) -> bool {
    match number(object, "/metadata/generation") {
        Some(generation) => {
            number(object, "/status/observedGeneration").is_some_and(|seen| seen >= generation)
        }
        None => true,
    }
}

/// A number of a status: 0 where it is not there.
pub(super) fn count(object: &Value, pointer: &str) -> i64 {
    number(object, pointer).unwrap_or(0)
}

fn not_seen() -> Readiness {
    Readiness::Waiting("its controller has not seen its last change".to_owned())
}

fn deployment(object: &Value) -> Readiness {
    if !is_current(object) {
        return not_seen();
    }
    if let Some(found) = condition(object, "Progressing")
        && text(found, "/reason") == Some("ProgressDeadlineExceeded")
    {
        return Readiness::Failed(with_cause(told("Progressing", found), object));
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let updated = count(object, "/status/updatedReplicas");
    let available = count(object, "/status/availableReplicas");
    let all = count(object, "/status/replicas");
    if updated < wanted {
        let words = format!("{updated} of {wanted} pods are of its new version");
        return Readiness::Waiting(with_cause(words, object));
    }
    if all > updated {
        return Readiness::Waiting(format!(
            "{} pods of its old version are left",
            all - updated
        ));
    }
    if available < wanted {
        let words = format!("{available} of {wanted} pods are available");
        return Readiness::Waiting(with_cause(words, object));
    }
    match condition(object, "Available") {
        Some(found) if text(found, "/status") != Some("True") => {
            Readiness::Waiting(told("Available", found))
        }
        _ => Readiness::Ready,
    }
}

/// With why no pods come, where a condition says it: a quota, an admission webhook, a missing ServiceAccount.
fn with_cause(words: String, object: &Value) -> String {
    match condition(object, "ReplicaFailure") {
        Some(found) if text(found, "/status") == Some("True") => {
            format!("{words}; {}", told("ReplicaFailure", found))
        }
        _ => words,
    }
}

fn daemon_set(object: &Value) -> Readiness {
    if !is_current(object) {
        return not_seen();
    }
    let wanted = count(object, "/status/desiredNumberScheduled");
    let available = count(object, "/status/numberAvailable");
    let on_delete = text(object, "/spec/updateStrategy/type") == Some("OnDelete");
    let updated = count(object, "/status/updatedNumberScheduled");
    if !on_delete && updated < wanted {
        return Readiness::Waiting(format!("{updated} of {wanted} pods are of its new version"));
    }
    if available < wanted {
        return Readiness::Waiting(format!("{available} of {wanted} pods are available"));
    }
    Readiness::Ready
}

fn stateful_set(object: &Value) -> Readiness {
    if !is_current(object) {
        return not_seen();
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let ready = count(object, "/status/readyReplicas");
    if ready < wanted {
        return Readiness::Waiting(format!("{ready} of {wanted} pods are ready"));
    }
    let on_delete = text(object, "/spec/updateStrategy/type") == Some("OnDelete");
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    let updated = count(object, "/status/updatedReplicas");
    let revisions =
        text(object, "/status/currentRevision") == text(object, "/status/updateRevision");
    if !on_delete && !revisions && updated < wanted - partition {
        return Readiness::Waiting(format!("{updated} of {wanted} pods are of its new version"));
    }
    Readiness::Ready
}

fn replicas(object: &Value) -> Readiness {
    if !is_current(object) {
        return not_seen();
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let ready = count(object, "/status/readyReplicas");
    match ready < wanted {
        true => Readiness::Waiting(with_cause(
            format!("{ready} of {wanted} pods are ready"),
            object,
        )),
        false => Readiness::Ready,
    }
}

fn job(object: &Value) -> Readiness {
    if let Some(found) = condition(object, "Failed").filter(|_| is_true(object, "Failed")) {
        return Readiness::Failed(told("Failed", found));
    }
    if is_true(object, "Complete")
        || object.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true)
    {
        return Readiness::Ready;
    }
    let (active, failed) = (
        count(object, "/status/active"),
        count(object, "/status/failed"),
    );
    Readiness::Waiting(format!(
        "it is not complete: {active} pods at work, {failed} have failed"
    ))
}

/// A claim without a pod stays Pending where volumes are made for their first consumer: nothing is wrong with it.
fn claim(object: &Value) -> Readiness {
    match text(object, "/status/phase") {
        Some("Lost") => Readiness::Failed("its volume is lost".to_owned()),
        _ => Readiness::Ready,
    }
}

fn definition(object: &Value) -> Readiness {
    if let Some(found) = condition(object, "NamesAccepted")
        && text(found, "/status") == Some("False")
    {
        return Readiness::Failed(told("NamesAccepted", found));
    }
    match (
        is_true(object, "NamesAccepted"),
        condition_is(object, "Established", "True"),
    ) {
        (true, Readiness::Ready) => Readiness::Ready,
        (_, Readiness::Ready) => Readiness::Waiting("its names are not accepted yet".to_owned()),
        (_, other) => other,
    }
}
