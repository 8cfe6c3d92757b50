//! The tables and keys of inventories and playbooks as users write them: one set of types for decoding and for the JSON
//! schema. What the words mean is said by the model that [`super::lower`] makes of them.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::model::units::TimeSpan;
use crate::model::vars::VarType;

/// Vars: any value below any name.
pub type Vars = BTreeMap<String, serde_json::Value>;

/// An inventory file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "hmco-boot inventory")]
pub struct Inventory {
    /// The cluster that the nodes are or become.
    pub cluster: Cluster,
    /// SSH settings of all nodes; a node may override each.
    #[serde(default)]
    pub ssh: Ssh,
    /// The nodes, by name.
    #[serde(default)]
    pub node: BTreeMap<String, Node>,
    /// Jump hosts, by name.
    #[serde(default)]
    pub bastion: BTreeMap<String, Bastion>,
    /// Groups of nodes, by name.
    #[serde(default)]
    pub group: BTreeMap<String, Group>,
    /// Artifacts of this inventory, instead of those of the same name in hmco-boot.lock: what a rehearsal lab uses.
    #[serde(default)]
    pub artifact: Vec<super::pins::Artifact>,
    /// Vars of all targets.
    #[serde(default)]
    pub vars: Vars,
}

/// `[cluster]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Its name, an RFC 1123 label; also the name of the folder that holds its journal.
    pub name: String,
    /// DNS domain.
    pub domain: Option<String>,
    /// The first server's address or a virtual address.
    pub api_address: Option<String>,
    /// sha256 of server-ca.crt, 64 lowercase hexadecimal digits; pinned at first contact.
    pub ca_sha256: Option<String>,
    /// A kubeconfig to reach the Kubernetes API by, relative to the project: for clusters whose servers are no nodes
    /// here. By default the API is reached through the nodes with the role `server`.
    pub kubeconfig: Option<String>,
}

/// How to become root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Become {
    /// The login is root already.
    None,
    /// By sudo.
    Sudo,
}

/// `[ssh]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ssh {
    /// Login name; by default what ssh_config says, else the caller's.
    pub user: Option<String>,
    /// TCP port; by default what ssh_config says, else 22.
    pub port: Option<NonZeroU16>,
    /// Private key file; `~/` is the caller's home, other paths are relative to the project. Without one, what ssh_config
    /// says, the agent's keys, and the usual files in `~/.ssh`.
    pub identity: Option<String>,
    /// Name of the `[bastion.NAME]` that nodes are reached through; `none` for no bastion, whatever ssh_config says.
    pub bastion: Option<String>,
    /// How to become root: `none` (log in as root) or `sudo`.
    #[serde(rename = "become")]
    pub become_how: Option<Become>,
    /// Name of the secret that holds sudo's password.
    pub become_password: Option<String>,
}

/// How a node is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Connection {
    /// By SSH, to `address`.
    Ssh,
    /// It is this machine.
    Local,
}

/// Architecture of a userland, in Debian's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit ARM.
    Arm64,
    /// 32-bit ARM.
    Armhf,
    /// 64-bit x86.
    Amd64,
}

impl Arch {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Armhf => "armhf",
            Self::Amd64 => "amd64",
        }
    }
}

/// `[bastion.NAME]`: a machine that nodes are reached through.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bastion {
    /// IP address or host name; looked up in ssh_config.
    pub address: Option<String>,
    /// TCP port; by default what ssh_config says, else 22.
    pub port: Option<NonZeroU16>,
    /// Login name; by default what ssh_config says, else the caller's. What `[ssh]` says is not for bastions.
    pub user: Option<String>,
    /// Private key file, as in `[ssh]`.
    pub identity: Option<String>,
    /// Pinned host keys, `TYPE BASE64`; written by `hmco-boot hosts pin`.
    #[serde(default)]
    pub host_keys: Vec<String>,
    /// Name of another bastion that this one is reached through; `none` for no bastion, whatever ssh_config says.
    pub bastion: Option<String>,
}

/// `[node.NAME]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// IP address or host name; looked up in ssh_config, as `ssh ADDRESS` would.
    pub address: Option<String>,
    /// `local`: the node is this machine, and there is no `address`. `ssh` by default.
    pub connection: Option<Connection>,
    /// With `connection = "local"`: a folder, relative to the project, that all paths of steps are below (a sandbox).
    pub root: Option<String>,
    /// `server`, `agent`, or what else selectors want.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Architecture of its userland, for `arch:` selectors.
    pub arch: Option<Arch>,
    /// Kubernetes labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its own vars.
    #[serde(default)]
    pub vars: Vars,
    /// Pinned host keys, `TYPE BASE64`; written by `hmco-boot hosts pin`.
    #[serde(default)]
    pub host_keys: Vec<String>,
    /// Login name, instead of the one in `[ssh]`.
    pub user: Option<String>,
    /// TCP port, instead of the one in `[ssh]`.
    pub port: Option<NonZeroU16>,
    /// Private key file, instead of the one in `[ssh]`.
    pub identity: Option<String>,
    /// How to become root, instead of what `[ssh]` says.
    #[serde(rename = "become")]
    pub become_how: Option<Become>,
    /// Name of the secret that holds sudo's password, instead of the one in `[ssh]`.
    pub become_password: Option<String>,
    /// Name of the `[bastion.NAME]` that it is reached through, instead of the one in `[ssh]`; `none` for no bastion,
    /// whatever ssh_config says.
    pub bastion: Option<String>,
}

/// `[group.NAME]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Names of its nodes.
    pub nodes: Vec<String>,
    /// Vars of its nodes.
    #[serde(default)]
    pub vars: Vars,
}

/// A playbook file without its steps.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "hmco-boot playbook")]
pub struct Playbook {
    /// First line of `hmco-boot playbooks list`.
    pub title: String,
    /// Text for `hmco-boot playbooks show`.
    #[serde(default)]
    pub doc: String,
}

/// `[vars.NAME]`: something a playbook takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Var {
    /// What values it takes.
    #[serde(rename = "type")]
    pub kind: VarType,
    /// For people.
    #[serde(default)]
    pub doc: String,
    /// Its value where nobody sets it; without one it must be set.
    pub default: Option<serde_json::Value>,
}

/// `[[step]]` without its kind's table, `needs`, `each` and `gate`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Unique in its playbook: lowercase letters, digits, `.`, `_`, `-`.
    pub id: String,
    /// Words for people.
    pub title: Option<String>,
    /// Selector of the targets: node names, globs, `role:`, `group:`, `arch:`, `&`, `|`, `!`, `first()`, `rest()`, `all`,
    /// `cluster`, `controller`.
    pub on: Option<String>,
    /// An expression over vars and facts; false = skipped.
    pub when: Option<String>,
    /// At most this many targets at once.
    pub serial: Option<NonZeroU32>,
    /// Further tries after errors that can pass.
    pub retry: Option<Retry>,
    /// Limit of one apply, also of one that by its own keys (`ready_timeout`) may wait for longer. By default ten minutes, or
    /// as long as its own keys say and five minutes more.
    pub timeout: Option<TimeSpan>,
}

/// Keys of `[[step]]` that [`Step`] does not have.
#[derive(JsonSchema)]
pub struct StepRest {
    /// Steps this one waits for. Without: the step above and all earlier ones on the same target; `[]`: the start of the
    /// playbook.
    #[schemars(schema_with = "needs_schema")]
    pub needs: (),
    /// One step per item, `id[item]`: a list, or a template that gives one.
    #[schemars(schema_with = "each_schema")]
    pub each: (),
}

/// `retry = { ... }`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Tries in all.
    pub attempts: NonZeroU32,
    /// Before the second try; doubles each time. 2s by default.
    pub delay: Option<TimeSpan>,
    /// Never longer than this; 1m by default.
    pub max_delay: Option<TimeSpan>,
}

/// An entry of `needs` that is a table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// Id of a step of this playbook.
    pub step: String,
    /// `all`: wait for all targets of that step, also where it shares mine; `first`: only for its first one, in the
    /// inventory's order.
    pub across: Option<Across>,
    /// How many targets may have failed or been unreachable where this waits for all.
    #[serde(default)]
    pub tolerate: u32,
}

/// What `across` can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Across {
    /// All targets.
    All,
    /// The first one.
    First,
}

/// `[step.gate]` without its kind's table.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// How long to wait until it holds; 5m by default.
    pub timeout: Option<TimeSpan>,
    /// How often to look; 2s by default.
    pub interval: Option<TimeSpan>,
}

/// The keys of a gate that are not its kind's.
pub const GATE_KEYS: [&str; 2] = ["timeout", "interval"];

/// `[step.playbook]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsePlaybook {
    /// Its path below `playbooks/`, as in `platform/metallb.toml`.
    pub path: String,
    /// Values for what it takes.
    #[serde(default)]
    pub vars: Vars,
}

fn needs_schema(generator: &mut SchemaGenerator) -> Schema {
    let need = generator.subschema_for::<Need>();
    json_schema!({ "type": "array", "items": { "anyOf": [{ "type": "string" }, need] } })
}

fn each_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "array" }, { "type": "string" }] })
}
