//! The answers to facts, one type each.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::network::{DnsReply, HttpReply, NetAnswer};
use crate::model::id::JobId;
use crate::model::kube::{Discovery, DryRun, ObjectList};

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

/// What is at a path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileStat {
    /// Regular file, folder, link ...
    pub kind: FileKind,
    /// Permission bits, with set-id and sticky.
    pub mode: u32,
    /// Owner's number and name (the number as text where it has none).
    pub uid: u32,
    /// See `uid`.
    pub user: String,
    /// Group's number and name.
    pub gid: u32,
    /// See `gid`.
    pub group: String,
    /// In bytes.
    pub size: u64,
    /// Hard links.
    pub links: u64,
    /// Identity and times as one opaque text: equal texts = same device, inode, size, mtime and ctime.
    pub identity: String,
    /// Text of the link, where it is one.
    pub link_target: Option<String>,
}

/// The type of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or FIFO.
    Special,
}

/// A file's bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// sha256 of the bytes in lowercase hex.
    pub sha256: String,
    /// The bytes; `None` where the digest was the one named in the question.
    pub bytes: Option<Vec<u8>>,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Content({} bytes)",
            self.bytes.as_ref().map_or(0, Vec::len)
        )
    }
}

/// Kernel, userland, machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Os {
    /// Of the kernel: `uname -m`.
    pub kernel_arch: String,
    /// Of the userland, in Debian's words (`arm64`, `armhf`, `amd64`): a 64-bit kernel may carry a 32-bit userland.
    pub arch: String,
    /// Kernel release, `uname -r`.
    pub kernel: String,
    /// `ID` of os-release: `debian`, `raspbian`.
    pub id: String,
    /// `ID_LIKE` of os-release.
    pub id_like: Vec<String>,
    /// `VERSION_ID` of os-release.
    pub version: String,
    /// `VERSION_CODENAME` of os-release.
    pub codename: String,
    /// Memory page in bytes: 16384 on a Raspberry Pi 5's default kernel.
    pub page_size: u32,
    /// /etc/machine-id.
    pub machine_id: String,
    /// The kernel's host name.
    pub hostname: String,
    /// Model from the device tree, or DMI.
    pub model: String,
    /// Memory in bytes.
    pub memory: u64,
    /// Processors online.
    pub cpus: u32,
    /// Name of the init process: `systemd`.
    pub init: String,
    /// Which container this is, as its manager says in /run/systemd/container (`systemd-nspawn`, `lxc`); empty on a
    /// machine of its own, real or virtual. In a container the kernel, its modules and swap are the host's.
    #[serde(default)]
    pub container: String,
}

/// This boot.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Boot {
    /// /proc/sys/kernel/random/boot_id.
    pub id: String,
    /// /proc/cmdline.
    pub cmdline: String,
    /// Path of the file that the next boot's command line comes from (`/boot/firmware/cmdline.txt`), where there is one.
    pub cmdline_file: Option<String>,
    /// Whether the distribution asks for a reboot, and for which packages.
    pub reboot_required: bool,
    /// See `reboot_required`.
    pub reboot_packages: Vec<String>,
}

/// Control groups in effect.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cgroup {
    /// 1, 2, or 0 for neither.
    pub version: u32,
    /// Controllers that are on, sorted.
    pub controllers: Vec<String>,
}

/// One kernel module.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Module {
    /// In the kernel now, loaded or built in.
    pub present: bool,
    /// It is built in.
    pub builtin: bool,
    /// modprobe could load it.
    pub available: bool,
}

/// One package.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Package {
    /// Installed version; `None` = not installed.
    pub version: Option<String>,
    /// dpkg's state in words: `install ok installed`; tells a half-configured one.
    pub state: String,
    /// Held back from upgrades.
    pub held: bool,
}

/// The package manager.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PackageManager {
    /// `apt`, or empty where none is known.
    pub name: String,
    /// The process that holds its lock: number and name.
    pub lock_holder: Option<String>,
    /// dpkg was interrupted and wants `dpkg --configure -a`.
    pub interrupted: bool,
}

/// A user.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Account {
    /// Number.
    pub uid: u32,
    /// Number of the primary group.
    pub gid: u32,
    /// Home folder.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Names of all groups, sorted.
    pub groups: Vec<String>,
}

/// What this login may do.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sudo {
    /// The facts were read as root.
    pub is_root: bool,
    /// sudo is installed.
    pub installed: bool,
    /// `sudo -n true` works.
    pub passwordless: bool,
}

/// A systemd unit, as `systemctl show` tells.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Unit {
    /// LoadState: `loaded`, `not-found`, `masked`.
    pub load: String,
    /// ActiveState.
    pub active: String,
    /// SubState.
    pub sub: String,
    /// UnitFileState: `enabled`, `disabled`, `static`.
    pub enabled: String,
    /// FragmentPath.
    pub fragment: String,
    /// Result of the last run.
    pub result: String,
    /// ExecMainStatus.
    pub exit: i32,
    /// MainPID; 0 = none.
    pub main_pid: u32,
    /// InvocationID.
    pub invocation: String,
    /// ActiveEnterTimestampMonotonic in microseconds since boot; 0 = never.
    pub active_enter_us: u64,
    /// ExecMainStartTimestampMonotonic in microseconds since boot.
    pub exec_start_us: u64,
    /// NRestarts.
    pub restarts: u32,
    /// NeedDaemonReload.
    pub need_daemon_reload: bool,
    /// What `/run/hmco-boot/stamp/UNIT` holds: the inputs and the InvocationID of the start they were used by.
    pub stamp: Option<String>,
    /// What `/var/lib/hmco-boot/stamp/UNIT` holds: the same, but it survives a reboot.
    #[serde(default)]
    pub stamp_kept: Option<String>,
    /// Id: another name than the one asked for where that is an alias.
    #[serde(default)]
    pub id: String,
    /// Type of a service: `simple`, `notify`, `oneshot`; empty for other units.
    #[serde(default)]
    pub service_type: String,
    /// RemainAfterExit: active after its program has ended.
    #[serde(default)]
    pub remain_after_exit: bool,
    /// CanReload.
    #[serde(default)]
    pub can_reload: bool,
    /// systemd restarted it by itself less than ten seconds before this was read, or is about to.
    #[serde(default)]
    pub flapping: bool,
}

/// The file system that holds a path.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Disk {
    /// Mount point.
    pub mount: String,
    /// Device or name.
    pub source: String,
    /// Type: `ext4`.
    pub fs_type: String,
    /// Mounted read-only.
    pub read_only: bool,
    /// Bytes in all, and free for an unprivileged user.
    pub size: u64,
    /// See `size`.
    pub free: u64,
    /// Inodes in all (0 where the file system has no such number), and free.
    pub inodes: u64,
    /// See `inodes`.
    pub inodes_free: u64,
}

/// The clock.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Clock {
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// Uptime in milliseconds.
    pub uptime_ms: u64,
    /// NTPSynchronized, where systemd tells.
    pub synchronized: Option<bool>,
    /// Time zone's name.
    pub zone: String,
}

/// A clock's distance from the controller's, in milliseconds: it is somewhere in this range, as the time when the clock
/// was read is known to be between two moments only. Positive = it is ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ClockOffset {
    /// At least this much.
    pub least_ms: i64,
    /// At most this much.
    pub most_ms: i64,
}

/// How hmco-boot logged in.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Login {
    /// The user, before any sudo.
    pub user: String,
    /// The public key that let it in, `TYPE BASE64` as in authorized_keys. `None`: a certificate, a password.
    pub key: Option<String>,
}

/// Addresses, routes, ports.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Net {
    /// Interfaces that are not loopback.
    pub links: Vec<Link>,
    /// Gateway and interface of the IPv4 default route.
    pub default_route: Option<String>,
    /// Listening TCP ports, sorted, each once.
    pub tcp_listen: Vec<u16>,
    /// Bound UDP ports, sorted, each once.
    pub udp_listen: Vec<u16>,
    /// Name servers of resolv.conf.
    pub nameservers: Vec<String>,
}

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Hardware address.
    pub mac: String,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
    /// In bytes.
    pub mtu: u32,
    /// operstate.
    pub state: String,
}

/// What a read-only program said.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecResult {
    /// Exit status; 128 + N after signal N.
    pub exit: i32,
    /// Standard output, capped at 1 MiB (more answers `Truncated`).
    pub stdout: Vec<u8>,
    /// Standard error, capped at 64 KiB.
    pub stderr: Vec<u8>,
}

impl std::fmt::Debug for ExecResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "ExecResult(exit {}, {} + {} bytes)",
            self.exit,
            self.stdout.len(),
            self.stderr.len()
        )
    }
}

/// What hmco-boot left on a target.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RunState {
    /// Boot id at the time of reading.
    pub boot_id: String,
    /// Raw text of the lock file, where there is one.
    pub lock: Option<String>,
    /// Jobs whose folders are there.
    pub jobs: Vec<LeftoverJob>,
    /// Raw text of /var/lib/hmco-boot/procedure.json, where there is one.
    pub procedure: Option<String>,
}

/// A job's folder on a target.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeftoverJob {
    /// The job.
    pub id: JobId,
    /// Whether its processes still run.
    pub running: bool,
    /// Text of its status file, where it has ended by itself.
    pub status: Option<String>,
}

/// K3s' binary, unit and configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct K3sInstall {
    /// Path of the binary; empty = not installed.
    pub binary: String,
    /// Its identity (as [`FileStat::identity`]), so that a version need not be asked twice.
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
    /// server/db/reset-flag is there.
    pub reset_flag: bool,
    /// sha256 of server/tls/server-ca.crt.
    pub ca_sha256: Option<String>,
    /// Further entries of server/db: `etcd-old-1700000000` and such; sorted.
    pub old: Vec<String>,
}

/// A mounted file system, a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Mount {
    /// Device number of the file system, `MAJOR:MINOR`: of its block device, or one that the kernel made up (tmpfs, NFS,
    /// btrfs; its MAJOR is 0). Empty = not known.
    #[serde(default)]
    pub device: String,
    /// Mount point.
    pub point: String,
    /// Which folder of the file system is seen there; `/` but for bind mounts and subvolumes.
    pub root: String,
    /// Device or name.
    pub source: String,
    /// Type: `ext4`.
    pub fs_type: String,
    /// Options of this mount: `rw`, `noatime`.
    pub options: Vec<String>,
    /// Options of the file system: `rw`, `size=1048576k`.
    pub super_options: Vec<String>,
}

/// Swap.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Swaps {
    /// In use now, from /proc/swaps.
    pub active: Vec<SwapArea>,
    /// systemd's swap units that the next boot starts: those that `swap.target` pulls in (from fstab, by the partition
    /// table, zram) and that are not masked. Sorted.
    pub units: Vec<String>,
}

/// A place that is swapped to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SwapArea {
    /// Device or file: `/dev/zram0`, `/var/swap`.
    pub name: String,
    /// `partition` or `file`.
    pub kind: String,
    /// In bytes.
    pub size: u64,
    /// In bytes.
    pub used: u64,
}

/// A file of kernel parameters, sysctl.d(5).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SysctlFile {
    /// Its path.
    pub path: String,
    /// Its lines that are neither empty nor comments, without blanks around.
    pub lines: Vec<String>,
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
