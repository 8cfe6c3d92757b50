//! What goes into the scheduler and what comes out: inputs, commands, settings.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::locks::{LockNews, NotLocked};
use crate::facts::fact::{Answer, Fact};
use crate::model::action::{Job, JobEnd};
use crate::model::event::{CancelLevel, DiffLine, Event};
use crate::model::id::{JobId, PairId, RunId, Target};
use crate::model::outcome::{ExitCode, Failure};
use crate::plan::saved::Expectation;
use crate::transport::{Applied, HostError};

/// Something happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The run begins. Once, first.
    Start,
    /// A [`Command::Read`] ended.
    Read {
        /// Of which target.
        target: Target,
        /// The answers.
        result: Result<Vec<Answer>, HostError>,
        /// How long it took.
        took_ms: u64,
    },
    /// A [`Command::Apply`] ended.
    Applied {
        /// Of which pair.
        pair: PairId,
        /// The job's end and the facts after it.
        result: Result<Applied, HostError>,
    },
    /// A [`Command::Attach`] ended.
    Attached {
        /// On which target.
        target: Target,
        /// To which job.
        job: JobId,
        /// Its end.
        result: Result<JobEnd, HostError>,
    },
    /// A [`Command::After`] is over.
    Timer(TimerId),
    /// Answer to [`Command::Lock`]: those that could not be asked.
    Locked(Result<Vec<NotLocked>, Failure>),
    /// Answer to [`Command::Relock`]; an error of kind `Fenced` = somebody else holds it.
    Relocked {
        /// Where.
        target: Target,
        /// Whether it is held again.
        result: Result<(), HostError>,
    },
    /// A lock that is held was gone for a while, or is lost.
    LockNews(LockNews),
    /// Answer to [`Command::Confirm`].
    Confirmed(bool),
    /// Ctrl-C.
    Cancel(CancelLevel),
    /// An event could not be recorded: nothing new may start. `unstarted`: the pair whose apply was held back by it.
    JournalFailed {
        /// Why.
        failure: Failure,
        /// Its [`Command::Apply`] was not carried out.
        unstarted: Option<PairId>,
    },
}

/// Something is to be done. In order: an effect never overtakes the event before it.
#[derive(Clone, Debug)]
pub enum Command {
    /// Record and show an event; `durable`: it must survive a power cut before what follows is carried out.
    Emit {
        /// The event.
        event: Event,
        /// See above.
        durable: bool,
    },
    /// Read facts.
    Read {
        /// From here.
        target: Target,
        /// These.
        facts: Vec<Fact>,
    },
    /// Apply a job, then read facts.
    Apply {
        /// For this pair.
        pair: PairId,
        /// Here.
        target: Target,
        /// This.
        job: Job,
        /// Then these.
        facts: Vec<Fact>,
    },
    /// Await a job that is already there.
    Attach {
        /// Here.
        target: Target,
        /// This one.
        job: JobId,
    },
    /// Give [`Input::Timer`] after a while.
    After {
        /// Which.
        timer: TimerId,
        /// How long.
        delay: Duration,
    },
    /// Take the locks: the cluster's, then these targets' in order.
    Lock {
        /// Those that may change.
        targets: Vec<Target>,
    },
    /// Take a lock again that is gone from a target.
    Relock {
        /// Where.
        target: Target,
    },
    /// Ask a person whether these disruptive pairs may go ahead.
    Confirm {
        /// Them.
        pairs: Vec<PairId>,
    },
    /// The run is over.
    Finished(ExitCode),
}

/// Names a timer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TimerId(pub u64);

/// Whether things may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Bring the targets to the wishes.
    Run,
    /// Only compare; there is no command that changes anything.
    Preview,
}

/// What to do at the first disruptive step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consent {
    /// Ask (on a terminal).
    Ask,
    /// `--yes`.
    Given,
    /// Refuse (no terminal, no `--yes`).
    Refused,
}

/// Settings of a scheduler.
#[derive(Clone, Debug)]
pub struct Options {
    /// Run or preview.
    pub mode: Mode,
    /// The run; part of every job's id.
    pub run: RunId,
    /// Executions at once, over all targets; 0 counts as 1.
    pub parallel: usize,
    /// Applies with a large payload at once, when the first is through; 0 counts as 1. Few, because they share one link.
    pub uploads: usize,
    /// For disruptive steps.
    pub consent: Consent,
    /// Tries to reach a target before it counts as unreachable, and the pause between them.
    pub reach: (u32, Duration),
    /// Jobs that an earlier, crashed run had started and whose end it did not see.
    pub prior_jobs: BTreeMap<JobId, PairId>,
    /// What a saved plan was made from.
    pub expectation: Option<Expectation>,
}

impl Options {
    /// The usual settings for a run.
    pub fn new(run: RunId) -> Self {
        Self {
            mode: Mode::Run,
            run,
            parallel: 32,
            uploads: 4,
            consent: Consent::Refused,
            reach: (2, Duration::from_secs(1)),
            prior_jobs: BTreeMap::new(),
            expectation: None,
        }
    }
}

/// What a preview says of a pair.
#[derive(Clone, PartialEq, Debug)]
pub enum Preview {
    /// As wished.
    Unchanged,
    /// Would change.
    Drift(Vec<DiffLine>),
    /// Can only be decided when a step before it has changed its target.
    Later(String),
}
