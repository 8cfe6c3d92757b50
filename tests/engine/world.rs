//! A few machines in memory, as far as the `file` kind can see them, with jobs that outlive whoever started them.

use std::collections::BTreeMap;

use hmco_boot::facts::fact::{
    Answer, Content, Fact, FactError, FactValue, FileKind, FileStat, LeftoverJob, RunState,
};
use hmco_boot::model::action::{Action, Job, JobEnd, JobStatus};
use hmco_boot::model::id::{JobId, PairId, RunId, Target};
use hmco_boot::model::outcome::Failure;
use hmco_boot::transport::{HostError, HostErrorKind};
use sha2::{Digest, Sha256};

use super::spec::Fate;

/// Another operator's run.
const THIEF: &str = "thief";

/// What a job will do when it gets to run.
#[derive(Clone, Debug)]
struct Running {
    job: Job,
    pair: PairId,
}

#[derive(Clone, Default, Debug)]
pub struct Machine {
    pub files: BTreeMap<String, String>,
    pub dead: bool,
    running: Vec<Running>,
    /// Ended, and nobody has heard of it.
    ended: BTreeMap<JobId, JobStatus>,
    /// Looks until a gate holds.
    pub gates: BTreeMap<String, u32>,
    /// The run that holds its lock.
    pub lock: Option<RunId>,
}

#[derive(Clone, Debug)]
pub struct World {
    pub machines: BTreeMap<Target, Machine>,
    pub fates: BTreeMap<PairId, Fate>,
    /// How often a job of each pair really did its work.
    pub done: BTreeMap<PairId, u32>,
    failures: BTreeMap<PairId, u32>,
    seen: std::collections::BTreeSet<JobId>,
}

fn gone() -> HostError {
    let kind = HostErrorKind::Unreachable { transient: false };
    HostError {
        kind,
        failure: Failure::new("no route to host"),
    }
}

impl World {
    pub fn new(fates: BTreeMap<PairId, Fate>) -> Self {
        Self {
            machines: BTreeMap::new(),
            fates,
            done: BTreeMap::new(),
            failures: BTreeMap::new(),
            seen: std::collections::BTreeSet::new(),
        }
    }

    fn machine(&mut self, target: &Target) -> &mut Machine {
        self.machines.entry(target.clone()).or_default()
    }

    pub fn read(&mut self, target: &Target, facts: &[Fact]) -> Result<Vec<Answer>, HostError> {
        let machine = self.machine(target);
        if machine.dead {
            return Err(gone());
        }
        let mut answers = Vec::new();
        for fact in facts {
            answers.push((fact.clone(), answer(machine, fact)));
        }
        Ok(answers)
    }

    /// Awaits a job, where its machine answers.
    pub fn attach(&mut self, target: &Target, id: &JobId) -> Result<JobEnd, HostError> {
        if self.machine(target).dead {
            return Err(gone());
        }
        Ok(self.collect(target, id))
    }

    /// Gives the lock to a run, unless another one has it that is no predecessor of it.
    pub fn lock(&mut self, target: &Target, run: &str) -> Result<(), HostError> {
        let machine = self.machine(target);
        if machine.dead {
            return Err(gone());
        }
        if machine
            .lock
            .as_ref()
            .is_some_and(|holder| holder.as_str() == THIEF)
        {
            return Err(HostError {
                kind: HostErrorKind::Fenced,
                failure: Failure::new("somebody else has the lock"),
            });
        }
        machine.lock = Some(RunId::new(run));
        Ok(())
    }

    /// Somebody else gets the lock, whose holder did not renew it; not while a job works there.
    pub fn steal(&mut self, target: &Target) -> bool {
        let machine = self.machine(target);
        let stolen = machine.running.is_empty() && !machine.dead;
        if stolen {
            machine.lock = Some(RunId::new(THIEF));
        }
        stolen
    }

    /// Somebody else has ended.
    pub fn thief_goes(&mut self) {
        for machine in self.machines.values_mut() {
            machine.lock.take_if(|holder| holder.as_str() == THIEF);
        }
    }

    /// Starts a job; nothing is done yet.
    pub fn start(&mut self, target: &Target, pair: PairId, job: &Job) -> Result<(), HostError> {
        assert!(
            self.seen.insert(job.id.clone()),
            "the job {} was started twice",
            job.id
        );
        let machine = self.machine(target);
        if machine.dead {
            return Err(gone());
        }
        if machine.lock != job.fence {
            return Err(HostError {
                kind: HostErrorKind::Fenced,
                failure: Failure::new("the lock is not this run's"),
            });
        }
        assert!(
            machine.running.is_empty(),
            "two jobs at once on {target}: {:?} and {}",
            machine.running,
            job.id
        );
        machine.running.push(Running {
            job: job.clone(),
            pair,
        });
        Ok(())
    }

    /// Lets a running job end; its verdict waits on the machine.
    pub fn end(&mut self, target: &Target, id: &JobId) {
        let machine = self.machine(target);
        let Some(at) = machine
            .running
            .iter()
            .position(|running| running.job.id == *id)
        else {
            return;
        };
        let running = machine.running.remove(at);
        let failed_before = self.failures.get(&running.pair).copied().unwrap_or(0);
        let failed = |retryable| JobStatus::Failed {
            action: 0,
            exit: 75,
            retryable,
        };
        let (works, status) = match self.fates[&running.pair] {
            Fate::Fails => (false, failed(false)),
            Fate::Flaky(times) if failed_before < times => (false, failed(true)),
            Fate::Liar => (false, JobStatus::Succeeded),
            Fate::Fine | Fate::Converged | Fate::Flaky(_) => (true, JobStatus::Succeeded),
        };
        if matches!(status, JobStatus::Failed { .. }) {
            *self.failures.entry(running.pair).or_insert(0) += 1;
        }
        if works {
            *self.done.entry(running.pair).or_insert(0) += 1;
            for action in &running.job.actions {
                let Action::WriteFile { path, content, .. } = action else {
                    panic!("unexpected action {action:?}")
                };
                self.machine(target)
                    .files
                    .insert(path.to_string(), content.expose().to_owned());
            }
        }
        self.machine(target).ended.insert(id.clone(), status);
    }

    /// The machine loses power: whatever ran is gone without a verdict, its work done or not.
    pub fn restart(&mut self, target: &Target, work_done: bool) {
        let fates = self.fates.clone();
        let does_work = |running: &&Running| work_done && fates[&running.pair] == Fate::Fine;
        let jobs: Vec<JobId> = self
            .machine(target)
            .running
            .iter()
            .filter(does_work)
            .map(|running| running.job.id.clone())
            .collect();
        for id in jobs {
            self.end(target, &id);
        }
        let machine = self.machine(target);
        machine.running.clear();
        machine.ended.clear();
        machine.lock = None;
    }

    /// Delivers a job's verdict and forgets the job.
    pub fn collect(&mut self, target: &Target, id: &JobId) -> JobEnd {
        self.end(target, id);
        let status = self
            .machine(target)
            .ended
            .remove(id)
            .unwrap_or(JobStatus::Lost);
        JobEnd {
            status,
            stdout: String::new(),
            stderr: "no space\n".to_owned(),
            dropped: 0,
        }
    }

    pub fn has_job(&self, target: &Target) -> bool {
        self.machines
            .get(target)
            .is_some_and(|machine| !machine.running.is_empty())
    }
}

fn answer(machine: &mut Machine, fact: &Fact) -> Result<FactValue, FactError> {
    if let Fact::Sysctl { name } = fact {
        let looks = machine.gates.get_mut(name).ok_or(FactError::NotFound)?;
        if *looks == 0 {
            return Ok(FactValue::Text("open".to_owned()));
        }
        *looks = looks.saturating_sub(u32::from(*looks != super::spec::NEVER));
        return Ok(FactValue::Text("shut".to_owned()));
    }
    let file = |path: &hmco_boot::model::path::AbsPath| {
        machine.files.get(path.as_str()).ok_or(FactError::NotFound)
    };
    match fact {
        Fact::RunState => {
            let running = machine
                .running
                .iter()
                .map(|running| (running.job.id.clone(), true));
            let ended = machine.ended.keys().map(|id| (id.clone(), false));
            let job = |(id, running)| LeftoverJob {
                id,
                running,
                status: None,
            };
            let jobs = running.chain(ended).map(job).collect();
            Ok(FactValue::RunState(RunState {
                boot_id: "b".to_owned(),
                jobs,
                ..RunState::default()
            }))
        }
        Fact::Stat { path } => file(path).map(|content| {
            FactValue::Stat(FileStat {
                kind: FileKind::File,
                mode: 0o644,
                uid: 0,
                user: "root".to_owned(),
                gid: 0,
                group: "root".to_owned(),
                size: content.len() as u64,
                links: 1,
                identity: content.clone(),
                link_target: None,
            })
        }),
        Fact::Digest { path, .. } => file(path).map(|content| FactValue::Digest(sha256(content))),
        Fact::Content { path, .. } => file(path).map(|content| {
            FactValue::Content(Content {
                sha256: sha256(content),
                bytes: Some(content.clone().into_bytes()),
            })
        }),
        other => Err(FactError::Failed(format!(
            "this world cannot answer {other:?}"
        ))),
    }
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
