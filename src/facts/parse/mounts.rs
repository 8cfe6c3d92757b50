//! Mounts and swap.

use super::reply::{Reply, lines};
use super::texts::Texts;
use crate::facts::fact::{Disk, FactError, Mount, SwapArea, Swaps};
use crate::facts::questions::Place;

pub fn mounts(texts: &Texts) -> Result<Vec<Mount>, FactError> {
    let text = texts
        .text(Place::Machine, "/proc/self/mountinfo")?
        .ok_or(FactError::NotFound)?;
    Ok(mount_table(&text))
}

/// The text of /proc/self/mountinfo.
pub fn mount_table(text: &str) -> Vec<Mount> {
    text.lines().filter_map(mount).collect()
}

/// The text of /proc/swaps.
pub fn swap_table(text: &str) -> Vec<SwapArea> {
    text.lines().skip(1).filter_map(swap_area).collect()
}

/// `ID PARENT DEVICE ROOT POINT OPTIONS [OPTIONAL...] - TYPE SOURCE SUPER_OPTIONS`.
fn mount(line: &str) -> Option<Mount> {
    let (head, tail) = line.split_once(" - ")?;
    let mut head = head.split(' ').skip(2);
    let device = head.next()?.to_owned();
    let (root, point, options) = (head.next()?, head.next()?, head.next()?);
    let mut tail = tail.split(' ');
    let (fs_type, source) = (tail.next()?, tail.next()?);
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    Some(Mount {
        device,
        point: unescape(point),
        root: unescape(root),
        source: unescape(source),
        fs_type: fs_type.to_owned(),
        options: list(options),
        super_options: list(tail.next().unwrap_or_default()),
    })
}

/// The mount with the longest mount point above a real path; of several at one point the last, which hides the others.
pub fn mount_of(mountinfo: &str, real: &str) -> Disk {
    let above = |point: &str| {
        point == "/"
            || real == point
            || real
                .strip_prefix(point)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    let best = mountinfo
        .lines()
        .filter_map(mount)
        .filter(|mount| above(&mount.point))
        .max_by_key(|mount| mount.point.len());
    let Some(mount) = best else {
        return Disk::default();
    };
    let mut options = mount.options.iter().chain(&mount.super_options);
    Disk {
        read_only: options.any(|option| option == "ro"),
        mount: mount.point,
        source: mount.source,
        device: mount.device,
        fs_type: mount.fs_type,
        ..Disk::default()
    }
}

/// The kernel writes blank, tab, newline and backslash as `\040` and such.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A kernel without swap has no /proc/swaps.
pub fn swaps(reply: &Reply<'_>, texts: &Texts) -> Result<Swaps, FactError> {
    let table = texts
        .text(Place::Machine, "/proc/swaps")?
        .unwrap_or_default();
    let part = reply.part("swap-units", "swap units")?.whole()?;
    let mut units: Vec<String> = lines(part.body)
        .filter_map(|line| line.strip_prefix("unit ").map(str::to_owned))
        .collect();
    units.sort();
    units.dedup();
    Ok(Swaps {
        active: swap_table(&table),
        units,
    })
}

/// `NAME TYPE KIB KIB PRIORITY`.
fn swap_area(line: &str) -> Option<SwapArea> {
    let mut words = line.split_whitespace();
    let (name, kind) = (words.next()?, words.next()?);
    let mut bytes = || Some(words.next()?.parse::<u64>().ok()?.saturating_mul(1024));
    Some(SwapArea {
        name: unescape(name),
        kind: kind.to_owned(),
        size: bytes()?,
        used: bytes()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_told_with_their_options_and_names_with_blanks() {
        let line = "36 25 8:2 /sub /mnt/a\\040b rw,noatime shared:1 master:2 - ext4 /dev/sda2 rw,errors=remount-ro";
        let mount = mount(line).unwrap();
        assert_eq!(
            (mount.point.as_str(), mount.root.as_str()),
            ("/mnt/a b", "/sub")
        );
        assert_eq!(mount.device, "8:2");
        assert_eq!(mount.options, ["rw", "noatime"]);
        assert_eq!(mount.super_options, ["rw", "errors=remount-ro"]);
        assert_eq!(
            (mount.fs_type.as_str(), mount.source.as_str()),
            ("ext4", "/dev/sda2")
        );
    }

    #[test]
    fn of_several_mounts_at_one_point_the_last_one_counts() {
        let info = "1 0 8:1 / / rw - ext4 /dev/root rw\n2 1 8:2 / /srv rw - ext4 /dev/sda2 rw\n3 1 0:9 / /srv ro - tmpfs tmpfs rw\n";
        let disk = mount_of(info, "/srv/a");
        assert_eq!((disk.fs_type.as_str(), disk.read_only), ("tmpfs", true));
        assert_eq!(mount_of(info, "/srvx").source, "/dev/root");
    }

    #[test]
    fn swap_areas_are_told_in_bytes() {
        let line = "/dev/zram0                              partition\t524284\t\t4\t\t100";
        let area = swap_area(line).unwrap();
        assert_eq!(
            (area.name.as_str(), area.kind.as_str()),
            ("/dev/zram0", "partition")
        );
        assert_eq!((area.size, area.used), (524_284 * 1024, 4096));
        assert_eq!(swap_area("nonsense"), None);
    }
}
