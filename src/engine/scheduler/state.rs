//! What the scheduler knows of pairs, targets and itself.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::facts::fact::Fact;
use crate::model::event::CancelLevel;
use crate::model::id::{JobId, PairId, StepAddr, Target};
use crate::model::outcome::{Failure, Outcome};
use crate::steps::Touches;

/// The pair that a blocked one is blocked by in the end.
pub(super) type Cause = (StepAddr, Target);

#[derive(Debug)]
pub(super) struct PairState {
    pub(super) phase: Phase,
    /// Index into `targets`.
    pub(super) target: usize,
    /// Applies so far.
    pub(super) attempts: u32,
    /// Those that failed in a way that the retry policy counts.
    pub(super) failures: u32,
    /// Rounds of facts asked for in this epoch.
    pub(super) rounds: u32,
    pub(super) epoch: u64,
    /// Facts of its own target that it asked for while deciding: what its verification will want again.
    pub(super) asked: BTreeSet<Fact>,
    /// Its conditions are known to hold.
    pub(super) conditions_hold: bool,
    /// A crashed run's job for this pair was seen to succeed.
    pub(super) credited: bool,
    /// A job without a verdict has been tried again.
    pub(super) lost_once: bool,
    /// Actions of its present job that write a file only while it is the one they were decided on.
    pub(super) edits: BTreeSet<u32>,
    /// Limit of its present job, and how long its actions may wait by limits of their own.
    pub(super) limit: Duration,
    pub(super) waits: Duration,
    /// What the actions of its present job are for.
    pub(super) purposes: Vec<Option<String>>,
    /// Jobs that ended because such a file was another one by then.
    pub(super) collisions: u32,
    /// Applies that were refused because the lock was gone.
    pub(super) fenced: u32,
    /// What is awaited was waited for as long as it may be.
    pub(super) time_is_up: bool,
    /// A target before it in its series did not end well: it is not to be applied, but it may turn out that its
    /// conditions never wanted it to be.
    pub(super) doomed: Option<Cause>,
    /// What those that wait for it were told of its end, where that is no good one.
    pub(super) passed_on: Option<Cause>,
    /// It has told what a person should know of it.
    pub(super) warned: bool,
    /// How many jobs of its series had begun when it last looked at other targets.
    pub(super) looked_after: usize,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Phase {
    Waiting,
    Ready,
    Applying {
        job: JobId,
        upload: bool,
    },
    /// The connection was lost during `Applying`; the job is being attached to.
    Recovering {
        job: JobId,
        upload: bool,
    },
    Verifying,
    Retrying,
    Polling {
        what: Awaited,
        polls: u32,
        paused: bool,
    },
    Done(Outcome),
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Awaited {
    /// What the pair checks.
    Check,
    /// Its gate.
    Gate {
        /// Whether the pair was changed before.
        changed: bool,
    },
}

#[derive(Debug, Default)]
pub(super) struct VertexState {
    pub(super) remaining: usize,
    pub(super) failed: u32,
    pub(super) cause: Option<Cause>,
    /// Those that wait for it were told of its end.
    pub(super) passed: bool,
}

#[derive(Debug)]
pub(super) struct TargetState {
    pub(super) target: Target,
    /// Its pairs that are not done, in plan order.
    pub(super) open: BTreeSet<PairId>,
    /// Those in a phase that needs attention, in plan order.
    pub(super) active: BTreeSet<PairId>,
    pub(super) busy: Busy,
    /// It has been read since the start or the lock.
    pub(super) greeted: bool,
    /// What is being read now was asked before the lock was held: not to be used.
    pub(super) discard: bool,
    pub(super) reading: BTreeSet<Fact>,
    /// What of that must be read once more: it may be seen too early.
    pub(super) outdated: BTreeSet<Fact>,
    /// Facts that pairs elsewhere want of it.
    pub(super) wanted: BTreeSet<Fact>,
    /// Jobs of earlier runs, to be attached to one after another.
    pub(super) leftovers: Vec<JobId>,
    /// Those that were attached to and have ended: not waited for again, whatever is still listed.
    pub(super) attended: BTreeSet<JobId>,
    /// Why it could not be found out whether an earlier run's job is there: nothing may be applied.
    pub(super) unsure: Option<String>,
    /// Why its lock could not be taken though it answers: nothing may be applied.
    pub(super) unlocked: Option<Failure>,
    /// Preview only: what drifting steps would have touched, and which.
    pub(super) touched: Vec<(Touches, PairId)>,
    /// Its pairs that are as wished by what was read before the lock, while it may still be changed: decided again under the
    /// lock, and only then said to have ended.
    pub(super) provisional: Vec<PairId>,
    pub(super) tries: u32,
    pub(super) round: u32,
    pub(super) unreachable: Option<Failure>,
}

/// What is under way on a target: one thing at a time.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) enum Busy {
    #[default]
    Free,
    Reading,
    /// A pair's job, or the search for it after its connection was lost.
    Job(PairId),
    /// An earlier run's job.
    Leftover(JobId),
    /// Nothing, until the next try to reach it.
    Pause,
    /// Its lock is gone and is being taken again.
    Locking,
}

#[derive(Debug, Default)]
pub(super) struct Series {
    /// Its pairs that are not done, in plan order.
    pub(super) open: BTreeSet<PairId>,
    pub(super) limit: usize,
    /// Jobs of its pairs so far.
    pub(super) jobs: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lock {
    Free,
    Asked,
    Held,
}

#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Retry(PairId),
    Poll(PairId),
    PollLimit(PairId, Awaited),
    Attach(PairId),
    Reach(usize),
    Uploads,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Stop {
    Cancelled(CancelLevel),
    LockRefused,
    Journal,
    StalePlan,
}

impl Stop {
    /// By the order of exit codes: the reason with the smaller one counts.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Cancelled(_) => 0,
            Self::LockRefused => 1,
            Self::Journal | Self::StalePlan => 2,
        }
    }
}

impl PairState {
    pub(super) fn new(target: usize) -> Self {
        Self {
            phase: Phase::Waiting,
            target,
            attempts: 0,
            failures: 0,
            rounds: 0,
            epoch: 0,
            asked: BTreeSet::new(),
            conditions_hold: false,
            credited: false,
            lost_once: false,
            edits: BTreeSet::new(),
            limit: Duration::ZERO,
            waits: Duration::ZERO,
            purposes: Vec::new(),
            collisions: 0,
            fenced: 0,
            time_is_up: false,
            doomed: None,
            passed_on: None,
            warned: false,
            looked_after: 0,
        }
    }
}

impl TargetState {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            open: BTreeSet::new(),
            active: BTreeSet::new(),
            busy: Busy::Free,
            greeted: false,
            discard: false,
            reading: BTreeSet::new(),
            outdated: BTreeSet::new(),
            wanted: BTreeSet::new(),
            leftovers: Vec::new(),
            attended: BTreeSet::new(),
            unsure: None,
            unlocked: None,
            touched: Vec::new(),
            provisional: Vec::new(),
            tries: 0,
            round: 0,
            unreachable: None,
        }
    }
}
