//! What Kubernetes itself says is wrong: pods of kube-system that are not up, and Nodes that run short of something.

use super::problems::{cluster, on};
use super::{Component, NodeStatus, Problem, Status};

/// Conditions of a Node that are trouble while they are `True`, with what to do.
const SHORT_OF: [(&str, &str, &str); 4] = [
    (
        "DiskPressure",
        "its disk is nearly full, and pods are evicted from it",
        "free some of it there: k3s crictl rmi --prune (images), journalctl --vacuum-size=100M, old snapshots; df -h says where it is",
    ),
    (
        "MemoryPressure",
        "its memory is nearly used up, and pods are evicted from it",
        "kubectl top pods -A says who takes it: give them limits, or less to do",
    ),
    (
        "PIDPressure",
        "it has nearly as many processes as it may have, and pods are evicted from it",
        "see there which program starts them: ps -eLf; k3s crictl stats",
    ),
    (
        "NetworkUnavailable",
        "the network of its pods is not set up",
        "journalctl there (-u k3s, or -u k3s-agent) says why flannel, or the CNI that takes its place, cannot",
    ),
];

/// Which of them a Node is in.
pub(super) fn short_of(mut is_true: impl FnMut(&str) -> bool) -> Vec<String> {
    let names = SHORT_OF.iter().map(|(name, ..)| *name);
    names
        .filter(|name| is_true(name))
        .map(str::to_owned)
        .collect()
}

/// The problems of it.
pub(super) fn all(status: &Status) -> Vec<Problem> {
    let components = status.components.iter().filter_map(component);
    status
        .nodes
        .iter()
        .flat_map(node)
        .chain(components)
        .collect()
}

fn node(node: &NodeStatus) -> Vec<Problem> {
    let is_in = |name: &str| {
        let kube = node.node.as_ref();
        kube.is_some_and(|kube| kube.short_of.iter().any(|own| own == name))
    };
    let found = SHORT_OF.iter().filter(|(name, ..)| is_in(name));
    found
        .map(|(name, what, hint)| on(node, format!("{what} ({name})"), *hint))
        .collect()
}

fn component(component: &Component) -> Option<Problem> {
    if component.is_up() {
        return None;
    }
    let Component {
        name,
        available,
        wanted,
        ..
    } = component;
    let reason = match component.reason.is_empty() {
        true => String::new(),
        false => format!(": {}", component.reason),
    };
    Some(cluster(
        format!("kube-system/{name}: {available} of {wanted} pods are up{reason}"),
        "it may take a minute or two after a start; else: kubectl -n kube-system get pods -o wide, and `describe pod` of those that are \
         not Running says why",
    ))
}
