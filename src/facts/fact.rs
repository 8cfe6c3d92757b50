//! The fact types: what is asked, what it costs, whether it may be shown, and why there may be no answer. What comes back
//! is in [`super::answer`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::artifact::Pin;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::TimeSpan;

pub use super::answer::*;
pub use super::network::*;

/// Something to read from a target. Two equal facts are read once.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fact {
    /// What is at a path (not following a link there): [`FileStat`].
    Stat {
        /// The path.
        path: AbsPath,
    },
    /// sha256 of a regular file, following links: [`FactValue::Digest`].
    Digest {
        /// The path.
        path: AbsPath,
        /// Never answered from the "same stat" cache and never put there: for files that hold secrets.
        #[serde(default)]
        uncached: bool,
    },
    /// The bytes of a regular file, following links: [`FactValue::Content`].
    Content {
        /// The path.
        path: AbsPath,
        /// No bytes where the file has this sha256 (lowercase hex).
        #[serde(default)]
        unless_sha256: Option<String>,
        /// At most this many bytes; a larger file answers `Truncated`.
        cap: u64,
        /// The file holds secrets: never shown, journaled or cached.
        #[serde(default)]
        sensitive: bool,
    },
    /// Kernel, userland, machine: [`Os`].
    Os,
    /// This boot: [`Boot`].
    Boot,
    /// Control groups in effect: [`Cgroup`].
    Cgroup,
    /// One kernel parameter: [`FactValue::Text`].
    Sysctl {
        /// Dotted name, `net.ipv4.ip_forward`.
        name: String,
    },
    /// One kernel module: [`Module`].
    Module {
        /// Its name, with `_`.
        name: String,
    },
    /// One package of the distribution: [`Package`].
    Package {
        /// Its name.
        name: String,
    },
    /// Who holds the package manager's lock: [`PackageManager`].
    PackageManager,
    /// A user and its groups: [`Account`].
    Account {
        /// Login name.
        name: String,
    },
    /// What this login may do by sudo: [`Sudo`].
    Sudo,
    /// A systemd unit: [`Unit`].
    Unit {
        /// Full name, `k3s.service`.
        name: String,
    },
    /// The file system that holds a path: [`Disk`].
    Disk {
        /// The path.
        path: AbsPath,
    },
    /// The clock: [`Clock`]. Volatile.
    Clock,
    /// Addresses, routes, listening ports: [`Net`].
    Net,
    /// A program that only reads, by declaration: [`ExecResult`]. Volatile.
    Exec {
        /// Program and arguments.
        argv: Vec<String>,
        /// Its time limit.
        timeout: TimeSpan,
        /// Its output is secret.
        #[serde(default)]
        sensitive: bool,
    },
    /// What hmco-boot itself left on the target: [`RunState`]. Volatile.
    RunState,
    /// K3s' binary, unit and configuration: [`K3sInstall`].
    K3sInstall,
    /// K3s' data folder: [`K3sData`].
    K3sData,
    /// An answer of the `k3s` command: [`ExecResult`]. Only where K3s is ready. Volatile.
    K3sCli {
        /// Arguments after `k3s`.
        args: Vec<String>,
        /// Its time limit.
        timeout: TimeSpan,
    },
    /// Lines of a unit's journal of its current start: [`FactValue::Text`]. Volatile.
    Log {
        /// The unit.
        unit: String,
        /// At most this many lines, the last ones.
        lines: u32,
    },
    /// Everything that is mounted: [`FactValue::Mounts`].
    Mounts,
    /// What is swapped to, now and at the next boot: [`Swaps`].
    Swaps,
    /// The files that set kernel parameters at boot: [`FactValue::SysctlFiles`].
    SysctlFiles,
    /// What an HTTP server answers to the controller: [`HttpReply`]. Volatile.
    Http(HttpQuestion),
    /// What a DNS server answers to the controller: [`DnsReply`]. Volatile.
    Dns(DnsQuestion),
    /// Whether the controller can connect: [`FactValue::Tcp`]. Volatile.
    Tcp(TcpQuestion),
    /// What K3s trips over and no other fact tells: [`Readiness`]. Volatile.
    Readiness,
    /// How far the clock is from that of the machine hmco-boot runs on: [`ClockOffset`]. Measured by the transport.
    /// Volatile, but nothing that a step does to other things changes it: unlike [`Fact::Clock`] it stays known.
    ClockOffset,
    /// Who hmco-boot itself is to the machine: [`Login`]. Known to the transport; `NotFound` where it did not log in.
    /// Volatile, as somebody else may carry a plan out.
    Login,
    /// Everything the Kubernetes API serves: [`Discovery`](crate::model::kube::Discovery). Volatile: others
    /// bring kinds too.
    KubeDiscovery,
    /// All objects of a kind: [`ObjectList`](crate::model::kube::ObjectList). `NotFound` where the API does not serve the
    /// kind. Volatile.
    KubeList {
        /// `v1`, `apps/v1`.
        api_version: String,
        /// `Deployment`.
        kind: String,
        /// Only of this namespace; `None` = all there are.
        namespace: Option<String>,
    },
    /// What an apply would make of an object: [`DryRun`](crate::model::kube::DryRun). Volatile.
    KubeDryRun {
        /// The object as JSON; tainted where it may not be shown.
        #[schemars(with = "String")]
        object: Text,
        /// Whether it takes fields over that others own.
        force: bool,
    },
    /// The text of a manifest that is no part of the wish itself: [`FactValue::Manifest`].
    KubeManifest(ManifestSource),
}

/// Where the text of a manifest comes from.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ManifestSource {
    /// A file of the project, by its path below `playbooks/`; else one that is embedded under that path.
    File(String),
    /// A pinned file.
    Artifact(Box<Pin>),
}

/// What a fact costs to read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cost {
    /// A file or two, or a tool that reads them.
    Cheap,
    /// Reads whole files.
    Hash,
    /// Starts a slow program that talks to a server; only where a step still needs it.
    Cli,
}

impl Fact {
    /// What it costs.
    pub fn cost(&self) -> Cost {
        match self {
            Self::Digest { .. } | Self::Content { .. } => Cost::Hash,
            // An answer that depends on others, and a request of its own.
            Self::K3sCli { .. } | Self::KubeDryRun { .. } => Cost::Cli,
            _ => Cost::Cheap,
        }
    }

    /// Whether its answer may hold secrets and is never shown or journaled.
    pub fn is_sensitive(&self) -> bool {
        match self {
            Self::Content { sensitive, .. } | Self::Exec { sensitive, .. } => *sensitive,
            Self::Digest { uncached, .. } => *uncached,
            Self::KubeDryRun { object, .. } => object.is_tainted(),
            _ => false,
        }
    }

    /// Whether its answer changes by itself, so that a saved plan does not hold it against the target.
    pub fn is_volatile(&self) -> bool {
        matches!(
            self,
            Self::Clock
                | Self::Exec { .. }
                | Self::RunState
                | Self::K3sCli { .. }
                | Self::Log { .. }
                | Self::PackageManager
                | Self::Http(_)
                | Self::Dns(_)
                | Self::Tcp(_)
                | Self::Readiness
                | Self::ClockOffset
                | Self::Login
                | Self::KubeDiscovery
                | Self::KubeList { .. }
                | Self::KubeDryRun { .. }
        )
    }

    /// Whether it is always read by the controller, whichever target a step is for.
    pub fn is_of_controller(&self) -> bool {
        matches!(self, Self::Http(_) | Self::Dns(_) | Self::Tcp(_))
    }

    /// Whether it is a question to the Kubernetes API, or of those that only the cluster as a target answers.
    pub fn is_of_cluster(&self) -> bool {
        matches!(
            self,
            Self::KubeDiscovery
                | Self::KubeList { .. }
                | Self::KubeDryRun { .. }
                | Self::KubeManifest(_)
        )
    }

    /// The path it is about, where it is about one.
    pub fn path(&self) -> Option<&AbsPath> {
        match self {
            Self::Stat { path }
            | Self::Digest { path, .. }
            | Self::Content { path, .. }
            | Self::Disk { path } => Some(path),
            _ => None,
        }
    }

    /// Words for messages: `sha256 of /etc/motd`.
    pub fn describe(&self) -> String {
        match self {
            Self::Stat { path } => format!("what is at {path}"),
            Self::Digest { path, .. } => format!("sha256 of {path}"),
            Self::Content { path, .. } => format!("content of {path}"),
            Self::Os => "operating system".to_owned(),
            Self::Boot => "boot id and kernel command line".to_owned(),
            Self::Cgroup => "control groups".to_owned(),
            Self::Sysctl { name } => format!("sysctl {name}"),
            Self::Module { name } => format!("kernel module {name}"),
            Self::Package { name } => format!("package {name}"),
            Self::PackageManager => "package manager lock".to_owned(),
            Self::Account { name } => format!("account {name}"),
            Self::Sudo => "sudo".to_owned(),
            Self::Unit { name } => format!("unit {name}"),
            Self::Disk { path } => format!("file system of {path}"),
            Self::Clock => "clock".to_owned(),
            Self::Net => "network".to_owned(),
            Self::Exec { argv, .. } => format!("output of `{}`", argv.join(" ")),
            Self::RunState => "leftovers of earlier runs".to_owned(),
            Self::K3sInstall => "K3s installation".to_owned(),
            Self::K3sData => "K3s data".to_owned(),
            Self::K3sCli { args, .. } => format!("output of `k3s {}`", args.join(" ")),
            Self::Log { unit, .. } => format!("log of {unit}"),
            Self::Mounts => "mounts".to_owned(),
            Self::Swaps => "swap".to_owned(),
            Self::SysctlFiles => "files of sysctl settings".to_owned(),
            Self::Http(question) => format!("answer of {}", question.url),
            Self::Dns(question) => {
                format!("DNS {} of {}", question.record.word(), question.name)
            }
            Self::Tcp(question) => format!("connection to {}:{}", question.host, question.port),
            Self::ClockOffset => "difference of clocks".to_owned(),
            Self::Login => "login of hmco-boot".to_owned(),
            Self::KubeDiscovery => "kinds of the Kubernetes API".to_owned(),
            Self::KubeList {
                kind,
                namespace: Some(namespace),
                ..
            } => format!("list of {kind} in {namespace}"),
            Self::KubeList { kind, .. } => format!("list of {kind}"),
            Self::KubeDryRun { object, .. } => format!("dry run of {}", name_in(object)),
            Self::KubeManifest(ManifestSource::File(path)) => format!("file {path}"),
            Self::KubeManifest(ManifestSource::Artifact(pin)) => pin.describe(),
            Self::Readiness => {
                "swap, iptables, firewall, supply voltage and holders of ports".to_owned()
            }
        }
    }
}

/// The name of the object that a text holds.
fn name_in(object: &Text) -> String {
    let object = serde_json::from_str(object.expose()).ok();
    let key = object.as_ref().and_then(crate::model::kube::ObjectKey::of);
    key.map_or_else(|| "an object".to_owned(), |key| key.to_string())
}

/// Why a fact could not be read. It fails alone; the others of its script are answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum FactError {
    /// There is no such thing. For most wishes an answer like any other.
    #[error("not found")]
    NotFound,
    /// This login may not read it.
    #[error("permission denied")]
    Denied,
    /// Its batch's watchdog ended it (a hanging mount, a stuck tool).
    #[error("no answer within the time limit")]
    TimedOut,
    /// More than the cap, or it changed while it was read.
    #[error("larger than the limit, or changed while being read")]
    Truncated,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Question and answer.
pub type Answer = (Fact, Result<FactValue, FactError>);

/// Facts of a target as a template sees them in `when` and `assert`: `facts.os.arch`. Only these may be named there.
pub const NAMED: [(&str, Fact); 8] = [
    ("os", Fact::Os),
    ("boot", Fact::Boot),
    ("cgroup", Fact::Cgroup),
    ("sudo", Fact::Sudo),
    ("clock", Fact::Clock),
    ("net", Fact::Net),
    ("k3s_install", Fact::K3sInstall),
    ("k3s_data", Fact::K3sData),
];

/// The value of a fact as JSON for templates and `hosts facts`: without the enum's own layer.
pub fn to_json(value: &FactValue) -> serde_json::Value {
    match value {
        FactValue::Content(content) => match &content.bytes {
            Some(bytes) => serde_json::Value::from(String::from_utf8_lossy(bytes).into_owned()),
            None => serde_json::Value::Null,
        },
        FactValue::Exec(result) => serde_json::json!({
            "exit": result.exit,
            "stdout": String::from_utf8_lossy(&result.stdout),
            "stderr": String::from_utf8_lossy(&result.stderr),
        }),
        other => match serde_json::to_value(other) {
            Ok(serde_json::Value::Object(map)) => map
                .into_iter()
                .next()
                .map_or(serde_json::Value::Null, |(_, inner)| inner),
            _ => serde_json::Value::Null,
        },
    }
}

/// Names a target's answers by [`NAMED`], for an expression's `facts`.
pub fn named_json<'a>(
    answers: impl Fn(&Fact) -> Option<&'a Result<FactValue, FactError>>,
) -> BTreeMap<String, serde_json::Value> {
    NAMED
        .iter()
        .filter_map(|(name, fact)| match answers(fact) {
            Some(Ok(value)) => Some(((*name).to_owned(), to_json(value))),
            _ => None,
        })
        .collect()
}
