//! The real binary on real nodes: systemd, OpenSSH, sudo, dpkg; nodes that lose power or their network, and a tool that is
//! killed. Needs root and what the rehearsal lab needs, else it says that it skipped.

#![expect(
    clippy::too_many_lines,
    reason = "what happens to a node is told in one piece"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise, starts processes, and looks at files"
)]

#[path = "support/canary.rs"]
mod canary;
#[path = "nodes/canary.rs"]
mod canary_on_nodes;
#[path = "nodes/disks.rs"]
mod disks;
#[path = "nodes/locks.rs"]
mod locks;
#[path = "nodes/packages.rs"]
mod packages;
#[path = "nodes/reach.rs"]
mod reach;
#[path = "nodes/restarts.rs"]
mod restarts;
#[path = "nodes/rig.rs"]
mod rig;
#[path = "support/secrets.rs"]
mod secrets;
#[path = "nodes/services.rs"]
mod services;
#[path = "support/skip.rs"]
mod skip;
#[path = "nodes/stops.rs"]
mod stops;
#[path = "nodes/sudo.rs"]
mod sudo;
#[path = "nodes/units.rs"]
mod units;
#[path = "nodes/ways.rs"]
mod ways;
