//! Whether a node may leave its cluster, and how: decided on the state of the whole cluster, by the rules of etcd (`quorum.rs`).
//! Refuses where what is left would not be a cluster that works.

pub(super) mod identity;
mod quorum;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::reset;
use super::status::{NodeStatus, Status};
use crate::model::outcome::{ExitCode, Failure};
use quorum::{after, quorum};

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

impl Leave {
    /// Its Node, for people: by its own name where that is not the inventory's.
    pub fn its_node(&self) -> String {
        its_node(&self.name, &self.kube_name)
    }
}

/// The Node of a machine, for people.
pub fn its_node(name: &str, kube_name: &str) -> String {
    match name == kube_name {
        true => "its Node".to_owned(),
        false => format!("its Node `{kube_name}`"),
    }
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
    identity::one_cluster(status)?;
    answers(status)?;
    identity::own_name(status, node)?;
    match machine {
        Machine::Here => {
            here(node)?;
            reset::usual_name(node)?;
        }
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
        identity::one_cluster(status)?;
        answers(status)?;
        let node = status.node(&leave.name);
        let Some(node) = node.or_else(|| status.node(&leave.kube_name)) else {
            return Ok(());
        };
        identity::told_apart(status, node)?;
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
    if node.has_state() != Some(true) && node.etcd.is_none() && !node.is_control() {
        return Ok(());
    }
    // Servers with a datastore elsewhere have none, and no member.
    let is_other = |other: &NodeStatus| {
        other.has_datastore == Some(true)
            || other.etcd.is_some()
            || (other.is_control() && other.is_ready())
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
pub(super) fn member_is_told(status: &Status, node: &NodeStatus) -> Result<(), Failure> {
    match node.member_is_unknown(status.etcd_of(node)) {
        true => Err(unknown_member(status, node)),
        false => Ok(()),
    }
}

/// That nobody could tell the member of a node.
fn unknown_member(status: &Status, node: &NodeStatus) -> Failure {
    let listed = status
        .etcd_of(node)
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
