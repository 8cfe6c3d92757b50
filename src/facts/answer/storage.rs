//! Where data lie: file systems, mounts, swap.

use serde::{Deserialize, Serialize};

/// The file system that holds a path.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Disk {
    /// Mount point.
    pub mount: String,
    /// Device or name.
    pub source: String,
    /// Device number, as of [`Mount::device`].
    #[serde(default)]
    pub device: String,
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
