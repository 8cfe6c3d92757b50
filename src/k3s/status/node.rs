//! One node: what it told and what the API says of it, put together, and what follows from that.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::ailing::short_of;
use super::etcd::{EtcdStatus, MemberStatus};
use super::matching::Who;
use super::{Machine, Told};
use crate::facts::fact::K3sData;
use crate::model::kube::key::{meta, text};
use crate::model::outcome::Failure;
use crate::steps::preflight::Role;
use crate::steps::shared::k3s::files::unit_name;

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
    /// A unit that runs a K3s there under another name.
    #[serde(skip)]
    pub other_unit: Option<String>,
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
    /// The conditions that it should not be in: `DiskPressure` ...
    #[serde(skip)]
    pub short_of: Vec<String>,
}

impl NodeStatus {
    /// Of a machine of the inventory.
    pub(super) fn of(machine: &Machine<'_>, etcd: Option<MemberStatus>) -> Self {
        let (seen, found) = (machine.seen, machine.node);
        let told = seen.told.as_ref().ok();
        let is_server = |told: &&Told| {
            let role = told.unit.as_ref().map(|(role, _)| *role);
            role == Some(Role::Server)
        };
        Self {
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
            other_unit: told.and_then(|told| told.other_unit.clone()),
            silence: match &seen.told {
                Err(silence) => Some(silence.failure.clone()),
                Ok(_) => None,
            },
        }
    }

    /// A Node that the inventory does not have.
    pub(super) fn stranger(found: &Value, who: &Who<'_>, etcd: Option<MemberStatus>) -> Self {
        let name = meta(found, "name").unwrap_or_default();
        Self {
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
            other_unit: None,
            has_datastore: None,
            data: None,
            silence: None,
        }
    }

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

/// The InternalIPs of a Node: of each family there may be one.
pub(super) fn addresses_of(node: &Value) -> impl Iterator<Item = &str> {
    let addresses = node.pointer("/status/addresses").and_then(Value::as_array);
    let addresses = addresses.into_iter().flatten();
    let internal = addresses.filter(|address| text(address, "/type") == Some("InternalIP"));
    internal.filter_map(|address| text(address, "/address"))
}

/// The first InternalIP of a Node.
fn address_of(node: &Value) -> Option<String> {
    addresses_of(node).next().map(str::to_owned)
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
    let condition = |name: &str| {
        let mut all = conditions.into_iter().flatten();
        all.find(|condition| text(condition, "/type") == Some(name))
    };
    let ready = condition("Ready");
    let is_true = |name: &str| {
        condition(name).is_some_and(|condition| text(condition, "/status") == Some("True"))
    };
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
        short_of: short_of(is_true),
    }
}
