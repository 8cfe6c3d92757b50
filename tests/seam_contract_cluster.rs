//! The seam `Cluster`: the API in memory and a real one keep the same promises. The real one is the stand-in (or any K3s)
//! that `K3S_KUBECONFIG` names a kubeconfig of; where it names none, that half says that it is skipped.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test"
)]

use hmco_boot::cluster::client::KubeCluster;
use hmco_boot::cluster::connect::{Connector, Pin};
use hmco_boot::cluster::fake::FakeCluster;
use hmco_boot::cluster::{ApiErrorKind, Apply, Cluster, Place};
use hmco_boot::model::kube::{ApiResource, MANAGER, fields};
use hmco_boot::model::redact::Redactor;
use serde_json::{Value, json};

const NAMESPACE: &str = "hmco-boot-contract";

fn real() -> Option<KubeCluster> {
    let Some(path) = std::env::var_os("K3S_KUBECONFIG") else {
        eprintln!("skipped: no K3S_KUBECONFIG names a real API");
        return None;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let connector = Connector::kubeconfig(
        "test".into(),
        text,
        "/".into(),
        Redactor::default(),
        Pin::default(),
    );
    Some(KubeCluster::new(connector))
}

async fn kind(cluster: &dyn Cluster, api_version: &str, kind: &str) -> ApiResource {
    let served = cluster.discover().await.unwrap();
    served.get(api_version, kind).unwrap().clone()
}

fn place<'a>(resource: &'a ApiResource, name: &'a str) -> Place<'a> {
    Place {
        resource,
        namespace: resource.namespaced.then_some(NAMESPACE),
        name,
    }
}

const WRITE: Apply = Apply {
    force: false,
    dry_run: false,
};
const TRY: Apply = Apply {
    force: false,
    dry_run: true,
};

async fn namespace(cluster: &dyn Cluster) {
    let namespaces = kind(cluster, "v1", "Namespace").await;
    let object =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    cluster
        .apply(place(&namespaces, NAMESPACE), &object, WRITE)
        .await
        .unwrap();
}

fn config(name: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": NAMESPACE }, "data": data
    })
}

async fn applies_are_owned_and_repeated_ones_change_nothing(cluster: &dyn Cluster) {
    let maps = kind(cluster, "v1", "ConfigMap").await;
    let wish = config("repeat", json!({ "a": "1" }));
    let first = cluster
        .apply(place(&maps, "repeat"), &wish, WRITE)
        .await
        .unwrap();
    assert!(fields::is_as_wished(&wish, &first, MANAGER), "{first}");
    let second = cluster
        .apply(place(&maps, "repeat"), &wish, WRITE)
        .await
        .unwrap();
    assert_eq!(
        first["metadata"]["resourceVersion"],
        second["metadata"]["resourceVersion"]
    );
    let listed = cluster.list(&maps, Some(NAMESPACE)).await.unwrap();
    let found = listed
        .iter()
        .find(|item| item["metadata"]["name"] == "repeat")
        .unwrap();
    assert_eq!(found["kind"], "ConfigMap");
    assert!(fields::is_as_wished(&wish, found, MANAGER));
}

async fn a_field_that_is_wished_no_more_is_removed_and_those_of_others_stay(cluster: &dyn Cluster) {
    let maps = kind(cluster, "v1", "ConfigMap").await;
    let at = place(&maps, "fields");
    let wish = config("fields", json!({ "a": "1", "b": "2" }));
    cluster.apply(at, &wish, WRITE).await.unwrap();
    let wish = config("fields", json!({ "a": "1" }));
    let tried = cluster.apply(at, &wish, TRY).await.unwrap();
    assert_eq!(tried["data"], json!({ "a": "1" }));
    let live = cluster.get(at).await.unwrap().unwrap();
    assert_eq!(
        live["data"],
        json!({ "a": "1", "b": "2" }),
        "a dry run changes nothing"
    );
    assert!(!fields::is_as_wished(&wish, &live, MANAGER));
    let now = cluster.apply(at, &wish, WRITE).await.unwrap();
    assert_eq!(now["data"], json!({ "a": "1" }));
    assert!(fields::is_as_wished(&wish, &now, MANAGER));
}

async fn an_object_of_a_namespace_that_is_not_there_is_not_found(cluster: &dyn Cluster) {
    let maps = kind(cluster, "v1", "ConfigMap").await;
    let at = Place {
        resource: &maps,
        namespace: Some("no-such-namespace"),
        name: "x",
    };
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x", "namespace": "no-such-namespace" }
    });
    let error = cluster.apply(at, &object, TRY).await.unwrap_err();
    assert_eq!(error.kind, ApiErrorKind::NotFound);
    assert_eq!(cluster.get(at).await.unwrap(), None);
    assert!(!cluster.delete(at).await.unwrap());
}

async fn a_patch_of_an_object_that_changed_since_is_refused(cluster: &dyn Cluster) {
    let maps = kind(cluster, "v1", "ConfigMap").await;
    let at = place(&maps, "patch");
    cluster
        .apply(at, &config("patch", json!({ "a": "1" })), WRITE)
        .await
        .unwrap();
    let now = cluster
        .patch(at, &json!({ "data": { "c": "3" } }))
        .await
        .unwrap();
    assert_eq!(now["data"], json!({ "a": "1", "c": "3" }));
    let stale = json!({ "metadata": { "resourceVersion": "1" }, "data": { "c": "4" } });
    assert_eq!(
        cluster.patch(at, &stale).await.unwrap_err().kind,
        ApiErrorKind::Stale
    );
}

async fn ports_have_a_protocol_by_default_and_both_of_one_number_stay(cluster: &dyn Cluster) {
    let services = kind(cluster, "v1", "Service").await;
    let wish = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "dns", "namespace": NAMESPACE },
        "spec": { "selector": { "app": "dns" }, "ports": [
            { "name": "tcp", "port": 53 }, { "name": "udp", "port": 53, "protocol": "UDP" }
        ] }
    });
    let at = place(&services, "dns");
    let now = cluster.apply(at, &wish, WRITE).await.unwrap();
    assert_eq!(now["spec"]["ports"].as_array().unwrap().len(), 2);
    assert!(fields::is_as_wished(&wish, &now, MANAGER), "{now}");
}

async fn what_is_deleted_is_gone(cluster: &dyn Cluster) {
    let maps = kind(cluster, "v1", "ConfigMap").await;
    let at = place(&maps, "gone");
    cluster
        .apply(at, &config("gone", json!({})), WRITE)
        .await
        .unwrap();
    assert!(cluster.delete(at).await.unwrap());
    assert_eq!(cluster.get(at).await.unwrap(), None);
    assert!(!cluster.delete(at).await.unwrap());
}

async fn hold_to_contract(cluster: &dyn Cluster) {
    namespace(cluster).await;
    applies_are_owned_and_repeated_ones_change_nothing(cluster).await;
    a_field_that_is_wished_no_more_is_removed_and_those_of_others_stay(cluster).await;
    an_object_of_a_namespace_that_is_not_there_is_not_found(cluster).await;
    a_patch_of_an_object_that_changed_since_is_refused(cluster).await;
    ports_have_a_protocol_by_default_and_both_of_one_number_stay(cluster).await;
    what_is_deleted_is_gone(cluster).await;
}

#[tokio::test]
async fn an_api_in_memory_keeps_the_contract() {
    hold_to_contract(&FakeCluster::new()).await;
}

#[tokio::test]
async fn a_real_api_keeps_the_contract() {
    let Some(cluster) = real() else {
        return;
    };
    hold_to_contract(&cluster).await;
    let namespaces = kind(&cluster, "v1", "Namespace").await;
    cluster.delete(place(&namespaces, NAMESPACE)).await.unwrap();
}

#[tokio::test]
async fn a_conflict_names_who_owns_the_field() {
    let cluster = FakeCluster::new();
    namespace(&cluster).await;
    cluster.put(config("theirs", json!({ "a": "1" })), "kubectl");
    let maps = kind(&cluster, "v1", "ConfigMap").await;
    let at = place(&maps, "theirs");
    let wish = config("theirs", json!({ "a": "2" }));
    let error = cluster.apply(at, &wish, WRITE).await.unwrap_err();
    assert_eq!(error.kind, ApiErrorKind::Conflict);
    assert_eq!(error.conflicts[0].field, ".data.a");
    assert!(error.conflicts[0].manager.contains("kubectl"));
    let force = Apply {
        force: true,
        dry_run: false,
    };
    let now = cluster.apply(at, &wish, force).await.unwrap();
    assert!(fields::is_as_wished(&wish, &now, MANAGER));
}
