//! Who may leave which cluster, and what is said to those who may not.

use super::*;
use crate::facts::fact::K3sData;
use crate::k3s::status::{EtcdStatus, K3sStatus, MemberStatus};

fn member(name: &str, healthy: Option<bool>) -> MemberStatus {
    MemberStatus {
        name: format!("{name}-0a1b2c3d"),
        node: Some(name.to_owned()),
        address: String::new(),
        learner: false,
        healthy,
        reason: None,
    }
}

/// Servers s1, s2 ... of this health, and an agent.
fn cluster(health: &[Option<bool>]) -> Status {
    let members: Vec<MemberStatus> = (1..)
        .zip(health)
        .map(|(n, healthy)| member(&format!("s{n}"), *healthy))
        .collect();
    let mut nodes: Vec<NodeStatus> = members
        .iter()
        .map(|member| node(member.node.as_deref().unwrap(), Some(member.clone())))
        .collect();
    nodes.push(node("a1", None));
    Status {
        cluster: "c".into(),
        healthy: true,
        simulated: None,
        api_error: None,
        nodes,
        etcd: Some(EtcdStatus {
            voters: members.len(),
            healthy_voters: health.iter().filter(|h| **h == Some(true)).count(),
            quorum: members.len() / 2 + 1,
            has_quorum: Some(true),
            members,
        }),
        components: Vec::new(),
        problems: Vec::new(),
        disputes: Vec::new(),
        clusters: Vec::new(),
    }
}

fn node(name: &str, etcd: Option<MemberStatus>) -> NodeStatus {
    let is_up = etcd
        .as_ref()
        .is_none_or(|member| member.healthy == Some(true));
    NodeStatus {
        name: name.to_owned(),
        role: None,
        in_inventory: true,
        reachable: Some(is_up),
        address: None,
        k3s: None,
        node: None,
        api_ready: None,
        has_datastore: is_up.then_some(etcd.is_some()),
        data: is_up.then(|| K3sData {
            etcd: etcd.is_some(),
            ..K3sData::default()
        }),
        silence: None,
        other_unit: None,
        member_name: etcd.as_ref().map(|member| member.name.clone()),
        etcd,
    }
}

const UP: Option<bool> = Some(true);
const DOWN: Option<bool> = None;

fn refused(status: &Status, name: &str, machine: Machine) -> String {
    decide(status, name, machine).unwrap_err().failure.message
}

#[test]
fn a_server_leaves_where_the_others_serve() {
    let leave = decide(&cluster(&[UP, UP, UP]), "s3", Machine::Here).unwrap();
    assert!(leave.stop_first);
    assert_eq!(leave.member.as_deref(), Some("s3-0a1b2c3d"));
    assert_eq!(
        leave.after,
        "etcd: of 3 voters 2 stay; then none of them may fail"
    );
    let leave = decide(&cluster(&[UP, UP, UP, UP]), "s3", Machine::Here).unwrap();
    assert!(leave.stop_first && leave.after.ends_with("then 1 of them may fail"));
}

#[test]
fn of_two_the_one_that_leaves_has_to_agree_to_it_first() {
    assert!(
        !decide(&cluster(&[UP, UP]), "s2", Machine::Here)
            .unwrap()
            .stop_first
    );
    let words = refused(&cluster(&[UP, DOWN]), "s2", Machine::Dead);
    assert!(
        words.contains("1 of 2 voters serve, and 2 have to"),
        "{words}"
    );
}

#[test]
fn a_dead_server_leaves_as_long_as_there_is_a_quorum() {
    let leave = decide(&cluster(&[UP, UP, DOWN]), "s3", Machine::Dead).unwrap();
    assert!(leave.stop_first);
    assert_eq!(
        leave.after,
        "etcd: of 3 voters 2 stay; then none of them may fail"
    );
    // Two of five are dead: first the one, then the other.
    decide(&cluster(&[UP, UP, UP, DOWN, DOWN]), "s5", Machine::Dead).unwrap();
}

#[test]
fn nobody_leaves_a_cluster_that_needs_him() {
    let words = refused(&cluster(&[UP, UP, DOWN]), "s1", Machine::Here);
    assert!(
        words.contains("1 of the 2 others serve, and 2 have to"),
        "{words}"
    );
    let words = refused(&cluster(&[UP, UP, UP, UP, DOWN]), "s1", Machine::Here);
    assert!(words.contains("the rest of etcd is not healthy"), "{words}");
    let words = refused(&cluster(&[UP]), "s1", Machine::Here);
    assert!(words.contains("the only server"), "{words}");
    decide(&cluster(&[UP]), "a1", Machine::Here).unwrap();
}

#[test]
fn what_lives_is_not_dead_and_what_is_silent_is_not_here() {
    let status = cluster(&[UP, UP, DOWN]);
    let refusal = decide(&status, "s3", Machine::Here).unwrap_err();
    assert_eq!(refusal.exit, ExitCode::Unreachable);
    let mut status = cluster(&[UP, UP, UP]);
    status.nodes[2].k3s = Some(K3sStatus {
        version: String::new(),
        unit: Some("k3s.service".into()),
        active: "active".into(),
        sub: "running".into(),
        enabled: true,
        restarts: 0,
        active_seconds: None,
    });
    let words = refused(&status, "s3", Machine::Dead);
    assert!(words.contains("is not dead"), "{words}");
    assert!(refused(&status, "nobody", Machine::Here).contains("there is no node nobody"));
}

#[test]
fn a_new_machine_may_wait_already_to_take_the_place() {
    let mut status = cluster(&[UP, UP, UP]);
    let agent = status.nodes.last_mut().unwrap();
    agent.k3s = Some(K3sStatus {
        version: String::new(),
        unit: Some("k3s-agent.service".into()),
        active: "activating".into(),
        sub: "start".into(),
        enabled: false,
        restarts: 0,
        active_seconds: None,
    });
    decide(&status, "a1", Machine::Replaced).unwrap();
    assert!(refused(&status, "a1", Machine::Dead).contains("is not dead"));
    // With a datastore it is a member that waits for the others.
    status.nodes.last_mut().unwrap().has_datastore = Some(true);
    assert!(refused(&status, "a1", Machine::Replaced).contains("is not dead"));
}

#[test]
fn without_an_answer_of_the_api_nobody_leaves() {
    let mut status = cluster(&[UP, UP, UP]);
    status.api_error = Some("no way\nmore".into());
    assert!(refused(&status, "a1", Machine::Here).contains("does not answer"));
}

#[test]
fn a_member_that_could_not_be_told_does_not_leave() {
    let mut status = cluster(&[UP, UP, UP]);
    let third = &mut status.nodes[2];
    (third.etcd, third.member_name) = (None, None);
    let words = refused(&status, "s3", Machine::Here);
    assert!(words.contains("its member could not be told"), "{words}");
    let mut status = cluster(&[UP, UP, UP]);
    let leave = decide(&status, "s3", Machine::Here).unwrap();
    let etcd = status.etcd.as_mut().unwrap();
    (etcd.members, etcd.voters, etcd.quorum) = (Vec::new(), 0, 0);
    for node in &mut status.nodes {
        node.etcd = None;
    }
    let words = refused(&status, "s3", Machine::Here);
    assert!(words.contains("its member could not be told"), "{words}");
    let failure = still(&status, &leave, Machine::Here).unwrap_err();
    assert!(failure.message.contains("its member could not be told"));
    decide(&status, "a1", Machine::Here).unwrap();
}

#[test]
fn what_changed_while_a_node_was_drained_stops_the_rest() {
    let leave = decide(&cluster(&[UP, UP, UP]), "s3", Machine::Here).unwrap();
    assert!(leave.stop_first && leave.server);
    still(&cluster(&[UP, UP, UP]), &leave, Machine::Here).unwrap();
    let failure = still(&cluster(&[UP, DOWN, UP]), &leave, Machine::Here).unwrap_err();
    assert!(failure.message.contains("no quorum"), "{failure:?}");
    // Somebody else took one out: of two, both have to agree.
    let mut two = cluster(&[UP, UP, UP]);
    two.nodes.remove(0);
    let etcd = two.etcd.as_mut().unwrap();
    etcd.members.remove(0);
    (etcd.voters, etcd.healthy_voters, etcd.quorum) = (2, 2, 2);
    let failure = still(&two, &leave, Machine::Here).unwrap_err();
    assert!(failure.message.contains("fewer members"), "{failure:?}");
    let agent = decide(&cluster(&[UP]), "a1", Machine::Here).unwrap();
    assert!(!agent.server);
}

#[test]
fn a_k3s_under_another_name_is_refused_before_anything_is_begun() {
    let mut status = cluster(&[Some(true); 3]);
    status.nodes[2].other_unit = Some("k3s-home.service".to_owned());
    let name = status.nodes[2].name.clone();
    let said = decide(&status, &name, Machine::Here).unwrap_err().failure;
    assert!(said.message.contains("k3s-home.service"), "{said:?}");
    let said = crate::k3s::reset::may_be_reset(&status, &status.nodes[2]).unwrap_err();
    assert!(said.hint.unwrap().contains("k3s-home-uninstall.sh"));
}
