//! The cluster as a target: a [`Host`] on top of any [`Cluster`]. Facts are read in parallel, one request per kind and
//! namespace; a job's actions go one after the other.
//!
//! Nothing runs there by itself: a job ends with whoever carries it out, and every action may be done again. Attaching to one
//! that ended before the connection was lost tells how it ended; of any other nothing is known. There is no lock either: the one of this machine and those of the nodes keep other runs away.

use std::sync::{Arc, PoisonError};

use tokio::sync::Mutex;

use super::{ApiError, Cluster, act, read};
use crate::artifact::Artifacts;
use crate::facts::fact::{Answer, Fact};
use crate::model::action::{Job, JobEnd, JobStatus};
use crate::model::id::{JobId, RunId};
use crate::model::kube::Discovery;
use crate::model::lock::{LockAnswer, LockClaim};
use crate::model::outcome::Failure;
use crate::transport::{Applied, BoxFuture, Host, HostError, HostErrorKind, OutputSink};

/// Gives the bytes of a file of the project by its path below `playbooks/`; `None` where there is none.
pub type ProjectFiles = dyn Fn(&str) -> Result<Option<Vec<u8>>, Failure> + Send + Sync;

/// What an API served when it was asked last.
pub(super) type Served = Mutex<Option<Arc<Discovery>>>;

/// The cluster as a target.
pub struct ClusterHost {
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) files: Arc<ProjectFiles>,
    pub(super) artifacts: Option<Arc<dyn Artifacts>>,
    /// What the API served when it was asked last.
    pub(super) served: Arc<Served>,
    /// How the last job ended.
    ended: Mutex<Option<(JobId, JobEnd)>>,
}

impl ClusterHost {
    /// On top of an API, with a source of manifests that are files of the project.
    pub fn new(cluster: Arc<dyn Cluster>, files: Arc<ProjectFiles>) -> Self {
        Self {
            cluster,
            files,
            artifacts: None,
            served: Arc::default(),
            ended: Mutex::new(None),
        }
    }

    /// With a source of manifests that are pinned files.
    #[must_use]
    pub fn with_artifacts(mut self, artifacts: Arc<dyn Artifacts>) -> Self {
        self.artifacts = Some(artifacts);
        self
    }

    async fn apply_job(
        &self,
        job: &Job,
        facts: &[Fact],
        output: OutputSink<'_>,
    ) -> Result<Applied, HostError> {
        let last = std::sync::Mutex::new(String::new());
        let noted = |text: &str| {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = text.to_owned();
            output(text);
        };
        let work = act::carry_out(self, job, &noted);
        let end = match tokio::time::timeout(job.timeout.0, work).await {
            Ok(end) => end,
            Err(_) => JobEnd {
                status: JobStatus::TimedOut,
                // What it came to last: while something is awaited, what is not so and why.
                stdout: last.into_inner().unwrap_or_else(PoisonError::into_inner),
                stderr: String::new(),
                dropped: 0,
            },
        };
        // The job is done, whatever becomes of these: they are answers of their own.
        *self.ended.lock().await = Some((job.id.clone(), end.clone()));
        let answers = match read::read(self, facts).await {
            Ok(answers) => answers,
            Err(error) => {
                return Err(HostError {
                    kind: HostErrorKind::Lost,
                    ..error
                });
            }
        };
        Ok(Applied { end, answers })
    }
}

/// An API that does not answer at all: no question to it has an answer.
pub(super) fn unreachable(error: &ApiError) -> HostError {
    HostError {
        kind: HostErrorKind::Unreachable {
            transient: error.may_pass(),
        },
        failure: failure(error),
    }
}

fn failure(error: &ApiError) -> Failure {
    let mut lines = error.message.lines();
    let mut failure = Failure::new(lines.next().unwrap_or("the Kubernetes API does not answer"));
    for line in lines {
        match line.strip_prefix("hint: ") {
            Some(hint) => failure.hint = Some(hint.to_owned()),
            None => failure.evidence.push(line.to_owned()),
        }
    }
    failure
}

impl Host for ClusterHost {
    fn read<'a>(&'a self, facts: &'a [Fact]) -> BoxFuture<'a, Result<Vec<Answer>, HostError>> {
        Box::pin(read::read(self, facts))
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
        _end: bool,
        _output: OutputSink<'a>,
    ) -> BoxFuture<'a, Result<JobEnd, HostError>> {
        Box::pin(async move {
            let ended = self.ended.lock().await;
            let known = ended.as_ref().filter(|(ended, _)| ended == job);
            Ok(known.map_or_else(
                || JobEnd {
                    status: JobStatus::Lost,
                    stdout: String::new(),
                    stderr: String::new(),
                    dropped: 0,
                },
                |(_, end)| end.clone(),
            ))
        })
    }

    fn lock<'a>(&'a self, _claim: &'a LockClaim) -> BoxFuture<'a, Result<LockAnswer, HostError>> {
        Box::pin(async { Ok(LockAnswer::Renewed) })
    }

    fn unlock<'a>(&'a self, _run: &'a RunId) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async { Ok(()) })
    }
}
