//! Packages, and the units of systemd.

use serde::{Deserialize, Serialize};

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
