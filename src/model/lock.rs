//! The lock on a machine that a run may change: who wants it, and what the machine says to that.

use serde::{Deserialize, Serialize};

use super::id::{JobId, RunId};
use super::units::TimeSpan;

/// A wish to hold, or to go on holding, a machine's lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LockClaim {
    /// The run; what a [`Job`](super::action::Job) is fenced by.
    pub run: RunId,
    /// For people who meet the lock: user, machine, command, process, since when. One line.
    pub holder: String,
    /// Names the state folder whose local lock the run holds (16 hex digits, keyed): a lock that a run of the same state
    /// folder left behind belongs to a dead process, and is taken over at once.
    pub owner: String,
    /// How long the lock counts without being renewed, in time that the machine is up.
    pub lease: TimeSpan,
}

/// What a machine says to a [`LockClaim`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockAnswer {
    /// It is held now and was not before: it was free, or its holder is dead.
    Taken,
    /// It was held by this run and still is.
    Renewed,
    /// A live run holds it.
    Held {
        /// Which.
        run: RunId,
        /// Who, by its own words.
        holder: String,
        /// Seconds until it counts as dead, unless it is renewed.
        seconds_left: u64,
    },
    /// Its holder did not renew it in time, but a job of that run still works here: not robbed.
    Working {
        /// Which run.
        run: RunId,
        /// Who, by its own words.
        holder: String,
        /// Its job.
        job: JobId,
    },
}
