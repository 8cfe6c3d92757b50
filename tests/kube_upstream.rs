//! The manifests of real releases through parser and order: all files of `HMCO_MIRROR`. Without it this says that it is
//! skipped.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

#[path = "support/mirror.rs"]
mod mirror;
#[path = "support/skip.rs"]
mod skip;

use std::path::{Path, PathBuf};

use hmco_boot::model::kube::adjust::{self, Places};
use hmco_boot::model::kube::{Discovery, ObjectKey, discovery, document, key, order};
use serde_json::Value;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml")
        {
            found.push(path);
        }
    }
}

fn objects(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    document::parse(&text).unwrap_or_else(|error| panic_at(path, &error.to_string()))
}

#[expect(clippy::panic, reason = "a test")]
fn panic_at(path: &Path, what: &str) -> Vec<Value> {
    panic!("{}: {what}", path.display())
}

#[test]
fn all_manifests_of_the_mirror_are_read_as_the_objects_they_are() {
    let Some(folder) = mirror::folder() else {
        return;
    };
    let mut found = Vec::new();
    files(&folder, &mut found);
    let mut count = 0;
    for path in &found {
        let objects = objects(path);
        assert!(!objects.is_empty(), "{}", path.display());
        for object in &objects {
            assert!(
                ObjectKey::of(object).is_some(),
                "{}: {}",
                path.display(),
                key::kind(object)
            );
        }
        count += objects.len();
    }
    // shared/facts/components.md 1.
    assert_eq!((found.len(), count), (49, 351));
}

#[test]
fn in_the_order_of_installing_nothing_comes_before_what_it_needs() {
    let Some(folder) = mirror::folder() else {
        return;
    };
    let mut found = Vec::new();
    files(&folder, &mut found);
    for path in found {
        let objects = objects(&path);
        let brought = discovery::of_crds(&objects);
        let mut keys = Vec::new();
        for mut object in objects {
            // Kinds of Kubernetes itself: those without namespaces that these files use.
            let known = matches!(
                key::kind(&object),
                "Namespace"
                    | "PriorityClass"
                    | "CustomResourceDefinition"
                    | "ClusterRole"
                    | "ClusterRoleBinding"
                    | "StorageClass"
                    | "ValidatingWebhookConfiguration"
                    | "MutatingWebhookConfiguration"
                    | "APIService"
            );
            let namespaced =
                adjust::is_namespaced(&object, &Discovery::default(), &brought).unwrap_or(!known);
            adjust::adjust(&mut object, namespaced, Places::default());
            keys.push(ObjectKey::of(&object).unwrap());
        }
        let mut unique = keys.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(
            unique.len(),
            keys.len(),
            "{}: an object is there twice",
            path.display()
        );
        let sorted: Vec<ObjectKey> = order::waves(keys, |key| key)
            .into_iter()
            .flat_map(|(_, keys)| keys)
            .collect();
        let first = |kind: &str| sorted.iter().position(|key| key.kind == kind);
        let last = |kind: &str| sorted.iter().rposition(|key| key.kind == kind);
        for (before, after) in [
            ("Namespace", "ServiceAccount"),
            ("CustomResourceDefinition", "Deployment"),
            ("ServiceAccount", "Deployment"),
            ("ServiceAccount", "DaemonSet"),
            ("ClusterRole", "ClusterRoleBinding"),
            ("ConfigMap", "Deployment"),
            ("Secret", "Deployment"),
            ("Deployment", "ValidatingWebhookConfiguration"),
            ("CustomResourceDefinition", "PrometheusRule"),
        ] {
            if let (Some(last), Some(first)) = (last(before), first(after)) {
                assert!(last < first, "{}: {before} before {after}", path.display());
            }
        }
    }
}
