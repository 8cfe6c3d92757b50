//! The scripts that get.k3s.io also leaves on a machine, under the same names, in words of our own: `k3s-killall.sh` ends what
//! K3s left running, `k3s-uninstall.sh` (on agents `k3s-agent-uninstall.sh`) takes it away with its data. The text is what a
//! reset runs as well, so a machine without the files is reset the same way.

use super::files::path;
use crate::facts::fact::Fact;
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::units::Mode;
use crate::steps::file::File;
use crate::steps::preflight::Role;
use crate::steps::shared::script;
use crate::steps::shared::whole::{Changes, compare, file};

const KILLALL: &str = include_str!("killall.sh");
const UNINSTALL: &str = include_str!("uninstall.sh");

/// Both scripts need root, as K3s' own do.
const ROOT: &str = "[ \"$(id -u)\" -eq 0 ] || exec sudo -- \"$0\" \"$@\"\n";

/// Where the script is that ends what runs.
pub fn killall_path() -> AbsPath {
    path("/usr/local/bin/k3s-killall.sh")
}

/// Where the script is that takes K3s away.
pub fn uninstall_path(role: Role) -> AbsPath {
    path(match role {
        Role::Server => "/usr/local/bin/k3s-uninstall.sh",
        Role::Agent => "/usr/local/bin/k3s-agent-uninstall.sh",
    })
}

/// The two files of a role.
pub fn files(role: Role) -> [File; 2] {
    let head = |what: &str| {
        format!(
            "#!/bin/sh\n# Written by hmco-boot, which overwrites changes. {what}\nset -eu\n{ROOT}"
        )
    };
    let killall = format!(
        "{}{KILLALL}k3s_killall\n",
        head("Ends all that K3s runs here; its data stay.")
    );
    let uninstall = format!(
        "{}{KILLALL}{UNINSTALL}k3s_uninstall\n",
        head(
            "Takes K3s away, its DATA included: datastore, snapshots, token, volumes of local-path."
        )
    );
    [(killall_path(), killall), (uninstall_path(role), uninstall)].map(|(at, text)| File {
        mode: Some(Mode(0o755)),
        ..file(&at, text)
    })
}

/// What there is to do about the two files, a line for each.
pub fn changes(
    role: Role,
    changes: &mut Changes,
    known: &Known<'_>,
) -> Result<Option<Failure>, Unreadable> {
    for file in files(role) {
        let mut own = Changes::default();
        if let Some(failure) = compare(&mut own, &file, known)? {
            return Ok(Some(failure));
        }
        if !own.actions.is_empty() {
            let line = format!("{}: script for people, as K3s' own", file.path);
            changes.diff.push(DiffLine::new(line));
            changes.actions.extend(own.actions);
        }
    }
    Ok(None)
}

/// Takes K3s and its data away.
pub fn uninstall() -> Action {
    let text = format!("[ -z \"$R\" ] || exit 0\n{KILLALL}{UNINSTALL}k3s_uninstall\n");
    let purpose = "take K3s and its data away".to_owned();
    script::run("k3s-uninstall", purpose, &text, [], &[])
}

/// What an uninstalled machine does not have.
pub fn remains() -> Vec<Fact> {
    let paths = [
        // The folder itself may be a disk's mount point.
        "/var/lib/rancher/k3s/server",
        "/var/lib/rancher/k3s/agent",
        "/var/lib/rancher/k3s/data",
        "/var/lib/rancher/k3s.removed",
        "/etc/rancher/k3s",
        "/etc/rancher/node",
        "/var/lib/kubelet/pods",
        "/etc/systemd/system/k3s.service",
        "/etc/systemd/system/k3s-agent.service",
        "/usr/local/bin/k3s",
        "/usr/local/bin/k3s-killall.sh",
        "/usr/local/bin/k3s-uninstall.sh",
        "/usr/local/bin/k3s-agent-uninstall.sh",
    ];
    paths.map(|at| Fact::Stat { path: path(at) }).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "runs the scripts as they are")]
    fn sh(text: &str, arguments: &[&str]) -> String {
        let said = std::process::Command::new("sh")
            .args(["-euc", text, "sh"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap()
    }

    #[test]
    fn both_scripts_are_shell_and_name_whose_they_are() {
        for role in [Role::Server, Role::Agent] {
            for file in files(role) {
                let text = file.content.unwrap();
                assert!(
                    text.expose()
                        .starts_with("#!/bin/sh\n# Written by hmco-boot")
                );
                sh(&format!("if false; then :\n{}\nfi", text.expose()), &[]);
            }
        }
    }

    #[test]
    fn only_mounts_of_k3s_are_taken_the_deepest_first() {
        let folder = tempfile::tempdir().unwrap();
        let mounts = folder.path().join("mounts");
        let table = "/dev/nvme0n1p1 /var/lib/rancher/k3s/storage ext4 rw 0 0\n\
            overlay /run/k3s/containerd/a/rootfs overlay rw 0 0\n\
            tmpfs /var/lib/kubelet/pods/x/volumes/a\\040b tmpfs rw 0 0\n\
            shm /run/k3s/containerd/a tmpfs rw 0 0\n\
            /dev/sda1 / ext4 rw 0 0\n\
            /dev/sdb /var/lib/kubelet/pods/y/mount ext4 rw 0 0\n\
            nas:/x /var/lib/rancher/k3s/server/db/snapshots nfs4 rw 0 0\n\
            tmpfs /run/k3s-other tmpfs rw 0 0\n";
        sh(
            "printf %s \"$2\" >\"$1\"",
            &[mounts.to_str().unwrap(), table],
        );
        let text = KILLALL.replace("/proc/self/mounts", mounts.to_str().unwrap());
        let found = sh(&format!("{text}\nk3s_mounts"), &[]);
        let found: Vec<&str> = found.lines().collect();
        assert_eq!(
            found,
            [
                "/var/lib/kubelet/pods/y/mount",
                "/var/lib/kubelet/pods/x/volumes/a b",
                "/run/k3s/containerd/a/rootfs",
                "/run/k3s/containerd/a",
            ]
        );
    }

    #[test]
    fn a_folder_is_gone_at_once_and_what_an_earlier_try_left_goes_too() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("k3s");
        let at = at.to_str().unwrap();
        let made = "mkdir -p \"$1/a/b\" \"$1.removed/old\"; : >\"$1/a/.hidden\"; ";
        for before in [made, "mkdir -p \"$1.removed/x\"; ", "mkdir \"$1\"; ", ":; "] {
            let left = sh(
                &format!("{before}{KILLALL}{UNINSTALL}away \"$1\"; ls -A \"${{1%/*}}\""),
                &[at],
            );
            assert_eq!(left, "", "{before}");
        }
    }
}
