//! What a program said, and what runs of hmco-boot left behind.

use serde::{Deserialize, Serialize};

use crate::model::id::JobId;

/// What a read-only program said.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecResult {
    /// Exit status; 128 + N after signal N.
    pub exit: i32,
    /// Standard output, capped at 1 MiB (more answers `Truncated`).
    pub stdout: Vec<u8>,
    /// Standard error, capped at 64 KiB.
    pub stderr: Vec<u8>,
}

impl std::fmt::Debug for ExecResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "ExecResult(exit {}, {} + {} bytes)",
            self.exit,
            self.stdout.len(),
            self.stderr.len()
        )
    }
}

/// What hmco-boot left on a target.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RunState {
    /// Boot id at the time of reading.
    pub boot_id: String,
    /// Raw text of the lock file, where there is one.
    pub lock: Option<String>,
    /// Jobs whose folders are there.
    pub jobs: Vec<LeftoverJob>,
    /// Raw text of /var/lib/hmco-boot/procedure.json, where there is one.
    pub procedure: Option<String>,
}

/// A job's folder on a target.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeftoverJob {
    /// The job.
    pub id: JobId,
    /// Whether its processes still run.
    pub running: bool,
    /// Text of its status file, where it has ended by itself.
    pub status: Option<String>,
}
