//! What a machine in memory knows: its files, jobs and answers, and what is to go wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::lock::FakeLock;
use super::systemd::Systemd;
use super::{Calls, FakeRun, FakeTree, Fault, Refusal, facts};
use crate::artifact::{Artifacts, VerifiedFile, member};
use crate::facts::fact::{
    Answer, Boot, Fact, FactError, FactValue, LeftoverJob, Os, RunState, Sudo,
};
use crate::model::action::{
    Action, CHANGED_MEANWHILE, Job, JobEnd, JobStatus, OUTPUT_CAP, Program,
};
use crate::model::id::JobId;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::transport::{HostError, HostErrorKind};

pub(super) type OnRun = Arc<dyn Fn(&Program, &mut FakeTree) -> FakeRun + Send + Sync>;
pub(super) type Scripted = Result<FactValue, FactError>;

pub(super) struct State {
    pub(super) tree: FakeTree,
    pub(super) answers: BTreeMap<Fact, Scripted>,
    pub(super) on_run: OnRun,
    pub(super) systemd: Systemd,
    pub(super) artifacts: Option<Arc<dyn Artifacts>>,
    /// Files that jobs may place, by sha256: sent to it, or fetched by itself.
    pub(super) delivered: BTreeMap<String, VerifiedFile>,
    pub(super) boot: u64,
    pub(super) jobs: BTreeMap<JobId, FakeJob>,
    pub(super) seen: BTreeSet<JobId>,
    pub(super) applied: Vec<JobId>,
    pub(super) calls: Calls,
    pub(super) faults: VecDeque<Fault>,
    pub(super) always: Option<Fault>,
    pub(super) uptime: Duration,
    pub(super) lock: Option<FakeLock>,
}

pub(super) enum FakeJob {
    Running(Job),
    Ended(JobEnd),
}

impl State {
    /// An empty machine on which every program succeeds silently.
    pub(super) fn new() -> Self {
        Self {
            tree: FakeTree::default(),
            answers: BTreeMap::new(),
            on_run: Arc::new(|_, _| FakeRun::exit(0, "")),
            systemd: Systemd::default(),
            artifacts: None,
            delivered: BTreeMap::new(),
            boot: 1,
            jobs: BTreeMap::new(),
            seen: BTreeSet::new(),
            applied: Vec::new(),
            calls: Calls::default(),
            faults: VecDeque::new(),
            always: None,
            uptime: Duration::ZERO,
            lock: None,
        }
    }

    /// The fault that hits a call, if it is one that this call can have.
    pub(super) fn fault(&mut self, possible: impl Fn(&Fault) -> bool) -> Option<Fault> {
        if let Some(fault) = self.always.filter(&possible) {
            return Some(fault);
        }
        self.faults.pop_front_if(|fault| possible(fault))
    }

    /// Starts a job. A fault that leaves it running or to be run is given back.
    pub(super) fn begin(&mut self, job: &Job) -> Result<Option<Fault>, HostError> {
        self.calls.applies += 1;
        let fault = self.fault(|_| true);
        if let Some(fault) = fault
            && !matches!(fault, Fault::LostDuring | Fault::LostAfter)
        {
            return Err(error(fault));
        }
        if let Some(fenced) = self.fence(job) {
            return Err(fenced);
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
    pub(super) fn finish(&mut self, id: &JobId) {
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
                let run = self.systemd.run(program, &mut self.tree);
                let run = run.unwrap_or_else(|| (self.on_run.clone())(program, &mut self.tree));
                stdout.push_str(&run.stdout);
                stderr.push_str(&run.stderr);
                match run.exit {
                    None => status = JobStatus::TimedOut,
                    Some(exit) if ok_exits(program).contains(&exit) => continue,
                    Some(exit) => status = failed(exit, program.retry_exit.contains(&exit)),
                }
                break;
            }
            if let Some(refusal) = self.tree.changed_meanwhile(action) {
                stderr.push_str(&format!("hmco-boot: {refusal}\n"));
                status = failed(CHANGED_MEANWHILE, true);
                break;
            }
            if let Err(refusal) = self.act(action) {
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
        let restarts = end.status == JobStatus::Succeeded && job.actions.contains(&Action::Reboot);
        if restarts {
            let lock = self.lock.take();
            self.reboot();
            self.lock = lock.map(FakeLock::anew);
        }
        // The verdict is handed over before the machine goes down.
        self.jobs.insert(id.clone(), FakeJob::Ended(end));
    }

    /// A restart: what ran is gone, books included, for they are in memory.
    pub(super) fn reboot(&mut self) {
        self.boot += 1;
        self.uptime = Duration::ZERO;
        self.jobs.clear();
        self.lock = None;
        let has_systemd = Systemd::is_there(&self.tree);
        if let Ok(run) = AbsPath::new("/run") {
            // A refusal is impossible: a missing folder is fine, and this one may be a folder.
            if let Err(refusal) = self.tree.act(&Action::Remove {
                path: run,
                recursive: true,
            }) {
                tracing::debug!(refusal, "/run stays");
            }
        }
        if let (Some(cmdline), Ok(path)) = (
            facts::next_cmdline(&self.tree),
            AbsPath::new(facts::PROC_CMDLINE),
        ) {
            self.tree.write(&path, cmdline, 0o444);
        }
        if has_systemd {
            self.systemd.reboot(&mut self.tree);
        }
    }

    fn act(&mut self, action: &Action) -> Result<(), Refusal> {
        let Action::Place {
            pin,
            member,
            path,
            mode,
            owner,
        } = action
        else {
            return self.tree.act(action);
        };
        let Some(file) = self.delivered.get(&pin.sha256) else {
            return Err(format!("{} cannot be fetched", pin.url));
        };
        let bytes = member::read(file, member.as_ref()).map_err(|error| error.to_string())?;
        self.tree.write_file(path, &bytes, mode.0, owner, false)
    }

    /// Gives the end of a job and removes its folder.
    pub(super) fn take(&mut self, id: &JobId) -> JobEnd {
        match self.jobs.remove(id) {
            Some(FakeJob::Ended(end)) => end,
            _ => gone(),
        }
    }

    pub(super) fn answers(&self, facts: &[Fact]) -> Vec<Answer> {
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
            Fact::Os => Ok(FactValue::Os(Os {
                hostname: facts::text(&self.tree, "/proc/sys/kernel/hostname")
                    .map_or_else(|| os().hostname, |name| name.trim().to_owned()),
                ..os()
            })),
            Fact::Boot => {
                let boot = Boot {
                    id: self.boot_id(),
                    cmdline: "root=/dev/fake".to_owned(),
                    ..Boot::default()
                };
                Ok(FactValue::Boot(facts::boot(&self.tree, boot)))
            }
            Fact::Sudo => Ok(FactValue::Sudo(Sudo {
                is_root: true,
                ..Sudo::default()
            })),
            Fact::RunState => Ok(FactValue::RunState(self.run_state())),
            Fact::Unit { name } => self.systemd.fact(name, &self.tree),
            other => facts::of_tree(&self.tree, other).unwrap_or_else(|| {
                Err(FactError::Failed(format!(
                    "the machine in memory was not told the answer to: {}",
                    other.describe()
                )))
            }),
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
            lock: self.lock_text(),
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

pub(super) fn gone() -> JobEnd {
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

pub(super) fn error(fault: Fault) -> HostError {
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

pub(super) fn host_error(kind: HostErrorKind, message: String) -> HostError {
    HostError {
        kind,
        failure: Failure::new(message),
    }
}
