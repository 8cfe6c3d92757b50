//! What the API in memory serves at the beginning, and the least of controllers for it.

use serde_json::{Value, json};

use crate::model::kube::key::{kind, number};

/// Kinds that are served at the beginning.
pub(super) const KINDS: &[(&str, &str, &str, bool)] = &[
    ("v1", "Namespace", "namespaces", false),
    ("v1", "Node", "nodes", false),
    ("v1", "ConfigMap", "configmaps", true),
    ("v1", "Secret", "secrets", true),
    ("v1", "Service", "services", true),
    ("v1", "ServiceAccount", "serviceaccounts", true),
    ("v1", "Pod", "pods", true),
    (
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        true,
    ),
    ("v1", "ResourceQuota", "resourcequotas", true),
    ("v1", "PersistentVolume", "persistentvolumes", false),
    (
        "policy/v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        true,
    ),
    ("storage.k8s.io/v1", "StorageClass", "storageclasses", false),
    ("apps/v1", "Deployment", "deployments", true),
    ("apps/v1", "DaemonSet", "daemonsets", true),
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        "clusterroles",
        false,
    ),
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        false,
    ),
    (
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        false,
    ),
];

/// What controllers would make of an object, at once.
pub(super) fn controllers(object: &mut Value, generation: i64, stuck: bool) {
    let replicas = number(object, "/spec/replicas").unwrap_or(1);
    let available = if stuck { 0 } else { replicas };
    let status = match kind(object) {
        "Namespace" => json!({ "phase": "Active" }),
        "CustomResourceDefinition" => json!({ "conditions": [
            { "type": "NamesAccepted", "status": "True" }, { "type": "Established", "status": "True" }
        ] }),
        "Deployment" => json!({
            "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
            "availableReplicas": available
        }),
        "Pod" => json!({ "phase": "Running", "conditions": [
            { "type": "Ready", "status": if stuck { "False" } else { "True" } }
        ] }),
        "PersistentVolumeClaim" => json!({ "phase": if stuck { "Pending" } else { "Bound" } }),
        _ => return,
    };
    if let Some(map) = object.as_object_mut() {
        map.insert("status".to_owned(), status);
    }
}
