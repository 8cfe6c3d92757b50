//! What a list of facts asks of each batch: the script and the parser derive it from the same list, so that names need
//! not travel with every answer. Not shell text (`script`) and not meaning (`parse`).

use std::collections::BTreeMap;

use super::fact::Fact;

/// Arguments of one command are kept below this many bytes: the kernel refuses to start one with too many.
const CHUNK_BYTES: usize = 64 * 1024;

/// Standard output of a program is answered up to this many bytes.
pub const STDOUT_CAP: usize = 1 << 20;

/// Standard error of a program is answered up to this many bytes, the last ones.
pub const STDERR_CAP: usize = 64 << 10;

/// Locks of dpkg and apt.
pub const APT_LOCKS: [&str; 4] = [
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
];

/// The certificate of a K3s cluster.
pub const K3S_CA: &str = "/var/lib/rancher/k3s/server/tls/server-ca.crt";

/// Where a K3s binary may be, best first.
pub const K3S_BINARIES: [&str; 3] = ["/usr/local/bin/k3s", "/usr/bin/k3s", "/opt/bin/k3s"];

/// Under which name the version of a K3s binary is kept among the digests.
pub fn version_key(path: &str) -> String {
    format!("version of {path}")
}

/// Where the time zone is a link to.
pub const LOCALTIME: &str = "/etc/localtime";

/// Where a small text file's path begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// The machine itself: /proc and /sys.
    Machine,
    /// Below the root prefix.
    Root,
    /// Below hmco-boot's folder for jobs and lock.
    Run,
}

/// A file to hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hashed<'a> {
    /// Path without the root prefix.
    pub path: &'a str,
    /// Hash it only up to this size; `None` = any.
    pub cap: Option<u64>,
    /// The digest may be kept for the next time.
    pub cached: bool,
}

/// Paths for `stat`, each once.
pub fn stat_paths(facts: &[Fact]) -> Vec<&str> {
    let mut paths = Vec::new();
    for fact in facts {
        match fact {
            Fact::Stat { path } => paths.push(path.as_str()),
            Fact::PackageManager => paths.extend(APT_LOCKS),
            Fact::Clock => paths.push(LOCALTIME),
            _ => {}
        }
    }
    each_once(paths)
}

/// Files to hash, each once.
pub fn hashed(facts: &[Fact]) -> Vec<Hashed<'_>> {
    let mut order = Vec::new();
    let mut wants: BTreeMap<&str, (Option<u64>, bool)> = BTreeMap::new();
    for fact in facts {
        let (path, cap, cached) = match fact {
            Fact::Digest { path, uncached } => (path.as_str(), None, !uncached),
            Fact::Content {
                path,
                cap,
                sensitive,
                ..
            } => (path.as_str(), Some(clamp(*cap)), !sensitive),
            Fact::K3sData => (K3S_CA, None, true),
            _ => continue,
        };
        order.push(path);
        wants
            .entry(path)
            .and_modify(|(most, keep)| {
                // A larger file is hashed for whoever takes the largest; one secret use makes it secret.
                *most = most.zip(cap).map(|(one, other)| one.max(other));
                *keep &= cached;
            })
            .or_insert((cap, cached));
    }
    each_once(order)
        .into_iter()
        .filter_map(|path| {
            let (cap, cached) = *wants.get(path)?;
            Some(Hashed { path, cap, cached })
        })
        .collect()
}

/// Paths whose file system is asked for, each once.
pub fn disk_paths(facts: &[Fact]) -> Vec<&str> {
    let paths = facts.iter().filter_map(|fact| match fact {
        Fact::Disk { path } => Some(path.as_str()),
        _ => None,
    });
    each_once(paths.collect())
}

/// A cap that every shell can count to.
pub fn clamp(cap: u64) -> u64 {
    cap.min(1 << 40)
}

/// Small text files, each once.
pub fn text_files(facts: &[Fact]) -> Vec<(Place, String)> {
    let mut files: Vec<(Place, String)> = Vec::new();
    for fact in facts {
        let (machine, root): (&[&str], &[&str]) = match fact {
            Fact::Os => (&OS_MACHINE, &OS_ROOT),
            Fact::Boot => (&BOOT_MACHINE, &BOOT_ROOT),
            Fact::Cgroup => (&CGROUP_MACHINE, &[]),
            Fact::Account { .. } => (&[], &["/etc/passwd", "/etc/group"]),
            Fact::Disk { .. } | Fact::Mounts => (&["/proc/self/mountinfo"], &[]),
            Fact::Swaps => (&["/proc/swaps"], &[]),
            Fact::Clock => (&["/proc/uptime"], &["/etc/timezone"]),
            Fact::Net => (&["/proc/net/route"], &["/etc/resolv.conf"]),
            Fact::RunState => (&[], &["/var/lib/hmco-boot/procedure.json"]),
            Fact::Unit { .. } => (&["/proc/uptime"], &[]),
            _ => (&[], &[]),
        };
        files.extend(machine.iter().map(|p| (Place::Machine, (*p).to_owned())));
        files.extend(root.iter().map(|p| (Place::Root, (*p).to_owned())));
        match fact {
            Fact::Sysctl { name } => {
                files.extend(sysctl_path(name).map(|path| (Place::Machine, path)));
            }
            Fact::Unit { name } if is_unit_name(name) => {
                files.push((Place::Run, format!("/stamp/{name}")));
                files.push((Place::Root, kept_stamp(name)));
            }
            Fact::RunState => files.push((Place::Run, "/lock".to_owned())),
            _ => {}
        }
    }
    each_once(files)
}

/// Where a unit's stamp survives a reboot.
pub fn kept_stamp(unit: &str) -> String {
    format!("/var/lib/hmco-boot/stamp/{unit}")
}

const OS_MACHINE: [&str; 9] = [
    "/proc/sys/kernel/arch",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/hostname",
    "/proc/meminfo",
    "/sys/devices/system/cpu/online",
    "/proc/1/comm",
    "/proc/device-tree/model",
    "/sys/class/dmi/id/sys_vendor",
    "/sys/class/dmi/id/product_name",
];
/// Where a container's manager says which one it is.
pub const CONTAINER: &str = "/run/systemd/container";
const OS_ROOT: [&str; 4] = [
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/machine-id",
    CONTAINER,
];
const BOOT_MACHINE: [&str; 3] = [
    "/proc/cmdline",
    "/proc/device-tree/model",
    "/proc/sys/kernel/osrelease",
];
/// Where the next boot's command line may come from, best first.
pub const CMDLINE_FILES: [&str; 2] = ["/boot/firmware/cmdline.txt", "/boot/cmdline.txt"];
const BOOT_ROOT: [&str; 6] = [
    CMDLINE_FILES[0],
    CMDLINE_FILES[1],
    "/run/reboot-required",
    "/run/reboot-required.pkgs",
    "/var/run/reboot-required",
    "/var/run/reboot-required.pkgs",
];
const CGROUP_MACHINE: [&str; 3] = [
    "/proc/self/mountinfo",
    "/sys/fs/cgroup/cgroup.controllers",
    "/proc/cgroups",
];

/// Path of a kernel parameter. As with sysctl(8), the first separator tells which of `.` and `/` separates; the other
/// one is then part of a name (`net/ipv4/conf/eth0.100/forwarding`).
pub fn sysctl_path(name: &str) -> Option<String> {
    let path = if name.find(['.', '/']).and_then(|at| name.get(at..=at)) == Some("/") {
        name.to_owned()
    } else {
        name.chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect()
    };
    let fine = path
        .split('/')
        .all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(|b| b.is_ascii_graphic()));
    fine.then(|| format!("/proc/sys/{path}"))
}

/// Whether systemctl takes this as one unit's name, and not as a pattern or a template.
pub fn is_unit_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":_.\\@-".contains(&b);
    let stem = name.rsplit_once('.').map_or("", |(stem, _)| stem);
    name.len() < 256 && name.bytes().all(plain) && !stem.is_empty() && !stem.ends_with('@')
}

/// Whether dpkg takes this as one package's name, and not as a pattern.
pub fn is_package_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.:_".contains(&b))
}

/// Whether this may be a kernel module's name.
pub fn is_module_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// Whether this may be a login name: not empty, not a number (that would be looked up as one), nothing that ends a
/// field or a line.
pub fn is_account_name(name: &str) -> bool {
    !name.is_empty()
        && !name.bytes().all(|b| b.is_ascii_digit())
        && !name.chars().any(|c| c == ':' || c.is_control())
}

/// Whether this can be a command line at all.
pub fn can_run(argv: &[String]) -> bool {
    argv.first().is_some_and(|name| !name.is_empty()) && !argv.iter().any(|arg| arg.contains('\0'))
}

/// Splits a list of arguments into lists that fit one command each.
pub fn chunks<T>(items: &[T], length: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut chunks = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, item) in items.iter().enumerate() {
        bytes += length(item);
        if bytes > CHUNK_BYTES && at > start {
            chunks.extend(items.get(start..at));
            (start, bytes) = (at, length(item));
        }
    }
    chunks.extend(items.get(start..).filter(|rest| !rest.is_empty()));
    chunks
}

fn each_once<T: Ord + Clone>(items: Vec<T>) -> Vec<T> {
    let mut seen = std::collections::BTreeSet::new();
    items
        .into_iter()
        .filter(|item| seen.insert(item.clone()))
        .collect()
}
