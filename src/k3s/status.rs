//! The state of a cluster, put together from what its nodes tell and what its API lists; with what is wrong in it, each with its
//! cure. What nobody told is `null`, never a guess.

mod ailing;
mod claims;
mod clusters;
mod components;
mod etcd;
mod matching;
mod node;
mod problems;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::look::Told;
use crate::model::outcome::{ExitCode, Failure};
use crate::steps::preflight::Role;
pub use clusters::OfOneCa;
pub use components::Component;
use etcd::Etcd;
pub use etcd::{EtcdStatus, MemberStatus};
pub use matching::Dispute;
use matching::Who;
pub use node::{K3sStatus, KubeNode, NodeStatus};
pub use problems::Problem;

/// A node of the inventory, and what it told.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// What it is to be; `None` = neither server nor agent.
    pub role: Option<Role>,
    /// Its address.
    pub address: Option<String>,
    /// What it told, or why it did not.
    pub told: Result<Told, Silence>,
}

/// Why a node told nothing.
#[derive(Clone, Debug)]
pub struct Silence {
    /// It could not be talked to; else what it said could not be used.
    pub unreachable: bool,
    /// In words.
    pub failure: Failure,
}

/// What the API lists.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// All Nodes.
    pub nodes: Vec<Value>,
    /// Deployments of kube-system.
    pub deployments: Vec<Value>,
}

/// The state of a cluster. One line of JSON by `status --output json`, with `"v":1,"type":"status"` in front.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Status {
    /// The cluster's name in the inventory.
    pub cluster: String,
    /// Nobody found anything wrong, and everybody was asked.
    pub healthy: bool,
    /// Its K3s is the stand-in: the API is real, its pods are not. `null`: the API did not tell.
    pub simulated: Option<bool>,
    /// Why the Kubernetes API gave no list of Nodes; `null` where it did.
    pub api_error: Option<String>,
    /// The nodes: those of the inventory in its order, then Nodes that only the API knows.
    pub nodes: Vec<NodeStatus>,
    /// etcd; `null` where no server has data of it.
    pub etcd: Option<EtcdStatus>,
    /// What runs in kube-system, by the versions of its images.
    pub components: Vec<Component>,
    /// What is wrong, each with its cure.
    pub problems: Vec<Problem>,
    /// What several machines of the inventory lay claim to.
    #[serde(skip)]
    pub disputes: Vec<Dispute>,
    /// The servers by their CA, those of the cluster first.
    #[serde(skip)]
    pub clusters: Vec<OfOneCa>,
}

impl Status {
    /// Puts everything together.
    pub fn of(cluster: &str, seen: &[Seen], listed: Result<&Listed, String>) -> Self {
        let nothing = Listed::default();
        let (lists, api_error) = match listed {
            Ok(lists) => (lists, None),
            Err(why) => (&nothing, Some(why)),
        };
        let matching::Nodes {
            own,
            strangers,
            mut disputes,
        } = matching::nodes(seen, &lists.nodes);
        let machines = seen.iter().zip(own);
        let machines: Vec<Machine<'_>> = machines
            .map(|(seen, node)| Machine::of(seen, node))
            .collect();
        let whos: Vec<Who<'_>> = strangers.iter().map(|node| Who::stranger(node)).collect();
        // What is told of etcd is asked of servers of one CA only.
        let cas = clusters::cas(&machines);
        let groups: Vec<Vec<&Machine<'_>>> = (0..cas.len().max(1))
            .map(|at| clusters::of(&machines, &cas, at))
            .collect();
        let etcds: Vec<Option<Etcd<'_>>> = (0..)
            .zip(&groups)
            .map(|(at, group)| etcd::of(group, if at == 0 { &whos } else { &[] }))
            .collect();
        let nodes = each(&machines, &strangers, &whos, &etcds);
        let of_members = etcds.iter().flatten().flat_map(|etcd| &etcd.disputes);
        disputes.extend(matching::further(&disputes, of_members));
        let clusters = cas.iter().zip(&groups).zip(&etcds);
        let clusters = clusters.map(|((ca, group), etcd)| OfOneCa {
            ca: ca.clone(),
            nodes: clusters::with(group, ca),
            etcd: etcd.as_ref().map(|etcd| etcd.status.clone()),
        });
        let simulated = lists.nodes.iter().any(is_simulated);
        let mut status = Self {
            cluster: cluster.to_owned(),
            healthy: false,
            simulated: (!lists.nodes.is_empty()).then_some(simulated),
            api_error,
            nodes,
            etcd: main(&etcds).map(|etcd| etcd.status.clone()),
            components: lists.deployments.iter().map(Component::of).collect(),
            problems: Vec::new(),
            disputes,
            clusters: clusters.collect(),
        };
        status.components.sort_by(|a, b| a.name.cmp(&b.name));
        status.problems = problems::all(&status, seen);
        status.healthy = status.problems.is_empty();
        status
    }

    /// The exit code: 3 where the only trouble is that nodes cannot be reached.
    pub fn exit(&self) -> ExitCode {
        let codes = self
            .problems
            .iter()
            .map(|problem| match problem.unreachable {
                true => ExitCode::Unreachable,
                false => ExitCode::Failed,
            });
        ExitCode::strongest(codes)
    }

    /// A node by its name in the inventory, else in Kubernetes.
    pub fn node(&self, name: &str) -> Option<&NodeStatus> {
        let own = self.nodes.iter().find(|node| node.name == name);
        own.or_else(|| {
            self.nodes
                .iter()
                .find(|node| node.node.as_ref().is_some_and(|node| node.name == name))
        })
    }

    /// What a machine and others lay claim to, without anything that tells whose it is.
    pub fn dispute(&self, node: &NodeStatus) -> Option<&Dispute> {
        let open = self.disputes.iter().filter(|dispute| !dispute.settled);
        let mut open = open.filter(|dispute| dispute.machines.contains(&node.name));
        open.next().filter(|_| node.in_inventory)
    }

    /// Whether any node has, or is in, a cluster.
    pub fn is_there(&self) -> bool {
        let has = |node: &NodeStatus| {
            node.node.is_some()
                || node.has_datastore == Some(true)
                || node.k3s.as_ref().is_some_and(|k3s| k3s.unit.is_some())
        };
        self.nodes.iter().any(has)
    }

    /// Whether there may be one: some node is in it, or tells nothing.
    pub fn may_be_there(&self) -> bool {
        let silent = |node: &NodeStatus| node.has_datastore.is_none();
        self.is_there() || self.nodes.iter().any(silent)
    }
}

/// A machine of the inventory, and its Node.
struct Machine<'a> {
    seen: &'a Seen,
    node: Option<&'a Value>,
    who: Who<'a>,
}

impl<'a> Machine<'a> {
    fn of(seen: &'a Seen, node: Option<&'a Value>) -> Self {
        Self {
            seen,
            node,
            who: Who::machine(seen, node),
        }
    }

    /// K3s runs on it, or is starting.
    fn runs(&self) -> bool {
        let told = self.seen.told.as_ref().ok();
        let unit = told.and_then(|told| told.unit.as_ref());
        unit.is_some_and(|(_, unit)| crate::steps::shared::k3s::cluster::is_alive(unit))
    }
}

/// The etcd of the cluster, before those of others.
fn main<'e, 'm>(etcds: &'e [Option<Etcd<'m>>]) -> Option<&'e Etcd<'m>> {
    etcds.first().and_then(Option::as_ref)
}

/// The machines of the inventory, each with its member of the etcd that it is of; then Nodes that the inventory does not have.
fn each(
    machines: &[Machine<'_>],
    strangers: &[&Value],
    whos: &[Who<'_>],
    etcds: &[Option<Etcd<'_>>],
) -> Vec<NodeStatus> {
    let own = machines.iter().map(|machine| {
        let mut all = etcds.iter().flatten();
        NodeStatus::of(machine, all.find_map(|etcd| etcd.of_machine(machine)))
    });
    let strangers = (0..).zip(strangers.iter().zip(whos));
    let strangers = strangers.map(|(at, (node, who))| {
        let member = main(etcds).and_then(|etcd| etcd.of_stranger(at));
        NodeStatus::stranger(node, who, member)
    });
    own.chain(strangers).collect()
}

/// Whether it is a Node of the stand-in.
fn is_simulated(node: &Value) -> bool {
    let mark = "/metadata/annotations/hmco-boot~1simulated";
    node.pointer(mark).is_some()
}
