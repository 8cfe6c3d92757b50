//! What a lab needs of this machine: found out before anything is begun, all at once, with the line that installs it.

use std::path::Path;

use super::{LabError, command, files};
use crate::model::outcome::Failure;

/// A program or file, and Debian's package that has it.
const NEEDED: &[(&str, &str)] = &[
    ("debootstrap", "debootstrap"),
    (
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "debian-archive-keyring",
    ),
    ("systemd-nspawn", "systemd-container"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("setsid", "util-linux"),
    ("mount", "mount"),
    ("find", "findutils"),
];

/// Watches of files (inotify instances) that a node of plain Debian may need; all nodes share the limit of the host's
/// root.
const WATCHES_PER_NODE: usize = 12;

/// Refuses anybody but root.
///
/// # Errors
/// Where this process is not root's.
pub fn expect_root() -> Result<(), LabError> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(LabError::Usage(
        Failure::new("a lab needs root: it mounts, makes links, and starts machines").hint(
            "run it with sudo; lab nodes are as powerful as root on this machine, so do it only where that is fine",
        ),
    ))
}

/// Refuses where something is missing, naming all of it.
///
/// # Errors
/// With the packages to install.
pub fn expect_tools() -> Result<(), LabError> {
    let missing = missing(&|what| {
        if what.starts_with('/') {
            Path::new(what).exists()
        } else {
            command::exists(what)
        }
    });
    if let Some(failure) = missing {
        return Err(LabError::Usage(failure));
    }
    let id = files::read_if_any(Path::new("/etc/machine-id"));
    if id.trim().is_empty() {
        // systemd-nspawn makes the links' addresses from it.
        return Err(LabError::Usage(
            Failure::new("this machine has no id in /etc/machine-id")
                .hint("give it one: systemd-machine-id-setup"),
        ));
    }
    Ok(())
}

/// Words for where this machine lets so many nodes more watch too few files; they would start and then fail oddly, without an
/// SSH server.
pub fn few_watches(nodes: usize) -> Option<String> {
    let path = "/proc/sys/fs/inotify/max_user_instances";
    let limit: usize = files::read_if_any(Path::new(path)).trim().parse().ok()?;
    let used = files::inotify_instances();
    (limit < used + nodes * WATCHES_PER_NODE).then(|| {
        format!(
            "fs.inotify.max_user_instances is {limit}, of which {used} are in use: that may be too little for {nodes} more nodes; raise it: sysctl -w fs.inotify.max_user_instances=8192"
        )
    })
}

fn missing(exists: &dyn Fn(&str) -> bool) -> Option<Failure> {
    let (mut things, mut packages) = (Vec::new(), Vec::new());
    for (thing, package) in NEEDED {
        if !exists(thing) {
            things.push(*thing);
            if !packages.contains(package) {
                packages.push(*package);
            }
        }
    }
    (!things.is_empty()).then(|| {
        Failure::new(format!("missing on this machine: {}", things.join(", ")))
            .hint(format!("on Debian: apt-get install {}", packages.join(" ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_named_with_each_package_once() {
        assert_eq!(missing(&|_| true), None);
        let failure = missing(&|what| !what.starts_with("ssh")).unwrap();
        assert_eq!(failure.message, "missing on this machine: ssh, ssh-keygen");
        assert_eq!(
            failure.hint.as_deref(),
            Some("on Debian: apt-get install openssh-client")
        );
    }
}
