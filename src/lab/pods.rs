//! Where pods of a real K3s on a node go. Under cgroup v1 it is told a control group (the lab's inventory says which) that
//! must be there before it starts: made anew at each start of the node.

use std::path::Path;

use super::files;
use crate::model::outcome::Failure;

const SCRIPT: &str = "usr/local/sbin/lab-pods";

/// Once the node has its control groups, which it gets before anything else.
const DROP_IN: &str = "[Service]\nExecStart=-/usr/local/sbin/lab-pods\n";

/// Puts it into the file tree of a node.
///
/// # Errors
/// Where it cannot be written.
pub fn prepare(root: &Path) -> Result<(), Failure> {
    files::write(&root.join(SCRIPT), include_str!("sh/pods.sh"), 0o755)?;
    let folder = root.join("etc/systemd/system/lab-early.service.d");
    files::folder(&folder)?;
    files::write(&folder.join("pods.conf"), DROP_IN, 0o644)
}
