//! Objects as a server has them, beside wishes that are like them and wishes that are not.

use serde_json::{Value, json};

use super::*;

fn live() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "dns", "namespace": "n", "uid": "1", "labels": { "a": "b", "theirs": "x" },
            "managedFields": [{
                "manager": "hmco-boot", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:metadata": { "f:labels": { "f:a": {} } },
                    "f:spec": {
                        "f:ports": {
                            "k:{\"port\":53,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} },
                            "k:{\"port\":53,\"protocol\":\"UDP\"}": { ".": {}, "f:port": {}, "f:protocol": {} }
                        },
                        "f:selector": {}
                    }
                }
            }, {
                "manager": "other", "operation": "Update", "fieldsV1": { "f:metadata": { "f:labels": { "f:theirs": {} } } }
            }]
        },
        "spec": {
            "ports": [{ "port": 53, "protocol": "TCP", "targetPort": 53 }, { "port": 53, "protocol": "UDP", "targetPort": 53 }],
            "selector": { "app": "dns" }, "clusterIP": "10.43.0.10"
        }
    })
}

fn wish() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "dns", "namespace": "n", "labels": { "a": "b" } },
        "spec": { "ports": [{ "port": 53, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }], "selector": { "app": "dns" } }
    })
}

#[test]
fn an_object_whose_wished_fields_are_live_and_ours_is_as_wished_whatever_others_added() {
    // The key of the TCP port is there by default; owned is only what was wished.
    let mut wish = wish();
    let mut live = live();
    assert!(
        !is_as_wished(&wish, &live, "hmco-boot"),
        "protocol of TCP is wished and not owned"
    );
    live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:ports"]["k:{\"port\":53,\"protocol\":\"TCP\"}"]
        ["f:protocol"] = json!({});
    assert!(is_as_wished(&wish, &live, "hmco-boot"));
    assert!(!is_as_wished(&wish, &live, "somebody-else"));
    // Items in another order: an apply would move them.
    wish["spec"]["ports"].as_array_mut().unwrap().reverse();
    assert!(!is_as_wished(&wish, &live, "hmco-boot"));
}

#[test]
fn what_others_change_between_two_looks_is_no_difference() {
    let mut tried = live();
    tried["metadata"]["resourceVersion"] = json!("7");
    let mut live = tried.clone();
    assert!(is_left_as_it_is(&live, &tried, "hmco-boot"));
    live["metadata"]["annotations"] = json!({ "deployment.kubernetes.io/revision": "1" });
    assert!(
        !is_left_as_it_is(&live, &tried, "hmco-boot"),
        "of one version"
    );
    live["metadata"]["resourceVersion"] = json!("8");
    assert!(is_left_as_it_is(&live, &tried, "hmco-boot"));
    for change in [json!({ "app": "x" }), json!({})] {
        let mut other = live.clone();
        other["spec"]["selector"] = change;
        assert!(!is_left_as_it_is(&other, &tried, "hmco-boot"));
    }
    let mut other = live.clone();
    other["spec"]["ports"].as_array_mut().unwrap().remove(0);
    assert!(!is_left_as_it_is(&other, &tried, "hmco-boot"));
    other = live.clone();
    other["metadata"]["labels"]["a"] = json!("c");
    assert!(!is_left_as_it_is(&other, &tried, "hmco-boot"));
}

#[test]
fn marks_that_somebody_set_are_his_and_membership_in_a_set_is_not_kept() {
    let mut live = live();
    assert_eq!(
        owned_marks(&live, "hmco-boot"),
        json!({ "labels": { "a": "b" } })
    );
    assert_eq!(owned_marks(&live, "somebody-else"), Value::Null);
    assert!(owns_label(&live, "hmco-boot", "a"));
    assert!(!owns_label(&live, "hmco-boot", "theirs"));
    live["metadata"]["labels"][PART_OF] = json!("x");
    live["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:labels"]
        [format!("f:{PART_OF}")] = json!({});
    assert_eq!(
        owned_marks(&live, "hmco-boot"),
        json!({ "labels": { "a": "b" } })
    );
}

#[test]
fn a_value_that_differs_a_field_more_and_a_field_less_are_seen() {
    let live = live();
    let mut same = wish();
    same["spec"]["ports"] = json!([{ "port": 53 }]);
    assert!(!is_as_wished(&same, &live, "hmco-boot"), "one port less");
    let mut other = wish();
    other["spec"]["selector"] = json!({ "app": "x" });
    assert!(!is_as_wished(&other, &live, "hmco-boot"));
    let mut more = wish();
    more["metadata"]["labels"]["c"] = json!("d");
    assert!(!is_as_wished(&more, &live, "hmco-boot"));
    let mut less = wish();
    less["metadata"].as_object_mut().unwrap().remove("labels");
    assert!(
        !is_as_wished(&less, &live, "hmco-boot"),
        "a label that is ours is not wished any more"
    );
    let mut elsewhere = wish();
    elsewhere["metadata"]["namespace"] = json!("m");
    assert!(!is_as_wished(&elsewhere, &live, "hmco-boot"));
}

#[test]
fn what_is_replaced_as_a_whole_may_have_the_servers_defaults_and_nothing_else() {
    let live = |source: Value| {
        json!({
            "apiVersion": "v1", "kind": "X",
            "metadata": { "name": "x", "managedFields": [{
                "manager": "hmco-boot", "operation": "Apply", "fieldsV1": { "f:spec": { "f:source": {} } }
            }] },
            "spec": { "source": source }
        })
    };
    let wish = json!({
        "apiVersion": "v1", "kind": "X", "metadata": { "name": "x" }, "spec": { "source": { "fieldPath": "a" } }
    });
    let is = |source: Value| is_as_wished(&wish, &live(source), "hmco-boot");
    assert!(is(json!({ "fieldPath": "a" })));
    assert!(is(json!({ "fieldPath": "a", "apiVersion": "v1" })));
    assert!(!is(json!({ "fieldPath": "a", "apiVersion": "v2" })));
    assert!(!is(json!({ "fieldPath": "a", "other": "v1" })));
    assert!(!is(json!({ "fieldPath": "b", "apiVersion": "v1" })));
}

#[test]
fn an_object_that_is_only_a_name_is_as_wished_when_it_is_there() {
    let wish = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "web" } });
    let mut live = wish.clone();
    live["status"] = json!({ "phase": "Active" });
    assert!(is_as_wished(&wish, &live, "hmco-boot"));
    live["metadata"]["managedFields"] = json!([{
        "manager": "hmco-boot", "operation": "Apply", "fieldsV1": { "f:metadata": { "f:labels": { "f:a": {} } } }
    }]);
    assert!(
        !is_as_wished(&wish, &live, "hmco-boot"),
        "a label of ours is not wished any more"
    );
}

#[test]
fn sets_of_scalars_and_keys_with_null_are_understood() {
    let live = json!({
        "apiVersion": "v1", "kind": "X",
        "metadata": { "name": "x", "finalizers": ["a", "b"], "managedFields": [{
            "manager": "hmco-boot", "operation": "Apply",
            "fieldsV1": { "f:metadata": { "f:finalizers": { ".": {}, "v:\"a\"": {} } } }
        }] }
    });
    let wish = json!({ "apiVersion": "v1", "kind": "X", "metadata": { "name": "x", "finalizers": ["a"] }, "spec": null });
    assert!(is_as_wished(&wish, &live, "hmco-boot"));
    let wish = json!({ "apiVersion": "v1", "kind": "X", "metadata": { "name": "x", "finalizers": ["c"] } });
    assert!(!is_as_wished(&wish, &live, "hmco-boot"));
}

#[test]
fn what_a_manager_would_own_more_or_less_is_named() {
    let before = json!({ "metadata": { "managedFields": [] } });
    assert_eq!(
        newly_owned(&before, &live(), "hmco-boot"),
        [
            ".metadata.labels.a",
            ".spec.ports[{\"port\":53,\"protocol\":\"TCP\"}]",
            ".spec.ports[{\"port\":53,\"protocol\":\"TCP\"}].port",
            ".spec.ports[{\"port\":53,\"protocol\":\"UDP\"}]",
            ".spec.ports[{\"port\":53,\"protocol\":\"UDP\"}].port",
            ".spec.ports[{\"port\":53,\"protocol\":\"UDP\"}].protocol",
            ".spec.selector",
        ]
    );
}
