//! The machine and its kernel: userland, boot, control groups, modules, parameters, clock.

use serde::{Deserialize, Serialize};

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

/// A file of kernel parameters, sysctl.d(5).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SysctlFile {
    /// Its path.
    pub path: String,
    /// Its lines that are neither empty nor comments, without blanks around.
    pub lines: Vec<String>,
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
