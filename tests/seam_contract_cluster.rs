//! The seam `Cluster`, asked of the API in memory. The same is asked of a real API in `tests/kube_api/contract.rs`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

#[path = "support/cluster_contract.rs"]
mod cluster_contract;

use hmco_boot::cluster::fake::FakeCluster;

#[tokio::test]
async fn an_api_in_memory_keeps_the_contract() {
    let cluster = FakeCluster::new();
    let put = |object: &serde_json::Value| {
        cluster.put(object.clone(), cluster_contract::OTHER);
    };
    cluster_contract::hold(&cluster, put).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_an_api_in_memory_is_over_after_a_while() {
    cluster_contract::hold_to_the_end_of_a_watch(&FakeCluster::new()).await;
}
