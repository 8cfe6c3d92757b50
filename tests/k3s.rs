//! K3s on real nodes: from machines that answer SSH to a cluster that is up, through the ways in which that goes wrong. The
//! K3s is the one that `$K3S` names, else the stand-in in `target/k3s-standin`. Needs that, root and what the rehearsal lab
//! needs; else it says that it skipped.

#![expect(
    clippy::too_many_lines,
    reason = "what happens to a cluster is told in one piece"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise, starts processes, and looks at files"
)]

#[path = "k3s/adopted.rs"]
mod adopted;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "support/audit.rs"]
mod audit;
#[path = "k3s/causes.rs"]
mod causes;
#[path = "k3s/cluster.rs"]
mod cluster;
#[path = "k3s/ends.rs"]
mod ends;
#[path = "k3s/ops.rs"]
mod ops;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "k3s/rig.rs"]
mod rig;
#[path = "support/secrets.rs"]
mod secrets;
#[path = "support/skip.rs"]
mod skip;
#[path = "k3s/stops.rs"]
mod stops;
