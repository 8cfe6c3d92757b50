//! What the leaving of a member does to etcd: whether the others can agree to it and go on, and what they may lose afterwards.

use super::{Machine, Refusal};
use crate::k3s::status::{EtcdStatus, MemberStatus};
use crate::model::outcome::Failure;

/// etcd must be able to write that the member leaves, and to go on without it.
pub(super) fn quorum(
    etcd: &EtcdStatus,
    leaving: &MemberStatus,
    machine: Machine,
) -> Result<(), Refusal> {
    if leaving.learner {
        return Ok(());
    }
    let voters = etcd.members.iter().filter(|member| !member.learner);
    let others: Vec<&MemberStatus> = voters
        .filter(|member| member.name != leaving.name)
        .collect();
    let serving = others
        .iter()
        .filter(|member| member.healthy == Some(true))
        .count();
    let ill: Vec<String> = others
        .iter()
        .filter(|member| member.healthy != Some(true))
        .map(|member| shown(member))
        .collect();
    let needed = others.len() / 2 + 1;
    let refuse = |what: String| {
        let mut failure = Failure::new(what);
        failure.evidence = ill
            .iter()
            .map(|ill| format!("not serving: {ill}"))
            .collect();
        failure
    };
    if serving < needed {
        return Err(refuse(format!(
            "without {} etcd would have no quorum: {serving} of the {} others serve, and {needed} have to",
            shown_name(leaving),
            others.len()
        ))
        .hint("bring the others up first: hmco-boot status says what is wrong with them")
        .into());
    }
    let now = serving + usize::from(leaving.healthy == Some(true));
    if now < etcd.quorum {
        return Err(refuse(format!(
            "etcd cannot be changed now: {now} of {} voters serve, and {} have to",
            etcd.voters, etcd.quorum
        ))
        .hint("bring servers up first: hmco-boot status says what is wrong with them")
        .into());
    }
    if machine == Machine::Here && !ill.is_empty() {
        return Err(refuse(format!(
            "the rest of etcd is not healthy: {} would be one more that is missing",
            shown_name(leaving)
        ))
        .hint("bring it up first; if its machine is gone for good, remove that one: hmco-boot k3s node remove NAME --dead")
        .into());
    }
    Ok(())
}

/// Whether K3s is stopped on it first, and what etcd is afterwards.
pub(super) fn after(etcd: &EtcdStatus, leaving: &MemberStatus) -> (bool, String) {
    if leaving.learner {
        return (
            true,
            "a learner leaves etcd: its quorum stays as it is".to_owned(),
        );
    }
    let left = etcd.voters.saturating_sub(1);
    let others = etcd
        .healthy_voters
        .saturating_sub(usize::from(leaving.healthy == Some(true)));
    let may_fail = others.saturating_sub(left / 2 + 1);
    let words = match may_fail {
        _ if left == 1 => "then there is one server left, which may not fail".to_owned(),
        0 => "then none of them may fail".to_owned(),
        count => format!("then {count} of them may fail"),
    };
    (
        others >= etcd.quorum,
        format!("etcd: of {} voters {left} stay; {words}", etcd.voters),
    )
}

fn shown_name(member: &MemberStatus) -> &str {
    member.node.as_deref().unwrap_or(&member.name)
}

fn shown(member: &MemberStatus) -> String {
    match &member.reason {
        Some(why) => format!("{} ({why})", shown_name(member)),
        None => format!("{} (nobody could ask it)", shown_name(member)),
    }
}
