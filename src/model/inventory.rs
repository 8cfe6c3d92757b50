//! The inventory: nodes, groups, the cluster, connection settings.

use std::collections::BTreeMap;

use super::id::{GroupName, NodeName, Target};
use super::value::{Span, Value};

/// What an inventory file says, checked and with defaults filled in.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// The file, relative to the project.
    pub file: String,
    /// The cluster.
    pub cluster: Cluster,
    /// The nodes, in the order of the file: the order of `serial`, locks and reports.
    pub nodes: Vec<Node>,
    /// The groups, in the order of the file.
    pub groups: Vec<Group>,
    /// The jump hosts, in the order of the file.
    pub bastions: Vec<Bastion>,
    /// `[vars]`: for all targets.
    pub vars: BTreeMap<String, Value>,
}

/// `[cluster]`.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name: also the name of the state folder.
    pub name: String,
    /// DNS domain.
    pub domain: Option<String>,
    /// The first server or a virtual address.
    pub api_address: Option<String>,
    /// sha256 of server-ca.crt (the PEM file), pinned at first contact.
    pub ca_sha256: Option<String>,
    /// A kubeconfig to reach its API by, relative to the project; `None` = through its servers.
    pub kubeconfig: Option<String>,
}

/// `[node.NAME]`.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Where the name is written.
    pub span: Span,
    /// How to reach it.
    pub connection: Connection,
    /// `server`, `agent`, or what else selectors want.
    pub roles: Vec<String>,
    /// `arm64`, `armhf`, `amd64`: the userland's, where the inventory says it (for `arch:` selectors).
    pub arch: Option<String>,
    /// Kubernetes labels.
    pub labels: BTreeMap<String, String>,
    /// Its own vars.
    pub vars: BTreeMap<String, Value>,
}

/// How to reach a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Connection {
    /// It is this machine. `root`: folder that all paths of steps are below (a sandbox), relative to the project;
    /// `None` = the real `/`.
    Local {
        /// The sandbox.
        root: Option<String>,
    },
    /// By SSH.
    Ssh(Ssh),
}

/// SSH settings of a node, `[ssh]` and its own merged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ssh {
    /// IP address or host name; looked up in ssh_config, as `ssh ADDRESS` would.
    pub address: String,
    /// TCP port; by default what ssh_config says, else 22.
    pub port: Option<u16>,
    /// User; by default what ssh_config says, else the caller's.
    pub user: Option<String>,
    /// Private key file; `~/` is the caller's home.
    pub identity: Option<String>,
    /// Become root by sudo (`true`), or log in as root.
    pub become_root: bool,
    /// Name of the secret that holds sudo's password.
    pub become_password: Option<String>,
    /// Pinned host keys, `TYPE BASE64`.
    pub host_keys: Vec<String>,
    /// The way there.
    pub via: Via,
}

/// The way to a machine, as far as the inventory says it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Via {
    /// The inventory says nothing: what ssh_config says for the address (`ProxyJump`), else straight.
    #[default]
    SshConfig,
    /// `bastion = "none"`: straight, whatever ssh_config says.
    Direct,
    /// Through the `[bastion.NAME]` of this name.
    Bastion(String),
}

/// `[bastion.NAME]`: a machine that others are reached through. The settings of `[ssh]` are not for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bastion {
    /// Its name.
    pub name: String,
    /// Where the name is written.
    pub span: Span,
    /// IP address or host name; looked up in ssh_config.
    pub address: String,
    /// TCP port; by default what ssh_config says, else 22.
    pub port: Option<u16>,
    /// User; by default what ssh_config says, else the caller's.
    pub user: Option<String>,
    /// Private key file; `~/` is the caller's home.
    pub identity: Option<String>,
    /// Pinned host keys, `TYPE BASE64`.
    pub host_keys: Vec<String>,
    /// The way to it.
    pub via: Via,
}

/// `[group.NAME]`.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// Where the name is written.
    pub span: Span,
    /// Its nodes.
    pub nodes: Vec<NodeName>,
    /// Vars of its nodes.
    pub vars: BTreeMap<String, Value>,
}

impl Inventory {
    /// A node by name.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == *name)
    }

    /// A jump host by name.
    pub fn bastion(&self, name: &str) -> Option<&Bastion> {
        self.bastions.iter().find(|bastion| bastion.name == name)
    }

    /// Groups a node is in, in the order of the file.
    pub fn groups_of<'a>(&'a self, name: &'a NodeName) -> impl Iterator<Item = &'a Group> + 'a {
        self.groups
            .iter()
            .filter(move |group| group.nodes.contains(name))
    }

    /// Position of a target in reports and locks: nodes as in the file, then cluster, then controller.
    pub fn order(&self, target: &Target) -> usize {
        match target {
            Target::Node(name) => self
                .nodes
                .iter()
                .position(|n| n.name == *name)
                .unwrap_or(self.nodes.len()),
            Target::Cluster => self.nodes.len() + 1,
            Target::Controller => self.nodes.len() + 2,
        }
    }
}
