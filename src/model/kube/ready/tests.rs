//! What is ready, what is waited for and what has failed, by the status of objects.

use serde_json::json;

use super::*;

fn waiting(object: &Value) -> String {
    match readiness(object) {
        Readiness::Waiting(words) => words,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deployment_is_ready_when_all_pods_of_its_last_change_are_available() {
    let mut object = json!({
        "kind": "Deployment", "metadata": { "generation": 2 }, "spec": { "replicas": 2 },
        "status": {
            "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
            "conditions": [{ "type": "Available", "status": "True" }]
        }
    });
    assert_eq!(
        waiting(&object),
        "its controller has not seen its last change"
    );
    object["status"]["observedGeneration"] = json!(2);
    assert_eq!(readiness(&object), Readiness::Ready);
    object["status"]["availableReplicas"] = json!(1);
    assert_eq!(waiting(&object), "1 of 2 pods are available");
    object["status"]["replicas"] = json!(3);
    assert_eq!(waiting(&object), "1 pods of its old version are left");
    object["status"]["updatedReplicas"] = json!(0);
    object["status"]["conditions"] = json!([{
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": "pods \"x\" is forbidden: exceeded quota: q"
    }]);
    assert_eq!(
        waiting(&object),
        "0 of 2 pods are of its new version; ReplicaFailure is True (FailedCreate): pods \"x\" is forbidden: \
         exceeded quota: q"
    );
    object["status"]["conditions"] = json!([{
        "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"
    }]);
    assert!(matches!(readiness(&object), Readiness::Failed(_)));
}

#[test]
fn a_deployment_nobody_has_looked_at_is_not_ready() {
    let object = json!({ "kind": "Deployment", "metadata": { "generation": 1 }, "spec": {} });
    assert_eq!(
        waiting(&object),
        "its controller has not seen its last change"
    );
}

#[test]
fn a_job_that_failed_is_not_waited_for() {
    let job = |name: &str| json!({ "kind": "Job", "status": { "conditions": [{ "type": name, "status": "True" }] } });
    assert_eq!(readiness(&job("Complete")), Readiness::Ready);
    assert!(matches!(readiness(&job("Failed")), Readiness::Failed(_)));
    assert!(
        waiting(&json!({ "kind": "Job", "status": { "active": 1 } }))
            .starts_with("it is not complete")
    );
}

#[test]
fn a_definition_whose_names_are_taken_never_establishes() {
    let object = json!({ "kind": "CustomResourceDefinition", "status": { "conditions": [
        { "type": "NamesAccepted", "status": "False", "reason": "ListKindConflict", "message": "in use" },
        { "type": "Established", "status": "False", "reason": "NotAccepted" }
    ] } });
    assert_eq!(
        readiness(&object),
        Readiness::Failed("NamesAccepted is False (ListKindConflict): in use".to_owned())
    );
    let object = json!({ "kind": "CustomResourceDefinition" });
    assert_eq!(waiting(&object), "it has no condition Established yet");
}

#[test]
fn why_a_pod_does_not_run_is_told_by_its_containers() {
    let pod = json!({ "kind": "Pod", "status": { "phase": "Pending", "containerStatuses": [
        { "name": "c", "state": { "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling x" } } }
    ] } });
    assert_eq!(
        waiting(&pod),
        "container c is waiting (ImagePullBackOff): Back-off pulling x"
    );
    let pod = json!({ "kind": "Pod", "status": { "phase": "Pending", "conditions": [
        { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" }
    ] } });
    assert_eq!(
        waiting(&pod),
        "PodScheduled is False (Unschedulable): 0/1 nodes"
    );
}

#[test]
fn a_condition_of_before_the_last_change_does_not_count() {
    let expected = Expected::Condition {
        name: "Ready".into(),
        status: "True".into(),
    };
    let mut object = json!({
        "kind": "Certificate", "metadata": { "generation": 2 },
        "status": { "conditions": [{ "type": "Ready", "status": "True", "observedGeneration": 1 }] }
    });
    assert!(matches!(expected.of(Some(&object)), Readiness::Waiting(_)));
    object["status"]["conditions"][0]["observedGeneration"] = json!(2);
    assert_eq!(expected.of(Some(&object)), Readiness::Ready);
    assert!(matches!(expected.of(None), Readiness::Waiting(_)));
}

#[test]
fn what_shall_be_gone_names_the_finalizers_it_waits_for() {
    let object = json!({ "metadata": { "deletionTimestamp": "t", "finalizers": ["a.example/x"] } });
    assert_eq!(
        Expected::Absent.of(Some(&object)),
        Readiness::Waiting(
            "it is being deleted and waits for its finalizers: a.example/x".to_owned()
        )
    );
    assert_eq!(Expected::Absent.of(None), Readiness::Ready);
    let gone = |uid: &str| Expected::Gone {
        uid: uid.to_owned(),
    };
    let object = json!({ "metadata": { "name": "x", "uid": "a" } });
    assert_eq!(gone("a").of(None), Readiness::Ready);
    let waiting = Readiness::Waiting("it is still there".to_owned());
    assert_eq!(gone("a").of(Some(&object)), waiting);
    assert_eq!(gone("b").of(Some(&object)), Readiness::Ready, "another one");
}

#[test]
fn a_field_is_compared_as_text_and_without_a_value_must_only_be_there() {
    let object = json!({ "status": { "phase": "Bound", "count": 3, "none": "" } });
    let field = |pointer: &str, value: Option<&str>| {
        Expected::Field {
            pointer: pointer.into(),
            value: value.map(str::to_owned),
        }
        .of(Some(&object))
    };
    assert_eq!(field("/status/phase", Some("Bound")), Readiness::Ready);
    assert_eq!(field("/status/count", Some("3")), Readiness::Ready);
    assert_eq!(field("/status/count", None), Readiness::Ready);
    assert_eq!(
        field("/status/none", None),
        Readiness::Waiting("/status/none is not there".to_owned())
    );
    assert!(matches!(
        field("/status/phase", Some("Lost")),
        Readiness::Waiting(_)
    ));
}
