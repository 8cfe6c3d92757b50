//! Clusters as they were recorded on the real K3s, and what is said of them.

use serde_json::{Value, json};

mod ailing;
mod apart;

use super::*;
use crate::facts::fact::{K3sData, Unit};
use crate::k3s::look::Member;

fn unit(active: &str, sub: &str) -> Unit {
    Unit {
        load: "loaded".into(),
        active: active.into(),
        sub: sub.into(),
        enabled: "enabled".into(),
        active_enter_us: if active == "active" { 40_000_000 } else { 0 },
        ..Unit::default()
    }
}

fn recorded_members() -> Vec<Member> {
    let name = |n: u32, hex: &str| Member {
        name: format!("n{n}-{hex}"),
        address: format!("172.30.7.1{n}"),
        learner: false,
    };
    vec![
        name(1, "65c0107c"),
        name(2, "24dbd9cf"),
        name(3, "f1c4e3e9"),
    ]
}

fn server(name: &str) -> Seen {
    let members = recorded_members();
    let own = members.iter().find(|own| own.node() == Some(name));
    Seen {
        name: name.to_owned(),
        role: Some(Role::Server),
        address: None,
        told: Ok(Told {
            version: "v1.32.2+k3s1".into(),
            data: K3sData {
                etcd: true,
                ..K3sData::default()
            },
            unit: Some((Role::Server, unit("active", "running"))),
            uptime_ms: 100_000,
            node: name.to_owned(),
            member: own.map(|own| own.name.clone()).unwrap_or_default(),
            readyz: "ok".into(),
            members: Some(Ok(members)),
            health: Some(Ok(())),
            ..Told::default()
        }),
    }
}

fn agent(name: &str) -> Seen {
    Seen {
        role: Some(Role::Agent),
        told: Ok(Told {
            version: "v1.32.2+k3s1".into(),
            unit: Some((Role::Agent, unit("active", "running"))),
            node: name.to_owned(),
            ..Told::default()
        }),
        ..server(name)
    }
}

fn told(seen: &mut Seen) -> &mut Told {
    seen.told.as_mut().unwrap()
}

/// The four Nodes of the recordings.
fn listed() -> Listed {
    let nodes = include_str!("../../../tests/k3s-standin/recordings/03-nodes.json");
    let nodes: Value = serde_json::from_str(nodes).unwrap();
    Listed {
        nodes: nodes["items"].as_array().unwrap().clone(),
        deployments: vec![json!({
            "metadata": { "name": "coredns" },
            "spec": { "replicas": 1, "template": { "spec": { "containers": [
                { "image": "rancher/mirrored-coredns-coredns:1.12.0" }
            ] } } },
            "status": { "availableReplicas": 1 }
        })],
    }
}

fn all() -> Vec<Seen> {
    vec![server("n1"), server("n2"), server("n3"), agent("n4")]
}

fn problems(status: &Status) -> Vec<String> {
    let words = |problem: &Problem| match &problem.node {
        Some(node) => format!("{node}: {}", problem.what),
        None => problem.what.clone(),
    };
    status.problems.iter().map(words).collect()
}

#[test]
fn a_recorded_cluster_is_healthy() {
    let status = Status::of("c", &all(), Ok(&listed()));
    assert_eq!(problems(&status), Vec::<String>::new());
    assert!(status.healthy);
    assert_eq!(status.exit(), ExitCode::Done);
    assert_eq!(status.simulated, Some(false));
    let etcd = status.etcd.as_ref().unwrap();
    assert_eq!((etcd.voters, etcd.healthy_voters, etcd.quorum), (3, 3, 2));
    let first = status.node("n1").unwrap();
    assert_eq!(first.etcd.as_ref().unwrap().name, "n1-65c0107c");
    assert_eq!(first.k3s.as_ref().unwrap().active_seconds, Some(60));
    assert_eq!(first.address.as_deref(), Some("172.30.7.11"));
    assert!(status.node("n4").unwrap().etcd.is_none());
    assert_eq!(status.components[0].version, "1.12.0");
    let mut listed = listed();
    listed.nodes[0]["metadata"]["annotations"]["hmco-boot/simulated"] = "true".into();
    assert_eq!(Status::of("c", &all(), Ok(&listed)).simulated, Some(true));
}

#[test]
fn where_nothing_is_yet_that_is_the_one_thing_that_is_said() {
    let nothing = |name: &str| Seen {
        told: Ok(Told {
            node: name.to_owned(),
            ..Told::default()
        }),
        ..server(name)
    };
    let status = Status::of("c", &[nothing("n1"), nothing("n2")], Err("no".into()));
    assert_eq!(
        problems(&status),
        ["there is no cluster yet: K3s is on none of the nodes"]
    );
    assert_eq!(status.exit(), ExitCode::Failed);
    assert!(status.etcd.is_none());
}

#[test]
fn a_node_that_is_silent_is_unreachable_and_nothing_is_guessed_of_it() {
    let mut seen = all();
    seen[2].told = Err(Silence {
        unreachable: true,
        failure: Failure::new("n3 does not answer").hint("power?"),
    });
    let status = Status::of("c", &seen, Ok(&listed()));
    assert_eq!(problems(&status), ["n3: n3 does not answer"]);
    assert_eq!(status.exit(), ExitCode::Unreachable);
    let node = status.node("n3").unwrap();
    assert_eq!(node.reachable, Some(false));
    assert_eq!(node.api_ready, None);
    assert_eq!(node.etcd.as_ref().unwrap().healthy, None);
    // What the API says of it is known.
    assert!(node.is_ready());
}

#[test]
fn where_nobody_answers_nobody_knows_whether_there_is_a_cluster() {
    let mut seen = all();
    for node in &mut seen {
        node.told = Err(Silence {
            unreachable: true,
            failure: Failure::new("no answer"),
        });
    }
    let status = Status::of("c", &seen, Err("no way".into()));
    assert!(!status.is_there() && status.may_be_there());
    assert_eq!(status.exit(), ExitCode::Unreachable);
    assert_eq!(status.simulated, None);
    assert!(status.etcd.is_none());
}

#[test]
fn a_lost_quorum_is_told_with_what_is_known_and_what_is_not() {
    let mut seen = all();
    for (at, server) in seen.iter_mut().take(3).enumerate() {
        let told = told(server);
        told.members = (at == 0).then(|| Err("context deadline exceeded".into()));
        told.health = (at == 0).then(|| Err("it has no leader".into()));
        told.readyz = String::new();
        told.unit = Some((
            Role::Server,
            match at {
                0 => unit("activating", "start"),
                _ => unit("inactive", "dead"),
            },
        ));
    }
    let status = Status::of(
        "c",
        &seen,
        Err("no server says that its API is ready".into()),
    );
    let etcd = status.etcd.as_ref().unwrap();
    assert_eq!(etcd.has_quorum, Some(false));
    assert!(etcd.members.is_empty());
    let said = problems(&status);
    assert_eq!(
        said[0],
        "etcd has no quorum: K3s runs on 1 of 3 servers, not on n2, n3"
    );
    assert_eq!(said[1], "n1: k3s.service is activating (start)");
    assert!(status.problems[1].hint.contains("quorum"), "{said:?}");
    assert_eq!(said[2], "n2: k3s.service is inactive (dead)");
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(status.exit(), ExitCode::Failed);
}

#[test]
fn a_member_without_a_node_a_learner_and_a_node_that_is_not_ready_are_told() {
    let mut seen = all();
    for server in seen.iter_mut().take(3) {
        let mut members = recorded_members();
        members[2].learner = true;
        members.push(Member {
            name: "old-00000000".into(),
            address: "172.30.7.19".into(),
            learner: false,
        });
        told(server).members = Some(Ok(members));
    }
    let mut listed = listed();
    let conditions = listed.nodes[3]["status"]["conditions"].as_array_mut();
    let ready = conditions
        .unwrap()
        .iter_mut()
        .find(|condition| condition["type"] == "Ready");
    *ready.unwrap() =
        json!({ "type": "Ready", "status": "False", "message": "PLEG is not healthy" });
    let status = Status::of("c", &seen, Ok(&listed));
    assert_eq!(
        problems(&status),
        [
            "n3: its member of etcd does not vote yet",
            "etcd counts on a member of no node: old-00000000 (172.30.7.19)",
            "n4: its Node is not Ready: PLEG is not healthy",
        ]
    );
}

#[test]
fn what_stands_still_or_is_not_there_is_told_with_its_unit() {
    let mut seen = all();
    told(&mut seen[1]).unit = Some((Role::Server, unit("failed", "failed")));
    told(&mut seen[1]).health = None;
    told(&mut seen[1]).readyz = String::new();
    told(&mut seen[3]).unit = None;
    let status = Status::of("c", &seen, Ok(&listed()));
    assert_eq!(
        problems(&status),
        [
            "n2: k3s.service is failed (failed)",
            "n4: K3s is not installed there (agent by the inventory)",
        ]
    );
    let member = status.node("n2").unwrap().etcd.clone().unwrap();
    assert_eq!(member.healthy, Some(false));
    assert_eq!(status.etcd.unwrap().healthy_voters, 2);
}

#[test]
fn a_node_that_only_the_api_knows_is_shown_too() {
    let seen = &all()[..3];
    let status = Status::of("c", seen, Ok(&listed()));
    let stranger = status.node("n4").unwrap();
    assert!(!stranger.in_inventory && stranger.reachable.is_none());
    assert!(status.healthy);
}

#[test]
fn a_server_that_was_taken_out_while_it_was_away_has_to_be_reset() {
    let mut seen = all();
    let mut listed = listed();
    listed.nodes.retain(|node| node["metadata"]["name"] != "n3");
    for server in seen.iter_mut().take(2) {
        told(server).members = Some(Ok(recorded_members()[..2].to_vec()));
    }
    let left = told(&mut seen[2]);
    left.unit = Some((Role::Server, unit("activating", "start")));
    left.readyz = "no answer".into();
    left.members = Some(Err("no".into()));
    left.health = Some(Err("no".into()));
    let status = Status::of("c", &seen, Ok(&listed));
    assert_eq!(
        problems(&status),
        ["n3: it has a datastore that etcd has no member of: it has left the cluster"]
    );
    assert!(status.problems[0].hint.contains("k3s reset --node n3"));
}

#[test]
fn why_the_api_told_nothing_is_said_with_its_own_cure() {
    let why = "the Kubernetes API cannot be reached\nn1: the cluster has another CA than the one that is pinned\n  pinned: aa\nhint: find out whose it is";
    let status = Status::of("c", &all(), Err(why.into()));
    assert_eq!(
        problems(&status),
        [
            "the Kubernetes API told nothing of its Nodes: n1: the cluster has another CA than the one that is pinned"
        ]
    );
    assert_eq!(status.problems[0].hint, "find out whose it is");
    let status = Status::of("c", &all(), Err("no answer within 30s".into()));
    assert!(status.problems[0].what.ends_with("no answer within 30s"));
}

#[test]
fn what_nobody_could_list_is_not_healthy() {
    let mut seen = all();
    for server in seen.iter_mut().take(3) {
        told(server).members = Some(Err("error: certificate has expired ".into()));
    }
    let status = Status::of("c", &seen, Ok(&listed()));
    assert!(!status.healthy);
    assert_eq!(
        problems(&status),
        ["the members of etcd could not be listed: n1: error: certificate has expired"]
    );
    // One that lists them is enough.
    told(&mut seen[1]).members = Some(Ok(recorded_members()));
    assert!(Status::of("c", &seen, Ok(&listed())).healthy);
}

#[test]
fn a_k3s_that_would_not_come_back_after_a_boot_is_not_healthy() {
    let mut seen = all();
    for at in [1, 3] {
        let (_, unit) = told(&mut seen[at]).unit.as_mut().unwrap();
        unit.enabled = "disabled".into();
    }
    let status = Status::of("c", &seen, Ok(&listed()));
    assert_eq!(
        problems(&status),
        [
            "n2: it runs and does not start at boot",
            "n4: it runs and does not start at boot"
        ]
    );
    assert_eq!(status.problems[0].hint, "hmco-boot run k3s");
}
