//! etcd: its members, by the word of the servers.

use schemars::JsonSchema;
use serde::Serialize;

use super::matching::{self, Dispute, Who};
use super::{Machine, Told};
use crate::k3s::look::Member;

/// A member of etcd.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct MemberStatus {
    /// Its name; empty while it has not started yet.
    pub name: String,
    /// The node that it is of.
    pub node: Option<String>,
    /// Where its peers reach it.
    pub address: String,
    /// It does not vote yet.
    pub learner: bool,
    /// It serves, by its own word (`/health`: it has a leader and a quorum); `null`: it was not asked.
    pub healthy: Option<bool>,
    /// Why it does not.
    pub reason: Option<String>,
}

/// etcd as a whole.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct EtcdStatus {
    /// Its members; empty where no server could list them.
    pub members: Vec<MemberStatus>,
    /// Members that vote.
    pub voters: usize,
    /// Members that vote and said that they serve.
    pub healthy_voters: usize,
    /// So many voters have to be up.
    pub quorum: usize,
    /// Something can be written: some member says that it has a leader and a quorum; `null`: none was asked.
    pub has_quorum: Option<bool>,
}

/// etcd of some machines, and whose its members are.
pub(super) struct Etcd<'m> {
    pub(super) status: EtcdStatus,
    /// The owner of each member, by its place: first the machines, then the strangers.
    owners: Vec<Option<usize>>,
    machines: &'m [&'m Machine<'m>],
    /// Members that may be several machines'.
    pub(super) disputes: Vec<Dispute>,
}

impl Etcd<'_> {
    /// The member of a machine.
    pub(super) fn of_machine(&self, machine: &Machine<'_>) -> Option<MemberStatus> {
        let mut machines = self.machines.iter();
        let at = machines.position(|own| own.seen.name == machine.seen.name)?;
        self.of(at)
    }

    /// The member of a Node that the inventory does not have.
    pub(super) fn of_stranger(&self, at: usize) -> Option<MemberStatus> {
        self.of(self.machines.len() + at)
    }

    fn of(&self, owner: usize) -> Option<MemberStatus> {
        let at = self.owners.iter().position(|own| *own == Some(owner))?;
        self.status.members.get(at).cloned()
    }
}

/// The members that a server lists: who lists the most recent ones is not known, so the first server that serves counts.
fn listed(told: &[&Told]) -> Vec<Member> {
    let lists = |told: &&Told| match &told.members {
        Some(Ok(members)) => Some(members.clone()),
        _ => None,
    };
    let serving = told.iter().filter(|told| told.health == Some(Ok(())));
    let listed = serving.copied().find_map(|told| lists(&told));
    listed
        .or_else(|| told.iter().find_map(lists))
        .unwrap_or_default()
}

/// etcd by the word of its members. `machines`: those of one cluster.
pub(super) fn of<'m>(machines: &'m [&'m Machine<'m>], strangers: &[Who<'_>]) -> Option<Etcd<'m>> {
    let told = machines.iter().filter_map(|machine| data_of(machine));
    let told: Vec<&Told> = told.collect();
    if told.is_empty() {
        return None;
    }
    let listed = listed(&told);
    let (owners, disputes) = owners(machines, strangers, &listed);
    let members: Vec<MemberStatus> = listed
        .iter()
        .zip(&owners)
        .map(|(member, owner)| {
            let owner = owner.and_then(|owner| machines.get(owner)).copied();
            member_status(member, owner, owner.and_then(data_of))
        })
        .collect();
    let voters = members.iter().filter(|member| !member.learner);
    let healthy = voters.clone().filter(|member| member.healthy == Some(true));
    let asked = told.iter().any(|told| told.health.is_some());
    let status = EtcdStatus {
        voters: voters.clone().count(),
        healthy_voters: healthy.count(),
        quorum: match voters.count() {
            0 => 0,
            count => count / 2 + 1,
        },
        has_quorum: asked.then(|| told.iter().any(|told| told.health == Some(Ok(())))),
        members,
    };
    Some(Etcd {
        status,
        owners,
        machines,
        disputes,
    })
}

/// What a machine with data of etcd told.
fn data_of<'a>(machine: &Machine<'a>) -> Option<&'a Told> {
    let told = machine.seen.told.as_ref().ok();
    told.filter(|told| told.data.etcd)
}

/// Whose each member is: the inventory's machines come before Nodes that nobody was found to have.
fn owners(
    machines: &[&Machine<'_>],
    strangers: &[Who<'_>],
    listed: &[Member],
) -> (Vec<Option<usize>>, Vec<Dispute>) {
    let whos: Vec<&Who<'_>> = machines.iter().map(|machine| &machine.who).collect();
    let all: Vec<&Member> = listed.iter().collect();
    let (mut owners, disputed) = matching::members(&whos, &all);
    let left: Vec<usize> = (0..all.len())
        .filter(|at| owners.get(*at) == Some(&None))
        .filter(|at| !disputed.iter().any(|(thing, _)| thing == at))
        .collect();
    let rest: Vec<&Member> = left.iter().filter_map(|at| listed.get(*at)).collect();
    let strangers: Vec<&Who<'_>> = strangers.iter().collect();
    let (theirs, _) = matching::members(&strangers, &rest);
    for (at, owner) in left.into_iter().zip(theirs) {
        if let Some(slot) = owners.get_mut(at) {
            *slot = owner.map(|owner| owner + machines.len());
        }
    }
    let dispute = |(member, who): (usize, Vec<usize>)| {
        let member: &Member = listed.get(member)?;
        let machines = who.iter().filter_map(|who| machines.get(*who));
        Some(Dispute {
            what: format!("the member of etcd {}", shown(member)),
            node: None,
            machines: machines.map(|machine| machine.seen.name.clone()).collect(),
            settled: false,
        })
    };
    let disputes = disputed.into_iter().filter_map(dispute).collect();
    (owners, disputes)
}

fn shown(member: &Member) -> &str {
    match member.name.is_empty() {
        true => &member.address,
        false => &member.name,
    }
}

/// A member, by the word of the server that it is of, where that told.
fn member_status(
    member: &Member,
    owner: Option<&Machine<'_>>,
    told: Option<&Told>,
) -> MemberStatus {
    let health = told.and_then(|told| told.health.as_ref());
    // A server that tells, and whose K3s does not run, does not serve.
    let down = told.is_some_and(|told| told.health.is_none());
    MemberStatus {
        name: member.name.clone(),
        node: owner
            .map(|machine| machine.seen.name.clone())
            .or_else(|| member.node().map(str::to_owned)),
        address: member.address.clone(),
        learner: member.learner,
        healthy: match down {
            true => Some(false),
            false => health.map(Result::is_ok),
        },
        reason: match (down, health) {
            (true, _) => Some("K3s does not run there".to_owned()),
            (false, Some(Err(why))) => Some(why.clone()),
            _ => None,
        },
    }
}
