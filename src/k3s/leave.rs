//! Whether a node may leave its cluster, and how: decided on the state of the whole cluster, by the rules of etcd. Refuses where
//! what is left would not be a cluster that works.

use serde::Serialize;

use super::status::{EtcdStatus, MemberStatus, NodeStatus, Status};
use crate::model::outcome::{ExitCode, Failure};
use crate::steps::preflight::Role;

/// What is known of the machine of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Machine {
    /// It is there, and does its part.
    Here,
    /// It is gone for good, as the caller says.
    Dead,
    /// The same, and another one has its name already, whose K3s may wait to be let in.
    Replaced,
}

/// How the node leaves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Leave {
    /// Its name in the inventory.
    pub name: String,
    /// Its name in Kubernetes.
    pub kube_name: String,
    /// Its member of etcd, while there is one.
    pub member: Option<String>,
    /// It is a server, or may be one: whether the others can do without it has to hold right before it is stopped, too.
    pub server: bool,
    /// K3s is stopped on it before it is forgotten: etcd can do without it. Of two members, both have to agree to a change.
    pub stop_first: bool,
    /// etcd afterwards, in words; empty where nothing changes for it.
    pub after: String,
}

/// Why not, and the exit code that goes with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// For people.
    pub failure: Failure,
    /// 3: it could not be reached; else 1.
    pub exit: ExitCode,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            exit: ExitCode::Failed,
        }
    }
}

/// Decides.
pub fn decide(status: &Status, name: &str, machine: Machine) -> Result<Leave, Refusal> {
    let Some(node) = status.node(name) else {
        return Err(Failure::new(format!("there is no node {name}"))
            .hint("hmco-boot status shows those that there are")
            .into());
    };
    answers(status)?;
    match machine {
        Machine::Here => here(node)?,
        Machine::Replaced if node.waits_to_join() => {}
        Machine::Dead | Machine::Replaced => dead(node)?,
    }
    only_server(status, node)?;
    member_is_told(status, node)?;
    let mut leave = Leave {
        name: node.name.clone(),
        kube_name: node.kube_name().to_owned(),
        member: node.etcd.as_ref().map(|member| member.name.clone()),
        server: node.etcd.is_some() || node.has_state() != Some(false),
        stop_first: true,
        after: String::new(),
    };
    if let (Some(etcd), Some(member)) = (&status.etcd, &node.etcd) {
        quorum(etcd, member, machine)?;
        (leave.stop_first, leave.after) = after(etcd, member);
    }
    Ok(leave)
}

/// What of it has to hold still when the first step begins, and again right before K3s is stopped: that the cluster can do
/// without the node. Its machine is not looked at.
pub fn still(status: &Status, leave: &Leave, machine: Machine) -> Result<(), Failure> {
    let checked = || -> Result<(), Refusal> {
        answers(status)?;
        let node = status.node(&leave.name);
        let Some(node) = node.or_else(|| status.node(&leave.kube_name)) else {
            return Ok(());
        };
        only_server(status, node)?;
        member_is_told(status, node)?;
        let (Some(etcd), Some(member)) = (&status.etcd, &node.etcd) else {
            return Ok(());
        };
        quorum(etcd, member, machine)?;
        match leave.stop_first && !after(etcd, member).0 {
            true => Err(Failure::new(format!(
                "etcd has fewer members than when this was planned: without {} running it could not be changed any more",
                leave.name
            ))
            .hint("give the command again: then it is stopped later")
            .into()),
            false => Ok(()),
        }
    };
    checked().map_err(|refusal| refusal.failure)
}

/// Without the API nothing can be taken out of a cluster.
fn answers(status: &Status) -> Result<(), Refusal> {
    let Some(why) = &status.api_error else {
        return Ok(());
    };
    let mut failure =
        Failure::new("the Kubernetes API does not answer: nothing can be taken out of the cluster")
            .evidence(why.lines().next().unwrap_or_default().to_owned());
    for problem in status.problems.iter().take(4) {
        failure = failure.evidence(problem.what.clone());
    }
    let cluster = status
        .problems
        .iter()
        .find(|problem| problem.node.is_none());
    let hint = cluster.map_or("hmco-boot status says what is wrong", |problem| {
        &problem.hint
    });
    Err(Refusal {
        failure: failure.hint(hint),
        exit: match status.exit() {
            ExitCode::Unreachable => ExitCode::Unreachable,
            _ => ExitCode::Failed,
        },
    })
}

fn here(node: &NodeStatus) -> Result<(), Refusal> {
    if node.reachable == Some(true) {
        return Ok(());
    }
    let why = match node.reachable {
        Some(_) => "does not answer",
        None => "is not in the inventory, so it cannot be asked",
    };
    Err(Refusal {
        failure: Failure::new(format!("{} {why}", node.name)).hint(
            "bring it up first; if its machine is gone for good, add --dead: then what the cluster knows of it is deleted, and \
             nothing is done on it",
        ),
        exit: ExitCode::Unreachable,
    })
}

/// What is taken for dead must not live: it would go on, as nobody's member.
fn dead(node: &NodeStatus) -> Result<(), Refusal> {
    if node.reachable == Some(true) && node.is_running() {
        return Err(Failure::new(format!(
            "{} is not dead: it answers, and K3s runs on it",
            node.name
        ))
        .hint(format!("hmco-boot k3s node remove {}", node.name))
        .into());
    }
    if node.is_ready() {
        return Err(
            Failure::new(format!("{} may not be dead: Kubernetes hears from it", node.name))
                .evidence("its Node is Ready, which it is for 40 s at most after a machine's end")
                .hint("wait a minute; if it stays Ready, it lives: see why it does not answer here (`ssh`, address, host key)")
                .into(),
        );
    }
    Ok(())
}

fn only_server(status: &Status, node: &NodeStatus) -> Result<(), Refusal> {
    if node.has_state() != Some(true) && node.etcd.is_none() && !is_control(node) {
        return Ok(());
    }
    // Servers with a datastore elsewhere have none, and no member.
    let is_other = |other: &NodeStatus| {
        other.has_datastore == Some(true)
            || other.etcd.is_some()
            || (is_control(other) && other.is_ready())
    };
    let others = status.nodes.iter().filter(|other| other.name != node.name);
    // A server that left already may still have its data.
    let is_member = node.node.is_some() || node.etcd.is_some();
    match others.into_iter().any(is_other) || !is_member {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "{} is the only server: without it there is no cluster",
            node.name
        ))
        .hint("let another server join first, or end the cluster: hmco-boot k3s reset --all")
        .into()),
    }
}

/// A node that may be a member of etcd must not pass for one that is none.
fn member_is_told(status: &Status, node: &NodeStatus) -> Result<(), Failure> {
    match node.member_is_unknown(status.etcd.as_ref()) {
        true => Err(unknown_member(status, node)),
        false => Ok(()),
    }
}

/// That nobody could tell the member of a node.
fn unknown_member(status: &Status, node: &NodeStatus) -> Failure {
    let listed = status
        .etcd
        .as_ref()
        .is_some_and(|etcd| !etcd.members.is_empty());
    let why = match listed {
        true => {
            "neither its disk (/var/lib/rancher/k3s/server/db/etcd/name) nor its Node has the name of its member"
        }
        false => "no server lists the members of etcd",
    };
    let name = &node.name;
    let failure = Failure::new(format!(
        "{name} has data of etcd, and its member could not be told: it may be one that the others need"
    ))
    .evidence(why);
    failure.hint(match listed {
        true => format!(
            "if it surely is no member (`hmco-boot status` lists them), take K3s off it there: k3s-uninstall.sh on {name}"
        ),
        false => "see what is wrong with etcd: hmco-boot status; bring its servers up. The end of the whole cluster is: hmco-boot \
                  k3s reset --all"
            .to_owned(),
    })
}

/// What others there are that a server belongs to, as far as anybody tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Others {
    /// There are others.
    There,
    /// Nobody tells of any, and some server does not answer.
    Silent,
    /// There are none.
    Nobody,
}

/// The other servers of a node's cluster: by the list of etcd's members where there is one.
pub fn others(status: &Status, node: &NodeStatus) -> Others {
    let etcd = status.etcd.as_ref();
    if let Some(etcd) = etcd.filter(|etcd| !etcd.members.is_empty()) {
        let is_other = |member: &MemberStatus| Some(member) != node.etcd.as_ref();
        return match etcd.members.iter().any(is_other) {
            true => Others::There,
            false => Others::Nobody,
        };
    }
    let others = || status.nodes.iter().filter(|other| other.name != node.name);
    let is_server = |other: &NodeStatus| other.role == Some(Role::Server) || is_control(other);
    if others().any(|other| other.etcd.is_some() || other.has_state() == Some(true)) {
        Others::There
    } else if others().any(|other| other.data.is_none() && is_server(other)) {
        Others::Silent
    } else {
        Others::Nobody
    }
}

fn is_control(node: &NodeStatus) -> bool {
    let roles = node.node.as_ref().map(|node| &node.roles);
    roles.is_some_and(|roles| roles.iter().any(|role| role == "control-plane"))
}

/// Whether a node may be reset by itself: never while it is, or may be, a member of an etcd that has others. Whether this machine
/// can reach the API does not matter for that: etcd lives without it.
pub fn may_be_reset(status: &Status, node: &NodeStatus) -> Result<(), Failure> {
    if others(status, node) == Others::Nobody {
        return Ok(());
    }
    if node.etcd.is_none() {
        return member_is_told(status, node);
    }
    let name = &node.name;
    let failure = Failure::new(format!(
        "{name} is a member of etcd: reset, it would count as one that is down"
    ));
    Err(match &status.api_error {
        None => failure.hint(format!(
            "take it out of the cluster, which resets it too: hmco-boot k3s node remove {name}"
        )),
        Some(why) => {
            let lines = why.lines().filter(|line| !line.starts_with("hint: "));
            let mut failure = failure.evidence("the Kubernetes API does not answer this machine:");
            failure.evidence.extend(lines.take(4).map(str::to_owned));
            failure
                .hint(format!(
                    "see why: hmco-boot status; once it answers, take the node out: hmco-boot k3s node remove {name}. The end of the \
                     whole cluster is: hmco-boot k3s reset --all"
                ))
        }
    })
}

/// etcd must be able to write that the member leaves, and to go on without it.
fn quorum(etcd: &EtcdStatus, leaving: &MemberStatus, machine: Machine) -> Result<(), Refusal> {
    if leaving.learner {
        return Ok(());
    }
    let voters = etcd.members.iter().filter(|member| !member.learner);
    let others: Vec<&MemberStatus> = voters
        .filter(|member| member.name != leaving.name)
        .collect();
    let serving = others
        .iter()
        .filter(|member| member.healthy == Some(true))
        .count();
    let ill: Vec<String> = others
        .iter()
        .filter(|member| member.healthy != Some(true))
        .map(|member| shown(member))
        .collect();
    let needed = others.len() / 2 + 1;
    let refuse = |what: String| {
        let mut failure = Failure::new(what);
        failure.evidence = ill
            .iter()
            .map(|ill| format!("not serving: {ill}"))
            .collect();
        failure
    };
    if serving < needed {
        return Err(refuse(format!(
            "without {} etcd would have no quorum: {serving} of the {} others serve, and {needed} have to",
            shown_name(leaving),
            others.len()
        ))
        .hint("bring the others up first: hmco-boot status says what is wrong with them")
        .into());
    }
    let now = serving + usize::from(leaving.healthy == Some(true));
    if now < etcd.quorum {
        return Err(refuse(format!(
            "etcd cannot be changed now: {now} of {} voters serve, and {} have to",
            etcd.voters, etcd.quorum
        ))
        .hint("bring servers up first: hmco-boot status says what is wrong with them")
        .into());
    }
    if machine == Machine::Here && !ill.is_empty() {
        return Err(refuse(format!(
            "the rest of etcd is not healthy: {} would be one more that is missing",
            shown_name(leaving)
        ))
        .hint("bring it up first; if its machine is gone for good, remove that one: hmco-boot k3s node remove NAME --dead")
        .into());
    }
    Ok(())
}

/// Whether K3s is stopped on it first, and what etcd is afterwards.
fn after(etcd: &EtcdStatus, leaving: &MemberStatus) -> (bool, String) {
    if leaving.learner {
        return (
            true,
            "a learner leaves etcd: its quorum stays as it is".to_owned(),
        );
    }
    let left = etcd.voters.saturating_sub(1);
    let others = etcd
        .healthy_voters
        .saturating_sub(usize::from(leaving.healthy == Some(true)));
    let may_fail = others.saturating_sub(left / 2 + 1);
    let words = match may_fail {
        _ if left == 1 => "then there is one server left, which may not fail".to_owned(),
        0 => "then none of them may fail".to_owned(),
        count => format!("then {count} of them may fail"),
    };
    (
        others >= etcd.quorum,
        format!("etcd: of {} voters {left} stay; {words}", etcd.voters),
    )
}

fn shown_name(member: &MemberStatus) -> &str {
    member.node.as_deref().unwrap_or(&member.name)
}

fn shown(member: &MemberStatus) -> String {
    match &member.reason {
        Some(why) => format!("{} ({why})", shown_name(member)),
        None => format!("{} (nobody could ask it)", shown_name(member)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::Status;
    use super::*;
    use crate::facts::fact::K3sData;

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
        status.nodes[2].k3s = Some(crate::k3s::status::K3sStatus {
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
        agent.k3s = Some(crate::k3s::status::K3sStatus {
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
}
