//! What a base tree is made of: a Debian as a Raspberry Pi OS Lite or a Proxmox guest has it, plus what makes it start
//! well under systemd-nspawn. Pure; [`super::base`] makes it.

use sha2::{Digest as _, Sha256};

/// Debian's suite that nodes run by default.
pub const DEFAULT_SUITE: &str = "bookworm";

/// What Debian's addresses are in nodes, whatever mirror serves them in truth.
pub const MAIN_URL: &str = "http://deb.debian.org/debian";
/// The same for security updates.
pub const SECURITY_URL: &str = "http://deb.debian.org/debian-security";

/// Besides Debian's minimum. No Python: nodes need none.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "systemd-timesyncd",
    "libpam-systemd",
    "dbus",
    "openssh-server",
    "sudo",
    "iproute2",
    "iputils-ping",
    "iptables",
    "nftables",
    "kmod",
    "procps",
    "ca-certificates",
    "curl",
    "less",
    "busybox",
];

/// How a base is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipe {
    suite: String,
}

/// A file of the base.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseFile {
    /// Its path below the tree.
    pub path: &'static str,
    /// Its text.
    pub text: String,
    /// Its mode.
    pub mode: u32,
}

impl Recipe {
    /// For a suite.
    pub fn new(suite: impl Into<String>) -> Self {
        Self {
            suite: suite.into(),
        }
    }

    /// Debian's suite.
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// The packages, as debootstrap takes them.
    pub fn packages(&self) -> String {
        PACKAGES.join(",")
    }

    /// The script that is run in the tree (chroot) in the end.
    pub fn setup(&self) -> &'static str {
        include_str!("sh/setup.sh")
    }

    /// Files that are put into the tree.
    pub fn files(&self) -> Vec<BaseFile> {
        let file = |path, text: &str, mode| BaseFile {
            path,
            text: text.to_owned(),
            mode,
        };
        let suite = &self.suite;
        vec![
            file(
                "usr/local/sbin/lab-early",
                include_str!("sh/early.sh"),
                0o755,
            ),
            file("etc/systemd/system/lab-early.service", EARLY_UNIT, 0o644),
            file(
                "etc/systemd/system/lab-host-keys.service",
                HOST_KEYS_UNIT,
                0o644,
            ),
            // A server that answers lets people in: before that, /run/nologin shuts out all but root.
            file(
                "etc/systemd/system/ssh.service.d/lab.conf",
                "[Unit]\nAfter=systemd-user-sessions.service\n",
                0o644,
            ),
            file("etc/default/locale", "LANG=C.UTF-8\n", 0o644),
            file(
                "etc/apt/sources.list",
                &format!(
                    "deb {MAIN_URL} {suite} main\ndeb {MAIN_URL} {suite}-updates main\ndeb {SECURITY_URL} {suite}-security main\n"
                ),
                0o644,
            ),
        ]
    }

    /// A name for the tree that differs where anything of the recipe does.
    pub fn key(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update(text.len().to_le_bytes());
            hash.update(text.as_bytes());
        };
        add(&self.suite);
        add(std::env::consts::ARCH);
        add(&self.packages());
        add(self.setup());
        for file in self.files() {
            add(file.path);
            add(&file.text);
            add(&file.mode.to_string());
        }
        let digest = hash.finalize();
        let hex: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
        format!("{}-{hex}", self.suite)
    }
}

const EARLY_UNIT: &str = "\
[Unit]
Description=What systemd-nspawn withholds from a rehearsal node
DefaultDependencies=no
Before=sysinit.target systemd-sysctl.service systemd-tmpfiles-setup.service
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-early
[Install]
WantedBy=sysinit.target
";

const HOST_KEYS_UNIT: &str = "\
[Unit]
Description=SSH host keys of this node alone
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key.pub
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A
[Install]
WantedBy=multi-user.target
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_recipe_has_another_name() {
        assert_eq!(Recipe::new("bookworm").key(), Recipe::new("bookworm").key());
        assert_ne!(Recipe::new("bookworm").key(), Recipe::new("trixie").key());
        assert!(Recipe::new("bookworm").key().starts_with("bookworm-"));
    }

    #[test]
    fn nodes_have_no_python() {
        assert!(!Recipe::new("bookworm").packages().contains("python"));
    }
}
