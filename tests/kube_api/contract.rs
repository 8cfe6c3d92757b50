//! The seam `Cluster`, asked of a real API by the client that runs use. The same is asked of the one in memory in
//! `tests/seam_contract_cluster.rs`.

use hmco_boot::cluster::client::KubeCluster;
use hmco_boot::cluster::connect::{Connector, Pin};
use hmco_boot::model::redact::Redactor;

use crate::api::Api;
use crate::cluster_contract::{self, NAMESPACE, OTHER};

/// With the credentials that `hmco-boot kubeconfig` hands out.
fn cluster(api: &Api) -> KubeCluster {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    api.expect(0, &["kubeconfig", "--out", file.to_str().unwrap()]);
    let text = std::fs::read_to_string(file).unwrap();
    KubeCluster::new(Connector::kubeconfig(
        "the lab's".to_owned(),
        text,
        "/".into(),
        Redactor::default(),
        Pin::default(),
    ))
}

#[tokio::test]
async fn a_real_api_keeps_the_contract() {
    let Some(api) = Api::turn() else { return };
    let put = |object: &serde_json::Value| {
        let apply = format!("kubectl apply --server-side --field-manager={OTHER} -f -");
        api.on(1, &format!("{apply} <<\"EOF\"\n{object}\nEOF"));
    };
    cluster_contract::hold(&cluster(&api), put).await;
    api.kubectl(&format!("delete namespace {NAMESPACE}"));
}

#[tokio::test]
async fn a_watch_of_a_real_api_is_over_after_a_while() {
    let Some(api) = Api::turn() else { return };
    cluster_contract::hold_to_the_end_of_a_watch(&cluster(&api)).await;
}
