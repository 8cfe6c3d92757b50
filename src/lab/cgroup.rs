//! Control groups, v1 and v2: everything a lab starts is in one of its own, which finds it again whatever happened to
//! whoever started it, and limits it.

#![expect(
    clippy::disallowed_methods,
    reason = "makes and removes control groups, which are folders"
)]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::mounts::{self, Mount};
use super::{command, files};
use crate::model::outcome::Failure;

/// How long processes may take to be gone after SIGKILL: those that wait for a disk end when it answers.
const GONE_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Microseconds over which a limit of CPU time is kept.
const PERIOD: u32 = 100_000;

/// This machine's hierarchies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hierarchies {
    roots: Vec<PathBuf>,
    /// Where the CPU controller is.
    cpu: Option<PathBuf>,
    /// There is no v1 hierarchy.
    v2: bool,
}

/// A control group, in every hierarchy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    hierarchies: Hierarchies,
    path: String,
}

impl Hierarchies {
    /// Those that are mounted.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of_this_machine() -> Result<Self, Failure> {
        Self::of(&mounts::all()).ok_or_else(|| {
            Failure::new("no control groups are mounted on this machine")
                .hint("mount them: systemd does; by hand: mount -t cgroup2 cgroup2 /sys/fs/cgroup")
        })
    }

    /// Those among these mounts.
    pub(super) fn of(mounts: &[Mount]) -> Option<Self> {
        let is = |mount: &&Mount| {
            mount.point.starts_with("/sys/fs/cgroup")
                && matches!(mount.kind.as_str(), "cgroup" | "cgroup2")
        };
        let found: Vec<&Mount> = mounts.iter().filter(is).collect();
        let v2 = found.iter().all(|mount| mount.kind == "cgroup2");
        let has_cpu = |mount: &&&Mount| {
            (v2 && mount.kind == "cgroup2")
                || (mount.kind == "cgroup" && mount.options.split(',').any(|word| word == "cpu"))
        };
        let cpu = found.iter().find(has_cpu).map(|mount| mount.point.clone());
        let roots: Vec<PathBuf> = found.iter().map(|mount| mount.point.clone()).collect();
        (!roots.is_empty()).then_some(Self { roots, cpu, v2 })
    }

    /// Whether this machine has cgroup v2 alone.
    pub fn v2(&self) -> bool {
        self.v2
    }

    /// A group in them, at a path below their roots.
    pub fn group(&self, path: impl Into<String>) -> Group {
        Group {
            hierarchies: self.clone(),
            path: path.into(),
        }
    }
}

impl Group {
    /// The group below this one.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        self.hierarchies.group(format!("{}/{name}", self.path))
    }

    /// Its folders, one in each hierarchy.
    pub fn folders(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let roots = self.hierarchies.roots.iter();
        roots.map(|root| root.join(&self.path))
    }

    /// As `$LAB_CGROUPS` of the scripts beside.
    pub fn variable(&self) -> String {
        let folders: Vec<String> = self
            .folders()
            .map(|folder| folder.to_string_lossy().into_owned())
            .collect();
        folders.join(" ")
    }

    /// Makes it where it is missing, with all above it.
    ///
    /// # Errors
    /// Where a hierarchy does not let it.
    pub fn make(&self) -> Result<(), Failure> {
        for root in &self.hierarchies.roots {
            let mut folder = root.clone();
            for part in self.path.split('/') {
                if self.hierarchies.v2 {
                    share_controllers(&folder);
                }
                let above = folder.clone();
                folder.push(part);
                if let Err(error) = fs::create_dir(&folder)
                    && error.kind() != ErrorKind::AlreadyExists
                {
                    return Err(files::io_failure("make", &folder, &error));
                }
                // Of v1's cpuset: no process may join a group that has no processors.
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    let own = folder.join(file);
                    if !self.hierarchies.v2
                        && own.exists()
                        && files::read_if_any(&own).trim().is_empty()
                    {
                        let inherited = files::read_if_any(&above.join(file));
                        fs::write(&own, inherited.trim())
                            .map_err(|error| files::io_failure("write", &own, &error))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A command that runs inside this group (which must have been made).
    pub fn command(&self, program: &str) -> Command {
        let mut sh = command::command("sh");
        sh.arg("-c")
            .arg(include_str!("sh/join.sh"))
            .arg("hmco-boot-lab")
            .arg(program)
            .env("LAB_CGROUPS", self.variable());
        sh
    }

    /// The processes in it and below.
    pub fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for folder in self.folders() {
            walk(&folder, &mut |folder| {
                let text = files::read_if_any(&folder.join("cgroup.procs"));
                found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            });
        }
        found.sort_unstable();
        found.dedup();
        // A process of another namespace that cannot be named here is told as 0.
        found.retain(|pid| *pid > 0);
        found
    }

    /// Kills everything in it and below, at once and without asking, and waits until it is gone.
    ///
    /// # Errors
    /// Where something does not go, as a process that waits for a disk that does not answer.
    pub fn kill(&self) -> Result<(), Failure> {
        let limit = Instant::now() + GONE_WITHIN;
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                return Ok(());
            }
            if Instant::now() > limit {
                return Err(self.stuck(&processes));
            }
            for pid in processes.into_iter().filter_map(Pid::from_raw) {
                // One that is gone meanwhile is what was wanted.
                kill_process(pid, Signal::KILL).ok();
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn stuck(&self, processes: &[i32]) -> Failure {
        let mut failure = Failure::new(format!(
            "{} of {} did not end after SIGKILL within {} s",
            crate::lab::status::processes_in_words(processes.len()),
            self.path,
            GONE_WITHIN.as_secs()
        ));
        for pid in processes.iter().take(5) {
            let name = files::read_if_any(Path::new(&format!("/proc/{pid}/comm")));
            failure = failure.evidence(format!("process {pid}: {}", name.trim()));
        }
        failure.hint(
            "they wait in the kernel, as for a disk that does not answer: when it does, repeat",
        )
    }

    /// Removes it with all below; nothing may run in it any more.
    ///
    /// # Errors
    /// Where something still uses it.
    pub fn remove(&self) -> Result<(), Failure> {
        let limit = Instant::now() + GONE_WITHIN;
        for folder in self.folders() {
            // The kernel lets go of a group a moment after its last process.
            while !remove_tree(&folder) {
                if Instant::now() > limit {
                    return Err(Failure::new(format!(
                        "cannot remove the control group {}",
                        folder.display()
                    ))
                    .hint("something still runs in it, or below it"));
                }
                std::thread::sleep(LOOK_EVERY);
            }
        }
        Ok(())
    }

    /// Limits its CPU time to this share of one processor, in percent; `None`: no limit.
    ///
    /// # Errors
    /// Where there is no CPU controller, or it refuses.
    pub fn limit_cpu(&self, percent: Option<u32>) -> Result<(), Failure> {
        let Some(root) = &self.hierarchies.cpu else {
            return Err(Failure::new("this machine has no CPU controller").hint(
                "enable CONFIG_CFS_BANDWIDTH and the cpu controller, or go without a limit",
            ));
        };
        let quota = percent.map(|percent| percent * (PERIOD / 100));
        let folder = root.join(&self.path);
        let (file, text) = match (self.hierarchies.v2, quota) {
            (true, None) => ("cpu.max", format!("max {PERIOD}")),
            (true, Some(quota)) => ("cpu.max", format!("{quota} {PERIOD}")),
            (false, None) => ("cpu.cfs_quota_us", "-1".to_owned()),
            (false, Some(quota)) => ("cpu.cfs_quota_us", quota.to_string()),
        };
        let path = folder.join(file);
        fs::write(&path, text).map_err(|error| files::io_failure("write", &path, &error))
    }

    /// The limit of its CPU time, in percent of one processor.
    pub fn cpu_limit(&self) -> Option<u32> {
        let folder = self.hierarchies.cpu.as_ref()?.join(&self.path);
        let text = files::read_if_any(&folder.join(if self.hierarchies.v2 {
            "cpu.max"
        } else {
            "cpu.cfs_quota_us"
        }));
        let quota: u32 = text.split_whitespace().next()?.parse().ok()?;
        Some(quota / (PERIOD / 100))
    }

    /// Bytes of memory that its programs hold, without what the kernel keeps of files; `None` where that is not
    /// counted.
    pub fn memory(&self) -> Option<u64> {
        let mut texts = self
            .folders()
            .map(|folder| files::read_if_any(&folder.join("memory.stat")));
        texts.find_map(|text| held(&text))
    }
}

/// From `memory.stat`: `total_rss` of v1 (with the groups below), `anon` of v2.
fn held(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let found = lines.find_map(|line| {
        line.strip_prefix("total_rss ")
            .or_else(|| line.strip_prefix("anon "))
    });
    found?.trim().parse().ok()
}

/// Lets the groups below have their own limits (v2); a controller that this machine lacks is done without.
fn share_controllers(folder: &Path) {
    for controller in ["cpu", "memory", "pids", "cpuset", "io"] {
        fs::write(
            folder.join("cgroup.subtree_control"),
            format!("+{controller}"),
        )
        .ok();
    }
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    visit(folder);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), visit);
        }
    }
}

fn remove_tree(folder: &Path) -> bool {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !remove_tree(&entry.path()) {
            return false;
        }
    }
    files::remove_empty(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(point: &str, kind: &str, options: &str) -> Mount {
        Mount {
            point: point.into(),
            kind: kind.into(),
            options: options.into(),
        }
    }

    #[test]
    fn v1_is_known_by_a_hierarchy_of_its_own_kind() {
        let v1 = [
            mount("/sys/fs/cgroup", "tmpfs", "rw"),
            mount("/sys/fs/cgroup/cpuset", "cgroup", "rw,cpuset"),
            mount("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
            mount("/sys/fs/cgroup/unified", "cgroup2", "rw"),
        ];
        let found = Hierarchies::of(&v1).unwrap();
        assert!(!found.v2());
        assert_eq!(found.cpu, Some("/sys/fs/cgroup/cpu,cpuacct".into()));
        assert_eq!(
            found.group("a/1").variable(),
            "/sys/fs/cgroup/cpuset/a/1 /sys/fs/cgroup/cpu,cpuacct/a/1 /sys/fs/cgroup/unified/a/1"
        );
    }

    #[test]
    fn memory_is_what_programs_hold() {
        assert_eq!(
            held("cache 9\nrss 1\ntotal_rss 4096\ntotal_rss_huge 5\n"),
            Some(4096)
        );
        assert_eq!(held("anon 8192\nfile 5\n"), Some(8192));
        assert_eq!(held(""), None);
    }

    #[test]
    fn v2_alone_has_one_root_with_all_controllers() {
        let v2 = [mount("/sys/fs/cgroup", "cgroup2", "rw,nsdelegate")];
        let found = Hierarchies::of(&v2).unwrap();
        assert!(found.v2());
        assert_eq!(found.cpu, Some("/sys/fs/cgroup".into()));
        assert_eq!(Hierarchies::of(&[mount("/", "ext4", "rw")]), None);
    }
}
