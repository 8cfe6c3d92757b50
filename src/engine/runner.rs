//! The runner: carries out what the scheduler asks for. One task owns the scheduler and puts everything that happens in
//! one order; executions run beside it and only send it their result.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::locks::Locks;
use super::promise::{Promise, died, died_failure};
use super::record::{Ack, Recorder, Stamper, acknowledged};
use super::scheduler::{Command, Input, Options, Scheduler};
use super::sensitive::register;
use crate::journal::Journal;
use crate::model::event::{CancelLevel, Event, Record, RunStarted};
use crate::model::id::Target;
use crate::model::outcome::{ExitCode, Failure};
use crate::model::redact::Redactor;
use crate::plan::Plan;
use crate::transport::{BoxFuture, HostErrorKind, Hosts};

/// Asks a person.
pub trait Confirm: Send + Sync {
    /// Whether these disruptive pairs (`STEP@TARGET`) may go ahead.
    fn confirm<'a>(&'a self, pairs: &'a [String]) -> BoxFuture<'a, bool>;
}

/// Sees every record as it happens.
pub trait Observer: Send {
    /// A record.
    fn record(&mut self, record: &Record);

    /// Time has passed (every 100 ms).
    fn tick(&mut self, now_ms: i64);

    /// A person is being asked (`true`), or has answered, or need not answer any more (`false`). What is drawn over a
    /// question makes it one that nobody sees.
    fn question(&mut self, _stands: bool) {}
}

/// What a run is connected to.
pub struct Seams {
    /// Machines.
    pub hosts: Arc<dyn Hosts>,
    /// Locks; `None` for a preview, which changes nothing.
    pub locks: Option<Arc<dyn Locks>>,
    /// The journal; `None` for a preview.
    pub journal: Option<Arc<dyn Journal>>,
    /// A person.
    pub confirm: Arc<dyn Confirm>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ctrl-C and SIGTERM.
    pub cancel: mpsc::UnboundedReceiver<CancelLevel>,
    /// Takes values out of every event before it is recorded or shown.
    pub redactor: Redactor,
}

/// How a run ended.
pub struct Ended {
    /// The exit code.
    pub exit: ExitCode,
    /// The scheduler, for outcomes, previews and facts.
    pub scheduler: Scheduler,
    /// Why the run's end is not on record, where it is not: nobody was told by an event.
    pub unrecorded: Option<Failure>,
}

struct Runner<'a> {
    plan: Arc<Plan>,
    scheduler: Scheduler,
    seams: Seams,
    observer: &'a mut dyn Observer,
    stamper: Stamper,
    recorder: Recorder,
    inputs: mpsc::UnboundedSender<Input>,
    output: mpsc::UnboundedSender<Event>,
    tasks: JoinSet<()>,
    /// The records before the next effect.
    pending: Vec<Record>,
    last_ack: Option<Ack>,
}

/// Runs a plan to its end. An error means that nothing was started: the journal does not take the run's first record.
pub async fn run(
    plan: Arc<Plan>,
    options: Options,
    seams: Seams,
    started: RunStarted,
    observer: &mut dyn Observer,
) -> Result<Ended, Failure> {
    let (inputs, mut happened) = mpsc::unbounded_channel();
    let (output, mut said) = mpsc::unbounded_channel();
    let recorder = Recorder::new(seams.journal.clone(), options.run.clone(), inputs.clone());
    let mut runner = Runner {
        scheduler: Scheduler::new(plan.clone(), options),
        stamper: Stamper::new(seams.clock.clone()),
        plan,
        seams,
        observer,
        recorder,
        inputs,
        output,
        tasks: JoinSet::new(),
        pending: Vec::new(),
        last_ack: None,
    };
    runner.emit(Event::RunStarted(Box::new(started)), true);
    if let Some(ack) = runner.last_ack.take() {
        acknowledged(ack).await?;
    }
    let exit = runner.drive(&mut happened, &mut said).await;
    Ok(runner.end(exit).await)
}

impl Runner<'_> {
    /// Puts all that happens in one order, until the scheduler says that the run is over.
    async fn drive(
        &mut self,
        happened: &mut mpsc::UnboundedReceiver<Input>,
        said: &mut mpsc::UnboundedReceiver<Event>,
    ) -> ExitCode {
        let commands = self.scheduler.handle(Input::Start);
        let mut exit = self.carry_out(commands);
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(100));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut may_cancel = true;
        loop {
            if let Some(code) = exit {
                return code;
            }
            tokio::select! {
                // A person first: whatever else happens must not keep Ctrl-C waiting.
                biased;
                level = self.seams.cancel.recv(), if may_cancel => match level {
                    Some(level) => {
                        self.observer.question(false);
                        let commands = self.scheduler.handle(Input::Cancel(level));
                        exit = self.carry_out(commands);
                    }
                    None => may_cancel = false,
                },
                Some(input) = happened.recv() => {
                    while let Ok(event) = said.try_recv() {
                        self.emit(event, false);
                    }
                    if matches!(input, Input::Confirmed(_)) {
                        self.observer.question(false);
                    }
                    let commands = self.scheduler.handle(input);
                    exit = self.carry_out(commands);
                }
                Some(event) = said.recv() => {
                    self.emit(event, false);
                    self.flush(false);
                }
                _ = ticks.tick() => self.observer.tick(self.seams.clock.wall_ms()),
            }
        }
    }

    /// Lets go of everything. A run whose end is not on record did not end well.
    async fn end(mut self, exit: ExitCode) -> Ended {
        // What still runs after an abort is left to itself: its job goes on where it is, `resume` finds it.
        self.tasks.shutdown().await;
        let last = self.last_word().await;
        let Runner {
            recorder,
            scheduler,
            seams,
            ..
        } = self;
        let unrecorded = recorder.close().await.and(last).err();
        if let Some(locks) = seams.locks {
            locks.release().await;
        }
        let exit = match unrecorded {
            None => exit,
            Some(_) => ExitCode::strongest([exit, ExitCode::Failed]),
        };
        Ended {
            exit,
            scheduler,
            unrecorded,
        }
    }

    /// Waits until the last record is safe.
    async fn last_word(&mut self) -> Result<(), Failure> {
        match self.last_ack.take() {
            Some(ack) => acknowledged(ack).await,
            None => Ok(()),
        }
    }

    fn promise(&self, broken: Input) -> Promise {
        Promise::new(&self.inputs, broken)
    }

    /// The one place where events become final: nothing secret gets further.
    fn emit(&mut self, mut event: Event, durable: bool) {
        self.seams.redactor.event(&mut event);
        let Some(record) = self.stamper.stamp(event) else {
            return;
        };
        self.observer.record(&record);
        self.pending.push(record);
        if durable {
            self.flush(true);
        }
    }

    /// Hands the pending records to the journal; later effects can wait for the latest hand-over.
    fn flush(&mut self, durable: bool) {
        if !self.pending.is_empty() {
            let ack = self
                .recorder
                .append(std::mem::take(&mut self.pending), durable);
            self.last_ack = Some(ack);
        }
    }

    fn carry_out(&mut self, commands: Vec<Command>) -> Option<ExitCode> {
        let mut exit = None;
        for command in commands {
            match command {
                Command::Emit { event, durable } => self.emit(event, durable),
                Command::Read { target, facts } => self.read(target, facts),
                Command::Apply {
                    pair,
                    target,
                    job,
                    facts,
                } => self.apply(pair, target, job, facts),
                Command::Attach { target, job } => self.attach(target, job),
                Command::After { timer, delay } => {
                    let promise = self.promise(Input::Timer(timer));
                    self.tasks.spawn(async move {
                        tokio::time::sleep(delay).await;
                        promise.keep(Input::Timer(timer));
                    });
                }
                Command::Lock { targets } => self.lock(targets),
                Command::Relock { target } => self.relock(target),
                Command::Confirm { pairs } => self.confirm(&pairs),
                Command::Finished(code) => exit = Some(code),
            }
        }
        self.flush(false);
        while self.tasks.try_join_next().is_some() {}
        exit
    }

    fn confirm(&mut self, pairs: &[crate::model::id::PairId]) {
        let labels: Vec<String> = pairs.iter().map(|pair| self.plan.label(*pair)).collect();
        let promise = self.promise(Input::Confirmed(false));
        let person = self.seams.confirm.clone();
        self.observer.question(true);
        self.tasks.spawn(async move {
            let yes = person.confirm(&labels).await;
            promise.keep(Input::Confirmed(yes));
        });
    }

    fn read(&mut self, target: Target, facts: Vec<crate::facts::fact::Fact>) {
        let (hosts, clock) = (self.seams.hosts.clone(), self.seams.clock.clone());
        let redactor = self.seams.redactor.clone();
        let promise = self.promise(Input::Read {
            target: target.clone(),
            result: Err(died(HostErrorKind::Protocol)),
            took_ms: 0,
        });
        self.tasks.spawn(async move {
            let began = clock.monotonic();
            let result = match hosts.host(&target).await {
                Ok(host) => host.read(&facts).await,
                Err(error) => Err(error),
            };
            register(&redactor, result.iter().flatten());
            let took_ms = u64::try_from(clock.monotonic().saturating_sub(began).as_millis())
                .unwrap_or(u64::MAX);
            promise.keep(Input::Read {
                target,
                result,
                took_ms,
            });
        });
    }

    fn apply(
        &mut self,
        pair: crate::model::id::PairId,
        target: Target,
        job: crate::model::action::Job,
        facts: Vec<crate::facts::fact::Fact>,
    ) {
        // `StepStarted` is the last durable record before this; nothing is sent before it is safe.
        let ack = self.last_ack.take();
        let (hosts, output) = (self.seams.hosts.clone(), self.output.clone());
        let redactor = self.seams.redactor.clone();
        // How far it came is not known then: its job is looked for.
        let promise = self.promise(Input::Applied {
            pair,
            result: Err(died(HostErrorKind::Lost)),
        });
        self.tasks.spawn(async move {
            let recorded = match ack {
                Some(ack) => acknowledged(ack).await,
                None => Err(Failure::new("its start was not put on record")),
            };
            if let Err(failure) = recorded {
                return promise.keep(Input::JournalFailed {
                    failure,
                    unstarted: Some(pair),
                });
            }
            let say = move |text: &str| {
                drop(output.send(Event::StepOutput {
                    pair,
                    text: text.to_owned(),
                }))
            };
            let result = match hosts.host(&target).await {
                Ok(host) => host.apply(&job, &facts, &say).await,
                Err(error) => Err(error),
            };
            register(
                &redactor,
                result.iter().flat_map(|applied| &applied.answers),
            );
            promise.keep(Input::Applied { pair, result });
        });
    }

    fn attach(&mut self, target: Target, job: crate::model::id::JobId) {
        let hosts = self.seams.hosts.clone();
        let promise = self.promise(Input::Attached {
            target: target.clone(),
            job: job.clone(),
            result: Err(died(HostErrorKind::Lost)),
        });
        self.tasks.spawn(async move {
            let result = match hosts.host(&target).await {
                Ok(host) => host.attach(&job, false, &|_| {}).await,
                Err(error) => Err(error),
            };
            promise.keep(Input::Attached {
                target,
                job,
                result,
            });
        });
    }

    fn lock(&mut self, targets: Vec<Target>) {
        let promise = self.promise(Input::Locked(Err(died_failure())));
        let Some(locks) = self.seams.locks.clone() else {
            let refused = Failure::new("this command may not change anything");
            return promise.keep(Input::Locked(Err(refused)));
        };
        let inputs = self.inputs.clone();
        self.tasks.spawn(async move {
            let result = locks.acquire(&targets).await;
            let held = result.is_ok();
            promise.keep(Input::Locked(result));
            if !held {
                return;
            }
            let (news, mut told) = mpsc::unbounded_channel();
            let pass_on = async {
                while let Some(news) = told.recv().await {
                    drop(inputs.send(Input::LockNews(news)));
                }
            };
            tokio::join!(locks.keep(news), pass_on);
        });
    }

    fn relock(&mut self, target: Target) {
        let promise = self.promise(Input::Relocked {
            target: target.clone(),
            result: Err(died(HostErrorKind::Protocol)),
        });
        let Some(locks) = self.seams.locks.clone() else {
            return;
        };
        self.tasks.spawn(async move {
            let result = locks.again(&target).await;
            promise.keep(Input::Relocked { target, result });
        });
    }
}
