//! What the kernel shows of a mount, against what a wish says of it.

use std::time::Duration;

use crate::facts::fact::{Fact, Mount as Live};
use crate::facts::known::{Known, Unreadable};
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::units::TimeSpan;

/// A time limit for reading a file of the kernel.
const LOOK: TimeSpan = TimeSpan(Duration::from_secs(10));

/// File systems without a device whose source is no mere label.
const NAMED: [&str; 4] = ["9p", "ceph", "virtiofs", "zfs"];

/// Pairs of options that the kernel shows, the first one by the second's absence.
const FLAGS: [(&str, &str); 7] = [
    ("rw", "ro"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("exec", "noexec"),
    ("atime", "noatime"),
    ("diratime", "nodiratime"),
    ("async", "sync"),
];

/// Where udev has a link to a source that is named by what it is, and not by its device.
pub fn device(source: &str) -> Option<AbsPath> {
    let by = |folder: &str, name: &str| {
        let name = name.trim_matches('"');
        AbsPath::new(&format!("/dev/disk/{folder}/{}", udev_name(name))).ok()
    };
    match source.split_once('=') {
        Some(("UUID", name)) => by("by-uuid", name),
        Some(("LABEL", name)) => by("by-label", name),
        Some(("PARTUUID", name)) => by("by-partuuid", name),
        Some(("PARTLABEL", name)) => by("by-partlabel", name),
        _ if source.starts_with("/dev/disk/") => AbsPath::new(source).ok(),
        _ => None,
    }
}

/// udev writes what is not plain as `\x20`.
fn udev_name(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "#+-.:=@_".contains(c);
    name.chars()
        .map(|c| match plain(c) {
            true => c.to_string(),
            false => format!("\\x{:02x}", u32::from(c)),
        })
        .collect()
}

/// Refuses: no such disk.
pub fn no_device(source: &str, link: &AbsPath) -> Failure {
    Failure::new(format!("this machine has no disk with {source}"))
        .evidence(format!("there is no {link}"))
        .hint("`lsblk -f` on the machine shows the disks that are there and their UUIDs and labels")
}

/// A mount as people know it from findmnt(8): `/dev/sda1[/sub] (ext4)`.
pub fn shown(live: &Live) -> String {
    match live.root.as_str() {
        "/" => format!("{} ({})", live.source, live.fs_type),
        root => format!("{}[{root}] ({})", live.source, live.fs_type),
    }
}

/// What is wished to be mounted.
#[derive(Clone, Copy, Debug)]
pub struct Wished<'a> {
    /// Where.
    pub point: &'a AbsPath,
    /// What.
    pub source: &'a str,
    /// Its type.
    pub fs_type: &'a str,
    /// With which options.
    pub options: &'a [String],
}

impl Wished<'_> {
    fn is_bind(&self) -> bool {
        let bind = |option: &String| option == "bind" || option == "rbind";
        self.options.iter().any(bind)
    }

    /// The place that a bind mount shows a second time.
    pub fn bound(&self) -> Option<AbsPath> {
        AbsPath::new(self.source).ok().filter(|_| self.is_bind())
    }

    /// Where a link may lead to the device.
    pub fn link(&self) -> Option<AbsPath> {
        let plain = || AbsPath::new(self.source).ok();
        device(self.source)
            .or_else(|| plain().filter(|path| path.as_str().starts_with("/dev/")))
            .filter(|_| !self.is_bind())
    }

    /// What more there is to read about a mount, to know whether it is this one.
    pub fn facts(&self, live: &Live) -> Vec<Fact> {
        let paths = self.links_of(live).into_iter();
        paths
            .map(|path| Fact::Stat { path })
            .chain(self.backing_file(live))
            .collect()
    }

    /// Links that tell a live device's own name, where its source is another name of it.
    fn links_of(&self, live: &Live) -> Vec<AbsPath> {
        let indirect = live.source == "/dev/root"
            || live
                .source
                .strip_prefix("/dev/")
                .is_some_and(|name| name.contains('/'));
        if !indirect || self.is_bind() || live.source == self.source {
            return Vec::new();
        }
        let number = format!("/sys/dev/block/{}", live.device);
        [live.source.as_str(), &number]
            .iter()
            .filter_map(|path| AbsPath::new(path).ok())
            .collect()
    }

    /// Which file is behind a loop device.
    fn backing_file(&self, live: &Live) -> Option<Fact> {
        let name = live.source.strip_prefix("/dev/")?;
        let is_file = self.source.starts_with('/') && !self.source.starts_with("/dev/");
        (is_file && !self.is_bind() && name.starts_with("loop") && !name.contains('/')).then(|| {
            Fact::Exec {
                argv: vec![
                    "cat".to_owned(),
                    format!("/sys/block/{name}/loop/backing_file"),
                ],
                timeout: LOOK,
                sensitive: false,
            }
        })
    }

    /// Whether this mount is the one that is wished. What cannot be told apart is not the same: an option set on the
    /// wrong file system, and a line in /etc/fstab that says another, would pass for "as wished".
    pub fn is(&self, live: &Live, known: &Known<'_>) -> Result<bool, Unreadable> {
        if self.is_bind() {
            return self.is_bound(live, known);
        }
        if !self.is_type(live) || !self.is_root(live) {
            return Ok(false);
        }
        if let Some(fact) = self.backing_file(live) {
            let told = known.exec(&fact)?.filter(|result| result.exit == 0);
            let file = told.map(|result| String::from_utf8_lossy(&result.stdout).into_owned());
            return Ok(file.is_some_and(|file| file.trim_end_matches('\n') == self.source));
        }
        let trimmed = |text: &str| text.trim_end_matches('/').to_owned();
        if trimmed(&live.source) == trimmed(self.source) {
            return Ok(true);
        }
        // A name that means nothing (`tmpfs`).
        if !self.source.contains(['/', '=']) && !live.source.contains('/') {
            return Ok(!NAMED.contains(&live.fs_type.as_str()));
        }
        let wished = self.devices(known)?;
        let there = self.live_devices(live, known)?;
        Ok(wished.iter().any(|device| there.contains(device)))
    }

    fn is_type(&self, live: &Live) -> bool {
        self.fs_type == "auto"
            || live.fs_type == self.fs_type
            || (self.fs_type == "nfs" && live.fs_type == "nfs4")
            || live.fs_type == "fuseblk"
            || live.fs_type.strip_prefix("fuse.") == Some(self.fs_type)
    }

    /// Whether the whole file system is seen there, or the wished subvolume; a folder of it is a bind mount.
    fn is_root(&self, live: &Live) -> bool {
        let bare = |text: &str| text.trim_matches('/').to_owned();
        let subvolume = self.options.iter().find_map(|o| o.strip_prefix("subvol="));
        match (live.fs_type.as_str(), subvolume) {
            ("btrfs" | "bcachefs", Some(name)) => bare(name) == bare(&live.root),
            // Without a name it is the one that was made the default.
            ("btrfs" | "bcachefs", None) => true,
            ("tmpfs", _) => live.root == "/",
            _ => live.root == "/" || !live.source.starts_with("/dev/"),
        }
    }

    /// The file system that holds the source, and the same place in it.
    fn is_bound(&self, live: &Live, known: &Known<'_>) -> Result<bool, Unreadable> {
        let Some(source) = self.bound() else {
            return Ok(false);
        };
        let mounts = known.mounts()?;
        // The mount in question may lie over its own source.
        let own = mounts
            .iter()
            .rposition(|mount| mount.point == self.point.as_str() && mount == live);
        let holder = (0..)
            .zip(mounts)
            .filter(|(at, _)| Some(*at) != own)
            .filter_map(|(_, mount)| Some((AbsPath::new(&mount.point).ok()?, mount)))
            .filter(|(point, _)| source.is_below(point))
            .max_by_key(|(point, _)| point.as_str().trim_end_matches('/').len());
        let Some((point, holder)) = holder else {
            return Ok(false);
        };
        let inside = source
            .as_str()
            .strip_prefix(point.as_str().trim_end_matches('/'))
            .unwrap_or_default();
        let place = format!("{}{inside}", holder.root.trim_end_matches('/'));
        let same_place = place.trim_end_matches('/') == live.root.trim_end_matches('/');
        let known_numbers = !live.device.is_empty() && !holder.device.is_empty();
        let same_device = !known_numbers || live.device == holder.device;
        Ok(same_place && same_device && live.source == holder.source)
    }

    /// Names of the wished device.
    fn devices(&self, known: &Known<'_>) -> Result<Vec<String>, Unreadable> {
        let mut names = Vec::new();
        if let Some(path) = self.link() {
            names.extend(led_to(&path, known)?);
            names.push(path.to_string());
        }
        Ok(names)
    }

    /// Names of the device that is mounted.
    fn live_devices(&self, live: &Live, known: &Known<'_>) -> Result<Vec<String>, Unreadable> {
        let mut names = Vec::new();
        if live.source != "/dev/root" {
            names.push(live.source.clone());
        }
        for path in self.links_of(live) {
            let Some(to) = led_to(&path, known)? else {
                continue;
            };
            names.push(match path.as_str().starts_with("/sys/") {
                true => format!(
                    "/dev/{}",
                    // The kernel writes `/` in a name of its own so.
                    to.rsplit('/').next().unwrap_or_default().replace('!', "/")
                ),
                false => to,
            });
        }
        Ok(names)
    }
}

/// Where a symbolic link leads, as an absolute path.
fn led_to(path: &AbsPath, known: &Known<'_>) -> Result<Option<String>, Unreadable> {
    let target = known.stat(path)?.and_then(|stat| stat.link_target.clone());
    Ok(target.map(|target| {
        let mut parts: Vec<&str> = match target.starts_with('/') {
            true => Vec::new(),
            false => path.as_str().split('/').collect(),
        };
        parts.pop();
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                name => parts.push(name),
            }
        }
        let names: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("/{}", names.join("/"))
    }))
}

/// Wished options that the kernel shows and that are not in effect. Options of a file system's own (`size=1G`) come back
/// in other words, so they are compared in /etc/fstab only.
pub fn flags<'a>(live: &Live, options: &'a [String]) -> Vec<&'a str> {
    let shown = |option: &str| {
        let of_super =
            ["ro", "sync"].contains(&option) && live.super_options.iter().any(|o| o == option);
        of_super || live.options.iter().any(|o| o == option)
    };
    options
        .iter()
        .map(String::as_str)
        .filter(|option| {
            FLAGS.iter().any(|(absent, present)| {
                (option == present && !shown(present)) || (option == absent && shown(present))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(source: &str, fs_type: &str, options: &str) -> Live {
        Live {
            device: "8:1".into(),
            point: "/mnt".into(),
            root: "/".into(),
            source: source.into(),
            fs_type: fs_type.into(),
            options: options.split(',').map(str::to_owned).collect(),
            super_options: vec!["rw".into()],
        }
    }

    #[test]
    fn sources_by_name_lead_to_udevs_links() {
        let path = |source| device(source).map(|path| path.to_string());
        assert_eq!(path("UUID=1-2").unwrap(), "/dev/disk/by-uuid/1-2");
        assert_eq!(
            path("LABEL=my disk").unwrap(),
            "/dev/disk/by-label/my\\x20disk"
        );
        assert_eq!(path("/dev/disk/by-id/x").unwrap(), "/dev/disk/by-id/x");
        assert_eq!(path("/dev/sda1"), None);
        assert_eq!(path("nas:/a=b"), None);
    }

    #[test]
    fn options_that_the_kernel_shows_are_compared() {
        let options = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let mount = live("/dev/sda1", "ext4", "rw,noatime");
        assert_eq!(
            flags(&mount, &options("noatime,nofail,size=1G,rw")),
            Vec::<&str>::new()
        );
        assert_eq!(
            flags(&mount, &options("ro,noexec,atime")),
            ["ro", "noexec", "atime"]
        );
    }
}
