//! The state of a cluster, put together from what its nodes tell and what its API lists; with what is wrong in it, each with its
//! cure. What nobody told is `null`, never a guess.

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
pub use components::Component;
pub use etcd::{EtcdStatus, MemberStatus};
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
}

impl Status {
    /// Puts everything together.
    pub fn of(cluster: &str, seen: &[Seen], listed: Result<&Listed, String>) -> Self {
        let nothing = Listed::default();
        let (lists, api_error) = match listed {
            Ok(lists) => (lists, None),
            Err(why) => (&nothing, Some(why)),
        };
        let (found, strangers) = matching::nodes(seen, &lists.nodes);
        let machines: Vec<Machine<'_>> = seen
            .iter()
            .zip(found)
            .map(|(seen, node)| Machine {
                seen,
                node,
                who: Who::machine(seen, node),
            })
            .collect();
        let (etcd, listed) = match etcd::of(&machines) {
            Some((etcd, listed)) => (Some(etcd), listed),
            None => (None, Vec::new()),
        };
        let member = |who: &Who<'_>| {
            let at = who.member(&listed)?;
            etcd.as_ref()?.members.get(at).cloned()
        };
        let own = machines.iter();
        let mut nodes: Vec<NodeStatus> = own
            .map(|machine| NodeStatus::of(machine, member(&machine.who)))
            .collect();
        let strangers = strangers.into_iter();
        nodes.extend(strangers.map(|node| {
            let who = Who::stranger(node);
            NodeStatus::stranger(node, &who, member(&who))
        }));
        let simulated = lists.nodes.iter().any(|node| {
            node.pointer("/metadata/annotations/hmco-boot~1simulated")
                .is_some()
        });
        let mut status = Self {
            cluster: cluster.to_owned(),
            healthy: false,
            simulated: (!lists.nodes.is_empty()).then_some(simulated),
            api_error,
            nodes,
            etcd,
            components: lists.deployments.iter().map(Component::of).collect(),
            problems: Vec::new(),
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
