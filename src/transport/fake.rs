//! A machine in memory behind [`Host`], for tests of everything above: files, jobs, boots, and every way in which a
//! machine or its connection can fail. Clones are the same machine, so that a run that "crashed" (its future was
//! dropped) can be resumed on it.
//!
//! What it does not have: permissions, mounts, time. A job ends only when asked to ([`FakeHost::hold_jobs`]) or at
//! once; a program that does not end is [`FakeRun::endless`].

mod tree;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub use self::tree::{FakeKind, FakeNode, FakeTree, Refusal};
use super::job::{check, check_id};
use super::machine::DEFAULT_RUN_DIR;
use super::{Applied, BoxFuture, Host, HostError, HostErrorKind, OutputSink};
use crate::facts::fact::{
    Answer, Boot, Fact, FactError, FactValue, LeftoverJob, Os, RunState, Sudo,
};
use crate::model::action::{Action, Job, JobEnd, JobStatus, OUTPUT_CAP, Program};
use crate::model::id::JobId;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;

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
}

type OnRun = Arc<dyn Fn(&Program, &mut FakeTree) -> FakeRun + Send + Sync>;
type Scripted = Result<FactValue, FactError>;

/// A machine in memory.
#[derive(Clone)]
pub struct FakeHost {
    state: Arc<Mutex<State>>,
    held: Arc<watch::Sender<bool>>,
}

struct State {
    tree: FakeTree,
    answers: BTreeMap<Fact, Scripted>,
    on_run: OnRun,
    boot: u64,
    jobs: BTreeMap<JobId, FakeJob>,
    seen: BTreeSet<JobId>,
    applied: Vec<JobId>,
    calls: Calls,
    faults: VecDeque<Fault>,
    always: Option<Fault>,
}

enum FakeJob {
    Running(Job),
    Ended(JobEnd),
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
            state: Arc::new(Mutex::new(State {
                tree: FakeTree::default(),
                answers: BTreeMap::new(),
                on_run: Arc::new(|_, _| FakeRun::exit(0, "")),
                boot: 1,
                jobs: BTreeMap::new(),
                seen: BTreeSet::new(),
                applied: Vec::new(),
                calls: Calls::default(),
                faults: VecDeque::new(),
                always: None,
            })),
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

    /// What programs do, from now on.
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
        let mut state = self.state();
        state.boot += 1;
        state.jobs.clear();
        if let Ok(run) = AbsPath::new("/run") {
            // A refusal is impossible: a missing folder is fine, and this one may be a folder.
            if let Err(refusal) = state.tree.act(&Action::Remove {
                path: run,
                recursive: true,
            }) {
                tracing::debug!(refusal, "/run stays");
            }
        }
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

    async fn apply_job(
        &self,
        job: &Job,
        facts: &[Fact],
        output: OutputSink<'_>,
    ) -> Result<Applied, HostError> {
        check(job)?;
        tokio::task::yield_now().await;
        let fault = self.state().begin(job)?;
        if fault == Some(Fault::LostDuring) {
            return Err(error(Fault::LostDuring));
        }
        self.released().await;
        let mut state = self.state();
        state.finish(&job.id);
        if fault == Some(Fault::LostAfter) {
            return Err(error(Fault::LostAfter));
        }
        let end = state.take(&job.id);
        let answers = state.answers(facts);
        drop(state);
        report(&end, output);
        Ok(Applied { end, answers })
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

impl State {
    /// The fault that hits a call, if it is one that this call can have.
    fn fault(&mut self, possible: impl Fn(&Fault) -> bool) -> Option<Fault> {
        if let Some(fault) = self.always.filter(&possible) {
            return Some(fault);
        }
        self.faults.pop_front_if(|fault| possible(fault))
    }

    /// Starts a job. A fault that leaves it running or to be run is given back.
    fn begin(&mut self, job: &Job) -> Result<Option<Fault>, HostError> {
        self.calls.applies += 1;
        let fault = self.fault(|_| true);
        if let Some(fault) = fault
            && !matches!(fault, Fault::LostDuring | Fault::LostAfter)
        {
            return Err(error(fault));
        }
        if !self.seen.insert(job.id.clone()) {
            return Err(host_error(
                HostErrorKind::Busy,
                format!("the job {} was there already", job.id),
            ));
        }
        let other = self
            .jobs
            .iter()
            .find(|(_, job)| matches!(job, FakeJob::Running(_)));
        if let Some((other, _)) = other {
            let message = format!("another job of hmco-boot, {other}, is running");
            self.seen.remove(&job.id);
            return Err(host_error(HostErrorKind::Busy, message));
        }
        self.jobs
            .insert(job.id.clone(), FakeJob::Running(job.clone()));
        Ok(fault)
    }

    /// Carries out a job that runs.
    fn finish(&mut self, id: &JobId) {
        let Some(FakeJob::Running(job)) = self.jobs.get(id) else {
            return;
        };
        let job = job.clone();
        self.applied.push(id.clone());
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let mut status = JobStatus::Succeeded;
        for (number, action) in (0u32..).zip(&job.actions) {
            let failed = |exit, retryable| JobStatus::Failed {
                action: number,
                exit,
                retryable,
            };
            if let Action::Run(program) = action {
                let run = (self.on_run.clone())(program, &mut self.tree);
                stdout.push_str(&run.stdout);
                stderr.push_str(&run.stderr);
                match run.exit {
                    None => status = JobStatus::TimedOut,
                    Some(exit) if ok_exits(program).contains(&exit) => continue,
                    Some(exit) => status = failed(exit, program.retry_exit.contains(&exit)),
                }
                break;
            }
            if let Err(refusal) = self.tree.act(action) {
                stderr.push_str(&format!("hmco-boot: {refusal}\n"));
                status = failed(1, false);
                break;
            }
        }
        let (stdout, lost_out) = capped(stdout);
        let (stderr, lost_err) = capped(stderr);
        let end = JobEnd {
            status,
            stdout,
            stderr,
            dropped: lost_out + lost_err,
        };
        self.jobs.insert(id.clone(), FakeJob::Ended(end));
    }

    /// Gives the end of a job and removes its folder.
    fn take(&mut self, id: &JobId) -> JobEnd {
        match self.jobs.remove(id) {
            Some(FakeJob::Ended(end)) => end,
            _ => gone(),
        }
    }

    fn answers(&self, facts: &[Fact]) -> Vec<Answer> {
        facts
            .iter()
            .map(|fact| (fact.clone(), self.read(fact)))
            .collect()
    }

    fn read(&self, fact: &Fact) -> Result<FactValue, FactError> {
        if let Some(answer) = self.answers.get(fact) {
            return answer.clone();
        }
        match fact {
            Fact::Stat { path } => self.tree.stat(path),
            Fact::Digest { path, .. } => self.tree.digest(path),
            Fact::Content {
                path,
                unless_sha256,
                cap,
                ..
            } => self.tree.content_fact(path, unless_sha256.as_deref(), *cap),
            Fact::Os => Ok(FactValue::Os(os())),
            Fact::Boot => Ok(FactValue::Boot(Boot {
                id: self.boot_id(),
                cmdline: "root=/dev/fake".to_owned(),
                ..Boot::default()
            })),
            Fact::Sudo => Ok(FactValue::Sudo(Sudo {
                is_root: true,
                ..Sudo::default()
            })),
            Fact::RunState => Ok(FactValue::RunState(self.run_state())),
            other => Err(FactError::Failed(format!(
                "the machine in memory was not told the answer to: {}",
                other.describe()
            ))),
        }
    }

    fn boot_id(&self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.boot)
    }

    fn run_state(&self) -> RunState {
        let text = |path: &str| {
            let path = AbsPath::new(path).ok()?;
            let bytes = self.tree.content(&path)?;
            Some(String::from_utf8_lossy(bytes).into_owned())
        };
        RunState {
            boot_id: self.boot_id(),
            lock: text(&format!("{DEFAULT_RUN_DIR}/lock")),
            jobs: self
                .jobs
                .iter()
                .map(|(id, job)| LeftoverJob {
                    id: id.clone(),
                    running: matches!(job, FakeJob::Running(_)),
                    status: match job {
                        FakeJob::Running(_) => None,
                        FakeJob::Ended(end) => Some(status_text(&end.status)),
                    },
                })
                .collect(),
            procedure: text("/var/lib/hmco-boot/procedure.json"),
        }
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
}

fn os() -> Os {
    Os {
        kernel_arch: "aarch64".to_owned(),
        arch: "arm64".to_owned(),
        kernel: "6.12.25+rpt-rpi-2712".to_owned(),
        id: "debian".to_owned(),
        version: "12".to_owned(),
        codename: "bookworm".to_owned(),
        page_size: 4096,
        machine_id: "0123456789abcdef0123456789abcdef".to_owned(),
        hostname: "fake".to_owned(),
        model: "Raspberry Pi 5 Model B Rev 1.0".to_owned(),
        memory: 8 << 30,
        cpus: 4,
        init: "systemd".to_owned(),
        ..Os::default()
    }
}

fn ok_exits(program: &Program) -> &[i32] {
    if program.ok_exit.is_empty() {
        &[0]
    } else {
        &program.ok_exit
    }
}

fn gone() -> JobEnd {
    JobEnd {
        status: JobStatus::Lost,
        stdout: String::new(),
        stderr: String::new(),
        dropped: 0,
    }
}

/// The text of a status file.
fn status_text(status: &JobStatus) -> String {
    match status {
        JobStatus::Succeeded => "succeeded".to_owned(),
        JobStatus::TimedOut => "timed-out".to_owned(),
        JobStatus::Lost => "lost".to_owned(),
        JobStatus::Failed {
            action,
            exit,
            retryable,
        } => format!("failed {action} {exit} {}", u8::from(*retryable)),
    }
}

/// The last bytes, and how many were dropped.
fn capped(text: String) -> (String, u64) {
    let total = text.len() as u64;
    let excess = usize::try_from(total.saturating_sub(OUTPUT_CAP)).unwrap_or(0);
    let start = (excess..=text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    let kept = text.get(start..).unwrap_or_default().to_owned();
    (kept, excess as u64)
}

fn report(end: &JobEnd, output: OutputSink<'_>) {
    for text in [&end.stdout, &end.stderr] {
        if !text.is_empty() {
            output(text);
        }
    }
}

fn error(fault: Fault) -> HostError {
    let (kind, message) = match fault {
        Fault::Unreachable { transient } => (
            HostErrorKind::Unreachable { transient },
            "the machine does not answer",
        ),
        Fault::LostBefore | Fault::LostDuring | Fault::LostAfter => (
            HostErrorKind::Lost,
            "the connection was lost while a job was running",
        ),
        Fault::NotStarted => (
            HostErrorKind::NotStarted,
            "the connection was lost before the job was started",
        ),
        Fault::Busy => (
            HostErrorKind::Busy,
            "another job of hmco-boot, elsewhere, is running",
        ),
        Fault::Protocol => (
            HostErrorKind::Protocol,
            "the machine's shell could not load a script",
        ),
    };
    host_error(kind, message.to_owned())
}

fn host_error(kind: HostErrorKind, message: String) -> HostError {
    HostError {
        kind,
        failure: Failure::new(message),
    }
}
