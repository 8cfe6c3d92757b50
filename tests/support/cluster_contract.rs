//! What the seam `Cluster` promises: `tests/seam_contract_cluster.rs` holds the API in memory to it, `tests/kube_api` a
//! real one.

use std::time::Duration;

use hmco_boot::cluster::{ApiErrorKind, Apply, Change, Choice, Cluster, Place, Watch};
use hmco_boot::model::kube::{ApiResource, MANAGER, fields};
use serde_json::{Value, json};

/// Where all of it happens.
pub const NAMESPACE: &str = "hmco-boot-contract";

/// A manager of fields that is not us.
pub const OTHER: &str = "kubectl";

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
    let listed = cluster.list(&maps, INSIDE).await.unwrap();
    let found = listed
        .items
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
    assert!(!cluster.delete(at, None).await.unwrap());
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
    assert!(cluster.delete(at, None).await.unwrap());
    assert_eq!(cluster.get(at).await.unwrap(), None);
    assert!(!cluster.delete(at, None).await.unwrap());
}

/// Those of the test's namespace.
const INSIDE: Choice<'static> = Choice {
    namespace: Some(NAMESPACE),
    name: None,
};

/// The one of a name.
fn only(name: &str) -> Choice<'_> {
    Choice {
        name: Some(name),
        ..INSIDE
    }
}

/// The next change of a watch, which is to come soon.
async fn next(watch: &mut Box<dyn Watch + '_>) -> Change {
    let change = tokio::time::timeout(Duration::from_secs(30), watch.next());
    change.await.unwrap().unwrap().unwrap()
}

fn name(change: &Change) -> &str {
    let (Change::Set(object) | Change::Gone(object)) = change;
    object["metadata"]["name"].as_str().unwrap()
}

async fn changes_after_a_list_are_told_in_their_order_with_what_they_made(cluster: &dyn Cluster) {
    let maps = kind(cluster, "v1", "ConfigMap").await;
    let set = async |name: &str, data: &str| {
        let wish = config(name, json!({ "a": data }));
        let at = place(&maps, name);
        cluster.apply(at, &wish, WRITE).await.unwrap()
    };
    set("seen", "0").await;
    let listed = cluster.list(&maps, only("seen")).await.unwrap();
    assert_eq!(listed.items.len(), 1, "the others have other names");
    assert_eq!(listed.items[0]["data"], json!({ "a": "0" }));

    // Before there is a watch, and while it is open.
    set("seen", "1").await;
    set("other", "1").await;
    let mut watch = cluster
        .watch(&maps, only("seen"), &listed.version)
        .await
        .unwrap();
    let now = set("seen", "2").await;
    cluster.delete(place(&maps, "seen"), None).await.unwrap();
    let again = set("seen", "3").await;
    let first = next(&mut watch).await;
    assert!(matches!(&first, Change::Set(object) if object["data"]["a"] == "1"));
    assert_eq!(next(&mut watch).await, Change::Set(now));
    assert!(matches!(next(&mut watch).await, Change::Gone(_)));
    assert_eq!(next(&mut watch).await, Change::Set(again));
    drop(watch);
    for name in ["seen", "other"] {
        cluster.delete(place(&maps, name), None).await.unwrap();
    }
}

async fn an_object_that_was_not_there_is_seen_to_come(cluster: &dyn Cluster) {
    let maps = kind(cluster, "v1", "ConfigMap").await;
    let listed = cluster.list(&maps, only("comes")).await.unwrap();
    assert_eq!(listed.items, [Value::Null; 0]);
    let mut watch = cluster
        .watch(&maps, only("comes"), &listed.version)
        .await
        .unwrap();
    // Whoever asks no longer has lost nothing.
    let patience = Duration::from_millis(20);
    assert!(tokio::time::timeout(patience, watch.next()).await.is_err());
    let wish = config("comes", json!({}));
    let at = place(&maps, "comes");
    let now = cluster.apply(at, &wish, WRITE).await.unwrap();
    let change = next(&mut watch).await;
    assert_eq!(change, Change::Set(now));
    let Change::Set(object) = change else { return };
    assert_eq!(object["kind"], "ConfigMap");
    assert_eq!(object["apiVersion"], "v1");
    assert!(cluster.delete(at, None).await.unwrap());
    assert!(
        matches!(next(&mut watch).await, Change::Gone(object) if object["kind"] == "ConfigMap")
    );
}

async fn a_watch_tells_all_names_of_its_namespace_where_none_is_chosen(cluster: &dyn Cluster) {
    let maps = kind(cluster, "v1", "ConfigMap").await;
    let all = cluster.list(&maps, Choice::ALL).await.unwrap();
    let mut everywhere = cluster
        .watch(&maps, Choice::ALL, &all.version)
        .await
        .unwrap();
    let mut inside = cluster.watch(&maps, INSIDE, &all.version).await.unwrap();
    for name in ["one", "two"] {
        let wish = config(name, json!({}));
        let at = place(&maps, name);
        cluster.apply(at, &wish, WRITE).await.unwrap();
    }
    for expected in ["one", "two"] {
        assert_eq!(name(&next(&mut inside).await), expected);
        // Others may be at work in other namespaces.
        while name(&next(&mut everywhere).await) != expected {}
    }
}

async fn a_version_from_long_ago_loses_no_change(cluster: &dyn Cluster) {
    let maps = kind(cluster, "v1", "ConfigMap").await;
    let wish = config("old", json!({}));
    let at = place(&maps, "old");
    cluster.apply(at, &wish, WRITE).await.unwrap();
    let mut watch = cluster.watch(&maps, only("old"), "1").await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(30), watch.next());
    // Either it is told, or that a list is to tell it.
    match told.await.unwrap().unwrap() {
        Some(change) => assert_eq!(name(&change), "old"),
        None => {
            let listed = cluster.list(&maps, only("old")).await.unwrap();
            assert_eq!(listed.items.len(), 1);
        }
    }
}

async fn only_the_object_of_a_uid_is_deleted_where_one_is_named(cluster: &dyn Cluster) {
    let maps = kind(cluster, "v1", "ConfigMap").await;
    let at = place(&maps, "twice");
    let wish = config("twice", json!({}));
    let first = cluster.apply(at, &wish, WRITE).await.unwrap();
    let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap().to_owned();
    assert!(cluster.delete(at, Some(&uid(&first))).await.unwrap());
    assert!(!cluster.delete(at, Some(&uid(&first))).await.unwrap());
    let second = cluster.apply(at, &wish, WRITE).await.unwrap();
    let error = cluster.delete(at, Some(&uid(&first))).await.unwrap_err();
    assert_eq!(error.kind, ApiErrorKind::Stale);
    assert_eq!(cluster.get(at).await.unwrap(), Some(second.clone()));
    assert!(cluster.delete(at, Some(&uid(&second))).await.unwrap());
}

/// Another manager has set `.data.a` of the ConfigMap `theirs` before.
async fn a_conflict_names_who_owns_the_field(cluster: &dyn Cluster) {
    let maps = kind(cluster, "v1", "ConfigMap").await;
    let at = place(&maps, "theirs");
    let wish = config("theirs", json!({ "a": "2" }));
    let error = cluster.apply(at, &wish, WRITE).await.unwrap_err();
    assert_eq!(error.kind, ApiErrorKind::Conflict);
    assert_eq!(error.conflicts[0].field, ".data.a");
    assert!(error.conflicts[0].manager.contains(OTHER), "{error:?}");
    let force = Apply {
        force: true,
        dry_run: false,
    };
    let now = cluster.apply(at, &wish, force).await.unwrap();
    assert!(fields::is_as_wished(&wish, &now, MANAGER));
}

/// Asks an API for all of it. `put` sets this object as the manager `OTHER` does.
pub async fn hold(cluster: &dyn Cluster, put: impl FnOnce(&Value)) {
    namespace(cluster).await;
    put(&config("theirs", json!({ "a": "1" })));
    a_conflict_names_who_owns_the_field(cluster).await;
    applies_are_owned_and_repeated_ones_change_nothing(cluster).await;
    a_field_that_is_wished_no_more_is_removed_and_those_of_others_stay(cluster).await;
    an_object_of_a_namespace_that_is_not_there_is_not_found(cluster).await;
    a_patch_of_an_object_that_changed_since_is_refused(cluster).await;
    ports_have_a_protocol_by_default_and_both_of_one_number_stay(cluster).await;
    what_is_deleted_is_gone(cluster).await;
    only_the_object_of_a_uid_is_deleted_where_one_is_named(cluster).await;
    changes_after_a_list_are_told_in_their_order_with_what_they_made(cluster).await;
    an_object_that_was_not_there_is_seen_to_come(cluster).await;
    a_watch_tells_all_names_of_its_namespace_where_none_is_chosen(cluster).await;
    a_version_from_long_ago_loses_no_change(cluster).await;
}

/// A watch ends by itself, without an error. It takes the minute that it takes.
pub async fn hold_to_the_end_of_a_watch(cluster: &dyn Cluster) {
    namespace(cluster).await;
    let maps = kind(cluster, "v1", "ConfigMap").await;
    let listed = cluster.list(&maps, only("nothing")).await.unwrap();
    let mut watch = cluster
        .watch(&maps, only("nothing"), &listed.version)
        .await
        .unwrap();
    let told = tokio::time::timeout(Duration::from_secs(90), watch.next());
    assert_eq!(told.await.unwrap().unwrap(), None);
}
