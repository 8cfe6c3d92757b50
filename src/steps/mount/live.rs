//! What the kernel shows of a mount, against what a wish says of it.

use crate::facts::fact::Mount as Live;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;

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

/// Whether this mount is the one that is wished. `device`: what the source leads to, where it is named by a link.
pub fn is_same(
    live: &Live,
    source: &str,
    device: Option<&str>,
    fs_type: &str,
    options: &[String],
) -> bool {
    let same_type = fs_type == "auto"
        || live.fs_type == fs_type
        || (fs_type == "nfs" && live.fs_type == "nfs4")
        || live.fs_type == "fuseblk"
        || live.fs_type.strip_prefix("fuse.") == Some(fs_type);
    if options
        .iter()
        .any(|option| option == "bind" || option == "rbind")
    {
        return live.root == "/" || source.ends_with(live.root.trim_end_matches('/'));
    }
    if !same_type {
        return false;
    }
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let trimmed = |text: &str| text.trim_end_matches('/').to_owned();
    match device {
        // The kernel names a mapped device by its own name, the link leads to dm-N.
        Some(device) if name(device).starts_with("dm-") => {
            live.source.starts_with("/dev/mapper/") || name(device) == name(&live.source)
        }
        Some(device) => name(device) == name(&live.source) || live.source == "/dev/root",
        // A name that means nothing (`tmpfs`), or a file behind a loop device.
        None if !source.contains('/') || live.source.starts_with("/dev/loop") => true,
        None if source.starts_with("/dev/") && live.source.starts_with("/dev/mapper/") => true,
        None => trimmed(&live.source) == trimmed(source) || live.source == "/dev/root",
    }
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
    fn a_mount_is_known_by_its_device_whatever_it_is_called() {
        let sda = live("/dev/sda1", "ext4", "rw");
        assert!(is_same(&sda, "UUID=1", Some("../../sda1"), "ext4", &[]));
        assert!(!is_same(&sda, "UUID=1", Some("../../sdb1"), "ext4", &[]));
        assert!(!is_same(&sda, "/dev/sda1", None, "xfs", &[]));
        assert!(is_same(
            &live("/dev/mapper/vg-lv", "ext4", "rw"),
            "UUID=1",
            Some("../../dm-0"),
            "ext4",
            &[]
        ));
        assert!(is_same(
            &live("nas:/a", "nfs4", "rw"),
            "nas:/a/",
            None,
            "nfs",
            &[]
        ));
        assert!(!is_same(
            &live("nas:/b", "nfs4", "rw"),
            "nas:/a",
            None,
            "nfs",
            &[]
        ));
        assert!(is_same(
            &live("none", "tmpfs", "rw"),
            "tmpfs",
            None,
            "tmpfs",
            &[]
        ));
        let bind = Live {
            root: "/data".into(),
            ..sda
        };
        assert!(is_same(&bind, "/srv/data", None, "none", &["bind".into()]));
        assert!(!is_same(
            &bind,
            "/srv/other",
            None,
            "none",
            &["bind".into()]
        ));
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
