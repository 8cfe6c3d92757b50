//! Whether it is known which machine, and which cluster, it is all about: else what is done to one would be done to another.

use crate::k3s::status::{Dispute, NodeStatus, Status};
use crate::model::outcome::Failure;

/// It is not known of any Node or member whether it is this machine's or another's.
pub(in crate::k3s) fn told_apart(status: &Status, node: &NodeStatus) -> Result<(), Failure> {
    match status.dispute(node) {
        Some(dispute) => Err(dispute.failure()),
        None => Ok(()),
    }
}

/// What is called like this node in Kubernetes is its own, and will be.
pub(super) fn own_name(status: &Status, node: &NodeStatus) -> Result<(), Failure> {
    // By its name in the inventory, or by that of a Node that some machine of the inventory may have.
    let is_of = |dispute: &&Dispute| match node.in_inventory {
        true => dispute.machines.contains(&node.name),
        false => dispute.node.as_deref() == Some(&node.name),
    };
    if let Some(dispute) = status.disputes.iter().find(is_of) {
        return Err(dispute.failure());
    }
    if node.node.is_some() {
        return Ok(());
    }
    let name = &node.name;
    let is_its = |other: &&NodeStatus| other.node.as_ref().is_some_and(|node| node.name == *name);
    let Some(other) = status.nodes.iter().find(is_its) else {
        return Ok(());
    };
    let whose = match other.in_inventory {
        true => format!("the Node `{name}` is that of {}", other.name),
        false => format!(
            "the Node `{name}` ({}) does not seem to be its own",
            other.address.as_deref().unwrap_or("no address")
        ),
    };
    Err(Failure::new(format!("{name} has no Node in the cluster: {whose}")).hint(format!(
        "correct names and addresses in the inventory (`kubectl get nodes -o wide`); a new machine in the place of a former one needs \
         its host name first (`hostnamectl set-hostname {name}`); only to take K3s off the machine: hmco-boot k3s \
         reset --node {name}"
    )))
}

/// All servers that told are of one cluster.
pub(in crate::k3s) fn one_cluster(status: &Status) -> Result<(), Failure> {
    match status.mixture() {
        Some(failure) => Err(failure.evidence("nothing was done")),
        None => Ok(()),
    }
}
