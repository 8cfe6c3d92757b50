//! The Kubernetes part on a real API: etcd and kube-apiserver of a K3s on one lab node, asked by the real binary through
//! SSH, with an audit log that tells what was asked. The K3s is the one that `$K3S` names, else the stand-in in
//! `target/k3s-standin`. Needs that, root and what the rehearsal lab needs; else it says that it skipped.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise, starts processes, and looks at files"
)]

#[path = "kube_api/api.rs"]
mod api;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "support/audit.rs"]
mod audit;
#[path = "support/cluster_contract.rs"]
mod cluster_contract;
#[path = "kube_api/contract.rs"]
mod contract;
#[path = "kube_api/converged.rs"]
mod converged;
#[path = "support/mirror.rs"]
mod mirror;
#[path = "kube_api/outages.rs"]
mod outages;
#[path = "kube_api/refusals.rs"]
mod refusals;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "k3s/rig.rs"]
mod rig;
#[path = "support/secrets.rs"]
mod secrets;
#[path = "kube_api/servers.rs"]
mod servers;
#[path = "support/skip.rs"]
mod skip;
#[path = "kube_api/upstream.rs"]
mod upstream;
