//! The scripts that get.k3s.io also leaves on a machine, under the same names, in words of our own: `k3s-killall.sh` ends what
//! K3s left running, `k3s-uninstall.sh` (on agents `k3s-agent-uninstall.sh`) takes it away with its data. The text is what a
//! reset runs as well, so a machine without the files is reset the same way.

use super::files::path;
use crate::facts::fact::Fact;
use crate::facts::known::{Known, Unreadable};
use crate::facts::script::RUNS_K3S;
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
        "{}{RUNS_K3S}{KILLALL}{UNINSTALL}k3s_uninstall\n",
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
    let text = format!("[ -z \"$R\" ] || exit 0\n{RUNS_K3S}{KILLALL}{UNINSTALL}k3s_uninstall\n");
    let purpose = "take K3s and its data away".to_owned();
    script::run("k3s-uninstall", purpose, &text, [], &[])
}

/// What an uninstalled machine does not have.
pub fn remains() -> Vec<Fact> {
    let paths = [
        // The folders themselves may be links or mount points, which stay: what is in them is seen through a link.
        "/var/lib/rancher/k3s/server",
        "/var/lib/rancher/k3s/agent",
        "/var/lib/rancher/k3s/data",
        "/var/lib/rancher/k3s/storage",
        "/var/lib/rancher/k3s/.removed",
        "/var/lib/rancher/k3s.removed",
        "/var/lib/kubelet/pods",
        "/etc/rancher/k3s/config.yaml",
        "/etc/rancher/k3s/config.yaml.d",
        "/etc/rancher/k3s/k3s.yaml",
        "/etc/rancher/node/password",
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
pub(super) mod tests;
