//! The `Host` seam: reading facts from a machine and applying jobs to it. Two implementations: real machines (the same
//! shell text carried by `local` or, later, SSH) and `fake`, a machine in memory. `tests/seam_contract.rs` holds both to
//! the same cases.

mod actions;
mod clock_offset;
pub mod controller;
mod exec;
#[doc(hidden)]
pub mod fake;
mod job;
pub mod local;
mod lock;
pub mod machine;
pub mod machines;
mod restart;
pub mod shell;
pub mod ssh;
mod story;
pub mod stream;
pub mod upload;

pub use stream::{Stream, Tunnels};

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::facts::fact::{Answer, Fact};
use crate::model::action::{Job, JobEnd};
use crate::model::id::{JobId, RunId, Target};
use crate::model::lock::{LockAnswer, LockClaim};
use crate::model::outcome::Failure;

/// A boxed future, so that the seam's traits can be used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Takes a running job's output as it comes (lossy UTF-8). Must not block.
pub type OutputSink<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// A machine.
pub trait Host: Send + Sync {
    /// Reads facts in one execution; every fact asked for has exactly one answer. Changes nothing.
    fn read<'a>(&'a self, facts: &'a [Fact]) -> BoxFuture<'a, Result<Vec<Answer>, HostError>>;

    /// Starts a job detached under its id, awaits its end, then reads facts: one execution. Refuses
    /// ([`HostErrorKind::Busy`]) while another job of hmco-boot runs there, or where this id has run before.
    fn apply<'a>(
        &'a self,
        job: &'a Job,
        facts: &'a [Fact],
        output: OutputSink<'a>,
    ) -> BoxFuture<'a, Result<Applied, HostError>>;

    /// Awaits a job that an earlier run, or a lost connection, left behind; with `end` its processes are ended first.
    /// Its folder is removed. A job that is not there is [`JobStatus::Lost`](crate::model::action::JobStatus::Lost).
    fn attach<'a>(
        &'a self,
        job: &'a JobId,
        end: bool,
        output: OutputSink<'a>,
    ) -> BoxFuture<'a, Result<JobEnd, HostError>>;

    /// Takes the machine's lock, or renews it; atomically against everybody else. A lock of another boot, or one that
    /// was not renewed in time, is dead, unless a job of its run still works; a lock of the same owner is taken over.
    fn lock<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<LockAnswer, HostError>>;

    /// Gives the lock back, if it is this run's. One that is not is left alone, and that is no error.
    fn unlock<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), HostError>>;
}

/// Gives the machine behind a target, connecting where that is needed.
pub trait Hosts: Send + Sync {
    /// The machine. Called before every execution: what is connected is kept.
    fn host<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Arc<dyn Host>, HostError>>;
}

/// What an apply gave.
#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    /// How the job ended.
    pub end: JobEnd,
    /// The facts, read after it.
    pub answers: Vec<Answer>,
}

/// A machine could not be talked to.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", failure.message)]
pub struct HostError {
    /// What sort of trouble.
    pub kind: HostErrorKind,
    /// For people.
    pub failure: Failure,
}

/// Sorts of trouble with a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostErrorKind {
    /// It does not answer, refuses the login, or shows another host key. `transient`: trying again may help.
    Unreachable {
        /// Whether trying again may help.
        transient: bool,
    },
    /// The connection was lost after something was sent: a job may run there. Find out by [`Host::attach`].
    Lost,
    /// Another job runs there.
    Busy,
    /// The payload did not arrive whole; the job was not started.
    NotStarted,
    /// It answered nonsense.
    Protocol,
    /// Its lock is not held by the run that the job belongs to ([`Job::fence`]); nothing was done.
    Fenced,
}
