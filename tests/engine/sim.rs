//! Drives a scheduler against a world: in an order and with faults drawn from a seed, and with a crash after any event.
//! Checks at every command what must hold at that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hmco_boot::engine::locks::{LockNews, NotLocked};
use hmco_boot::engine::scheduler::{Command, Input, Options, Scheduler, TimerId};
use hmco_boot::journal::fold::RunFold;
use hmco_boot::model::action::Job;
use hmco_boot::model::event::{
    CancelLevel, EVENT_VERSION, Event, PairInfo, Record, RunArguments, RunStarted,
};
use hmco_boot::model::id::{JobId, KindName, PairId, RunId, Target};
use hmco_boot::model::outcome::{ExitCode, Failure, Outcome};
use hmco_boot::plan::Plan;
use hmco_boot::transport::{Applied, HostError, HostErrorKind};

use super::oracle::{Expected, Key};
use super::spec::GATE_LIMIT;
use super::world::World;

/// A small generator: the same seed, the same run (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }
}

pub struct Sim<'a> {
    /// The run under way.
    pub run: String,
    pub plan: Arc<Plan>,
    pub expected: &'a BTreeMap<Key, Expected>,
    pub world: World,
    pub dice: Dice,
    /// One in so many executions meets a fault that a run must survive; 0 = none.
    pub faults: usize,
    /// Pairs whose machine has lost power under them.
    pub restarted: BTreeSet<PairId>,
    /// Ctrl-C after this event: the first one or at once the second.
    pub cancel: Option<(usize, CancelLevel)>,
    /// A machine that is gone from this event on.
    pub cut: Option<(usize, Target)>,
    /// A machine whose lock somebody else gets after this event.
    pub theft: Option<(usize, Target)>,
    /// Jobs that a dead run had sent and that have not arrived yet.
    pub late: Vec<(PairId, Target, Job)>,
}

/// What a run left on record.
#[derive(Default, Debug)]
pub struct Trace {
    pub events: Vec<Event>,
    pub outcomes: BTreeMap<PairId, Outcome>,
    pub exit: Option<ExitCode>,
    /// What a journal makes of it; takes every event, or the test fails.
    pub fold: RunFold,
}

enum Pending {
    Read(Target, Vec<hmco_boot::facts::fact::Fact>),
    Apply(PairId, Target, Job, Vec<hmco_boot::facts::fact::Fact>),
    Attach(Target, JobId),
    Timer(TimerId, Duration),
    Lock(Vec<Target>),
    Relock(Target),
}

impl Sim<'_> {
    /// Runs until the end, or dies right after the event with number `crash`.
    pub fn run(&mut self, options: Options, crash: Option<usize>) -> Trace {
        self.run = options.run.to_string();
        let mut scheduler = Scheduler::new(self.plan.clone(), options);
        let mut trace = Trace::default();
        record(&mut trace.fold, started(&self.plan));
        let mut pending = Vec::new();
        let mut commands = scheduler.handle(Input::Start);
        loop {
            for command in commands {
                if self.note(command, &mut trace, &mut pending) {
                    // What was under way when it was aborted is left to itself.
                    self.die(pending);
                    assert_eq!(
                        trace.outcomes.len(),
                        self.plan.pairs.len(),
                        "every pair has its outcome at the end"
                    );
                    return trace;
                }
                if crash.is_some_and(|crash| trace.events.len() > crash) {
                    self.die(pending);
                    return trace;
                }
            }
            assert!(
                !pending.is_empty(),
                "stuck: nothing is under way and the run has not ended\n{:#?}",
                trace.events
            );
            commands = match self.disturb(trace.events.len()) {
                Some(input) => scheduler.handle(input),
                None => {
                    let next = self.next(&pending);
                    let input = self.perform(pending.swap_remove(next));
                    scheduler.handle(input)
                }
            };
        }
    }

    /// What happens by itself at this moment.
    fn disturb(&mut self, events: usize) -> Option<Input> {
        if let Some((_, target)) = self.cut.take_if(|(at, _)| events > *at) {
            self.world.machines.entry(target).or_default().dead = true;
        }
        if !self.late.is_empty() && self.dice.roll(6) == 0 {
            let (pair, target, job) = self.late.swap_remove(0);
            // Whether it gets through is the machine's business; what the machine must not do, it asserts.
            drop(self.world.start(&target, pair, &job));
        }
        if let Some((_, target)) = self.theft.take_if(|(at, _)| events > *at)
            && self.world.steal(&target)
            && self.dice.roll(2) == 0
        {
            // Found out by a renewal, or else by the fence.
            let failure = Failure::new("lost to somebody else");
            return Some(Input::LockNews(LockNews::Lost(failure)));
        }
        let (_, level) = self.cancel.take_if(|(at, _)| events > *at)?;
        Some(Input::Cancel(level))
    }

    /// Anything may come next, but long waits come last.
    fn next(&mut self, pending: &[Pending]) -> usize {
        let long =
            |pending: &Pending| matches!(pending, Pending::Timer(_, delay) if *delay >= GATE_LIMIT);
        let soon: Vec<usize> = (0..pending.len())
            .filter(|at| !long(&pending[*at]))
            .collect();
        match soon.len() {
            0 => self.dice.roll(pending.len()),
            many => soon[self.dice.roll(many)],
        }
    }

    /// Notes that something happens on a target, where nothing else may.
    fn begin(pending: &mut Vec<Pending>, target: &Target, what: Pending) {
        let busy = pending.iter().any(|pending| match pending {
            Pending::Read(on, _)
            | Pending::Apply(_, on, _, _)
            | Pending::Attach(on, _)
            | Pending::Relock(on) => on == target,
            Pending::Timer(..) | Pending::Lock(_) => false,
        });
        assert!(!busy, "two executions at once on {target}");
        pending.push(what);
    }

    /// Takes a command down; true at the end.
    fn note(&mut self, command: Command, trace: &mut Trace, pending: &mut Vec<Pending>) -> bool {
        match command {
            Command::Emit { event, .. } => {
                if let Event::StepFinished { pair, outcome, .. } = &event {
                    let before = trace.outcomes.insert(*pair, outcome.clone());
                    assert!(before.is_none(), "{} ended twice", self.plan.label(*pair));
                }
                record(&mut trace.fold, event.clone());
                trace.events.push(event);
            }
            Command::Read { target, facts } => {
                Self::begin(pending, &target.clone(), Pending::Read(target, facts));
            }
            Command::Apply {
                pair,
                target,
                job,
                facts,
            } => {
                self.check_apply(pair, &job, trace);
                let what = Pending::Apply(pair, target.clone(), job, facts);
                Self::begin(pending, &target, what);
            }
            Command::Attach { target, job } => {
                Self::begin(pending, &target.clone(), Pending::Attach(target, job));
            }
            Command::After { timer, delay } => pending.push(Pending::Timer(timer, delay)),
            Command::Lock { targets } => pending.push(Pending::Lock(targets)),
            Command::Relock { target } => {
                Self::begin(pending, &target.clone(), Pending::Relock(target));
            }
            Command::Confirm { .. } => panic!("no step here is disruptive"),
            Command::Finished(exit) => {
                trace.exit = Some(exit);
                return true;
            }
        }
        false
    }

    /// No edge is violated, the intent is on record, the lock is held, and a series goes one by one.
    fn check_apply(&self, pair: PairId, job: &Job, trace: &Trace) {
        let label = self.plan.label(pair);
        let Some(Event::StepStarted {
            pair: started,
            job: id,
            ..
        }) = trace.events.last()
        else {
            panic!("{label} is applied without a record of it");
        };
        assert_eq!((*started, id), (pair, &job.id));
        assert!(
            trace
                .events
                .iter()
                .any(|event| matches!(event, Event::Locked { .. })),
            "{label} without the lock"
        );
        let expected = &self.expected[&key_of(&self.plan, pair)];
        let outcome = |key: &Key| {
            let pair = self
                .plan
                .pairs
                .iter()
                .find(|pair| key_of(&self.plan, pair.id) == *key)
                .unwrap();
            trace.outcomes.get(&pair.id)
        };
        for barrier in &expected.barriers {
            let mut bad = 0;
            for member in &barrier.members {
                let outcome = outcome(member)
                    .unwrap_or_else(|| panic!("{label} did not wait for {member:?}"));
                bad += u32::from(!outcome.satisfies());
            }
            assert!(bad <= barrier.tolerate, "{label} went past {barrier:?}");
        }
        if let Some(serial) = expected.serial {
            self.check_series(pair, serial, trace);
        }
        for before in &expected.series_before {
            assert!(
                outcome(before).is_some_and(Outcome::satisfies),
                "{label} before its turn"
            );
        }
    }

    /// No more than `serial` of a step are under way, and none begins after one before it failed.
    fn check_series(&self, pair: PairId, serial: u32, trace: &Trace) {
        let label = self.plan.label(pair);
        let under_way = |event: &&Event| matches!(event, Event::StepStarted { pair: other, .. } if self.same_series(pair, *other) && !trace.outcomes.contains_key(other));
        let pairs: BTreeSet<PairId> = trace
            .events
            .iter()
            .filter(under_way)
            .filter_map(|event| match event {
                Event::StepStarted { pair, .. } => Some(*pair),
                _ => None,
            })
            .collect();
        assert!(pairs.len() <= serial as usize, "{label}: {pairs:?} at once");
        let retried = |event: &&Event| matches!(event, Event::StepStarted { pair: other, .. } if *other == pair);
        let first = trace.events.iter().filter(retried).count() == 1;
        let failed_before = trace.outcomes.iter().any(|(other, outcome)| {
            *other < pair && self.same_series(pair, *other) && !outcome.satisfies()
        });
        assert!(
            !(first && failed_before),
            "{label} after a failure of its series"
        );
    }

    fn same_series(&self, one: PairId, other: PairId) -> bool {
        self.plan.pairs[one.index()].series == self.plan.pairs[other.index()].series
    }

    fn fault(&mut self) -> bool {
        self.faults > 0 && self.dice.roll(self.faults) == 0
    }

    fn perform(&mut self, pending: Pending) -> Input {
        let error = |kind| HostError {
            kind,
            failure: Failure::new("a fault"),
        };
        match pending {
            Pending::Read(target, facts) => {
                let result = self.world.read(&target, &facts);
                Input::Read {
                    target,
                    result,
                    took_ms: 1,
                }
            }
            Pending::Apply(pair, target, job, facts) => {
                if let Err(error) = self.world.start(&target, pair, &job) {
                    return Input::Applied {
                        pair,
                        result: Err(error),
                    };
                }
                if self.fault() {
                    // The connection is lost; whether the job has ended by then is open. Once a pair, it is because the
                    // machine lost power: then nobody will ever know the job's verdict.
                    match self.dice.roll(4) {
                        0 => self.world.end(&target, &job.id),
                        1 if self.restarted.insert(pair) => {
                            let work_done = self.dice.roll(2) == 0;
                            self.world.restart(&target, work_done);
                        }
                        _ => {}
                    }
                    return Input::Applied {
                        pair,
                        result: Err(error(HostErrorKind::Lost)),
                    };
                }
                let end = self.world.collect(&target, &job.id);
                let answers = self.world.read(&target, &facts).unwrap();
                Input::Applied {
                    pair,
                    result: Ok(Applied { end, answers }),
                }
            }
            Pending::Attach(target, job) => {
                let result = self.world.attach(&target, &job);
                Input::Attached {
                    target,
                    job,
                    result,
                }
            }
            Pending::Timer(timer, _) => Input::Timer(timer),
            Pending::Lock(targets) => self.lock(targets),
            Pending::Relock(target) => {
                let result = self.world.lock(&target, &self.run);
                Input::Relocked { target, result }
            }
        }
    }

    fn lock(&mut self, targets: Vec<Target>) -> Input {
        let mut missing = Vec::new();
        for target in targets {
            match self.world.lock(&target, &self.run) {
                Ok(()) => {}
                Err(error) if error.kind == HostErrorKind::Fenced => {
                    return Input::Locked(Err(error.failure));
                }
                Err(error) => missing.push(NotLocked { target, error }),
            }
        }
        Input::Locked(Ok(missing))
    }

    /// The process is gone: what it had under way was not sent, is under way, or has ended unheard.
    fn die(&mut self, pending: Vec<Pending>) {
        for pending in pending {
            let Pending::Apply(pair, target, job, _) = pending else {
                continue;
            };
            let how_far = self.dice.roll(5);
            if how_far == 4 {
                // In the buffers of a connection that hangs.
                self.late.push((pair, target, job));
                continue;
            }
            if how_far == 0 || self.world.start(&target, pair, &job).is_err() {
                continue;
            }
            if how_far >= 2 {
                self.world.end(&target, &job.id);
            }
            if how_far == 3 {
                self.world.collect(&target, &job.id);
            }
        }
    }
}

/// What a resume must be told, as it is read from the record.
pub fn prior_jobs(trace: &Trace) -> BTreeMap<JobId, PairId> {
    hmco_boot::engine::resume::prior_jobs(&trace.fold)
}

fn record(fold: &mut RunFold, event: Event) {
    let (seq, at_ms) = (fold.next_seq(), 0);
    let record = Record { seq, at_ms, event };
    if let Err(illegal) = fold.apply(&record) {
        panic!("no journal takes this: {illegal}: {record:?}");
    }
}

fn started(plan: &Plan) -> Event {
    let info = |pair: &hmco_boot::plan::Pair| PairInfo {
        id: pair.id,
        step: pair.step.clone(),
        target: pair.target.clone(),
        kind: KindName::new(pair.kind.name),
        waits_for: Vec::new(),
        disruptive: false,
    };
    Event::RunStarted(Box::new(RunStarted {
        version: EVENT_VERSION,
        run: RunId::new("r"),
        resumes: None,
        tool: String::new(),
        cluster: "test".to_owned(),
        playbook: "main".to_owned(),
        arguments: RunArguments::default(),
        fingerprint: String::new(),
        pairs: plan.pairs.iter().map(info).collect(),
    }))
}

pub fn key_of(plan: &Plan, pair: PairId) -> Key {
    let pair = &plan.pairs[pair.index()];
    let Target::Node(name) = &pair.target else {
        panic!("only nodes here")
    };
    (
        pair.step.to_string(),
        name.as_str().trim_start_matches('n').parse().unwrap(),
    )
}

pub fn options(run: &str) -> Options {
    Options::new(RunId::new(run))
}

/// The targets that have anything, for comparing worlds.
pub fn files(world: &World) -> BTreeMap<Target, BTreeMap<String, String>> {
    world
        .machines
        .iter()
        .map(|(target, machine)| (target.clone(), machine.files.clone()))
        .collect()
}

/// All pairs of a plan as the oracle names them.
pub fn keys(plan: &Plan) -> BTreeSet<Key> {
    plan.pairs
        .iter()
        .map(|pair| key_of(plan, pair.id))
        .collect()
}
