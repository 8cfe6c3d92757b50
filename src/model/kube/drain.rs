//! Which pods have to leave a Node that is drained, and what is lost with it: as `kubectl drain` sees them.

use serde_json::Value;

use super::key::{kind, meta, text};

/// A pod that has to leave.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Leaving {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which pod of that name.
    pub uid: String,
    /// Nothing makes it anew elsewhere.
    pub alone: bool,
}

/// The pods that have to leave a Node: not those that a DaemonSet puts there again, those of the kubelet itself, and those that
/// have ended.
pub fn leaving(pods: &[Value], node: &str) -> Vec<Leaving> {
    let mut found: Vec<Leaving> = pods
        .iter()
        .filter(|pod| text(pod, "/spec/nodeName") == Some(node))
        .filter(|pod| !matches!(text(pod, "/status/phase"), Some("Succeeded" | "Failed")))
        .filter(|pod| {
            pod.pointer("/metadata/annotations/kubernetes.io~1config.mirror")
                .is_none()
        })
        .filter(|pod| controller(pod).map(kind) != Some("DaemonSet"))
        .filter_map(|pod| {
            Some(Leaving {
                namespace: meta(pod, "namespace")?.to_owned(),
                name: meta(pod, "name")?.to_owned(),
                uid: meta(pod, "uid")?.to_owned(),
                alone: controller(pod).is_none(),
            })
        })
        .collect();
    found.sort();
    found
}

/// What makes a pod anew.
fn controller(pod: &Value) -> Option<&Value> {
    let owners = pod
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    owners
        .into_iter()
        .flatten()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
}

/// Volumes that are on the disk of one Node and nowhere else, by the claim that they are of: local-path makes such.
pub fn volumes(volumes: &[Value], node: &str) -> Vec<String> {
    let mut found: Vec<String> = volumes
        .iter()
        .filter(|volume| is_only_on(volume, node))
        .map(|volume| {
            let claim = |key: &str| text(volume, &format!("/spec/claimRef/{key}"));
            match (claim("namespace"), claim("name")) {
                (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
                _ => meta(volume, "name").unwrap_or_default().to_owned(),
            }
        })
        .collect();
    found.sort();
    found
}

fn is_only_on(volume: &Value, node: &str) -> bool {
    let list = |value: &Value, pointer: &str| {
        let list = value.pointer(pointer).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let terms = list(volume, "/spec/nodeAffinity/required/nodeSelectorTerms");
    let names = |term: &Value| {
        list(term, "/matchExpressions").iter().any(|expression| {
            text(expression, "/key") == Some("kubernetes.io/hostname")
                && text(expression, "/operator") == Some("In")
                && list(expression, "/values")
                    .iter()
                    .all(|value| value.as_str() == Some(node))
        })
    };
    !terms.is_empty() && terms.iter().all(names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, node: &str, owner: Option<&str>, phase: &str) -> Value {
        let owners: Vec<Value> = owner
            .iter()
            .map(|kind| json!({ "kind": kind, "name": "x", "controller": true }))
            .collect();
        json!({
            "kind": "Pod",
            "metadata": { "namespace": "n", "name": name, "uid": name, "ownerReferences": owners },
            "spec": { "nodeName": node }, "status": { "phase": phase }
        })
    }

    #[test]
    fn pods_of_daemonsets_of_the_kubelet_and_those_that_ended_stay() {
        let mut mirror = pod("mirror", "a", None, "Running");
        mirror["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "x" });
        let pods = [
            pod("web", "a", Some("ReplicaSet"), "Running"),
            pod("bare", "a", None, "Pending"),
            pod("agent", "a", Some("DaemonSet"), "Running"),
            pod("done", "a", Some("Job"), "Succeeded"),
            pod("other", "b", Some("ReplicaSet"), "Running"),
            mirror,
        ];
        let found = leaving(&pods, "a");
        let names: Vec<(&str, bool)> = found
            .iter()
            .map(|pod| (pod.name.as_str(), pod.alone))
            .collect();
        assert_eq!(names, [("bare", true), ("web", false)]);
    }

    #[test]
    fn a_volume_is_lost_with_a_node_where_it_can_be_nowhere_else() {
        let volume = |name: &str, nodes: Value| {
            json!({
                "metadata": { "name": name },
                "spec": {
                    "claimRef": { "namespace": "n", "name": name },
                    "nodeAffinity": { "required": { "nodeSelectorTerms": [ { "matchExpressions": [
                        { "key": "kubernetes.io/hostname", "operator": "In", "values": nodes }
                    ] } ] } }
                }
            })
        };
        let all = [
            volume("mine", json!(["a"])),
            volume("both", json!(["a", "b"])),
            volume("theirs", json!(["b"])),
            json!({ "metadata": { "name": "nfs" }, "spec": {} }),
        ];
        assert_eq!(volumes(&all, "a"), ["n/mine"]);
    }
}
