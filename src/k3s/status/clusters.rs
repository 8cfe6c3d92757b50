//! Which clusters the machines are of, by their CA: one inventory is one cluster, and where servers have another CA, what holds for
//! the one says nothing of the other.

use super::{EtcdStatus, Machine, NodeStatus, Status};
use crate::model::outcome::Failure;
use crate::model::shell::quote;

/// The servers of one CA.
#[derive(Clone, PartialEq, Debug)]
pub struct OfOneCa {
    /// sha256 of the CA.
    pub ca: String,
    /// The machines that have it, by their names in the inventory.
    pub nodes: Vec<String>,
    /// Their etcd, by their own word.
    pub etcd: Option<EtcdStatus>,
}

impl OfOneCa {
    /// Its machines and its CA, for people.
    fn words(&self) -> String {
        let ca: String = self.ca.chars().take(12).collect();
        format!("{} (CA {ca})", self.nodes.join(", "))
    }
}

/// The CA of a machine's data, where it told of one.
fn ca<'a>(machine: &Machine<'a>) -> Option<&'a str> {
    machine.seen.told.as_ref().ok()?.data.ca_sha256.as_deref()
}

/// The CAs that there are. First that of the cluster that the API shows, however few have it: machines with the disks of a former
/// one may be more. Where the API shows none, that of the most machines that run, then of the most.
pub(super) fn cas(machines: &[Machine<'_>]) -> Vec<String> {
    let mut found: Vec<(&str, [usize; 3])> = Vec::new();
    for machine in machines {
        let Some(ca) = ca(machine) else { continue };
        let is_listed = machine.node.is_some();
        let signs = [is_listed, machine.runs(), true].map(usize::from);
        match found.iter_mut().find(|(one, _)| *one == ca) {
            Some((_, all)) => {
                for (all, sign) in all.iter_mut().zip(signs) {
                    *all += sign;
                }
            }
            None => found.push((ca, signs)),
        }
    }
    found.sort_by_key(|(_, signs)| std::cmp::Reverse(*signs));
    found.into_iter().map(|(ca, _)| ca.to_owned()).collect()
}

/// The machines that are asked about the cluster of the CA at a place: with the first go those that have, or told, none.
pub(super) fn of<'m, 'a>(
    machines: &'m [Machine<'a>],
    cas: &[String],
    at: usize,
) -> Vec<&'m Machine<'a>> {
    let of = |machine: &&Machine<'_>| match ca(machine) {
        Some(ca) => cas.get(at).is_some_and(|own| own == ca),
        None => at == 0,
    };
    machines.iter().filter(of).collect()
}

/// Those of them that have this CA.
pub(super) fn with(machines: &[&Machine<'_>], own: &str) -> Vec<String> {
    let with = machines.iter().filter(|machine| ca(machine) == Some(own));
    with.map(|machine| machine.seen.name.clone()).collect()
}

impl Status {
    /// Servers have different CAs.
    pub fn is_mixed(&self) -> bool {
        self.clusters.len() > 1
    }

    /// The place of the cluster that a machine is of; `None`: it did not tell of any.
    fn cluster_of(&self, node: &NodeStatus) -> Option<usize> {
        let mut clusters = self.clusters.iter();
        clusters.position(|cluster| cluster.nodes.contains(&node.name))
    }

    /// The etcd of the cluster that a machine is of.
    pub fn etcd_of(&self, node: &NodeStatus) -> Option<&EtcdStatus> {
        match self.cluster_of(node) {
            Some(at) if at > 0 => self.clusters.get(at)?.etcd.as_ref(),
            _ => self.etcd.as_ref(),
        }
    }

    /// It is of another cluster than that of the inventory.
    pub fn is_foreign(&self, node: &NodeStatus) -> bool {
        self.cluster_of(node).is_some_and(|at| at > 0)
    }

    /// Which of several clusters that of the inventory is, is more than a guess: it runs, or the API shows it.
    pub fn knows_its_own(&self) -> bool {
        let Some(own) = self.clusters.first() else {
            return false;
        };
        let mut all = self.nodes.iter();
        all.any(|node| own.nodes.contains(&node.name) && (node.node.is_some() || node.is_running()))
    }

    /// K3s runs on some machine of the cluster that a machine is of.
    pub fn runs_for(&self, node: &NodeStatus) -> bool {
        let own = self.cluster_of(node).and_then(|at| self.clusters.get(at));
        own.is_some_and(|own| {
            let mut all = self.nodes.iter();
            all.any(|other| own.nodes.contains(&other.name) && other.is_running())
        })
    }

    /// Whether two may be of one cluster, as far as they told.
    pub fn may_share(&self, one: &NodeStatus, other: &NodeStatus) -> bool {
        match (self.cluster_of(one), self.cluster_of(other)) {
            (Some(one), Some(other)) => one == other,
            // What only the API knows.
            (Some(one), None) if !other.in_inventory => one == 0,
            _ => true,
        }
    }

    /// That servers are of different clusters, where they are.
    pub fn mixture(&self) -> Option<Failure> {
        if !self.is_mixed() {
            return None;
        }
        let all: Vec<String> = self.clusters.iter().map(OfOneCa::words).collect();
        let others = self.clusters.iter().skip(1).flat_map(|other| &other.nodes);
        let resets: Vec<String> = others
            .map(|name| format!("hmco-boot k3s reset --node {}", quote(name)))
            .collect();
        let failure = Failure::new(format!(
            "the servers are of {} different clusters, by their CA: {}",
            all.len(),
            all.join("; ")
        ));
        if !self.knows_its_own() {
            return Some(failure.hint(
                "one inventory is one cluster, and none of them runs: start K3s on the servers of the one that is to stay (`systemctl \
                 start --no-block k3s` there), then hmco-boot status says what to do with the others",
            ));
        }
        Some(failure.hint(format!(
            "one inventory is one cluster, and the first seems to be it. Servers with the disks of a former one: {} (copies its \
             snapshots and its token first), then hmco-boot run k3s joins them. Where they are a cluster that lives, give that an \
             inventory of its own. After `k3s certificate rotate-ca`: restart K3s on those that have the former CA",
            resets.join(", ")
        )))
    }
}
