//! What a lab needs of this machine: found out before anything is begun, all at once, with the line that installs it.

use std::path::Path;

use super::{LabError, command};
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
    match missing {
        None => Ok(()),
        Some(failure) => Err(LabError::Usage(failure)),
    }
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
