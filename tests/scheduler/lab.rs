//! Hand-made plans and a scheduler with everything that it asked for laid out on a bench.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::once;
use std::sync::Arc;
use std::time::Duration;

use hmco_boot::engine::scheduler::{Command, Input, Options, Scheduler, TimerId};
use hmco_boot::facts::fact::{Answer, Fact, FactError, FactValue, LeftoverJob, RunState};
use hmco_boot::facts::known::{FactRef, Known, Unreadable};
use hmco_boot::model::action::{Action, JobEnd, JobStatus, Ownership};
use hmco_boot::model::artifact::{Fetch, Pin, PinArch};
use hmco_boot::model::event::{DiffLine, Event};
use hmco_boot::model::id::{JobId, NodeName, PairId, RunId, StepAddr, Target};
use hmco_boot::model::kube::KubeAction;
use hmco_boot::model::outcome::{ExitCode, Failure, Outcome};
use hmco_boot::model::path::AbsPath;
use hmco_boot::model::playbook::Retry;
use hmco_boot::model::sensitive::Text;
use hmco_boot::model::template::Scope;
use hmco_boot::model::units::{Mode, TimeSpan};
use hmco_boot::model::value::{FileId, Span};
use hmco_boot::plan::{Gate, Pair, Plan, Vertex, When, Work};
use hmco_boot::steps::registry::{KindInfo, kind};
use hmco_boot::steps::{Decision, Poll, Touches, Want, Wish};
use hmco_boot::transport::{Applied, HostError, HostErrorKind};
use petgraph::graph::DiGraph;

pub fn node(name: &str) -> Target {
    Target::Node(NodeName::new(name))
}

pub fn path(name: &str) -> AbsPath {
    AbsPath::new(&format!("/{name}")).unwrap()
}

/// The digest of `/NAME`.
pub fn fact(name: &str) -> Fact {
    Fact::Digest {
        path: path(name),
        uncached: false,
    }
}

/// Wishes that each of its facts reads `good`; its apply writes `/NAME`.
#[derive(Clone, Debug)]
pub struct Good {
    pub name: String,
    pub facts: Vec<FactRef>,
    /// It asks for these when it knows the others.
    pub later: Vec<FactRef>,
    pub bytes: usize,
    /// It places a pinned file instead, which this one fetches.
    pub places: Option<Fetch>,
    pub verifiable: bool,
    /// Looks every second, for so many.
    pub waits: Option<u64>,
    /// Its apply waits in the cluster, so many seconds at most.
    pub awaits: Option<u64>,
    /// Warns where it is good.
    pub warns: bool,
}

impl Good {
    fn place(&self, fetch: Fetch) -> Action {
        Action::Place {
            pin: Box::new(Pin {
                name: self.name.clone(),
                version: "v1".to_owned(),
                arch: PinArch::All,
                url: "https://example.org/tool".to_owned(),
                sha256: "0a".repeat(32),
                size: self.bytes as u64,
                fetch,
                members: BTreeMap::new(),
            }),
            member: None,
            path: path(&self.name),
            mode: Mode(0o755),
            owner: Ownership::default(),
        }
    }
}

impl Wish for Good {
    fn poll(&self) -> Option<Poll> {
        let timeout = seconds(self.waits?);
        let interval = seconds(1);
        Some(Poll { interval, timeout })
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let missing = self.facts.iter().filter(|fact| !known.has(fact));
        let missing: Vec<FactRef> = missing.cloned().collect();
        let later = self.later.iter().filter(|fact| !known.has(fact));
        let later: Vec<FactRef> = later.cloned().collect();
        match (missing.is_empty(), later.is_empty()) {
            (false, _) => Want::More(missing),
            (true, false) => Want::More(later),
            (true, true) => Want::Done,
        }
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Vec<Action>>, Unreadable> {
        for fact in self.facts.iter().chain(&self.later) {
            let target = fact.target.as_ref().unwrap_or(known.target());
            match known.answer_of(target, &fact.fact) {
                Some(Ok(FactValue::Digest(text))) if text == "good" => {}
                Some(Ok(_)) | Some(Err(FactError::NotFound)) => {
                    let write = Action::WriteFile {
                        path: path(&self.name),
                        content: Text::plain("x".repeat(self.bytes)),
                        mode: Mode(0o644),
                        owner: Ownership::default(),
                        backup: false,
                        replaces: None,
                    };
                    let wait = self.awaits.map(|most| {
                        Action::Kube(Box::new(KubeAction::Await {
                            objects: Vec::new(),
                            timeout: seconds(most),
                        }))
                    });
                    let place = self.places.map(|fetch| self.place(fetch));
                    return Ok(Decision::Drift {
                        diff: vec![DiffLine::new(format!("{} is not good", self.name))],
                        drift: once(place.unwrap_or(write)).chain(wait).collect(),
                    });
                }
                other => {
                    return Err(Unreadable {
                        target: target.clone(),
                        fact: fact.fact.clone(),
                        source: other.and_then(|answer| answer.clone().err()),
                    });
                }
            }
        }
        Ok(Decision::Unchanged)
    }

    fn touches(&self) -> Touches {
        Touches::paths([path(&self.name)])
    }

    fn verifiable(&self) -> bool {
        self.verifiable
    }

    fn warning(&self, _: &Known<'_>) -> Option<Failure> {
        self.warns.then(|| Failure::new("good, but old"))
    }

    fn fingerprint_text(&self) -> String {
        self.name.clone()
    }
}

pub fn good(name: &str) -> Good {
    Good {
        name: name.to_owned(),
        facts: vec![fact(name).into()],
        later: Vec::new(),
        bytes: 1,
        places: None,
        verifiable: true,
        waits: None,
        awaits: None,
        warns: false,
    }
}

/// A pair of a plan in the making.
#[derive(Clone)]
pub struct Step {
    name: String,
    target: Target,
    wish: Good,
    kind: &'static KindInfo,
    needs: Vec<usize>,
    serial: Option<u32>,
    retry: Option<Retry>,
    timeout: Option<TimeSpan>,
    gate: Option<Gate>,
    whens: Vec<When>,
    skip: Option<String>,
}

pub fn step(name: &str, target: &str) -> Step {
    Step {
        name: name.to_owned(),
        target: node(target),
        wish: good(name),
        kind: kind("file").unwrap(),
        needs: Vec::new(),
        serial: None,
        retry: None,
        timeout: None,
        gate: None,
        whens: Vec::new(),
        skip: None,
    }
}

pub fn seconds(seconds: u64) -> TimeSpan {
    TimeSpan(Duration::from_secs(seconds))
}

impl Step {
    pub fn needs(mut self, needs: &[usize]) -> Self {
        self.needs = needs.to_vec();
        self
    }

    pub fn serial(mut self, serial: u32) -> Self {
        self.serial = Some(serial);
        self
    }

    pub fn retry(mut self, attempts: u32, delay: u64, most: u64) -> Self {
        let (delay, max_delay) = (seconds(delay), seconds(most));
        self.retry = Some(Retry {
            attempts,
            delay,
            max_delay,
        });
        self
    }

    /// Its apply also waits in the cluster, so long at most.
    pub fn awaits(mut self, most: u64) -> Self {
        self.wish.awaits = Some(most);
        self
    }

    pub fn timeout(mut self, limit: u64) -> Self {
        self.timeout = Some(seconds(limit));
        self
    }

    /// Its gate looks at `/gate`, every second for up to `most` seconds.
    pub fn gate(mut self, most: u64) -> Self {
        self.gate = Some(Gate {
            wish: Arc::new(good("gate")),
            timeout: seconds(most),
            interval: seconds(1),
        });
        self
    }

    /// A condition over facts; `facts.os` is what `set(TARGET, "os", ..)` says.
    pub fn when(mut self, expression: &str) -> Self {
        self.whens.push(When {
            expression: expression.to_owned(),
            span: Span::new(FileId(0), 0..0),
            scope: Scope::default(),
        });
        self
    }

    /// It is known from the start that it is not to be done.
    pub fn skipped(mut self) -> Self {
        self.skip = Some("not today".to_owned());
        self
    }

    pub fn check(mut self) -> Self {
        self.kind = kind("assert").unwrap();
        self
    }

    pub fn at(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// A check that looks every second, for so many.
    pub fn waits(mut self, most: u64) -> Self {
        self.wish.waits = Some(most);
        self.check()
    }

    pub fn disruptive(mut self) -> Self {
        let info = KindInfo {
            disruptive: true,
            ..kind("file").unwrap().clone()
        };
        self.kind = Box::leak(Box::new(info));
        self
    }

    pub fn wish(mut self, change: impl FnOnce(&mut Good)) -> Self {
        change(&mut self.wish);
        self
    }
}

pub fn plan(steps: Vec<Step>) -> Plan {
    let mut graph = DiGraph::new();
    let mut pairs: Vec<Pair> = Vec::new();
    let mut targets = Vec::new();
    for (at, step) in steps.into_iter().enumerate() {
        let id = PairId(u32::try_from(at).unwrap());
        let vertex = graph.add_node(Vertex::Pair(id));
        for need in &step.needs {
            graph.add_edge(pairs[*need].vertex, vertex, ());
        }
        if !targets.contains(&step.target) {
            targets.push(step.target.clone());
        }
        let address = StepAddr::new(&step.name);
        pairs.push(Pair {
            id,
            step: address.clone(),
            series: address,
            target: step.target,
            kind: step.kind,
            work: match step.skip {
                Some(reason) => Work::Skip(reason),
                None => Work::Wish(Arc::new(step.wish)),
            },
            whens: step.whens,
            serial: step.serial,
            retry: step.retry,
            timeout: step.timeout,
            gate: step.gate,
            vertex,
        });
    }
    Plan {
        playbook: "test".to_owned(),
        title: "test".to_owned(),
        pairs,
        targets,
        graph,
        fingerprint: "test".to_owned(),
    }
}

pub fn options() -> Options {
    Options::new(RunId::new("r"))
}

pub fn trouble(kind: HostErrorKind) -> HostError {
    HostError {
        kind,
        failure: Failure::new("trouble"),
    }
}

pub const GONE: HostErrorKind = HostErrorKind::Unreachable { transient: false };
pub const BLIP: HostErrorKind = HostErrorKind::Unreachable { transient: true };

/// A scheduler, what it said, and what it asked for and has not got yet.
pub struct Lab {
    pub scheduler: Scheduler,
    pub events: Vec<Event>,
    pub bench: Vec<Command>,
    pub exit: Option<ExitCode>,
    /// What `/NAME` is on a target; else it is not there.
    pub world: BTreeMap<(Target, String), Result<String, FactError>>,
    pub jobs: BTreeMap<Target, Result<Vec<JobId>, FactError>>,
}

impl Lab {
    pub fn new(plan: Plan) -> Self {
        Self::with(plan, options())
    }

    pub fn with(plan: Plan, options: Options) -> Self {
        Self {
            scheduler: Scheduler::new(Arc::new(plan), options),
            events: Vec::new(),
            bench: Vec::new(),
            exit: None,
            world: BTreeMap::new(),
            jobs: BTreeMap::new(),
        }
    }

    pub fn set(&mut self, target: &str, name: &str, is: &str) -> &mut Self {
        self.world
            .insert((node(target), name.to_owned()), Ok(is.to_owned()));
        self
    }

    pub fn feed(&mut self, input: Input) -> &mut Self {
        for command in self.scheduler.handle(input) {
            assert_eq!(self.exit, None, "nothing follows the end");
            match command {
                Command::Emit { event, .. } => self.events.push(event),
                Command::Finished(exit) => self.exit = Some(exit),
                other => self.bench.push(other),
            }
        }
        self
    }

    pub fn start(&mut self) -> &mut Self {
        self.feed(Input::Start).reads()
    }

    pub fn take(&mut self, what: impl Fn(&Command) -> bool) -> Option<Command> {
        let at = self.bench.iter().position(what)?;
        Some(self.bench.remove(at))
    }

    pub fn answers(&self, target: &Target, facts: &[Fact]) -> Vec<Answer> {
        let answer = |fact: &Fact| match fact {
            Fact::RunState => {
                let jobs = self.jobs.get(target).cloned().unwrap_or(Ok(Vec::new()))?;
                let job = |id| LeftoverJob {
                    id,
                    running: true,
                    status: None,
                };
                let jobs = jobs.into_iter().map(job).collect();
                Ok(FactValue::RunState(RunState {
                    jobs,
                    ..RunState::default()
                }))
            }
            Fact::Digest { path, .. } => {
                let name = path.as_str().trim_start_matches('/').to_owned();
                let is = self.world.get(&(target.clone(), name));
                is.cloned()
                    .unwrap_or(Err(FactError::NotFound))
                    .map(FactValue::Digest)
            }
            Fact::Os => {
                let is = self.world.get(&(target.clone(), "os".to_owned()));
                is.cloned()
                    .unwrap_or(Err(FactError::NotFound))
                    .map(FactValue::Text)
            }
            _ => Err(FactError::NotFound),
        };
        facts
            .iter()
            .map(|fact| (fact.clone(), answer(fact)))
            .collect()
    }

    /// Answers one pending read of a target; gives the facts it asked for.
    pub fn read(&mut self, name: &str) -> BTreeSet<Fact> {
        let of = |command: &Command| matches!(command, Command::Read { target, .. } if target.to_string() == name);
        let Some(Command::Read { target, facts }) = self.take(of) else {
            panic!("{name} is not being read: {:?}", self.bench)
        };
        let result = Ok(self.answers(&target, &facts));
        self.feed(Input::Read {
            target,
            result,
            took_ms: 1,
        });
        facts.into_iter().collect()
    }

    pub fn read_fails(&mut self, name: &str, kind: HostErrorKind) -> &mut Self {
        let of = |command: &Command| matches!(command, Command::Read { target, .. } if *target == node(name));
        self.take(of).unwrap();
        self.feed(Input::Read {
            target: node(name),
            result: Err(trouble(kind)),
            took_ms: 1,
        })
    }

    /// Answers reads until there are none.
    pub fn reads(&mut self) -> &mut Self {
        while let Some(Command::Read { target, .. }) = self
            .bench
            .iter()
            .find(|c| matches!(c, Command::Read { .. }))
        {
            let name = target.to_string();
            self.read(&name);
        }
        self
    }

    pub fn lock(&mut self) -> &mut Self {
        let asked = self.take(|command| matches!(command, Command::Lock { .. }));
        assert!(asked.is_some(), "no lock is wanted: {:?}", self.bench);
        self.feed(Input::Locked(Ok(Vec::new()))).reads()
    }

    pub fn wants_lock(&self) -> bool {
        self.bench.iter().any(|c| matches!(c, Command::Lock { .. }))
    }

    /// Pairs whose jobs are under way.
    pub fn applying(&self) -> Vec<u32> {
        let pair = |command: &Command| match command {
            Command::Apply { pair, .. } => Some(pair.0),
            _ => None,
        };
        self.bench.iter().filter_map(pair).collect()
    }

    /// A job ends so; with success, its pair's file is good.
    pub fn applied(&mut self, id: u32, status: JobStatus) -> &mut Self {
        let of = |command: &Command| matches!(command, Command::Apply { pair, .. } if pair.0 == id);
        let Some(Command::Apply {
            target, job, facts, ..
        }) = self.take(of)
        else {
            panic!("{id} is not applied: {:?}", self.bench)
        };
        if status == JobStatus::Succeeded
            && let Some(Action::WriteFile { path, .. }) = job.actions.first()
        {
            let name = path.as_str().trim_start_matches('/').to_owned();
            self.world
                .insert((target.clone(), name), Ok("good".to_owned()));
        }
        let answers = self.answers(&target, &facts);
        let result = Ok(Applied {
            end: end(status),
            answers,
        });
        self.feed(Input::Applied {
            pair: PairId(id),
            result,
        })
    }

    pub fn works(&mut self, id: u32) -> &mut Self {
        self.applied(id, JobStatus::Succeeded)
    }

    pub fn apply_fails(&mut self, id: u32, kind: HostErrorKind) -> &mut Self {
        let of = |command: &Command| matches!(command, Command::Apply { pair, .. } if pair.0 == id);
        self.take(of).unwrap();
        self.feed(Input::Applied {
            pair: PairId(id),
            result: Err(trouble(kind)),
        })
    }

    pub fn attached(&mut self, result: Result<JobStatus, HostErrorKind>) -> &mut Self {
        let Some(Command::Attach { target, job }) =
            self.take(|command| matches!(command, Command::Attach { .. }))
        else {
            panic!("no job is awaited: {:?}", self.bench)
        };
        self.feed(Input::Attached {
            target,
            job,
            result: result.map(end).map_err(trouble),
        })
    }

    /// The timers that run, shortest first.
    pub fn timers(&self) -> Vec<(u64, TimerId)> {
        let timer = |command: &Command| match command {
            Command::After { timer, delay } => Some((delay.as_secs(), *timer)),
            _ => None,
        };
        let mut timers: Vec<_> = self.bench.iter().filter_map(timer).collect();
        timers.sort_unstable();
        timers
    }

    /// The shortest timer is over; gives its seconds.
    pub fn timer(&mut self) -> u64 {
        let (delay, id) = self.timers()[0];
        self.fire(id);
        delay
    }

    pub fn fire(&mut self, id: TimerId) {
        self.take(|c| matches!(c, Command::After { timer, .. } if *timer == id));
        self.feed(Input::Timer(id));
    }

    pub fn outcome(&self, id: u32) -> &Outcome {
        self.scheduler
            .outcome(PairId(id))
            .unwrap_or_else(|| panic!("{id} has not ended: {:#?}", self.events))
    }

    pub fn is_open(&self, id: u32) -> bool {
        self.scheduler.outcome(PairId(id)).is_none()
    }

    /// The words of all outcomes, in plan order.
    pub fn words(&self) -> Vec<&'static str> {
        let outcomes = (0..).map_while(|id| self.scheduler.outcome(PairId(id)));
        outcomes.map(Outcome::word).collect()
    }

    pub fn text(&self, id: u32) -> String {
        match self.outcome(id) {
            Outcome::Interrupted(text) | Outcome::Skipped(text) => text.clone(),
            other => other
                .failure()
                .map(|f| f.message.clone())
                .unwrap_or_default(),
        }
    }
}

pub fn end(status: JobStatus) -> JobEnd {
    JobEnd {
        status,
        stdout: String::new(),
        stderr: String::new(),
        dropped: 0,
    }
}

pub const BAD: JobStatus = JobStatus::Failed {
    action: 0,
    exit: 1,
    retryable: false,
};
pub const BUSY: JobStatus = JobStatus::Failed {
    action: 0,
    exit: 75,
    retryable: true,
};
