//! How far the change of an object reaches: whether what was read of others still tells what it told. For forecasts: a run
//! reads everything again after every change.

use super::key::{ObjectKey, group_of};
use super::order::WORKLOADS;

/// Kinds that controllers make of others, or change as others change.
const MADE: &[&str] = &[
    "Pod",
    "ReplicaSet",
    "Job",
    "ControllerRevision",
    "Endpoints",
    "EndpointSlice",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Event",
];

/// Kinds by which the API takes or makes other objects otherwise than before.
const ADMISSION: &[&str] = &[
    "Namespace",
    "CustomResourceDefinition",
    "APIService",
    "LimitRange",
    "ResourceQuota",
    "PriorityClass",
    "RuntimeClass",
    "StorageClass",
    "ServiceAccount",
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
];

/// Whether a list may hold other things after a change of this object. A custom resource reaches everywhere: nobody knows
/// what its controller does.
pub fn of_list(
    changed: &ObjectKey,
    api_version: &str,
    kind: &str,
    namespace: Option<&str>,
) -> bool {
    let same_place = match (&changed.namespace, namespace) {
        (Some(changed), Some(namespace)) => changed == namespace,
        _ => true,
    };
    let same_kind = changed.kind == kind && changed.group() == group_of(api_version);
    if is_custom(changed) || same_kind && same_place {
        return true;
    }
    match changed.kind.as_str() {
        "Namespace" => namespace.is_none_or(|namespace| namespace == changed.name),
        "CustomResourceDefinition" => of_group(changed, group_of(api_version)),
        "APIService" => true,
        changed => WORKLOADS.contains(&changed) && MADE.contains(&kind) && same_place,
    }
}

/// Whether an attempt to apply `tried` may end otherwise after a change of this object.
pub fn of_attempt(changed: &ObjectKey, tried: &ObjectKey) -> bool {
    is_custom(changed) || changed.is_same(tried) || ADMISSION.contains(&changed.kind.as_str())
}

/// Whether a change of this object may be the very thing that an attempt to apply `tried` was refused for the lack of.
pub fn may_cure(changed: &ObjectKey, tried: &ObjectKey) -> bool {
    match changed.kind.as_str() {
        _ if is_custom(changed) => true,
        "CustomResourceDefinition" => of_group(changed, tried.group()),
        "Namespace" => tried.namespace.as_ref() == Some(&changed.name),
        "LimitRange" | "ResourceQuota" | "ServiceAccount" => changed.namespace == tried.namespace,
        kind => ADMISSION.contains(&kind),
    }
}

/// Whether a definition is of this group: its name is that of its list with the group behind.
fn of_group(definition: &ObjectKey, group: &str) -> bool {
    let own = definition.name.split_once('.');
    own.is_some_and(|(_, own)| own == group)
}

/// Whether the API may serve other kinds after a change of this object.
pub fn of_discovery(changed: &ObjectKey) -> bool {
    matches!(
        changed.kind.as_str(),
        "CustomResourceDefinition" | "APIService"
    )
}

/// Kinds that the order of installing does not know either. A Node is not installed at all.
fn is_custom(key: &ObjectKey) -> bool {
    super::order::rank(key).is_custom() && key.kind != "Node"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> ObjectKey {
        ObjectKey {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_setting_reaches_the_list_it_is_in_and_no_other() {
        let map = key("v1", "ConfigMap", Some("web"), "page");
        assert!(of_list(&map, "v1", "ConfigMap", Some("web")));
        assert!(of_list(&map, "v1", "ConfigMap", None));
        assert!(!of_list(&map, "v1", "ConfigMap", Some("other")));
        assert!(!of_list(&map, "v1", "Secret", Some("web")));
        assert!(!of_list(&map, "example.org/v1", "ConfigMap", Some("web")));
        assert!(!of_discovery(&map));
        let secret = key("v1", "Secret", Some("web"), "page");
        assert!(!of_attempt(&map, &secret));
        assert!(of_attempt(&map, &map));
    }

    #[test]
    fn what_others_are_made_of_or_judged_by_reaches_further() {
        let pods = ("v1", "Pod", Some("web"));
        let workload = key("apps/v1", "Deployment", Some("web"), "server");
        assert!(of_list(&workload, pods.0, pods.1, pods.2));
        assert!(!of_list(&workload, "v1", "ConfigMap", Some("web")));
        let namespace = key("v1", "Namespace", None, "web");
        assert!(of_list(&namespace, "v1", "ConfigMap", Some("web")));
        assert!(!of_list(&namespace, "v1", "ConfigMap", Some("other")));
        let map = key("v1", "ConfigMap", Some("web"), "page");
        assert!(of_attempt(&namespace, &map));
        let definition = key(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            None,
            "pools.example.org",
        );
        assert!(of_list(&definition, "example.org/v1", "Pool", None));
        assert!(!of_list(&definition, "v1", "ConfigMap", None));
        assert!(of_discovery(&definition) && of_attempt(&definition, &map));
        let chart = key("helm.cattle.io/v1", "HelmChart", Some("kube-system"), "x");
        assert!(of_list(&chart, "v1", "ConfigMap", Some("other")));
    }
}
