//! The locks of a command that changes things: who we are, and what to lock with.

use std::sync::Arc;

use super::Context;
use crate::engine::clock::{Clock, SystemClock};
use crate::engine::locks::{LEASE, LeftBehind, LocalLock, RunLocks};
use crate::journal::local_lock::{LockHolder, LockMode};
use crate::journal::state_dir::StateDir;
use crate::model::fingerprint::Fingerprinter;
use crate::model::id::RunId;
use crate::model::lock::LockClaim;
use crate::model::outcome::Failure;
use crate::transport::Hosts;

/// The lock of the cluster on this machine.
struct ClusterLock {
    state: Arc<StateDir>,
    holder: LockHolder,
}

impl LocalLock for ClusterLock {
    fn take(&self) -> Result<Box<dyn Send>, Failure> {
        match self.state.lock(&self.holder, LockMode::Exclusive) {
            Ok(lock) => Ok(Box::new(lock)),
            Err(error) => Err(error.failure().clone()),
        }
    }
}

/// The locks of a run; `left`: those of dead runs that it goes on with.
pub fn run_locks(
    state: Arc<StateDir>,
    fingerprinter: &Fingerprinter,
    hosts: Arc<dyn Hosts>,
    holder: LockHolder,
    run: &RunId,
    left: LeftBehind,
) -> RunLocks {
    let claim = claim(&state, fingerprinter, &holder, run);
    RunLocks::new(Box::new(ClusterLock { state, holder }), hosts, claim).clearing_away(left)
}

/// What a run says of itself to the machines that it locks.
pub fn claim(
    state: &StateDir,
    fingerprinter: &Fingerprinter,
    holder: &LockHolder,
    run: &RunId,
) -> LockClaim {
    // A copy of the state folder on another machine has the same key; what holds its local lock there says nothing here.
    let place = format!("{}\n{}", holder.host, state.path().display());
    let owner = fingerprinter.fingerprint("lock-owner", place.as_bytes());
    LockClaim {
        run: run.clone(),
        holder: holder.in_words(),
        owner: owner.chars().take(16).collect(),
        lease: LEASE,
    }
}

/// Who we are, for the locks.
pub fn holder(
    context: &Context<'_>,
    run: &RunId,
    clock: &SystemClock,
    command: String,
) -> LockHolder {
    let user = context
        .env
        .var("USER")
        .map(|user| user.to_string_lossy().into_owned());
    let uid = rustix::process::geteuid().as_raw();
    LockHolder {
        run: Some(run.clone()),
        pid: std::process::id(),
        user: user.unwrap_or_else(|| format!("uid {uid}")),
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        since_ms: clock.wall_ms(),
        command,
    }
}
