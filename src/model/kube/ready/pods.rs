//! Whether a pod runs, and why it does not.

use serde_json::Value;

use super::Readiness;
use super::conditions::{condition, is_true, told};
use super::kinds::count;
use crate::model::kube::key::text;

/// Whether a pod runs, or has done its work.
pub(super) fn pod(object: &Value) -> Readiness {
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
