//! The lock of a machine in memory.

use std::time::Duration;

use super::state::{FakeJob, State};
use crate::model::action::Job;
use crate::model::id::RunId;
use crate::model::lock::{LockAnswer, LockClaim};
use crate::transport::HostError;
use crate::transport::story::fenced;

/// Who holds it, and until when.
#[derive(Clone, Debug)]
pub(super) struct FakeLock {
    pub(super) run: RunId,
    holder: String,
    owner: String,
    lease: Duration,
    until: Duration,
}

impl FakeLock {
    /// Taken again after a restart.
    pub(super) fn anew(mut self) -> Self {
        self.until = self.lease;
        self
    }
}

impl State {
    /// Takes or renews it.
    pub(super) fn lock(&mut self, claim: &LockClaim) -> LockAnswer {
        let own = self.lock.as_ref().is_some_and(|lock| lock.run == claim.run);
        if let Some(lock) = self
            .lock
            .as_ref()
            .filter(|lock| !own && lock.owner != claim.owner)
        {
            if lock.until > self.uptime {
                return LockAnswer::Held {
                    run: lock.run.clone(),
                    holder: lock.holder.clone(),
                    seconds_left: (lock.until - self.uptime).as_secs().max(1),
                };
            }
            if let Some(job) = self.working(&lock.run) {
                return LockAnswer::Working {
                    run: lock.run.clone(),
                    holder: lock.holder.clone(),
                    job,
                };
            }
        }
        self.lock = Some(FakeLock {
            run: claim.run.clone(),
            holder: claim.holder.clone(),
            owner: claim.owner.clone(),
            lease: claim.lease.0,
            until: self.uptime + claim.lease.0,
        });
        if own {
            LockAnswer::Renewed
        } else {
            LockAnswer::Taken
        }
    }

    /// Gives it back, if it is this run's.
    pub(super) fn unlock(&mut self, run: &RunId) {
        self.lock.take_if(|lock| lock.run == *run);
    }

    /// Why a job may not begin, where its run does not hold the lock; else the lock lasts longer.
    pub(super) fn fence(&mut self, job: &Job) -> Option<HostError> {
        let run = job.fence.as_ref()?;
        match &mut self.lock {
            Some(lock) if lock.run == *run => {
                lock.until = self.uptime + lock.lease;
                None
            }
            Some(lock) => Some(fenced(Some(lock.run.as_str()), &lock.holder)),
            None => Some(fenced(None, "")),
        }
    }

    /// What the file says.
    pub(super) fn lock_text(&self) -> Option<String> {
        let lock = self.lock.as_ref()?;
        Some(format!("run {}\nholder {}\n", lock.run, lock.holder))
    }

    fn working(&self, run: &RunId) -> Option<crate::model::id::JobId> {
        let of_run = format!("{run}-");
        self.jobs
            .iter()
            .find(|(id, job)| {
                matches!(job, FakeJob::Running(_)) && id.as_str().starts_with(&of_run)
            })
            .map(|(id, _)| id.clone())
    }
}
