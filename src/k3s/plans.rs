//! The plans that take nodes out of a cluster, and K3s off nodes.

use std::sync::Arc;
use std::time::Duration;

use super::leave::{Leave, Machine};
use super::wishes::{Clean, Drained, Forgotten, Guard, MemberGone, Server, Stopped};
use crate::model::id::{NodeName, Target};
use crate::model::inventory::{Connection, Inventory, Node};
use crate::model::units::TimeSpan;
use crate::plan::chain::{Link, kind};
use crate::steps::registry::KindInfo;
use crate::steps::{Class, Wish};

static GUARD: KindInfo = kind(
    "k3s_guard",
    "The cluster can do without the node.",
    Class::Check,
);
static DRAIN: KindInfo = kind("k3s_drain", "No pods are on the Node.", Class::State);
static STOP: KindInfo = kind("k3s_stop", "K3s does not run.", Class::State);
static FORGET: KindInfo = kind(
    "k3s_forget",
    "Kubernetes does not know the node.",
    Class::State,
);
static GONE: KindInfo = kind("k3s_member", "etcd does not know the node.", Class::Check);
static CLEAN: KindInfo = kind(
    "k3s_clean",
    "Nothing of K3s is on the machine.",
    Class::State,
);

/// Limit of most steps.
const USUAL: TimeSpan = TimeSpan(Duration::from_secs(300));

/// How a node is to be removed.
#[derive(Clone, Debug)]
pub struct Removal<'i> {
    /// The inventory.
    pub inventory: &'i Inventory,
    /// What was found out.
    pub leave: &'i Leave,
    /// Whether its machine is there.
    pub machine: Machine,
    /// How long budgets and pods are waited for.
    pub drain_timeout: TimeSpan,
    /// Also what is lost with it.
    pub lose: bool,
}

/// Links, each after the one before.
#[derive(Default)]
struct Row(Vec<Link>);

impl Row {
    fn add(
        &mut self,
        step: &'static str,
        target: Target,
        kind: &'static KindInfo,
        wish: Arc<dyn Wish>,
        timeout: TimeSpan,
    ) {
        let after = self.0.len().checked_sub(1);
        self.0.push(Link {
            step,
            target,
            kind,
            wish,
            timeout,
            after: after.into_iter().collect(),
        });
    }
}

/// The servers of an inventory.
pub fn servers(inventory: &Inventory) -> Vec<Server> {
    let is_server = |node: &&Node| node.roles.iter().any(|role| role == "server");
    inventory
        .nodes
        .iter()
        .filter(is_server)
        .map(server)
        .collect()
}

/// The address of a node.
pub fn address(node: &Node) -> Option<String> {
    match &node.connection {
        Connection::Ssh(ssh) => Some(ssh.address.clone()),
        Connection::Local { .. } => None,
    }
}

fn guard(removal: &Removal<'_>) -> Guard {
    let mut servers = servers(removal.inventory);
    let name = &removal.leave.name;
    if !servers.iter().any(|server| server.name.as_str() == name)
        && let Some(node) = removal.inventory.node(&NodeName::new(name))
    {
        // It may be a server although the inventory says otherwise.
        servers.push(server(node));
    }
    Guard {
        cluster: removal.inventory.cluster.name.clone(),
        servers,
        leave: removal.leave.clone(),
        dead: removal.machine == Machine::Dead,
    }
}

fn server(node: &Node) -> Server {
    Server {
        name: node.name.clone(),
        address: address(node),
    }
}

/// Takes a node out of its cluster, and K3s off it where its machine is there. `witness`: a server that stays and serves.
pub fn removal(removal: &Removal<'_>, witness: Option<&NodeName>) -> Vec<Link> {
    let leave = removal.leave;
    let dead = removal.machine == Machine::Dead;
    let own = || Target::Node(NodeName::new(&leave.name));
    let mut row = Row::default();
    let guard = leave.server.then(|| Arc::new(guard(removal)));
    if let Some(guard) = &guard {
        row.add("quorum", Target::Cluster, &GUARD, guard.clone(), USUAL);
    }
    if !dead {
        let drained = Drained {
            node: leave.kube_name.clone(),
            timeout: removal.drain_timeout,
            lose: removal.lose,
        };
        let limit = TimeSpan(removal.drain_timeout.0 + Duration::from_secs(120));
        row.add("drain", Target::Cluster, &DRAIN, Arc::new(drained), limit);
        if let Some(guard) = guard {
            // The drain may have taken many minutes.
            row.add("quorum-still", Target::Cluster, &GUARD, guard, USUAL);
        }
        let stopped = Stopped {
            by_itself: !leave.stop_first,
        };
        row.add("stop", own(), &STOP, Arc::new(stopped), USUAL);
    }
    let forgotten = Forgotten {
        node: leave.kube_name.clone(),
    };
    row.add(
        "forget",
        Target::Cluster,
        &FORGET,
        Arc::new(forgotten),
        USUAL,
    );
    if let (Some(member), Some(witness)) = (&leave.member, witness) {
        let gone = MemberGone {
            member: member.clone(),
        };
        row.add(
            "member",
            Target::Node(witness.clone()),
            &GONE,
            Arc::new(gone),
            USUAL,
        );
    }
    if !dead {
        row.add("clean", own(), &CLEAN, Arc::new(Clean), USUAL);
    }
    row.0
}

/// Stops K3s on nodes, so that what is on their disks holds still.
pub fn stop(nodes: &[NodeName]) -> Vec<Link> {
    let link = |node: &NodeName| Link {
        step: "stop",
        target: Target::Node(node.clone()),
        kind: &STOP,
        wish: Arc::new(Stopped { by_itself: false }),
        timeout: USUAL,
        after: Vec::new(),
    };
    nodes.iter().map(link).collect()
}

/// Takes K3s and its data off one node; `forget`: what the cluster, which answers, knows of it goes too.
pub fn reset_one(node: &NodeName, forget: Option<&str>) -> Vec<Link> {
    let own = || Target::Node(node.clone());
    let mut row = Row::default();
    if let Some(kube_name) = forget {
        let stopped = Stopped { by_itself: false };
        row.add("stop", own(), &STOP, Arc::new(stopped), USUAL);
        let forgotten = Forgotten {
            node: kube_name.to_owned(),
        };
        row.add(
            "forget",
            Target::Cluster,
            &FORGET,
            Arc::new(forgotten),
            USUAL,
        );
    }
    row.add("clean", own(), &CLEAN, Arc::new(Clean), USUAL);
    row.0
}

/// Takes K3s and its data off many nodes: those without a datastore first, then the others.
pub fn reset_all(without: &[NodeName], with: &[NodeName]) -> Vec<Link> {
    let link = |node: &NodeName, after: Vec<usize>| Link {
        step: "clean",
        target: Target::Node(node.clone()),
        kind: &CLEAN,
        wish: Arc::new(Clean),
        timeout: USUAL,
        after,
    };
    let first: Vec<Link> = without.iter().map(|node| link(node, Vec::new())).collect();
    let before: Vec<usize> = (0..first.len()).collect();
    let second = with.iter().map(|node| link(node, before.clone()));
    first.iter().cloned().chain(second).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inventory::Cluster;

    fn steps(leave: &Leave, machine: Machine) -> Vec<&'static str> {
        let inventory = Inventory {
            file: String::new(),
            cluster: Cluster {
                name: "c".into(),
                domain: None,
                api_address: None,
                ca_sha256: None,
                kubeconfig: None,
            },
            nodes: Vec::new(),
            groups: Vec::new(),
            bastions: Vec::new(),
            vars: Default::default(),
        };
        let links = removal(
            &Removal {
                inventory: &inventory,
                leave,
                machine,
                drain_timeout: USUAL,
                lose: false,
            },
            None,
        );
        for link in links.iter().filter(|link| link.kind.name == GUARD.name) {
            // Else it would be decided by what was read before the drain.
            assert!(link.wish.poll().is_some());
        }
        links.iter().map(|link| link.step).collect()
    }

    #[test]
    fn the_quorum_is_looked_at_before_the_drain_and_again_before_the_stop() {
        let mut leave = Leave {
            name: "s1".into(),
            kube_name: "s1".into(),
            member: None,
            server: true,
            stop_first: true,
            after: String::new(),
        };
        assert_eq!(
            steps(&leave, Machine::Here),
            ["quorum", "drain", "quorum-still", "stop", "forget", "clean"]
        );
        assert_eq!(steps(&leave, Machine::Dead), ["quorum", "forget"]);
        leave.server = false;
        assert_eq!(
            steps(&leave, Machine::Here),
            ["drain", "stop", "forget", "clean"]
        );
    }
}
