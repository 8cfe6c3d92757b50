//! What runs in kube-system, by the versions of its images.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::model::kube::key::{meta, text};

/// Something in kube-system.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// The tags of its images.
    pub version: String,
    /// Pods that are available.
    pub available: i64,
    /// Pods that are wanted.
    pub wanted: i64,
    /// Why fewer are available than wanted, where that is told.
    #[serde(skip)]
    pub reason: String,
}

impl Component {
    /// Of a Deployment.
    pub(super) fn of(deployment: &Value) -> Self {
        let containers = deployment
            .pointer("/spec/template/spec/containers")
            .and_then(Value::as_array);
        let mut tags: Vec<&str> = containers
            .into_iter()
            .flatten()
            .filter_map(|container| text(container, "/image"))
            .map(tag)
            .collect();
        tags.dedup();
        let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_i64);
        Self {
            name: meta(deployment, "name").unwrap_or_default().to_owned(),
            version: tags.join(", "),
            available: number("/status/availableReplicas").unwrap_or(0),
            wanted: number("/spec/replicas").unwrap_or(1),
            reason: reason(deployment),
        }
    }

    /// As many are available as are wanted.
    pub fn is_up(&self) -> bool {
        self.available >= self.wanted
    }
}

/// Why a Deployment has not all its pods: what keeps pods from being made comes before what is merely not so yet.
fn reason(deployment: &Value) -> String {
    let conditions = deployment.pointer("/status/conditions");
    let conditions = conditions.and_then(Value::as_array);
    let told = |kind: &str, status: &str| {
        let mut all = conditions.into_iter().flatten();
        let found = all
            .find(|one| text(one, "/type") == Some(kind) && text(one, "/status") == Some(status));
        found.and_then(|found| text(found, "/message"))
    };
    let told = told("ReplicaFailure", "True")
        .or_else(|| told("Progressing", "False"))
        .or_else(|| told("Available", "False"));
    told.unwrap_or_default().trim_end_matches('.').to_owned()
}

/// The tag of an image; its digest where it has no tag.
fn tag(image: &str) -> &str {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, digest),
        None => (image, ""),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag,
        None if digest.is_empty() => "latest",
        None => digest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_images_are_their_tags() {
        assert_eq!(tag("docker.io/rancher/x:v1"), "v1");
        assert_eq!(tag("localhost:5000/x"), "latest");
        assert_eq!(tag("x:v1@sha256:00"), "v1");
        assert_eq!(tag("x@sha256:00"), "sha256:00");
    }
}
