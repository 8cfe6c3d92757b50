//! Whether a node may be reset by itself, without leaving its cluster first: never while others need it.

use super::leave::{identity, member_is_told};
use super::status::{MemberStatus, NodeStatus, Status};
use crate::model::outcome::Failure;
use crate::steps::preflight::Role;
use crate::steps::shared::k3s::live::under_another_name;

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
    let etcd = status.etcd_of(node);
    if let Some(etcd) = etcd.filter(|etcd| !etcd.members.is_empty()) {
        let is_other = |member: &MemberStatus| Some(member) != node.etcd.as_ref();
        return match etcd.members.iter().any(is_other) {
            true => Others::There,
            false => Others::Nobody,
        };
    }
    let others = || {
        let others = status.nodes.iter();
        others.filter(|other| other.name != node.name && status.may_share(node, other))
    };
    let is_server = |other: &NodeStatus| other.role == Some(Role::Server) || other.is_control();
    if others().any(|other| other.etcd.is_some() || other.has_state() == Some(true)) {
        Others::There
    } else if others().any(|other| other.data.is_none() && is_server(other)) {
        Others::Silent
    } else {
        Others::Nobody
    }
}

/// Its K3s, if there is one, is that which will be stopped: before anything is begun.
pub fn usual_name(node: &NodeStatus) -> Result<(), Failure> {
    match &node.other_unit {
        Some(unit) => Err(under_another_name(
            &format!("on {}", node.name),
            unit,
            node.role.unwrap_or(Role::Server),
        )),
        None => Ok(()),
    }
}

/// Whether a node may be reset by itself: never while it is, or may be, a member of an etcd that has others. Whether this machine
/// can reach the API does not matter for that: etcd lives without it.
pub fn may_be_reset(status: &Status, node: &NodeStatus) -> Result<(), Failure> {
    identity::told_apart(status, node)?;
    usual_name(node)?;
    if status.is_foreign(node) && status.knows_its_own() {
        // What nobody runs any more is a former cluster's disk, whatever is left of its members.
        if !status.runs_for(node) {
            return Ok(());
        }
    } else if node.has_state() == Some(true) {
        identity::one_cluster(status)?;
    }
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
        _ if status.is_mixed() => failure.hint(
            "the cluster that it is of has members that the inventory does not have: give that cluster an inventory of its own, and \
             take the node out of it there",
        ),
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
