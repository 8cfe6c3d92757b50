//! etcd: its members, by the word of the servers.

use schemars::JsonSchema;
use serde::Serialize;

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

/// etcd by the word of its members, with what it was made of: who lists the most recent members is not known, so the first
/// server that serves counts.
pub(super) fn of(machines: &[Machine<'_>]) -> Option<(EtcdStatus, Vec<Member>)> {
    let told: Vec<(&Machine<'_>, &Told)> = machines
        .iter()
        .filter_map(|machine| Some((machine, machine.seen.told.as_ref().ok()?)))
        .filter(|(_, told)| told.data.etcd)
        .collect();
    if told.is_empty() {
        return None;
    }
    let serves = |told: &&(&Machine<'_>, &Told)| told.1.health == Some(Ok(()));
    let lists = |told: &(&Machine<'_>, &Told)| match &told.1.members {
        Some(Ok(members)) => Some(members.clone()),
        _ => None,
    };
    let listed = told.iter().filter(serves).find_map(lists);
    let listed: Vec<Member> = listed
        .or_else(|| told.iter().find_map(lists))
        .unwrap_or_default();
    let members: Vec<MemberStatus> = (0..)
        .zip(&listed)
        .map(|(at, member)| {
            let is_its = |machine: &&Machine<'_>| machine.who.member(&listed) == Some(at);
            let of = told.iter().find(|(machine, _)| is_its(machine));
            let owner = of.map(|(machine, _)| *machine);
            let owner = owner.or_else(|| machines.iter().find(is_its));
            member_status(member, owner, of.map(|(_, told)| *told))
        })
        .collect();
    let voters = members.iter().filter(|member| !member.learner);
    let healthy = voters.clone().filter(|member| member.healthy == Some(true));
    let asked = told.iter().any(|(_, told)| told.health.is_some());
    let status = EtcdStatus {
        voters: voters.clone().count(),
        healthy_voters: healthy.count(),
        quorum: match voters.count() {
            0 => 0,
            count => count / 2 + 1,
        },
        has_quorum: asked.then(|| told.iter().any(|told| serves(&told))),
        members,
    };
    Some((status, listed))
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
