//! The answers to facts: which there are ([`FactValue`]), and one type each, by what they are of.

mod accounts;
mod files;
mod k3s;
mod net;
mod runs;
mod software;
mod storage;
mod system;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::network::{DnsReply, HttpReply, NetAnswer};
use crate::model::kube::{Discovery, DryRun, ObjectList};
pub use accounts::{Account, Login, Sudo};
pub use files::{Content, FileKind, FileStat};
pub use k3s::{Card, K3sData, K3sInstall, PortHolder, Readiness, Swap};
pub use net::{Link, Net};
pub use runs::{ExecResult, LeftoverJob, RunState};
pub use software::{Package, PackageManager, Unit};
pub use storage::{Disk, Mount, SwapArea, Swaps};
pub use system::{Boot, Cgroup, Clock, ClockOffset, Module, Os, SysctlFile};

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactValue {
    /// To [`Fact::Stat`](super::fact::Fact::Stat).
    Stat(FileStat),
    /// To [`Fact::Digest`](super::fact::Fact::Digest): sha256 in lowercase hex.
    Digest(String),
    /// To [`Fact::Content`](super::fact::Fact::Content).
    Content(Content),
    /// To [`Fact::Os`](super::fact::Fact::Os).
    Os(Os),
    /// To [`Fact::Boot`](super::fact::Fact::Boot).
    Boot(Boot),
    /// To [`Fact::Cgroup`](super::fact::Fact::Cgroup).
    Cgroup(Cgroup),
    /// To [`Fact::Sysctl`](super::fact::Fact::Sysctl) and [`Fact::Log`](super::fact::Fact::Log).
    Text(String),
    /// To [`Fact::Module`](super::fact::Fact::Module).
    Module(Module),
    /// To [`Fact::Package`](super::fact::Fact::Package).
    Package(Package),
    /// To [`Fact::PackageManager`](super::fact::Fact::PackageManager).
    PackageManager(PackageManager),
    /// To [`Fact::Account`](super::fact::Fact::Account).
    Account(Account),
    /// To [`Fact::Sudo`](super::fact::Fact::Sudo).
    Sudo(Sudo),
    /// To [`Fact::Unit`](super::fact::Fact::Unit).
    Unit(Unit),
    /// To [`Fact::Disk`](super::fact::Fact::Disk).
    Disk(Disk),
    /// To [`Fact::Clock`](super::fact::Fact::Clock).
    Clock(Clock),
    /// To [`Fact::Net`](super::fact::Fact::Net).
    Net(Net),
    /// To [`Fact::Exec`](super::fact::Fact::Exec) and [`Fact::K3sCli`](super::fact::Fact::K3sCli).
    Exec(ExecResult),
    /// To [`Fact::RunState`](super::fact::Fact::RunState).
    RunState(RunState),
    /// To [`Fact::K3sInstall`](super::fact::Fact::K3sInstall).
    K3sInstall(K3sInstall),
    /// To [`Fact::K3sData`](super::fact::Fact::K3sData).
    K3sData(K3sData),
    /// To [`Fact::Mounts`](super::fact::Fact::Mounts): in the kernel's order, so of two at one point the last one hides
    /// the first.
    Mounts(Vec<Mount>),
    /// To [`Fact::Swaps`](super::fact::Fact::Swaps).
    Swaps(Swaps),
    /// To [`Fact::SysctlFiles`](super::fact::Fact::SysctlFiles), in no order.
    SysctlFiles(Vec<SysctlFile>),
    /// To [`Fact::Http`](super::fact::Fact::Http).
    Http(NetAnswer<HttpReply>),
    /// To [`Fact::Dns`](super::fact::Fact::Dns).
    Dns(NetAnswer<DnsReply>),
    /// To [`Fact::Tcp`](super::fact::Fact::Tcp): the address that was reached.
    Tcp(NetAnswer<String>),
    /// To [`Fact::Readiness`](super::fact::Fact::Readiness).
    Readiness(Readiness),
    /// To [`Fact::ClockOffset`](super::fact::Fact::ClockOffset).
    ClockOffset(ClockOffset),
    /// To [`Fact::Login`](super::fact::Fact::Login).
    Login(Login),
    /// To [`Fact::KubeDiscovery`](super::fact::Fact::KubeDiscovery).
    KubeDiscovery(Arc<Discovery>),
    /// To [`Fact::KubeList`](super::fact::Fact::KubeList).
    KubeList(Arc<ObjectList>),
    /// To [`Fact::KubeDryRun`](super::fact::Fact::KubeDryRun).
    KubeDryRun(Box<DryRun>),
    /// To [`Fact::KubeManifest`](super::fact::Fact::KubeManifest): the text.
    Manifest(Arc<str>),
}
