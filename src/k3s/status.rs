//! The state of a cluster, put together from what its nodes tell and what its API lists; with what is wrong in it, each with its
//! cure. What nobody told is `null`, never a guess.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::look::{Member, Told};
use crate::facts::fact::K3sData;
use crate::model::kube::key::{meta, text};
use crate::model::outcome::{ExitCode, Failure};
use crate::steps::preflight::Role;
use crate::steps::shared::k3s::files::unit_name;
use matching::Who;

mod matching;
mod problems;

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

/// A node.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct NodeStatus {
    /// Its name in the inventory; of one that is not there, in Kubernetes.
    pub name: String,
    /// What the inventory says that it is: `server`, `agent` or `null`.
    pub role: Option<Role>,
    /// It is in the inventory.
    pub in_inventory: bool,
    /// It answered hmco-boot; `null` where there is no way to ask it.
    pub reachable: Option<bool>,
    /// Its address, as the inventory says, else as Kubernetes does.
    pub address: Option<String>,
    /// Its K3s; `null` where it did not tell, or has none.
    pub k3s: Option<K3sStatus>,
    /// Its Node; `null` where there is none, or the API did not tell.
    pub node: Option<KubeNode>,
    /// Whether the API server of this very node is ready; `null` on agents and where nobody told.
    pub api_ready: Option<bool>,
    /// Its member of etcd; `null` where it has none, or nobody told.
    pub etcd: Option<MemberStatus>,
    /// It has the datastore of a server on its disk; `null` where it did not tell.
    pub has_datastore: Option<bool>,
    /// The name of its member of etcd, as it or its Node notes it, also of one that etcd does not have any more.
    #[serde(skip)]
    pub member_name: Option<String>,
    /// What K3s has on its disk; `None` where it did not tell.
    #[serde(skip)]
    pub data: Option<K3sData>,
    /// Why it told nothing, where it did not.
    #[serde(skip)]
    pub silence: Option<Failure>,
}

/// K3s on a node.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct K3sStatus {
    /// The version of its binary; empty where it does not say.
    pub version: String,
    /// Its unit: `k3s.service`, `k3s-agent.service`; `null`: there is none.
    pub unit: Option<String>,
    /// systemd's ActiveState: `active`, `activating`, `failed` ...; empty without a unit.
    pub active: String,
    /// systemd's SubState.
    pub sub: String,
    /// It starts at boot.
    pub enabled: bool,
    /// How often systemd started it anew by itself.
    pub restarts: u32,
    /// Seconds since it became active; `null` where it is not.
    pub active_seconds: Option<u64>,
}

/// A Node of Kubernetes.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct KubeNode {
    /// Its name.
    pub name: String,
    /// The status of its condition Ready: `True`, `False`, `Unknown`.
    pub ready: String,
    /// Why it is not Ready; empty where it is.
    pub reason: String,
    /// No new pods are put on it.
    pub cordoned: bool,
    /// `control-plane`, `etcd` ...
    pub roles: Vec<String>,
    /// The version of its kubelet.
    pub version: String,
    /// The version of its container runtime.
    pub runtime: String,
    /// Its InternalIP.
    pub address: Option<String>,
    /// When it joined, RFC 3339.
    pub created: String,
    /// Since when its condition Ready is what it is, RFC 3339.
    pub ready_since: String,
    /// Its machine forgets that it is deleted: it is on its way out.
    pub leaving: bool,
}

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

/// Something in kube-system.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// The tags of its images.
    pub version: String,
    /// Pods that are available.
    pub available: i64,
    /// Pods that are wanted.
    pub wanted: i64,
}

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
        let (etcd, listed) = match etcd(&machines) {
            Some((etcd, listed)) => (Some(etcd), listed),
            None => (None, Vec::new()),
        };
        let member = |who: &Who<'_>| {
            let at = who.member(&listed)?;
            etcd.as_ref()?.members.get(at).cloned()
        };
        let own = machines.iter();
        let mut nodes: Vec<NodeStatus> = own
            .map(|machine| node(machine, member(&machine.who)))
            .collect();
        let strangers = strangers.into_iter();
        nodes.extend(strangers.map(|node| {
            let who = Who::stranger(node);
            stranger(node, &who, member(&who))
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
            components: lists.deployments.iter().map(component).collect(),
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

impl NodeStatus {
    /// The name of its Node, where it can be known.
    pub fn kube_name(&self) -> &str {
        self.node.as_ref().map_or(&self.name, |node| &node.name)
    }

    /// Its unit runs or is on its way.
    pub fn is_running(&self) -> bool {
        self.k3s.as_ref().is_some_and(|k3s| {
            matches!(
                k3s.active.as_str(),
                "active" | "activating" | "reloading" | "refreshing"
            )
        })
    }

    /// Its K3s has begun, and is no part of any cluster so far.
    pub fn waits_to_join(&self) -> bool {
        let begins = self
            .k3s
            .as_ref()
            .is_some_and(|k3s| k3s.active == "activating");
        begins && self.has_datastore != Some(true) && !self.is_ready()
    }

    /// Whether something is on its disk that cannot be made anew: a datastore, a former one (a restore that fails leaves the one
    /// that was in use as `etcd-old-TIME`), the keys of a cluster; `None` where it did not tell.
    pub fn has_state(&self) -> Option<bool> {
        let has = |data: &K3sData| {
            data.etcd || data.sqlite || data.ca_sha256.is_some() || has_former(data)
        };
        self.data.as_ref().map(has)
    }

    /// Whether it may be a member of etcd, and which one could not be told.
    pub fn member_is_unknown(&self, etcd: Option<&EtcdStatus>) -> bool {
        let may = match &self.data {
            Some(data) => data.etcd || has_former(data),
            None => self.has_role("etcd"),
        };
        let listed = etcd.is_some_and(|etcd| !etcd.members.is_empty());
        may && self.etcd.is_none() && !(listed && self.member_name.is_some())
    }

    /// Its datastore is SQLite: one file, of which nobody else has anything.
    pub fn has_sqlite(&self) -> bool {
        let is = |data: &K3sData| data.sqlite && !data.etcd && !has_former(data);
        self.data.as_ref().is_some_and(is)
    }

    /// It is a server, as its Node says.
    pub fn is_control(&self) -> bool {
        self.has_role("control-plane")
    }

    fn has_role(&self, name: &str) -> bool {
        let roles = self.node.as_ref().map(|node| &node.roles);
        roles.is_some_and(|roles| roles.iter().any(|role| role == name))
    }

    /// Kubernetes has heard of it lately.
    pub fn is_ready(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.ready == "True")
    }
}

/// Whether a database is left that a restore moved out of the way.
fn has_former(data: &K3sData) -> bool {
    data.old.iter().any(|name| name.starts_with("etcd-old-"))
}

/// A machine of the inventory, and its Node.
struct Machine<'a> {
    seen: &'a Seen,
    node: Option<&'a Value>,
    who: Who<'a>,
}

fn address_of(node: &Value) -> Option<String> {
    let addresses = node.pointer("/status/addresses").and_then(Value::as_array);
    let mut addresses = addresses.into_iter().flatten();
    let internal = addresses.find(|address| text(address, "/type") == Some("InternalIP"));
    text(internal?, "/address").map(str::to_owned)
}

fn node(machine: &Machine<'_>, etcd: Option<MemberStatus>) -> NodeStatus {
    let (seen, found) = (machine.seen, machine.node);
    let told = seen.told.as_ref().ok();
    let is_server = |told: &&Told| {
        let role = told.unit.as_ref().map(|(role, _)| *role);
        role == Some(Role::Server)
    };
    NodeStatus {
        name: seen.name.clone(),
        role: seen.role,
        in_inventory: true,
        reachable: Some(!matches!(&seen.told, Err(silence) if silence.unreachable)),
        address: seen.address.clone().or_else(|| found.and_then(address_of)),
        k3s: told.and_then(k3s),
        node: found.map(kube_node),
        api_ready: told.filter(is_server).map(|told| told.readyz == "ok"),
        etcd,
        member_name: machine.who.own().map(str::to_owned),
        has_datastore: told.map(|told| told.data.etcd || told.data.sqlite),
        data: told.map(|told| told.data.clone()),
        silence: match &seen.told {
            Err(silence) => Some(silence.failure.clone()),
            Ok(_) => None,
        },
    }
}

/// A Node that the inventory does not have.
fn stranger(found: &Value, who: &Who<'_>, etcd: Option<MemberStatus>) -> NodeStatus {
    let name = meta(found, "name").unwrap_or_default();
    NodeStatus {
        name: name.to_owned(),
        role: None,
        in_inventory: false,
        reachable: None,
        address: address_of(found),
        k3s: None,
        node: Some(kube_node(found)),
        api_ready: None,
        etcd,
        member_name: who.own().map(str::to_owned),
        has_datastore: None,
        data: None,
        silence: None,
    }
}

fn k3s(told: &Told) -> Option<K3sStatus> {
    let Some((_, unit)) = &told.unit else {
        return (!told.version.is_empty()).then(|| K3sStatus {
            version: told.version.clone(),
            unit: None,
            active: String::new(),
            sub: String::new(),
            enabled: false,
            restarts: 0,
            active_seconds: None,
        });
    };
    let active = unit.active == "active" && unit.active_enter_us > 0;
    Some(K3sStatus {
        version: told.version.clone(),
        unit: told
            .unit
            .as_ref()
            .map(|(role, _)| unit_name(*role).to_owned()),
        active: unit.active.clone(),
        sub: unit.sub.clone(),
        enabled: unit.enabled == "enabled",
        restarts: unit.restarts,
        active_seconds: active
            .then(|| (told.uptime_ms / 1000).saturating_sub(unit.active_enter_us / 1_000_000)),
    })
}

fn kube_node(node: &Value) -> KubeNode {
    let of = |pointer: &str| text(node, pointer).unwrap_or_default().to_owned();
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.find(|condition| text(condition, "/type") == Some("Ready"));
    let said = |key: &str| {
        let text = ready.and_then(|ready| text(ready, key));
        text.unwrap_or_default().to_owned()
    };
    let status = match said("/status") {
        said if said.is_empty() => "Unknown".to_owned(),
        said => said,
    };
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let roles = labels.into_iter().flatten();
    let roles = roles.filter_map(|(label, _)| label.strip_prefix("node-role.kubernetes.io/"));
    let reason = match (status.as_str(), said("/message"), said("/reason")) {
        ("True", ..) => String::new(),
        (_, message, _) if !message.is_empty() => message,
        (.., reason) => reason,
    };
    KubeNode {
        name: of("/metadata/name"),
        ready: status,
        reason,
        cordoned: node.pointer("/spec/unschedulable").and_then(Value::as_bool) == Some(true),
        roles: roles.map(str::to_owned).collect(),
        version: of("/status/nodeInfo/kubeletVersion"),
        runtime: of("/status/nodeInfo/containerRuntimeVersion"),
        address: address_of(node),
        created: of("/metadata/creationTimestamp"),
        ready_since: said("/lastTransitionTime"),
        leaving: node.pointer("/metadata/deletionTimestamp").is_some(),
    }
}

fn component(deployment: &Value) -> Component {
    let containers = deployment
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array);
    let mut tags: Vec<&str> = containers
        .into_iter()
        .flatten()
        .filter_map(|container| text(container, "/image"))
        .map(tag)
        .collect();
    tags.dedup();
    let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_i64);
    Component {
        name: meta(deployment, "name").unwrap_or_default().to_owned(),
        version: tags.join(", "),
        available: number("/status/availableReplicas").unwrap_or(0),
        wanted: number("/spec/replicas").unwrap_or(1),
    }
}

/// The tag of an image; its digest where it has no tag.
fn tag(image: &str) -> &str {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, digest),
        None => (image, ""),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag,
        None if digest.is_empty() => "latest",
        None => digest,
    }
}

/// etcd by the word of its members, with what it was made of: who lists the most recent members is not known, so the first
/// server that serves counts.
fn etcd(machines: &[Machine<'_>]) -> Option<(EtcdStatus, Vec<Member>)> {
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

#[cfg(test)]
mod tests;
