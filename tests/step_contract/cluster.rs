//! A cluster for the contract test: an API in memory, with what the examples find in it.

use std::sync::Arc;

use hmco_boot::cluster::fake::FakeCluster;
use hmco_boot::cluster::host::ClusterHost;
use hmco_boot::facts::fact::Fact;
use hmco_boot::model::value::Value;
use hmco_boot::transport::Host;
use serde_json::json;

use super::labs::Lab;

struct ClusterLab {
    api: Arc<FakeCluster>,
    host: ClusterHost,
}

pub fn cluster_lab() -> Box<dyn Lab> {
    let api = Arc::new(FakeCluster::new());
    for name in ["web", "old"] {
        api.put(
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }),
            "kubectl",
        );
    }
    api.put(
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": "pi5-02", "labels": { "theirs": "x" } },
            "spec": { "unschedulable": true, "taints": [
                { "key": "example.org/new", "effect": "NoSchedule" },
                { "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" }
            ] },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] }
        }),
        "k3s",
    );
    api.put(
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "old-page", "namespace": "web" } }),
        "kubectl",
    );
    api.put(
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": { "name": "local-path", "uid": "1", "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } },
            "provisioner": "rancher.io/local-path"
        }),
        "k3s",
    );
    let files = |path: &str| {
        let embedded = hmco_boot::config::shipped::read(path);
        Ok(embedded.map(<[u8]>::to_vec))
    };
    let host = ClusterHost::new(api.clone(), Arc::new(files));
    Box::new(ClusterLab { api, host })
}

impl Lab for ClusterLab {
    fn host(&self) -> &dyn Host {
        &self.host
    }

    fn picture(&self) -> String {
        self.api.picture()
    }

    fn prepare(&self, _table: &Value) {}

    fn expect(&self, _facts: &[Fact]) {}

    fn is_cluster(&self) -> bool {
        true
    }

    fn owner(&self) -> String {
        "pi".to_owned()
    }
}
