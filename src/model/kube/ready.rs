//! Whether an object has come to what it is for, by its status alone: pure predicates over one object. What has no rule
//! here is ready when it is there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::{ObjectKey, kind, number, text};

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
            (Self::Absent, None) => return Readiness::Ready,
            (Self::Absent, Some(object)) => return Readiness::Waiting(still_there(object)),
            (_, None) => return Readiness::Waiting("it is not there".to_owned()),
            (_, Some(object)) => object,
        };
        match self {
            Self::Ready | Self::Absent => readiness(object),
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

fn condition_is(object: &Value, name: &str, wanted: &str) -> Readiness {
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

/// Whether an object is ready, by the rule of its kind.
pub fn readiness(object: &Value) -> Readiness {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Readiness::Waiting(still_there(object));
    }
    match kind(object) {
        "Deployment" => deployment(object),
        "DaemonSet" => daemon_set(object),
        "StatefulSet" => stateful_set(object),
        "ReplicaSet" | "ReplicationController" => replicas(object),
        "Job" => job(object),
        "Pod" => pod(object),
        "PersistentVolumeClaim" => claim(object),
        "Namespace" => field_is(object, "/status/phase", Some("Active")),
        "CustomResourceDefinition" => definition(object),
        "APIService" => condition_is(object, "Available", "True"),
        "Node" => condition_is(object, "Ready", "True"),
        _ => Readiness::Ready,
    }
}

/// Whether there is anything to await: other kinds are ready when they are there.
pub fn has_rule(kind: &str) -> bool {
    matches!(
        kind,
        "Deployment"
            | "DaemonSet"
            | "StatefulSet"
            | "ReplicaSet"
            | "ReplicationController"
            | "Job"
            | "Pod"
            | "PersistentVolumeClaim"
            | "Namespace"
            | "CustomResourceDefinition"
            | "APIService"
    )
}

/// An entry of `status.conditions`.
pub fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|condition| text(condition, "/type") == Some(name))
}

fn is_true(object: &Value, name: &str) -> bool {
    condition(object, name).and_then(|found| text(found, "/status")) == Some("True")
}

/// A condition in words: `Available is False (MinimumReplicasUnavailable): Deployment does not have ...`.
fn told(name: &str, condition: &Value) -> String {
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

/// Whether its controller has seen its last change.
fn is_current(object: &Value) -> bool {
    match number(object, "/metadata/generation") {
        Some(generation) => {
            number(object, "/status/observedGeneration").is_some_and(|seen| seen >= generation)
        }
        None => true,
    }
}

fn count(object: &Value, pointer: &str) -> i64 {
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

fn pod(object: &Value) -> Readiness {
    match text(object, "/status/phase") {
        Some("Succeeded") => return Readiness::Ready,
        Some("Failed") => return Readiness::Failed(pod_reason(object)),
        _ => {}
    }
    match is_true(object, "Ready") {
        true => Readiness::Ready,
        false => Readiness::Waiting(pod_reason(object)),
    }
}

/// Why a pod does not run, in words.
pub fn pod_reason(pod: &Value) -> String {
    for list in ["/status/initContainerStatuses", "/status/containerStatuses"] {
        let statuses = pod.pointer(list).and_then(Value::as_array);
        for status in statuses.into_iter().flatten() {
            let name = text(status, "/name").unwrap_or_default();
            if let Some(waiting) = status.pointer("/state/waiting")
                && let Some(reason) = text(waiting, "/reason")
                && !matches!(reason, "PodInitializing" | "ContainerCreating")
            {
                let message = text(waiting, "/message")
                    .map(|m| format!(": {m}"))
                    .unwrap_or_default();
                return format!("container {name} is waiting ({reason}){message}");
            }
            if let Some(ended) = status
                .pointer("/state/terminated")
                .filter(|e| count(e, "/exitCode") != 0)
            {
                let reason = text(ended, "/reason").unwrap_or("Error");
                return format!(
                    "container {name} ended with {} ({reason})",
                    count(ended, "/exitCode")
                );
            }
        }
    }
    if let Some(found) = condition(pod, "PodScheduled").filter(|_| !is_true(pod, "PodScheduled")) {
        return told("PodScheduled", found);
    }
    match (text(pod, "/status/message"), condition(pod, "Ready")) {
        (Some(message), _) => message.to_owned(),
        (None, Some(found)) => told("Ready", found),
        (None, None) => format!(
            "its phase is {}",
            text(pod, "/status/phase").unwrap_or("Pending")
        ),
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn waiting(object: &Value) -> String {
        match readiness(object) {
            Readiness::Waiting(words) => words,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_deployment_is_ready_when_all_pods_of_its_last_change_are_available() {
        let mut object = json!({
            "kind": "Deployment", "metadata": { "generation": 2 }, "spec": { "replicas": 2 },
            "status": {
                "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
                "conditions": [{ "type": "Available", "status": "True" }]
            }
        });
        assert_eq!(
            waiting(&object),
            "its controller has not seen its last change"
        );
        object["status"]["observedGeneration"] = json!(2);
        assert_eq!(readiness(&object), Readiness::Ready);
        object["status"]["availableReplicas"] = json!(1);
        assert_eq!(waiting(&object), "1 of 2 pods are available");
        object["status"]["replicas"] = json!(3);
        assert_eq!(waiting(&object), "1 pods of its old version are left");
        object["status"]["updatedReplicas"] = json!(0);
        object["status"]["conditions"] = json!([{
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": "pods \"x\" is forbidden: exceeded quota: q"
        }]);
        assert_eq!(
            waiting(&object),
            "0 of 2 pods are of its new version; ReplicaFailure is True (FailedCreate): pods \"x\" is forbidden: \
             exceeded quota: q"
        );
        object["status"]["conditions"] = json!([{
            "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"
        }]);
        assert!(matches!(readiness(&object), Readiness::Failed(_)));
    }

    #[test]
    fn a_deployment_nobody_has_looked_at_is_not_ready() {
        let object = json!({ "kind": "Deployment", "metadata": { "generation": 1 }, "spec": {} });
        assert_eq!(
            waiting(&object),
            "its controller has not seen its last change"
        );
    }

    #[test]
    fn a_job_that_failed_is_not_waited_for() {
        let job = |name: &str| json!({ "kind": "Job", "status": { "conditions": [{ "type": name, "status": "True" }] } });
        assert_eq!(readiness(&job("Complete")), Readiness::Ready);
        assert!(matches!(readiness(&job("Failed")), Readiness::Failed(_)));
        assert!(
            waiting(&json!({ "kind": "Job", "status": { "active": 1 } }))
                .starts_with("it is not complete")
        );
    }

    #[test]
    fn a_definition_whose_names_are_taken_never_establishes() {
        let object = json!({ "kind": "CustomResourceDefinition", "status": { "conditions": [
            { "type": "NamesAccepted", "status": "False", "reason": "ListKindConflict", "message": "in use" },
            { "type": "Established", "status": "False", "reason": "NotAccepted" }
        ] } });
        assert_eq!(
            readiness(&object),
            Readiness::Failed("NamesAccepted is False (ListKindConflict): in use".to_owned())
        );
        let object = json!({ "kind": "CustomResourceDefinition" });
        assert_eq!(waiting(&object), "it has no condition Established yet");
    }

    #[test]
    fn why_a_pod_does_not_run_is_told_by_its_containers() {
        let pod = json!({ "kind": "Pod", "status": { "phase": "Pending", "containerStatuses": [
            { "name": "c", "state": { "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling x" } } }
        ] } });
        assert_eq!(
            waiting(&pod),
            "container c is waiting (ImagePullBackOff): Back-off pulling x"
        );
        let pod = json!({ "kind": "Pod", "status": { "phase": "Pending", "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" }
        ] } });
        assert_eq!(
            waiting(&pod),
            "PodScheduled is False (Unschedulable): 0/1 nodes"
        );
    }

    #[test]
    fn a_condition_of_before_the_last_change_does_not_count() {
        let expected = Expected::Condition {
            name: "Ready".into(),
            status: "True".into(),
        };
        let mut object = json!({
            "kind": "Certificate", "metadata": { "generation": 2 },
            "status": { "conditions": [{ "type": "Ready", "status": "True", "observedGeneration": 1 }] }
        });
        assert!(matches!(expected.of(Some(&object)), Readiness::Waiting(_)));
        object["status"]["conditions"][0]["observedGeneration"] = json!(2);
        assert_eq!(expected.of(Some(&object)), Readiness::Ready);
        assert!(matches!(expected.of(None), Readiness::Waiting(_)));
    }

    #[test]
    fn what_shall_be_gone_names_the_finalizers_it_waits_for() {
        let object =
            json!({ "metadata": { "deletionTimestamp": "t", "finalizers": ["a.example/x"] } });
        assert_eq!(
            Expected::Absent.of(Some(&object)),
            Readiness::Waiting(
                "it is being deleted and waits for its finalizers: a.example/x".to_owned()
            )
        );
        assert_eq!(Expected::Absent.of(None), Readiness::Ready);
    }

    #[test]
    fn a_field_is_compared_as_text_and_without_a_value_must_only_be_there() {
        let object = json!({ "status": { "phase": "Bound", "count": 3, "none": "" } });
        let field = |pointer: &str, value: Option<&str>| {
            Expected::Field {
                pointer: pointer.into(),
                value: value.map(str::to_owned),
            }
            .of(Some(&object))
        };
        assert_eq!(field("/status/phase", Some("Bound")), Readiness::Ready);
        assert_eq!(field("/status/count", Some("3")), Readiness::Ready);
        assert_eq!(field("/status/count", None), Readiness::Ready);
        assert_eq!(
            field("/status/none", None),
            Readiness::Waiting("/status/none is not there".to_owned())
        );
        assert!(matches!(
            field("/status/phase", Some("Lost")),
            Readiness::Waiting(_)
        ));
    }
}
