//! What is mounted on this machine below a folder.

use std::path::{Path, PathBuf};

use super::{command, files};
use crate::model::outcome::Failure;

/// A line of `/proc/self/mountinfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Where.
    pub point: PathBuf,
    /// Type of file system.
    pub kind: String,
    /// Options of the file system (for cgroup v1: its controllers).
    pub options: String,
}

/// All mounts, in the order they were made.
pub fn all() -> Vec<Mount> {
    parse(&files::read_if_any(Path::new("/proc/self/mountinfo")))
}

/// Whether something of this type is mounted exactly there.
pub fn is_mounted(point: &Path, kind: &str) -> bool {
    all()
        .iter()
        .any(|mount| mount.point == point && mount.kind == kind)
}

/// Takes off all that is mounted on or below a folder.
///
/// # Errors
/// Where something is in use or cannot be taken off.
pub fn unmount_below(folder: &Path) -> Result<(), Failure> {
    // The last one first: it lies on top.
    for mount in all().iter().rev() {
        if mount.point.starts_with(folder) {
            command::run("umount", &[&mount.point.to_string_lossy()]).map_err(|failure| {
                failure.hint("end what still uses it (fuser -vm shows that), then repeat")
            })?;
        }
    }
    Ok(())
}

fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(line).collect()
}

/// `36 35 98:0 /root /point options shared:1 - type source super-options`, with blanks as `\040`.
fn line(line: &str) -> Option<Mount> {
    let (place, system) = line.split_once(" - ")?;
    let mut system = system.split(' ');
    Some(Mount {
        point: PathBuf::from(unescaped(place.split(' ').nth(4)?)),
        kind: system.next()?.to_owned(),
        options: system.nth(1).unwrap_or_default().to_owned(),
    })
}

fn unescaped(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_with_its_type_and_options() {
        let text = "25 1 0:22 / /sys/fs/cgroup/cpu\\040x rw shared:9 - cgroup cgroup rw,cpu,cpuacct\nnonsense\n";
        let expected = Mount {
            point: "/sys/fs/cgroup/cpu x".into(),
            kind: "cgroup".into(),
            options: "rw,cpu,cpuacct".into(),
        };
        assert_eq!(parse(text), [expected]);
    }

    #[test]
    fn this_machine_has_a_root() {
        assert!(all().iter().any(|mount| mount.point == Path::new("/")));
    }
}
