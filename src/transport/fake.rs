//! A machine in memory behind [`Host`], for tests of everything above: files, jobs, boots, and every way in which a
//! machine or its connection can fail. Clones are the same machine, so that a run that "crashed" (its future was
//! dropped) can be resumed on it.
//!
//! What it does not have: permissions, mounts, time. A job ends only when asked to ([`FakeHost::hold_jobs`]) or at
//! once; a program that does not end is [`FakeRun::endless`].

mod facts;
mod lock;
mod state;
mod systemd;
mod tree;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use self::state::{FakeJob, State, error, gone};
pub use self::systemd::FakeUnit;
pub use self::tree::{FakeKind, FakeNode, FakeTree, Refusal};
use super::job::{check, check_id};
use super::{Applied, BoxFuture, Host, HostError, HostErrorKind, OutputSink};
use crate::artifact::Artifacts;
use crate::facts::fact::{Answer, Fact, FactError, FactValue};
use crate::model::action::{Action, Job, JobEnd, Program};
use crate::model::artifact::Fetch;
use crate::model::id::{JobId, RunId};
use crate::model::lock::{LockAnswer, LockClaim};
use crate::model::outcome::Failure;

/// What a program did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FakeRun {
    /// Exit status; `None` = it never ends, so that the job's time limit ends it.
    pub exit: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl FakeRun {
    /// One that ended with this status and printed this.
    pub fn exit(exit: i32, stdout: impl Into<String>) -> Self {
        Self {
            exit: Some(exit),
            stdout: stdout.into(),
            stderr: String::new(),
        }
    }

    /// One that never ends.
    pub fn endless() -> Self {
        Self::default()
    }
}

/// Something that goes wrong with a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// No connection.
    Unreachable {
        /// Whether trying again may help.
        transient: bool,
    },
    /// An apply: the connection is lost, the job never starts, and the caller cannot know that.
    LostBefore,
    /// An apply: the connection is lost while the job runs; it goes on, see [`FakeHost::settle`].
    LostDuring,
    /// An apply: the job ends, then the connection is lost; its folder stays.
    LostAfter,
    /// An apply: the payload does not arrive.
    NotStarted,
    /// An apply: somebody else's job runs.
    Busy,
    /// Nonsense is answered.
    Protocol,
}

/// How many calls there were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Calls {
    /// Of [`Host::read`] with at least one fact.
    pub reads: usize,
    /// Of [`Host::apply`].
    pub applies: usize,
    /// Of [`Host::attach`].
    pub attaches: usize,
    /// Of [`Host::lock`].
    pub locks: usize,
}

/// A machine in memory.
#[derive(Clone)]
pub struct FakeHost {
    state: Arc<Mutex<State>>,
    held: Arc<watch::Sender<bool>>,
}

impl Default for FakeHost {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeHost {
    /// An empty machine on which every program succeeds silently.
    pub fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new())),
            held: Arc::new(watch::Sender::new(false)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the files, or changes them.
    pub fn with_tree<R>(&self, work: impl FnOnce(&mut FakeTree) -> R) -> R {
        work(&mut self.state().tree)
    }

    /// Answers a fact so from now on, instead of by what the machine is.
    pub fn answer(&self, fact: Fact, answer: Result<FactValue, FactError>) {
        self.state().answers.insert(fact, answer);
    }

    /// Brings a unit, as a package would. The machine has systemd once its tree has `/run/systemd/system`.
    pub fn put_unit(&self, name: &str, unit: FakeUnit) {
        self.state().systemd.put(name, unit);
    }

    /// The unit of this name, where systemd has met it.
    pub fn unit(&self, name: &str) -> Option<FakeUnit> {
        self.state().systemd.unit(name).cloned()
    }

    /// Where artifacts come from, for the machine itself and for those that are sent to it.
    pub fn serve(&self, artifacts: Arc<dyn Artifacts>) {
        self.state().artifacts = Some(artifacts);
    }

    /// What programs do that systemd does not, from now on.
    pub fn on_run(&self, run: impl Fn(&Program, &mut FakeTree) -> FakeRun + Send + Sync + 'static) {
        self.state().on_run = Arc::new(run);
    }

    /// The next calls that this can happen to fail so, one each, after those queued before.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// Every call fails so, until [`FakeHost::recover`].
    pub fn fail_always(&self, fault: Fault) {
        self.state().always = Some(fault);
    }

    /// Nothing fails any more.
    pub fn recover(&self) {
        let mut state = self.state();
        state.always = None;
        state.faults.clear();
    }

    /// With `true`, jobs begin but do not end until this is called with `false`.
    pub fn hold_jobs(&self, hold: bool) {
        self.held.send_replace(hold);
    }

    /// Lets all jobs that run without anybody attached come to their end.
    pub fn settle(&self) {
        let mut state = self.state();
        let ids: Vec<JobId> = state.jobs.keys().cloned().collect();
        for id in ids {
            state.finish(&id);
        }
    }

    /// A restart: what ran is gone, books included, for they are in memory.
    pub fn reboot(&self) {
        self.state().reboot();
    }

    /// Time passes: what was not renewed within it is no longer held.
    pub fn pass(&self, time: Duration) {
        self.state().uptime += time;
    }

    /// The run that the lock names, dead or alive.
    pub fn locked_by(&self) -> Option<RunId> {
        let state = self.state();
        state.lock.as_ref().map(|lock| lock.run.clone())
    }

    /// Ids of the jobs whose actions were carried out, in order.
    pub fn applied(&self) -> Vec<JobId> {
        self.state().applied.clone()
    }

    /// How many calls there were.
    pub fn calls(&self) -> Calls {
        self.state().calls
    }

    async fn released(&self) {
        let mut held = self.held.subscribe();
        if held.wait_for(|held| !held).await.is_err() {
            tracing::debug!("nobody can release the jobs any more");
        }
    }

    async fn read_facts(&self, facts: &[Fact]) -> Result<Vec<Answer>, HostError> {
        // So that many reads at once take turns, as real ones do.
        tokio::task::yield_now().await;
        let mut state = self.state();
        if !facts.is_empty() {
            state.calls.reads += 1;
        }
        match state.fault(|fault| matches!(fault, Fault::Unreachable { .. } | Fault::Protocol)) {
            Some(fault) => Err(error(fault)),
            None => Ok(state.answers(facts)),
        }
    }

    /// Gets the files that a job places: what the controller cannot fetch stops it, what the machine itself cannot
    /// fetch is for the job to say.
    async fn deliver(&self, job: &Job) -> Result<(), HostError> {
        let artifacts = self.state().artifacts.clone();
        for action in &job.actions {
            let Action::Place { pin, .. } = action else {
                continue;
            };
            let fetched = match &artifacts {
                Some(artifacts) => artifacts.fetch(pin, &|_| ()).await,
                None => Err(Failure::new(format!(
                    "{} cannot be fetched by this command",
                    pin.describe()
                ))),
            };
            match (fetched, pin.fetch) {
                (Ok(file), _) => drop(self.state().delivered.insert(pin.sha256.clone(), file)),
                (Err(failure), Fetch::Controller) => {
                    let kind = HostErrorKind::NotStarted;
                    return Err(HostError { kind, failure });
                }
                (Err(_), Fetch::Node) => {}
            }
        }
        Ok(())
    }

    async fn apply_job(
        &self,
        job: &Job,
        facts: &[Fact],
        output: OutputSink<'_>,
    ) -> Result<Applied, HostError> {
        check(job)?;
        self.deliver(job).await?;
        tokio::task::yield_now().await;
        let fault = self.state().begin(job)?;
        if fault == Some(Fault::LostDuring) {
            return Err(error(Fault::LostDuring));
        }
        self.released().await;
        let mut state = self.state();
        state.finish(&job.id);
        if fault == Some(Fault::LostAfter) {
            if job.actions.contains(&Action::Reboot) {
                state.jobs.remove(&job.id);
            }
            return Err(error(Fault::LostAfter));
        }
        let end = state.take(&job.id);
        let answers = state.answers(facts);
        drop(state);
        report(&end, output);
        Ok(Applied { end, answers })
    }

    async fn take_lock(&self, claim: &LockClaim) -> Result<LockAnswer, HostError> {
        tokio::task::yield_now().await;
        let mut state = self.state();
        state.calls.locks += 1;
        match state.fault(|fault| matches!(fault, Fault::Unreachable { .. } | Fault::Protocol)) {
            Some(fault) => Err(error(fault)),
            None => Ok(state.lock(claim)),
        }
    }

    async fn give_lock_back(&self, run: &RunId) -> Result<(), HostError> {
        tokio::task::yield_now().await;
        let mut state = self.state();
        match state.fault(|fault| matches!(fault, Fault::Unreachable { .. } | Fault::Protocol)) {
            Some(fault) => Err(error(fault)),
            None => {
                state.unlock(run);
                Ok(())
            }
        }
    }

    async fn attach_job(
        &self,
        id: &JobId,
        end: bool,
        output: OutputSink<'_>,
    ) -> Result<JobEnd, HostError> {
        check_id(id)?;
        tokio::task::yield_now().await;
        {
            let mut state = self.state();
            state.calls.attaches += 1;
            let fault =
                state.fault(|fault| matches!(fault, Fault::Unreachable { .. } | Fault::Protocol));
            if let Some(fault) = fault {
                return Err(error(fault));
            }
            state.seen.insert(id.clone());
            if end && matches!(state.jobs.get(id), Some(FakeJob::Running(_))) {
                state.jobs.remove(id);
            }
            if !state.jobs.contains_key(id) {
                return Ok(gone());
            }
        }
        self.released().await;
        let mut state = self.state();
        state.finish(id);
        let end = state.take(id);
        drop(state);
        report(&end, output);
        Ok(end)
    }
}

impl Host for FakeHost {
    fn read<'a>(&'a self, facts: &'a [Fact]) -> BoxFuture<'a, Result<Vec<Answer>, HostError>> {
        Box::pin(self.read_facts(facts))
    }

    fn apply<'a>(
        &'a self,
        job: &'a Job,
        facts: &'a [Fact],
        output: OutputSink<'a>,
    ) -> BoxFuture<'a, Result<Applied, HostError>> {
        Box::pin(self.apply_job(job, facts, output))
    }

    fn attach<'a>(
        &'a self,
        job: &'a JobId,
        end: bool,
        output: OutputSink<'a>,
    ) -> BoxFuture<'a, Result<JobEnd, HostError>> {
        Box::pin(self.attach_job(job, end, output))
    }

    fn lock<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<LockAnswer, HostError>> {
        Box::pin(self.take_lock(claim))
    }

    fn unlock<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(self.give_lock_back(run))
    }
}

fn report(end: &JobEnd, output: OutputSink<'_>) {
    for text in [&end.stdout, &end.stderr] {
        if !text.is_empty() {
            output(text);
        }
    }
}
