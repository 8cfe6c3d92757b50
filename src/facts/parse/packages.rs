//! dpkg and apt.

use super::reply::{Reply, lines};
use super::stats::Stats;
use crate::facts::fact::{FactError, Package, PackageManager};
use crate::facts::questions::{self, APT_LOCKS};

pub fn package(reply: &Reply<'_>, name: &str) -> Result<Package, FactError> {
    if !questions::is_package_name(name) {
        return Err(FactError::Failed(format!(
            "{name:?} is not a package's name"
        )));
    }
    let part = reply.part("packages", "packages")?.whole()?;
    if part.status() == "127" {
        return Err(part.missing());
    }
    let text = part.text();
    if let Some(package) = find_package(&text, name) {
        return Ok(package);
    }
    let unknown = format!("no packages found matching {name}");
    if lines(part.body).any(|line| line.ends_with(&unknown)) {
        // dpkg's own words for a package it has no record of.
        return Ok(Package {
            version: None,
            state: "unknown ok not-installed".to_owned(),
            held: false,
        });
    }
    Err(part.missing())
}

/// A line `NAME[:ARCH]\tARCH\tWANT ERROR STATUS\tVERSION`; of several architectures the native one.
fn find_package(text: &str, name: &str) -> Option<Package> {
    let native = native_arch(text);
    let mut found = None;
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [full, arch, state, version] = fields.as_slice() else {
            continue;
        };
        let plain = full.split(':').next().unwrap_or(full);
        if *full != name && plain != name && format!("{plain}:{arch}") != name {
            continue;
        }
        let status = state.rsplit(' ').next().unwrap_or_default();
        let gone = matches!(status, "not-installed" | "config-files");
        let package = Package {
            version: (!gone && !version.is_empty()).then(|| (*version).to_owned()),
            state: (*state).to_owned(),
            held: state.starts_with("hold "),
        };
        let best = native.as_deref() == Some(*arch) || *arch == "all";
        if best || found.is_none() {
            found = Some(package);
        }
        if best && status != "not-installed" {
            break;
        }
    }
    found
}

/// Of dpkg itself.
pub fn native_arch(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split('\t');
        let name = fields.next()?;
        (name == "dpkg" || name.starts_with("dpkg:")).then(|| fields.next().map(str::to_owned))?
    })
}

pub fn manager(reply: &Reply<'_>, stats: &Stats) -> Result<PackageManager, FactError> {
    let part = reply.part("locks", "locks")?.whole()?;
    let mut manager = PackageManager::default();
    let mut files = Vec::new();
    for path in APT_LOCKS {
        match stats.get(path) {
            Ok(stat) => files.push(stat.identity),
            Err(FactError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    for line in lines(part.body) {
        match line.as_str() {
            "apt" => manager.name = line,
            "interrupted" => manager.interrupted = true,
            _ => {
                if let Some(holder) = lock_holder(&line, &files) {
                    manager.lock_holder.get_or_insert(holder);
                }
            }
        }
    }
    Ok(manager)
}

/// `lock PID MAJOR:MINOR:INODE COMM` (device in hex) that is one of `files` (`DEVICE:INODE:...` in decimal). Where a
/// file system shows the kernel another device number than stat(2) (overlay, btrfs), the inode of a known program is
/// proof enough.
fn lock_holder(line: &str, files: &[String]) -> Option<String> {
    let mut words = line.strip_prefix("lock ")?.splitn(3, ' ');
    let (pid, place, comm) = (words.next()?, words.next()?, words.next()?);
    let mut place = place.split(':');
    let major = u64::from_str_radix(place.next()?, 16).ok()?;
    let minor = u64::from_str_radix(place.next()?, 16).ok()?;
    let inode = place.next()?;
    let device = (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12);
    let manager = ["apt", "dpkg", "aptitude", "unattended-upgr", "packagekitd"]
        .iter()
        .any(|name| comm.starts_with(name));
    files
        .iter()
        .any(|identity| {
            let mut parts = identity.split(':');
            let same_device = parts.next() == Some(device.to_string().as_str());
            parts.next() == Some(inode) && (same_device || manager)
        })
        .then(|| format!("{pid} {comm}").trim_end().to_owned())
}
