//! The limits, and where they come from. A wish may set some of them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Role;
use crate::model::units::TimeSpan;

/// Limits to use instead of the built-in ones.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Least memory in MiB. 1700 for servers (K3s wants 2 GB, some of which firmware and kernel keep), 400 for agents.
    #[serde(default)]
    pub memory_mib: Option<u64>,
    /// Least number of processors. 2 for servers, 1 for agents (K3s' requirements).
    #[serde(default)]
    pub cpus: Option<u32>,
    /// Least free space in MiB where /var/lib/rancher is; 4096. Below 5 % of the file system it is always an error: there
    /// K3s' kubelet evicts pods at once.
    #[serde(default)]
    pub disk_free_mib: Option<u64>,
    /// Greatest difference between two nodes' clocks; 60s. Above 1s it is a warning (etcd's own limit for peers).
    #[serde(default)]
    pub clock_skew: Option<TimeSpan>,
    /// Slowest mean of one synchronous write where etcd's data is; 100ms, which is etcd's heartbeat interval. Above 10ms
    /// it is a warning (etcd wants its 99th percentile of fsync below 10 ms).
    #[serde(default)]
    pub sync_write: Option<TimeSpan>,
}

/// etcd warns of peers whose clocks differ by more than this (rafthttp's ServerProbe, `clock-drift`).
pub const SKEW_WARNING_MS: i64 = 1_000;

/// etcd's hardware guide: the 99th percentile of `wal_fsync_duration_seconds` should be below 10 ms.
pub const SYNC_WARNING_US: u64 = 10_000;

/// Free space below which the kubelet of K3s evicts: `nodefs.available<5%`, `imagefs.available<5%`; Kubernetes' own default
/// for inodes (`nodefs.inodesFree<5%`) is the same.
pub const EVICTION_PERCENT: u64 = 5;

/// Below this much of the file system free it is a warning: the kubelet begins to remove images at 85 %
/// (`imageGCHighThresholdPercent`).
pub const LITTLE_PERCENT: u64 = 15;

/// Least free on `/` and below /var/log.
pub const SYSTEM_FREE: u64 = 512 << 20;

impl Limits {
    /// Least memory in bytes.
    pub fn memory(&self, role: Role) -> u64 {
        let mib = self.memory_mib.unwrap_or(match role {
            Role::Server => 1700,
            Role::Agent => 400,
        });
        mib.saturating_mul(1 << 20)
    }

    /// Least number of processors.
    pub fn cpus(&self, role: Role) -> u32 {
        self.cpus.unwrap_or(match role {
            Role::Server => 2,
            Role::Agent => 1,
        })
    }

    /// Least free space in bytes where K3s' data is.
    pub fn disk_free(&self) -> u64 {
        self.disk_free_mib.unwrap_or(4096).saturating_mul(1 << 20)
    }

    /// Greatest difference between clocks in milliseconds.
    pub fn skew_ms(&self) -> i64 {
        let limit = self.clock_skew.unwrap_or(TimeSpan(Duration::from_secs(60)));
        i64::try_from(limit.0.as_millis()).unwrap_or(i64::MAX)
    }

    /// Slowest mean of a synchronous write in microseconds.
    pub fn sync_us(&self) -> u64 {
        let limit = self
            .sync_write
            .unwrap_or(TimeSpan(Duration::from_millis(100)));
        u64::try_from(limit.0.as_micros()).unwrap_or(u64::MAX)
    }
}
