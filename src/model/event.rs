//! The events of a run: the only bridge out of the engine. Journal, terminal, plain lines, JSON and replay all read
//! these and nothing else.
//!
//! Classes and what may be lost: everything but [`Event::StepOutput`] and [`Event::GateWaiting`] must arrive, in order;
//! those two may be dropped or merged. A reader meets an event of a later minor version as [`Event::Other`] and goes on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::{JobId, KindName, PairId, RunId, StepAddr, Target};
use super::outcome::{ExitCode, Failure, Outcome};

/// Version of the event format; in every journal and every JSON stream.
pub const EVENT_VERSION: u32 = 1;

/// An event with its place in the run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Position in the run, from 0 without gaps.
    pub seq: u64,
    /// Wall clock in milliseconds since 1970 (UTC); for people, never for correctness.
    pub at_ms: i64,
    /// What happened.
    pub event: Event,
}

/// Something that happened in a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The first event.
    RunStarted(Box<RunStarted>),
    /// A target is being read: round `round` (from 1), `facts` facts in one execution.
    FactsRequested {
        /// Which target.
        target: Target,
        /// Which round since the last change, from 1.
        round: u32,
        /// How many facts are asked for.
        facts: u32,
    },
    /// A target answered.
    FactsRead {
        /// Which target.
        target: Target,
        /// How many answers are errors other than "not found".
        failed: u32,
        /// How long it took.
        took_ms: u64,
    },
    /// A target did not answer; all its open pairs end as unreachable.
    TargetUnreachable {
        /// Which target.
        target: Target,
        /// Why.
        failure: Failure,
    },
    /// An earlier run's job is still on a target; it is awaited (`waiting`) or was found ended.
    LeftoverJob {
        /// Which target.
        target: Target,
        /// Which job.
        job: JobId,
        /// Whether it still runs.
        waiting: bool,
    },
    /// The run now holds its locks; from here it may change things.
    Locked {
        /// Where.
        targets: Vec<Target>,
    },
    /// Somebody else holds a lock; the run ends with exit code 5.
    LockRefused {
        /// Who, since when, and how to unlock if that is wrong.
        failure: Failure,
    },
    /// A pair was compared with its target.
    StepDecided {
        /// Which pair.
        pair: PairId,
        /// The difference, as lines for people; `None` = as wished.
        diff: Option<Vec<DiffLine>>,
    },
    /// A pair's apply is about to begin. Recorded durably before anything is sent: after a crash, started = unknown.
    StepStarted {
        /// Which pair.
        pair: PairId,
        /// From 1.
        attempt: u32,
        /// The job on the target.
        job: JobId,
    },
    /// Some output of a running job. May be dropped.
    StepOutput {
        /// Which pair.
        pair: PairId,
        /// Lossy UTF-8, redacted.
        text: String,
    },
    /// A pair will be tried again.
    StepRetry {
        /// Which pair.
        pair: PairId,
        /// The attempt that failed.
        attempt: u32,
        /// How long until the next.
        delay_ms: u64,
        /// Why.
        failure: Failure,
    },
    /// A pair waits: its gate, or what it checks, does not hold yet. May be dropped.
    GateWaiting {
        /// Which pair.
        pair: PairId,
        /// What is missing.
        reason: String,
    },
    /// A pair ended.
    StepFinished {
        /// Which pair.
        pair: PairId,
        /// How.
        outcome: Outcome,
        /// How long it took from its decision.
        took_ms: u64,
    },
    /// A step of a staged procedure hands itself something on resume. Recorded durably.
    Checkpoint {
        /// Which pair.
        pair: PairId,
        /// Which checkpoint; a later one of the same name replaces it.
        name: String,
        /// Its data; never secret.
        data: serde_json::Value,
    },
    /// Ctrl-C: `drain` lets running steps end, `abort` does not.
    CancelRequested {
        /// Whether running steps may end.
        level: CancelLevel,
    },
    /// Something a person should know.
    Warning {
        /// What, and what to do.
        failure: Failure,
    },
    /// The last event of a run that ended by itself.
    RunFinished {
        /// How many pairs ended how, by [`Outcome::word`].
        counts: BTreeMap<String, u32>,
        /// The exit code.
        exit: ExitCode,
        /// How long the run took.
        took_ms: u64,
    },
    /// An event this version does not know.
    #[serde(other)]
    Other,
}

/// How hard a run was asked to stop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelLevel {
    /// Start nothing new, let running steps end.
    Drain,
    /// Stop now; what runs on a target goes on there and is found by `resume`.
    Abort,
}

/// What a run set out to do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunStarted {
    /// [`EVENT_VERSION`] of the writer.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// The run it goes on with, where it is a resume.
    pub resumes: Option<RunId>,
    /// hmco-boot's version.
    pub tool: String,
    /// The cluster's name.
    pub cluster: String,
    /// The playbook, as given.
    pub playbook: String,
    /// What the command was given that shapes the plan: `--limit`, `--var` (names only), inventory file.
    pub arguments: RunArguments,
    /// Fingerprint of the plan (keyed).
    pub fingerprint: String,
    /// All pairs, in plan order.
    pub pairs: Vec<PairInfo>,
}

/// What a run was asked, enough to build the same plan again on resume.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RunArguments {
    /// `--inventory`.
    pub inventory: Option<String>,
    /// `--limit`.
    pub limit: Option<String>,
    /// `--var`, as given. Vars of type `secret` hold a store's name, never a value.
    pub vars: Vec<(String, String)>,
    /// `--plan`: the run was to do what this file shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_plan: Option<String>,
    /// `exec`: the command was given on the command line, and no playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Vec<String>>,
    /// A command of the tool's own that made the plan, as it goes on after `hmco-boot`: to go on, it is given again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// One (step, target) of the plan, for reporters.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PairInfo {
    /// Its number.
    pub id: PairId,
    /// The step.
    pub step: StepAddr,
    /// The target.
    pub target: Target,
    /// The kind.
    pub kind: KindName,
    /// Steps it waits for (directly), for "what waits for what".
    pub waits_for: Vec<StepAddr>,
    /// Whether applying it disturbs what runs on the target.
    pub disruptive: bool,
}

/// One line of a difference between target and wish.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiffLine {
    /// Which side it is on.
    pub side: Side,
    /// The line, without its sign.
    pub text: String,
}

/// The side of a [`DiffLine`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Only on the target: will go.
    Old,
    /// Only in the wish: will come.
    New,
    /// The same on both: context, or words about the difference.
    Both,
}

impl DiffLine {
    /// A line that will go.
    pub fn old(text: impl Into<String>) -> Self {
        Self {
            side: Side::Old,
            text: text.into(),
        }
    }

    /// A line that will come.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            side: Side::New,
            text: text.into(),
        }
    }

    /// A line of context.
    pub fn both(text: impl Into<String>) -> Self {
        Self {
            side: Side::Both,
            text: text.into(),
        }
    }
}
