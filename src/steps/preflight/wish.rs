//! The words of the wish: nodes, roles, network.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CHECKS, FURTHER, Preflight, inputs};
use crate::model::id::Target;

/// A node of the cluster, as templates see it in `nodes`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its name in the inventory.
    pub name: String,
    /// Its address, where its interfaces do not tell.
    #[serde(default)]
    pub address: Option<String>,
    /// `server`, `agent`.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Not used.
    #[serde(default, skip_serializing)]
    pub arch: Option<String>,
    /// Not used.
    #[serde(default, skip_serializing)]
    pub labels: BTreeMap<String, String>,
    /// Not used.
    #[serde(default, skip_serializing)]
    pub groups: Vec<String>,
}

/// What a node is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It runs the control plane and etcd.
    Server,
    /// It runs pods only.
    Agent,
}

/// K3s' `flannel-backend`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlannelBackend {
    /// VXLAN, port 8472/udp. K3s' default.
    #[default]
    Vxlan,
    /// Routes between nodes of one network.
    HostGw,
    /// WireGuard, port 51820/udp.
    WireguardNative,
    /// Another network, or none.
    None,
}

impl Role {
    /// `server` or `agent`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
        }
    }
}

impl Peer {
    /// What it is to be: a server where its roles say so.
    pub fn role(&self) -> Role {
        match self.roles.iter().any(|role| role == "server") {
            true => Role::Server,
            false => Role::Agent,
        }
    }
}

impl Peer {
    /// The node.
    pub fn target(&self) -> Target {
        Target::Node(self.name.as_str().into())
    }
}

/// What is wrong with a wish that its types cannot say.
pub(super) fn mistakes(wish: &Preflight) -> Vec<(&'static str, String)> {
    let mut mistakes = Vec::new();
    let names: BTreeSet<&str> = CHECKS
        .iter()
        .map(|(name, _)| *name)
        .chain(FURTHER)
        .collect();
    for name in &wish.warn.0 {
        if name != "all" && !names.contains(name.as_str()) {
            let near = crate::model::mistake::nearest(name, names.iter().copied());
            let hint = near.map_or_else(
                || {
                    format!(
                        "; there are {}",
                        names.iter().copied().collect::<Vec<_>>().join(", ")
                    )
                },
                |near| format!(", did you mean `{near}`?"),
            );
            mistakes.push(("warn", format!("there is no check `{name}`{hint}")));
        }
    }
    for peer in &wish.peers {
        if !inputs::is_word(&peer.name) {
            mistakes.push(("peers", format!("{:?} is not a node's name", peer.name)));
        }
    }
    for name in &wish.resolve.0 {
        if !inputs::is_word(name) {
            mistakes.push(("resolve", format!("{name:?} is not a host name")));
        }
    }
    if wish
        .limits
        .sync_write
        .is_some_and(|limit| limit.0.is_zero())
    {
        mistakes.push((
            "limits",
            "`sync_write`: nothing writes in no time".to_owned(),
        ));
    }
    mistakes
}
