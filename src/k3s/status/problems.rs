//! What is wrong in a cluster, by its state, each with its cure.

use schemars::JsonSchema;
use serde::Serialize;

use super::{EtcdStatus, NodeStatus, Seen, Silence, Status, ailing};
use crate::model::outcome::Failure;
use crate::steps::preflight::Role;

/// Something that is wrong.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Problem {
    /// On which node; `null`: in the cluster.
    pub node: Option<String>,
    /// A node could not be reached.
    pub unreachable: bool,
    /// What.
    pub what: String,
    /// What to do.
    pub hint: String,
}

/// Everything, the gravest first.
pub(super) fn all(status: &Status, seen: &[Seen]) -> Vec<Problem> {
    let mut found = Vec::new();
    let expected = seen.iter().any(|seen| seen.role.is_some());
    let some_silent = seen.iter().any(|seen| seen.told.is_err());
    if expected && !status.is_there() && !some_silent {
        found.push(cluster(
            "there is no cluster yet: K3s is on none of the nodes",
            "hmco-boot run bootstrap-all makes it",
        ));
        return found;
    }
    found.extend(status.mixture().map(of_failure));
    let disputes = status.disputes.iter();
    found.extend(disputes.map(|dispute| of_failure(dispute.failure())));
    found.extend(etcd(status));
    found.extend(unlisted(status, seen));
    let no_quorum = is_without_quorum(status);
    for seen in seen {
        let Some(node) = status.nodes.iter().find(|node| node.name == seen.name) else {
            continue;
        };
        if is_left_over(status, node) {
            found.push(on(
                node,
                "it has a datastore that etcd has no member of: it has left the cluster",
                format!(
                    "hmco-boot k3s reset --node {}, then hmco-boot run k3s joins it anew",
                    node.name
                ),
            ));
            continue;
        }
        found.extend(unknown_member(status, node));
        match &seen.told {
            Err(silence) => found.push(silent(&seen.name, silence)),
            Ok(_) if seen.role.is_none() && node.node.is_none() => {}
            Ok(told) => {
                if told.both {
                    found.push(on(node, "it has the unit of a server and that of an agent", "a node is one of both: reset it (hmco-boot k3s reset --node), then run k3s"));
                }
                found.extend(service(node, seen.role, no_quorum));
            }
        }
        found.extend(kubernetes(status, node, seen.told.is_err()));
    }
    found.extend(strangers(status));
    found.extend(ailing::all(status));
    if let Some(why) = status.api_error.as_ref().filter(|_| found.is_empty()) {
        found.push(no_answer(why));
    }
    found
}

/// Servers that are ready, and an API that tells nothing: the reason is in the words of whoever tried, as is the cure.
fn no_answer(why: &str) -> Problem {
    let hint = why.lines().find_map(|line| line.strip_prefix("hint: "));
    let reasons = why
        .lines()
        .filter(|line| !line.starts_with(' ') && !line.starts_with("hint: "));
    // The first line only says that it did not work, where more follow.
    let reason = reasons.clone().nth(1).or_else(|| reasons.clone().next());
    let reason = reason.unwrap_or_default();
    cluster(
        format!("the Kubernetes API told nothing of its Nodes: {reason}"),
        hint.unwrap_or("look again in a moment; -v says how it was tried"),
    )
}

fn silent(name: &str, silence: &Silence) -> Problem {
    let hint = silence.failure.hint.clone().unwrap_or_else(|| {
        format!("look at it; if its machine is gone for good: hmco-boot k3s node remove {name} --dead, or replace")
    });
    Problem {
        node: Some(name.to_owned()),
        unreachable: silence.unreachable,
        what: silence.failure.message.clone(),
        hint,
    }
}

/// Nodes that only the API knows.
fn strangers(status: &Status) -> impl Iterator<Item = Problem> {
    let strangers = status.nodes.iter().filter(|node| !node.in_inventory);
    strangers.filter(|node| !node.is_ready()).map(|node| {
        let hint = format!(
            "put it there, or, if its machine is gone for good: hmco-boot k3s node remove {} --dead",
            node.name
        );
        on(node, "it is not Ready, and not in the inventory", hint)
    })
}

const RUN: &str = "hmco-boot run k3s brings it up, or names what stops it";
const WAITS: &str = "it waits for a quorum of etcd: see above";

pub(super) fn cluster(what: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem {
        node: None,
        unreachable: false,
        what: what.into(),
        hint: hint.into(),
    }
}

pub(super) fn on(node: &NodeStatus, what: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem {
        node: Some(node.name.clone()),
        ..cluster(what, hint)
    }
}

fn of_failure(failure: Failure) -> Problem {
    cluster(failure.message, failure.hint.unwrap_or_default())
}

/// Whether it came back with the data of a member that was taken out meanwhile.
fn is_left_over(status: &Status, node: &NodeStatus) -> bool {
    let serves = |etcd: &EtcdStatus| etcd.has_quorum == Some(true) && !etcd.members.is_empty();
    node.has_datastore == Some(true)
        && node.etcd.is_none()
        && !node.member_is_unknown(status.etcd_of(node))
        && node.api_ready != Some(true)
        && status.api_error.is_none()
        && status.etcd_of(node).is_some_and(serves)
        && status.dispute(node).is_none()
}

/// A server whose member is none of those that are listed, as far as can be told.
fn unknown_member(status: &Status, node: &NodeStatus) -> Option<Problem> {
    let etcd = status.etcd_of(node);
    let etcd = etcd.filter(|etcd| !etcd.members.is_empty() && status.dispute(node).is_none());
    (etcd.is_some() && node.member_is_unknown(etcd)).then(|| {
        on(
            node,
            "it has data of etcd, and which member is its own could not be told",
            "/var/lib/rancher/k3s/server/db/etcd/name has its name there: see why it is not to be read, or is gone (a restore \
             that failed leaves the database as db/etcd-old-TIME)",
        )
    })
}

fn is_without_quorum(status: &Status) -> bool {
    status
        .etcd
        .as_ref()
        .is_some_and(|etcd| etcd.has_quorum == Some(false))
}

fn etcd(status: &Status) -> Vec<Problem> {
    let Some(etcd) = &status.etcd else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if etcd.has_quorum == Some(false) {
        let servers: Vec<&NodeStatus> = status
            .nodes
            .iter()
            .filter(|node| node.role == Some(Role::Server))
            // One that tells that it has no data was never a member, or has left.
            .filter(|node| node.has_datastore != Some(false))
            .collect();
        let down: Vec<&str> = servers
            .iter()
            .filter(|node| !node.is_running())
            .map(|node| node.name.as_str())
            .collect();
        let what = match down.is_empty() {
            true => "etcd has no quorum: nothing can be written, and K3s on its servers waits"
                .to_owned(),
            false => format!(
                "etcd has no quorum: K3s runs on {} of {} servers, not on {}",
                servers.len() - down.len(),
                servers.len(),
                down.join(", ")
            ),
        };
        found.push(cluster(
            what,
            "bring servers up until more than half run (power, network, `systemctl start --no-block k3s` there): they go on by \
             themselves. Delete nothing on any of them; if more than half are lost for good, a snapshot has to be restored",
        ));
    }
    for member in &etcd.members {
        let name = member.node.as_deref().unwrap_or(&member.address);
        let has_node = status.nodes.iter().any(|node| {
            node.etcd
                .as_ref()
                .is_some_and(|own| own.name == member.name)
                && !member.name.is_empty()
        });
        if !has_node && !member.name.is_empty() {
            found.push(cluster(
                format!("etcd counts on a member of no node: {} ({})", member.name, member.address),
                "it weakens the quorum like a server that is down; if its machine is gone for good, remove it by \
                 `etcdctl member remove` with the certificates in /var/lib/rancher/k3s/server/tls/etcd",
            ));
        } else if member.learner {
            found.push(Problem {
                node: Some(name.to_owned()),
                ..cluster(
                    "its member of etcd does not vote yet",
                    "that takes a minute or two after a start; `hmco-boot run k3s` waits for it",
                )
            });
        }
    }
    found
}

/// Servers that were asked for the members of etcd, and none that lists them: then nobody knows whether it is whole.
fn unlisted(status: &Status, seen: &[Seen]) -> Option<Problem> {
    let etcd = status.etcd.as_ref()?;
    if !etcd.members.is_empty() || etcd.has_quorum == Some(false) {
        return None;
    }
    let why = |seen: &Seen| match seen.told.as_ref().ok()?.members.as_ref()? {
        Ok(_) => Some(format!("{} lists none", seen.name)),
        Err(why) => Some(format!("{}: {}", seen.name, why.trim())),
    };
    let why = seen.iter().find_map(why)?;
    Some(cluster(
        format!("the members of etcd could not be listed: {why}"),
        "look again in a moment; else see on that server: k3s kubectl get --raw /db/info, journalctl -u k3s",
    ))
}

/// Its unit and its own API server.
fn service(node: &NodeStatus, role: Option<Role>, no_quorum: bool) -> Vec<Problem> {
    let Some(k3s) = node.k3s.as_ref().filter(|k3s| k3s.unit.is_some()) else {
        return match role {
            Some(role) => vec![on(
                node,
                format!(
                    "K3s is not installed there ({} by the inventory)",
                    role.word()
                ),
                "hmco-boot run k3s",
            )],
            None => Vec::new(),
        };
    };
    let unit = k3s.unit.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    let wished = role.map(crate::steps::shared::k3s::files::unit_name);
    if wished.is_some_and(|wished| wished != unit) {
        found.push(on(
            node,
            format!("{unit} is there, and the inventory says {}", role.map_or("", Role::word)),
            "correct its `roles`, or reset it (hmco-boot k3s reset --node) before it becomes something else",
        ));
    }
    if k3s.active != "active" {
        let times = match k3s.restarts {
            0 => String::new(),
            count => format!(", restarted {count} times by systemd"),
        };
        let hint = match (no_quorum, node.is_running()) {
            (true, true) => WAITS,
            _ => RUN,
        };
        let what = format!("{unit} is {} ({}){times}", k3s.active, k3s.sub);
        found.push(on(node, what, hint));
    } else if node.api_ready == Some(false) {
        let hint = match no_quorum {
            true => WAITS,
            false => {
                "in the first half minute of a start that is no trouble; else: hmco-boot run k3s names what stops it"
            }
        };
        found.push(on(node, "its API server is not ready", hint));
    }
    if wished == Some(unit) && !k3s.enabled && node.is_running() {
        found.push(on(
            node,
            "it runs and does not start at boot",
            "hmco-boot run k3s",
        ));
    }
    found.extend(ill(node).filter(|_| !no_quorum && k3s.active == "active"));
    found
}

/// Its member of etcd.
fn ill(node: &NodeStatus) -> Option<Problem> {
    let member = node.etcd.as_ref();
    let member = member.filter(|member| member.healthy == Some(false))?;
    let why = member.reason.as_deref().unwrap_or("it does not say why");
    Some(on(
        node,
        format!("its member of etcd does not serve: {why}"),
        RUN,
    ))
}

/// Its Node.
fn kubernetes(status: &Status, node: &NodeStatus, is_silent: bool) -> Vec<Problem> {
    // One cause, one problem: whose Nodes these are is a question of its own.
    if status.api_error.is_some() || status.is_foreign(node) || status.dispute(node).is_some() {
        return Vec::new();
    }
    let Some(kube) = &node.node else {
        let runs = node.is_running();
        return match runs {
            true => vec![on(
                node,
                "Kubernetes has no Node of it",
                "a K3s that has just started needs some seconds; else: hmco-boot run k3s names what stops it",
            )],
            false => Vec::new(),
        };
    };
    // One cause, one problem: what is down is not Ready either.
    if kube.ready == "True" || is_silent || !node.is_running() {
        return Vec::new();
    }
    let reason = match kube.reason.is_empty() {
        true => String::new(),
        false => format!(": {}", kube.reason),
    };
    vec![on(
        node,
        format!("its Node is not Ready{reason}"),
        "hmco-boot run k3s brings it up, or names what stops it",
    )]
}
