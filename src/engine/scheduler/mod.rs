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
mod provisional;
mod reach;
mod recover;
mod state;
mod target;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::facts::fact::Fact;
use crate::facts::known::Store;
use crate::model::event::Event;
use crate::model::id::{PairId, StepAddr, Target};
use crate::model::outcome::Outcome;
use crate::plan::Plan;
use crate::plan::saved::Expectation;
use upload::Uploads;

use state::{
    Awaited, Busy, Cause, Lock, PairState, Phase, Purpose, Series, Stop, TargetState, VertexState,
};

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
    uploads: Uploads,
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
            uploads: Uploads::default(),
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
        self.begin_at_roots();
        self.dirty.extend(0..self.targets.len());
    }

    /// Lets those go that wait for nothing.
    fn begin_at_roots(&mut self) {
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
            Some(Purpose::Uploads) => self.several_uploads(),
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
