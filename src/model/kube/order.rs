//! The order to install objects in. That of the documents in a file is none: releases put a Deployment before the
//! CustomResourceDefinition, the ServiceAccount or the Namespace it needs.

use super::key::ObjectKey;

/// What has to be there first has the smaller number; objects of one rank do not need each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank(u8);

/// Kinds that make pods.
pub const WORKLOADS: &[&str] = &[
    "Deployment",
    "DaemonSet",
    "StatefulSet",
    "ReplicaSet",
    "ReplicationController",
    "Job",
    "CronJob",
    "Pod",
];

/// Ranks, first to last. LimitRanges come before quotas: a quota on requests rejects every pod that says none and gets
/// none by default.
const RANKS: &[&[&str]] = &[
    &["Namespace"],
    &["PriorityClass", "RuntimeClass"],
    &["CustomResourceDefinition"],
    &["ServiceAccount", "LimitRange"],
    &["ClusterRole", "Role"],
    &["ClusterRoleBinding", "RoleBinding"],
    &["ConfigMap"],
    &["Secret"],
    &[
        "StorageClass",
        "CSIDriver",
        "PersistentVolume",
        "IngressClass",
    ],
    &[
        "Service",
        "Endpoints",
        "EndpointSlice",
        "PersistentVolumeClaim",
    ],
    &["ResourceQuota"],
    WORKLOADS,
    &[
        "NetworkPolicy",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
        "Ingress",
    ],
    &["APIService"],
    &[
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
    ],
];

/// Groups whose kinds the table means. A custom resource of the same kind name is a custom resource.
const GROUPS: &[&str] = &[
    "",
    "apps",
    "batch",
    "discovery.k8s.io",
    "autoscaling",
    "policy",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "admissionregistration.k8s.io",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
];

/// The rank of an object.
pub fn rank(key: &ObjectKey) -> Rank {
    let place = RANKS
        .iter()
        .position(|kinds| kinds.contains(&key.kind.as_str()))
        .filter(|_| GROUPS.contains(&key.group()));
    Rank(
        place
            .and_then(|place| u8::try_from(place).ok())
            .unwrap_or(u8::MAX),
    )
}

impl Rank {
    /// Whether objects of this rank are custom resources, or others that nothing is known of: last of all.
    pub fn is_custom(self) -> bool {
        self.0 == u8::MAX
    }
}

/// Objects in waves: those of one wave may go at once, each wave after the one before it. Inside a wave they keep their
/// order.
pub fn waves<T>(objects: Vec<T>, key: impl Fn(&T) -> &ObjectKey) -> Vec<(Rank, Vec<T>)> {
    let mut waves: std::collections::BTreeMap<Rank, Vec<T>> = std::collections::BTreeMap::new();
    for object in objects {
        let rank = rank(key(&object));
        waves.entry(rank).or_default().push(object);
    }
    waves.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(api_version: &str, kind: &str) -> ObjectKey {
        ObjectKey {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: None,
            name: "x".to_owned(),
        }
    }

    #[test]
    fn what_others_need_comes_first_and_custom_resources_last() {
        let unsorted = vec![
            key("metallb.io/v1beta1", "IPAddressPool"),
            key(
                "admissionregistration.k8s.io/v1",
                "ValidatingWebhookConfiguration",
            ),
            key("apps/v1", "Deployment"),
            key("v1", "ResourceQuota"),
            key("v1", "Secret"),
            key("v1", "LimitRange"),
            key("rbac.authorization.k8s.io/v1", "RoleBinding"),
            key("rbac.authorization.k8s.io/v1", "ClusterRole"),
            key("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            key("v1", "Namespace"),
        ];
        let kinds: Vec<String> = waves(unsorted, |key| key)
            .into_iter()
            .flat_map(|(_, keys)| keys)
            .map(|key| key.kind)
            .collect();
        assert_eq!(
            kinds,
            [
                "Namespace",
                "CustomResourceDefinition",
                "LimitRange",
                "ClusterRole",
                "RoleBinding",
                "Secret",
                "ResourceQuota",
                "Deployment",
                "ValidatingWebhookConfiguration",
                "IPAddressPool",
            ]
        );
    }

    #[test]
    fn a_custom_resource_that_is_called_like_a_kind_of_kubernetes_is_a_custom_resource() {
        assert!(rank(&key("example.org/v1", "Service")).is_custom());
        assert!(!rank(&key("v1", "Service")).is_custom());
    }
}
