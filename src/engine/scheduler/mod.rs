//! The scheduler: decides what happens next. A pure state machine over the plan's graph.
//!
//! Life of a pair: `Waiting` for its vertex's predecessors, `Ready` (facts, conditions, decision), `Applying`,
//! `Verifying` (the same decision again over fresh facts), `Polling` (a gate, or a check that waits), `Done`. One execution at a time on a target.
//!
//! What it promises, and `tests/engine.rs` checks against an oracle: no apply before everything the pair waits for ended
//! well; no apply without a recorded `StepStarted` before it; never two executions on one target at once; at most
//! `serial` targets of a series between apply and gate; every pair gets exactly one outcome.

mod apply;
mod decide;
mod finish;
mod lock;
mod poll;
mod protocol;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::facts::fact::Fact;
use crate::facts::known::Store;
use crate::model::event::{CancelLevel, Event};
use crate::model::id::{JobId, PairId, StepAddr, Target};
use crate::model::outcome::{Failure, Outcome};
use crate::plan::Plan;
use crate::plan::saved::Expectation;
use crate::steps::Touches;

pub use protocol::{Command, Consent, Input, Mode, Options, Preview, TimerId};

/// The state machine.
#[derive(Debug)]
pub struct Scheduler {
    plan: Arc<Plan>,
    options: Options,
    pairs: Vec<PairState>,
    vertices: Vec<VertexState>,
    targets: Vec<TargetState>,
    target_index: BTreeMap<Target, usize>,
    series: BTreeMap<StepAddr, Series>,
    store: Store,
    /// Counts how often facts were forgotten: what a pair asks for again because of that is no new round.
    epoch: u64,
    expectation: Option<Expectation>,
    /// A job has ended in this run: what was read before is too old to wait by.
    jobs_ended: bool,
    dirty: BTreeSet<usize>,
    /// Targets with a pair that waits for lock, consent, its turn, or an upload.
    parked: BTreeSet<usize>,
    /// Targets that wait for facts of another one.
    awaiting: BTreeSet<usize>,
    timers: BTreeMap<TimerId, Purpose>,
    next_timer: u64,
    executions: usize,
    uploads: usize,
    lock: Lock,
    /// Something waits for the lock: a target is to be changed, or holds a job of an earlier run.
    wants_lock: bool,
    /// The targets that the lock was asked for.
    lock_targets: Vec<Target>,
    consent: Consent,
    asked: bool,
    stop: Option<Stop>,
    journal_broken: bool,
    open: usize,
    over: bool,
    previews: BTreeMap<PairId, Preview>,
    out: Vec<Command>,
}

#[derive(Debug)]
struct PairState {
    phase: Phase,
    /// Index into `targets`.
    target: usize,
    /// Applies so far.
    attempts: u32,
    /// Those that failed in a way that the retry policy counts.
    failures: u32,
    /// Rounds of facts asked for in this epoch.
    rounds: u32,
    epoch: u64,
    /// Facts of its own target that it asked for while deciding: what its verification will want again.
    asked: BTreeSet<Fact>,
    /// Its conditions are known to hold.
    conditions_hold: bool,
    /// A crashed run's job for this pair was seen to succeed.
    credited: bool,
    /// A job without a verdict has been tried again.
    lost_once: bool,
    /// Applies that were refused because the lock was gone.
    fenced: u32,
    /// What is awaited was waited for as long as it may be.
    time_is_up: bool,
}

#[derive(Clone, PartialEq, Debug)]
enum Phase {
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
enum Awaited {
    /// What the pair checks.
    Check,
    /// Its gate.
    Gate {
        /// Whether the pair was changed before.
        changed: bool,
    },
}

#[derive(Debug, Default)]
struct VertexState {
    remaining: usize,
    failed: u32,
    cause: Option<(StepAddr, Target)>,
}

#[derive(Debug)]
struct TargetState {
    target: Target,
    /// Its pairs that are not done, in plan order.
    open: BTreeSet<PairId>,
    /// Those in a phase that needs attention, in plan order.
    active: BTreeSet<PairId>,
    busy: Busy,
    /// It has been read since the start or the lock.
    greeted: bool,
    /// What is being read now was asked before the lock was held: not to be used.
    discard: bool,
    reading: BTreeSet<Fact>,
    /// What of that must be read once more: it may be seen too early.
    outdated: BTreeSet<Fact>,
    /// Facts that pairs elsewhere want of it.
    wanted: BTreeSet<Fact>,
    /// Jobs of earlier runs, to be attached to one after another.
    leftovers: Vec<JobId>,
    /// Those that were attached to and have ended: not waited for again, whatever is still listed.
    attended: BTreeSet<JobId>,
    /// Why it could not be found out whether an earlier run's job is there: nothing may be applied.
    unsure: Option<String>,
    /// Why its lock could not be taken though it answers: nothing may be applied.
    unlocked: Option<Failure>,
    /// Preview only: what drifting steps would have touched, and which.
    touched: Vec<(Touches, PairId)>,
    tries: u32,
    round: u32,
    unreachable: Option<Failure>,
}

/// What is under way on a target: one thing at a time.
#[derive(Clone, PartialEq, Debug, Default)]
enum Busy {
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
struct Series {
    /// Its pairs that are not done, in plan order.
    open: BTreeSet<PairId>,
    limit: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lock {
    Free,
    Asked,
    Held,
}

#[derive(Clone, Debug)]
enum Purpose {
    Retry(PairId),
    Poll(PairId),
    PollLimit(PairId, Awaited),
    Attach(PairId),
    Reach(usize),
}

#[derive(Clone, PartialEq, Debug)]
enum Stop {
    Cancelled(CancelLevel),
    LockRefused,
    Journal,
    StalePlan,
}

impl Stop {
    /// By the order of exit codes: the reason with the smaller one counts.
    fn rank(&self) -> u8 {
        match self {
            Self::Cancelled(_) => 0,
            Self::LockRefused => 1,
            Self::Journal | Self::StalePlan => 2,
        }
    }
}

impl Scheduler {
    /// For one run of one plan.
    pub fn new(plan: Arc<Plan>, mut options: Options) -> Self {
        options.parallel = options.parallel.max(1);
        options.uploads = options.uploads.max(1);
        let target_index: BTreeMap<Target, usize> = plan
            .targets
            .iter()
            .enumerate()
            .map(|(at, target)| (target.clone(), at))
            .collect();
        let mut targets: Vec<TargetState> =
            plan.targets.iter().cloned().map(TargetState::new).collect();
        let mut series: BTreeMap<StepAddr, Series> = BTreeMap::new();
        let mut pairs = Vec::with_capacity(plan.pairs.len());
        for pair in &plan.pairs {
            let target = target_index
                .get(&pair.target)
                .copied()
                .unwrap_or(usize::MAX);
            if let Some(state) = targets.get_mut(target) {
                state.open.insert(pair.id);
            }
            if let Some(limit) = pair.serial {
                let entry = series.entry(pair.series.clone()).or_default();
                entry.open.insert(pair.id);
                entry.limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
            }
            pairs.push(PairState::new(target));
        }
        Self {
            open: pairs.len(),
            pairs,
            vertices: waiting_vertices(&plan),
            targets,
            target_index,
            series,
            store: Store::default(),
            epoch: 0,
            expectation: options.expectation.clone(),
            jobs_ended: false,
            dirty: BTreeSet::new(),
            parked: BTreeSet::new(),
            awaiting: BTreeSet::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            executions: 0,
            uploads: 0,
            lock: Lock::Free,
            wants_lock: false,
            lock_targets: Vec::new(),
            consent: options.consent,
            asked: false,
            stop: None,
            journal_broken: false,
            over: false,
            previews: BTreeMap::new(),
            out: Vec::new(),
            plan,
            options,
        }
    }

    /// Takes an input in, gives what is to be done now. The end of something that is not under way (told twice, or too
    /// late) changes nothing.
    pub fn handle(&mut self, input: Input) -> Vec<Command> {
        if !self.over {
            self.take(input);
            self.advance();
        }
        std::mem::take(&mut self.out)
    }

    /// How each pair ended, as far as it has.
    pub fn outcome(&self, pair: PairId) -> Option<&Outcome> {
        match &self.pairs.get(pair.index())?.phase {
            Phase::Done(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// What a preview found for a pair, where it got that far.
    pub fn preview(&self, pair: PairId) -> Option<&Preview> {
        self.previews.get(&pair)
    }

    /// The facts known now.
    pub fn facts(&self) -> &Store {
        &self.store
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Start => self.start(),
            Input::Read {
                target,
                result,
                took_ms,
            } => self.read_ended(&target, result, took_ms),
            Input::Applied { pair, result } => self.applied(pair, result),
            Input::Attached {
                target,
                job,
                result,
            } => self.attached(&target, &job, result),
            Input::Timer(timer) => self.timer(timer),
            Input::Locked(result) => self.locked(result),
            Input::Relocked { target, result } => self.relocked(&target, result),
            Input::LockNews(news) => self.lock_news(news),
            Input::Confirmed(yes) if self.asked && self.consent == Consent::Ask => {
                self.consent = if yes {
                    Consent::Given
                } else {
                    Consent::Refused
                };
                self.wake_parked();
            }
            Input::Confirmed(_) => {}
            Input::Cancel(level) => self.cancel(level),
            Input::JournalFailed { failure, unstarted } => self.journal_failed(failure, unstarted),
        }
    }

    fn start(&mut self) {
        let roots: Vec<_> = self
            .plan
            .graph
            .externals(petgraph::Direction::Incoming)
            .collect();
        for vertex in roots {
            // A join of nothing is complete at once.
            if let Some((crate::plan::Vertex::Join { .. }, _)) = self.resolve(vertex) {
                self.propagate(vertex, None);
            }
        }
        self.dirty.extend(0..self.targets.len());
    }

    fn timer(&mut self, timer: TimerId) {
        match self.timers.remove(&timer) {
            Some(Purpose::Retry(pair))
                if self.is_phase(pair, |phase| *phase == Phase::Retrying) =>
            {
                self.set_phase(pair, Phase::Ready);
            }
            Some(Purpose::Poll(pair)) => self.poll_again(pair),
            Some(Purpose::PollLimit(pair, what)) => self.time_is_up(pair, what),
            Some(Purpose::Attach(pair)) => self.attach_again(pair),
            Some(Purpose::Reach(target)) => {
                if let Some(state) = self.targets.get_mut(target)
                    && state.busy == Busy::Pause
                {
                    state.busy = Busy::Free;
                }
                self.dirty.insert(target);
            }
            Some(Purpose::Retry(_)) | None => {}
        }
    }

    /// Visits targets as long as something can move.
    fn advance(&mut self) {
        while !self.over {
            if self.executions >= self.options.parallel {
                break;
            }
            let Some(target) = self.dirty.pop_first() else {
                break;
            };
            self.visit(target);
        }
        if self.wants_lock && self.dirty.is_empty() {
            self.ask_for_lock();
        }
        if self.open == 0 && self.executions == 0 && !self.over {
            self.finish_run();
        }
    }

    fn after(&mut self, delay: Duration, purpose: Purpose) {
        let timer = TimerId(self.next_timer);
        self.next_timer += 1;
        self.timers.insert(timer, purpose);
        self.out.push(Command::After { timer, delay });
    }

    fn emit(&mut self, event: Event) {
        self.out.push(Command::Emit {
            event,
            durable: false,
        });
    }

    fn emit_durable(&mut self, event: Event) {
        self.out.push(Command::Emit {
            event,
            durable: true,
        });
    }

    /// What `stale` says is no longer known of a target.
    fn forget(&mut self, target: &Target, stale: impl Fn(&Fact) -> bool) {
        self.store.forget(target, stale);
        self.epoch += 1;
    }

    fn wake_parked(&mut self) {
        self.dirty.append(&mut self.parked);
    }

    fn is_phase(&self, pair: PairId, test: impl Fn(&Phase) -> bool) -> bool {
        self.pairs
            .get(pair.index())
            .is_some_and(|state| test(&state.phase))
    }

    /// Moves a pair that is not done to another phase that is not `Done`.
    fn set_phase(&mut self, pair: PairId, phase: Phase) {
        let Some(state) = self.pairs.get_mut(pair.index()) else {
            return;
        };
        if matches!(state.phase, Phase::Done(_)) {
            return;
        }
        let active = matches!(
            phase,
            Phase::Ready | Phase::Verifying | Phase::Polling { paused: false, .. }
        );
        state.phase = phase;
        let target = state.target;
        if let Some(state) = self.targets.get_mut(target) {
            if active {
                state.active.insert(pair);
            } else {
                state.active.remove(&pair);
            }
        }
        if active {
            self.dirty.insert(target);
        }
    }
}

/// Every vertex with the number of those before it.
fn waiting_vertices(plan: &Plan) -> Vec<VertexState> {
    let before = |vertex| {
        plan.graph
            .neighbors_directed(vertex, petgraph::Direction::Incoming)
            .count()
    };
    let state = |vertex| VertexState {
        remaining: before(vertex),
        ..VertexState::default()
    };
    plan.graph.node_indices().map(state).collect()
}

impl PairState {
    fn new(target: usize) -> Self {
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
            fenced: 0,
            time_is_up: false,
        }
    }
}

impl TargetState {
    fn new(target: Target) -> Self {
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
            tries: 0,
            round: 0,
            unreachable: None,
        }
    }
}
