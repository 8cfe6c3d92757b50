//! What Kubernetes says is wrong.

use super::*;

#[test]
fn a_component_that_is_not_up_is_not_healthy() {
    let mut listed = listed();
    listed.deployments[0]["status"] = json!({
        "conditions": [
            { "type": "Available", "status": "False", "message": "Deployment does not have minimum availability." },
            { "type": "Progressing", "status": "True", "message": "ReplicaSet is progressing." },
        ]
    });
    let status = Status::of("c", &all(), Ok(&listed));
    assert_eq!(
        problems(&status),
        ["kube-system/coredns: 0 of 1 pods are up: Deployment does not have minimum availability"]
    );
    assert!(!status.healthy && status.problems[0].hint.contains("kubectl -n kube-system"));
    assert_eq!(status.exit(), ExitCode::Failed);
    // Of none none is missing.
    listed.deployments[0]["spec"]["replicas"] = 0.into();
    assert!(Status::of("c", &all(), Ok(&listed)).healthy);
}

#[test]
fn a_node_that_runs_short_of_something_is_not_healthy() {
    let mut listed = listed();
    let conditions = listed.nodes[1]["status"]["conditions"].as_array_mut();
    let conditions = conditions.unwrap();
    let disk = conditions
        .iter_mut()
        .find(|condition| condition["type"] == "DiskPressure");
    disk.unwrap()["status"] = "True".into();
    conditions.push(json!({ "type": "NetworkUnavailable", "status": "True" }));
    let status = Status::of("c", &all(), Ok(&listed));
    assert_eq!(
        problems(&status),
        [
            "n2: its disk is nearly full, and pods are evicted from it (DiskPressure)",
            "n2: the network of its pods is not set up (NetworkUnavailable)",
        ]
    );
    assert_eq!(status.exit(), ExitCode::Failed);
    assert!(
        status
            .problems
            .iter()
            .all(|problem| !problem.hint.is_empty())
    );
}
