//! Machines that are told apart, and clusters.

use super::*;
use crate::k3s::leave::{self, Machine as Is};
use crate::k3s::reset::may_be_reset;

/// A server of another name than its Node's and its member's.
fn renamed(name: &str, own: &str) -> Seen {
    let mut seen = server(own);
    seen.name = name.to_owned();
    seen
}

#[test]
fn a_member_is_found_by_the_name_on_its_disk_whatever_its_node_is_called() {
    let mut seen = all();
    seen[2] = renamed("third", "n3");
    // What it takes for the name of its Node is wrong.
    told(&mut seen[2]).node = "third".into();
    let status = Status::of("c", &seen, Ok(&listed()));
    let third = status.node("third").unwrap();
    assert_eq!(third.etcd.as_ref().unwrap().name, "n3-f1c4e3e9");
    assert_eq!(third.etcd.as_ref().unwrap().healthy, Some(true));
    assert_eq!(third.kube_name(), "n3");
    assert_eq!(problems(&status), Vec::<String>::new());
    // The API tells nothing.
    let status = Status::of("c", &seen, Err("no".into()));
    let third = status.node("third").unwrap();
    assert_eq!(third.etcd.as_ref().unwrap().name, "n3-f1c4e3e9");
}

#[test]
fn a_node_that_told_another_name_is_found_by_its_address() {
    let mut seen = all();
    seen[2] = renamed("third", "n3");
    seen[2].address = Some("172.30.7.13".into());
    told(&mut seen[2]).node = "x".into();
    told(&mut seen[2]).member = String::new();
    seen[3].address = Some("172.30.7.14".into());
    told(&mut seen[3]).node = "y".into();
    let status = Status::of("c", &seen, Ok(&listed()));
    let third = status.node("third").unwrap();
    assert_eq!(third.kube_name(), "n3");
    assert_eq!(third.etcd.as_ref().unwrap().name, "n3-f1c4e3e9");
    assert_eq!(status.node("n4").unwrap().kube_name(), "n4");
    assert!(status.node("n4").unwrap().in_inventory);
    assert_eq!(status.nodes.len(), 4);
}

#[test]
fn a_member_that_could_not_be_told_is_not_taken_for_none() {
    let mut seen = all();
    for server in seen.iter_mut().take(3) {
        told(server).members = Some(Err("certificate has expired".into()));
    }
    let status = Status::of("c", &seen, Ok(&listed()));
    let unknown = |name: &str| {
        let node = status.node(name).unwrap();
        node.member_is_unknown(status.etcd.as_ref())
    };
    assert!(unknown("n1") && unknown("n3") && !unknown("n4"));
    let mut seen = all();
    let mut listed = listed();
    listed.nodes.remove(2);
    let left = told(&mut seen[2]);
    (left.node, left.member) = ("x".into(), String::new());
    let status = Status::of("c", &seen, Ok(&listed));
    let third = status.node("n3").unwrap();
    assert!(third.member_is_unknown(status.etcd.as_ref()));
    assert!(problems(&status).contains(
        &"n3: it has data of etcd, and which member is its own could not be told".to_owned()
    ));
}

/// The recorded cluster with the addresses of its machines, and before them a clone of n3's card.
fn with_a_clone() -> Vec<Seen> {
    let mut seen = all();
    for (at, seen) in (1..).zip(&mut seen) {
        seen.address = Some(format!("172.30.7.1{at}"));
    }
    let mut twin = agent("n3");
    twin.name = "twin".into();
    twin.address = Some("172.30.7.20".into());
    told(&mut twin).unit = None;
    seen.insert(0, twin);
    seen
}

#[test]
fn the_node_of_a_machine_is_not_taken_by_another_that_calls_itself_so() {
    let mut seen = with_a_clone();
    let status = Status::of("c", &seen, Ok(&listed()));
    assert!(status.node("twin").unwrap().node.is_none());
    assert!(status.node("twin").unwrap().etcd.is_none());
    assert_eq!(status.node("n3").unwrap().kube_name(), "n3");
    assert_eq!(
        status.node("n3").unwrap().etcd.as_ref().unwrap().name,
        "n3-f1c4e3e9"
    );
    assert_eq!(status.disputes[0].machines, ["twin", "n3"]);
    let said = leave::decide(&status, "twin", Is::Dead).unwrap_err();
    assert!(said.failure.message.contains("twin and n3"), "{said:?}");
    assert!(said.failure.hint.unwrap().contains("host name of its own"));
    // It may be made empty: nothing of the other one is touched.
    may_be_reset(&status, status.node("twin").unwrap()).unwrap();
    // The same with the database of the other one, and while that one is silent.
    told(&mut seen[0]).member = "n3-f1c4e3e9".into();
    told(&mut seen[0]).data.etcd = true;
    seen[3].told = Err(Silence {
        unreachable: true,
        failure: Failure::new("no answer"),
    });
    let status = Status::of("c", &seen, Ok(&listed()));
    assert!(status.node("twin").unwrap().node.is_none());
    assert_eq!(status.node("n3").unwrap().kube_name(), "n3");
    assert_eq!(
        status.node("n3").unwrap().etcd.as_ref().unwrap().name,
        "n3-f1c4e3e9"
    );
}

#[test]
fn whose_a_node_is_that_two_may_have_is_refused_and_not_guessed() {
    let mut seen = with_a_clone();
    // As names, the addresses tell nothing.
    for seen in &mut seen {
        seen.address = Some(format!("{}.lan", seen.name));
    }
    told(&mut seen[0]).member = "n3-f1c4e3e9".into();
    told(&mut seen[0]).data.etcd = true;
    let status = Status::of("c", &seen, Ok(&listed()));
    for name in ["twin", "n3"] {
        let node = status.node(name).unwrap();
        assert!(node.node.is_none() && node.etcd.is_none());
        let said = leave::decide(&status, name, Is::Here)
            .unwrap_err()
            .failure
            .message;
        assert!(
            said.contains("Node `n3`") && said.contains("twin and n3"),
            "{said}"
        );
        let said = may_be_reset(&status, node).unwrap_err().message;
        assert!(said.contains("Node `n3`"), "{said}");
    }
    leave::decide(&status, "n4", Is::Here).unwrap();
    let said = problems(&status);
    assert!(said[0].contains("twin and n3"), "{said:?}");
    assert!(
        !said
            .iter()
            .any(|said| said.contains("has left the cluster")),
        "{said:?}"
    );
}

#[test]
fn what_has_the_name_of_a_machine_and_the_address_of_another_is_neither() {
    let mut seen = with_a_clone();
    seen.remove(0);
    // n3 is away, and n4 was found at another address than its Node's.
    let gone = Silence {
        unreachable: true,
        failure: Failure::new("no answer"),
    };
    seen[2].told = Err(gone);
    seen[2].address = None;
    seen[3].address = Some("172.30.7.13".into());
    let mut listed = listed();
    listed.nodes.remove(3);
    let status = Status::of("c", &seen, Ok(&listed));
    assert!(status.node("n4").unwrap().node.is_none());
    assert!(status.node("n3").unwrap().node.is_none());
    for name in ["n3", "n4"] {
        let said = leave::decide(&status, name, Is::Dead).unwrap_err();
        assert!(said.failure.message.contains("Node `n3`"), "{said:?}");
    }
    // Under a name that the inventory does not have it is the same Node.
    seen[2].name = "third".into();
    told(&mut seen[3]).node = "n3".into();
    seen[3].address = None;
    seen[2].address = Some("172.30.7.13".into());
    let status = Status::of("c", &seen, Ok(&listed));
    let said = leave::decide(&status, "n3", Is::Dead).unwrap_err();
    assert!(said.failure.message.contains("third and n4"), "{said:?}");
}

/// The recorded cluster, and before it a server of another one, made by hand.
fn with_a_stranger() -> Vec<Seen> {
    let mut seen = all();
    for server in seen.iter_mut().take(3) {
        told(server).data.ca_sha256 = Some("aa".into());
    }
    let mut other = server("n0");
    let data = told(&mut other);
    data.data.ca_sha256 = Some("bb".into());
    data.member = "n0-00000000".into();
    data.members = Some(Ok(vec![Member {
        name: "n0-00000000".into(),
        address: "172.30.7.10".into(),
        learner: false,
    }]));
    seen.insert(0, other);
    seen
}

#[test]
fn a_server_of_another_cluster_is_told_and_has_no_say_in_this_one() {
    let seen = with_a_stranger();
    let status = Status::of("c", &seen, Ok(&listed()));
    assert_eq!(
        problems(&status),
        ["the servers are of 2 different clusters, by their CA: n1, n2, n3 (CA aa); n0 (CA bb)"]
    );
    assert_eq!(status.exit(), ExitCode::Failed);
    assert_eq!(status.etcd.as_ref().unwrap().voters, 3);
    let other = status.node("n0").unwrap();
    assert_eq!(other.etcd.as_ref().unwrap().name, "n0-00000000");
    assert_eq!(status.etcd_of(other).unwrap().voters, 1);
    for name in ["n0", "n2", "n4"] {
        let said = leave::decide(&status, name, Is::Here).unwrap_err().failure;
        assert!(said.message.contains("different clusters"), "{said:?}");
        assert!(said.hint.unwrap().contains("k3s reset --node"));
    }
    let said = may_be_reset(&status, status.node("n1").unwrap()).unwrap_err();
    assert!(said.message.contains("different clusters"), "{said:?}");
    assert!(said.hint.unwrap().contains("k3s reset --node n0"));
    // An agent has no part in that, and what is all that there is of its cluster may be taken away.
    for name in ["n4", "n0"] {
        may_be_reset(&status, status.node(name).unwrap()).unwrap();
    }
    // With members elsewhere it is not.
    let mut seen = seen;
    let mut members = told(&mut seen[0]).members.clone().unwrap().unwrap();
    members.push(Member {
        name: "m0-00000001".into(),
        address: "172.30.7.30".into(),
        learner: false,
    });
    told(&mut seen[0]).members = Some(Ok(members));
    let status = Status::of("c", &seen, Ok(&listed()));
    let said = may_be_reset(&status, status.node("n0").unwrap()).unwrap_err();
    assert!(said.message.contains("is a member of etcd"), "{said:?}");
    assert!(said.hint.unwrap().contains("an inventory of its own"));
}

#[test]
fn a_live_server_is_the_cluster_also_where_more_have_the_disks_of_a_former_one() {
    let mut seen = vec![server("n1"), server("n2"), server("n3")];
    for (server, ca) in seen.iter_mut().zip(["aa", "bb", "bb"]) {
        told(server).data.ca_sha256 = Some(ca.into());
    }
    for server in seen.iter_mut().skip(1) {
        let told = told(server);
        (told.members, told.health, told.readyz) = (None, None, String::new());
        told.unit = None;
    }
    let mut listed = listed();
    listed.nodes.truncate(1);
    for listed in [Ok(&listed), Err("no answer".to_owned())] {
        let status = Status::of("c", &seen, listed);
        assert_eq!(status.clusters[0].nodes, ["n1"]);
        let hint = status.mixture().unwrap().hint.unwrap();
        assert!(!hint.contains("--node n1"), "{hint}");
        assert!(
            hint.contains("--node n2") && hint.contains("--node n3"),
            "{hint}"
        );
        for name in ["n2", "n3"] {
            may_be_reset(&status, status.node(name).unwrap()).unwrap();
        }
        let said = may_be_reset(&status, status.node("n1").unwrap()).unwrap_err();
        assert!(said.message.contains("different clusters"), "{said:?}");
    }
    // Where none runs, nobody knows which it is.
    let unit = told(&mut seen[0]).unit.take();
    let status = Status::of("c", &seen, Err("no answer".to_owned()));
    let hint = status.mixture().unwrap().hint.unwrap();
    assert!(!hint.contains("reset"), "{hint}");
    for node in &status.nodes {
        may_be_reset(&status, node).unwrap_err();
    }
    told(&mut seen[0]).unit = unit;
    // Servers that run are somebody's cluster.
    told(&mut seen[1]).unit = server("n2").told.unwrap().unit;
    let status = Status::of("c", &seen, Ok(&listed));
    assert_eq!(status.clusters[0].nodes, ["n1"]);
    may_be_reset(&status, status.node("n3").unwrap()).unwrap_err();
}

#[test]
fn of_as_many_servers_those_count_that_the_api_knows() {
    let mut seen = with_a_stranger();
    seen.truncate(2);
    let mut listed = listed();
    listed.nodes.truncate(1);
    let status = Status::of("c", &seen, Ok(&listed));
    assert_eq!(status.clusters[0].nodes, ["n1"]);
    assert_eq!(status.etcd.as_ref().unwrap().voters, 3);
}
