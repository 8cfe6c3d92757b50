//! K3s on a machine: its program, its data, and what it would trip over.

use serde::{Deserialize, Serialize};

/// K3s' binary, unit and configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct K3sInstall {
    /// Path of the binary; empty = not installed.
    pub binary: String,
    /// Its identity (as [`FileStat::identity`](super::FileStat::identity)), so that a version need not be asked twice.
    pub binary_identity: String,
    /// Text of `k3s --version`'s first line.
    pub version: String,
    /// Unit files that are there: `k3s.service`, `k3s-agent.service`, and others that run a server or an agent.
    pub units: Vec<String>,
    /// Files that are there: config.yaml, those of config.yaml.d, env files; sorted.
    pub config_files: Vec<String>,
}

/// K3s' data folder.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct K3sData {
    /// /var/lib/rancher/k3s/server/db/etcd/member is there.
    pub etcd: bool,
    /// server/db/state.db (sqlite) is there.
    pub sqlite: bool,
    /// agent/ holds a client certificate.
    pub agent: bool,
    /// server/token is there: a server has been so far that its database was open. (K3s writes the CA before it opens its
    /// database and this file after; where 2380 is taken, a first start leaves the one and not the other.)
    #[serde(default)]
    pub started: bool,
    /// server/db/reset-flag is there.
    pub reset_flag: bool,
    /// sha256 of server/tls/server-ca.crt.
    pub ca_sha256: Option<String>,
    /// Further entries of server/db: `etcd-old-1700000000` and such; sorted.
    pub old: Vec<String>,
}

/// What K3s trips over and no other fact tells. What could not be asked (no such tool, not root) is empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Readiness {
    /// /sys/class/dmi/id/product_uuid, in lowercase.
    pub product_uuid: String,
    /// Swap in use: path, and size in bytes.
    pub swaps: Vec<Swap>,
    /// First line of `iptables --version`: `iptables v1.8.9 (nf_tables)`.
    pub iptables: String,
    /// Bits of `vcgencmd get_throttled`, on a Raspberry Pi.
    pub throttled: Option<u32>,
    /// The kernel has AppArmor on.
    pub apparmor: bool,
    /// apparmor_parser is installed.
    pub apparmor_parser: bool,
    /// ufw is switched on (its unit is active also where it is not).
    pub ufw: bool,
    /// A chain of netfilter drops what comes in and no rule lets in.
    pub input_dropped: bool,
    /// NetworkManager is told to leave the interfaces of CNI or flannel alone.
    pub cni_unmanaged: bool,
    /// Memory cards and eMMC by device: `mmcblk0` with `SD` or `MMC`.
    pub cards: Vec<Card>,
    /// Who holds ports, where `ss` tells.
    pub holders: Vec<PortHolder>,
}

/// Swap space in use.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Swap {
    /// File or device.
    pub path: String,
    /// In bytes.
    pub size: u64,
}

/// A device of the MMC bus.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Card {
    /// `mmcblk0`.
    pub device: String,
    /// `SD`, or `MMC` for eMMC.
    pub kind: String,
}

/// A program that holds a port.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PortHolder {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The port.
    pub port: u16,
    /// The program's name.
    pub program: String,
}
