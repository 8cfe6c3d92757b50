//! A real machine behind a [`Shell`]: what an execution is made of and what its answers mean, the same for all ways of
//! reaching it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::actions::{self, Paths};
use super::clock_offset::Watch;
use super::exec::{Execution, Input, execute};
pub(super) use super::exec::{cut_off, delimiter};
use super::job;
use super::shell::Shell;
use super::story::{Story, not_started};
use super::upload::{self, UploadSettings};
use super::{Applied, BoxFuture, Host, HostError, HostErrorKind, OutputSink};
use crate::artifact::Artifacts;
use crate::facts::digest_cache::DigestCache;
use crate::facts::fact::{Answer, Fact, FactError, FactValue};
use crate::facts::frame::{Delimiter, Frame};
use crate::facts::{parse, script};
use crate::model::action::{Job, JobEnd};
use crate::model::id::{JobId, RunId};
use crate::model::lock::{LockAnswer, LockClaim};
use crate::model::path::AbsPath;
use crate::model::redact::Redactor;

/// Where programs are looked for on a target.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where jobs keep their books.
pub const DEFAULT_RUN_DIR: &str = "/run/hmco-boot";

/// Seconds after which a batch of facts is given up.
const BATCH_SECONDS: u32 = 20;

/// Between two batches.
const SILENCE: Duration = Duration::from_secs(60);

/// Time that processes get to end after TERM.
const GRACE: Duration = Duration::from_secs(5);

/// How to work on a machine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A sandbox folder below which all paths are; `None` = the machine itself.
    pub root: Option<AbsPath>,
    /// Where jobs keep their books (below the root, too). A plain user cannot write the default.
    pub run_dir: AbsPath,
    /// The POSIX shell, as words without blanks: `["sh"]`, `["busybox", "ash"]`.
    pub shell: Vec<String>,
    /// Where programs are looked for.
    pub path: String,
    /// Digests known from earlier runs.
    pub digests: DigestCache,
    /// Seconds after which a batch of facts is given up.
    pub batch_seconds: u32,
    /// A machine that reads facts says something after each batch. Silence of this length is a login shell or a home folder
    /// that hangs: the connection itself is alive.
    pub silence: Duration,
    /// How files are sent.
    pub upload: UploadSettings,
    /// Where artifacts that the controller sends come from; `None` = such jobs are refused.
    pub artifacts: Option<Arc<dyn Artifacts>>,
    /// Between asking the processes of a job that took too long to end, and killing them.
    pub grace: Duration,
    /// Takes secrets out of what jobs print.
    pub redactor: Redactor,
}

impl Default for Settings {
    #[expect(
        clippy::expect_used,
        reason = "a constant; every test that makes default settings holds it"
    )]
    fn default() -> Self {
        Self {
            root: None,
            run_dir: AbsPath::new(DEFAULT_RUN_DIR).expect("the default run folder is a path"),
            shell: vec!["sh".to_owned()],
            path: DEFAULT_PATH.to_owned(),
            digests: DigestCache::default(),
            batch_seconds: BATCH_SECONDS,
            silence: SILENCE,
            upload: UploadSettings::default(),
            artifacts: None,
            grace: GRACE,
            redactor: Redactor::default(),
        }
    }
}

/// A machine that is reached through a shell.
pub struct Machine<S> {
    shell: S,
    settings: Settings,
    paths: Paths,
    digests: Mutex<DigestCache>,
    claim: Mutex<Option<LockClaim>>,
    /// Names this sender of files to the machine: it may end what an earlier connection of its own left there.
    sender: OnceLock<String>,
}

impl<S: Shell> Machine<S> {
    /// Its shells.
    pub fn shell(&self) -> &S {
        &self.shell
    }

    /// One that is reached this way.
    pub fn new(shell: S, mut settings: Settings) -> Self {
        let digests = Mutex::new(std::mem::take(&mut settings.digests));
        let paths = Paths {
            root: settings.root.clone(),
        };
        Self {
            shell,
            settings,
            paths,
            digests,
            claim: Mutex::default(),
            sender: OnceLock::new(),
        }
    }

    /// The digests that are known by "same stat", for the caller to keep.
    pub fn digests(&self) -> DigestCache {
        self.cache().clone()
    }

    fn cache(&self) -> MutexGuard<'_, DigestCache> {
        // What a panicking thread left in a cache of digests is whole entries.
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn facts_script(&self, facts: &[Fact], delimiter: &Delimiter) -> String {
        if facts.is_empty() {
            return String::new();
        }
        script::script(&script::Request {
            facts,
            root: self.paths.root(),
            run_dir: &self.paths.full(&self.settings.run_dir),
            delimiter,
            digests: &self.cache(),
            batch_seconds: self.settings.batch_seconds,
        })
    }

    /// How to work on it, and where its paths are.
    pub(super) fn settled(&self) -> (&Settings, &Paths) {
        (&self.settings, &self.paths)
    }

    /// The claim by which its lock is held.
    pub(super) fn claimed(&self) -> Option<LockClaim> {
        self.claim
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Keeps in mind by which claim its lock is held.
    pub(super) fn remember(&self, claim: Option<LockClaim>) {
        *self.claim.lock().unwrap_or_else(PoisonError::into_inner) = claim;
    }

    pub(super) async fn execute(
        &self,
        delimiter: &Delimiter,
        input: &Input<'_>,
        listen: &mut (dyn FnMut(Frame) -> Option<Frame> + Send),
    ) -> Result<Execution, HostError> {
        execute(&self.shell, &self.settings.shell, delimiter, input, listen).await
    }

    pub(super) async fn read_facts(&self, facts: &[Fact]) -> Result<Vec<Answer>, HostError> {
        if facts.is_empty() {
            return Ok(Vec::new());
        }
        let delimiter = delimiter()?;
        let mut text = job::prelude(&self.settings);
        text.push_str(&job::enclosed(&self.facts_script(facts, &delimiter)));
        text.push_str(&job::end_mark(&delimiter));
        let mut input = Input::new();
        input.script(&delimiter, &text);
        input.expect_words_within(self.settings.silence);
        let mut watch = Watch::start();
        let mut listen = |frame: Frame| {
            watch.frame(&frame);
            Some(frame)
        };
        let execution = self.execute(&delimiter, &input, &mut listen).await?;
        if !execution.ended {
            return Err(cut_off(
                &execution,
                HostErrorKind::Unreachable { transient: true },
            ));
        }
        let answers = self.answers(facts, &execution, &watch).await;
        Ok(answers)
    }

    /// What the machine answered, and what only the way to it knows.
    async fn answers(&self, facts: &[Fact], execution: &Execution, watch: &Watch) -> Vec<Answer> {
        let mut answers = parse::answers(facts, &execution.frames, &mut self.cache());
        watch.complete(&mut answers);
        // Below a root are other accounts than the one that was entered.
        if self.paths.root.is_none() && facts.contains(&Fact::Login) {
            let login = self.shell.login().await;
            for (_, answer) in answers.iter_mut().filter(|(fact, _)| *fact == Fact::Login) {
                *answer = login
                    .clone()
                    .map(FactValue::Login)
                    .ok_or(FactError::NotFound);
            }
        }
        answers
    }

    async fn apply_job(
        &self,
        job: &Job,
        facts: &[Fact],
        output: OutputSink<'_>,
    ) -> Result<Applied, HostError> {
        match job::restarts(job) {
            true => self.apply_and_restart(job, facts, output).await,
            false => self.carry_out(job, facts, output).await.0,
        }
    }

    /// Carries a job out, then reads facts. Also gives the boot in which it was started, if it was.
    pub(super) async fn carry_out(
        &self,
        job: &Job,
        facts: &[Fact],
        output: OutputSink<'_>,
    ) -> (Result<Applied, HostError>, Option<String>) {
        let mut story = Story::new(&self.settings.redactor);
        let result = self.tell(job, facts, output, &mut story).await;
        (result, story.boot().map(str::to_owned))
    }

    async fn tell(
        &self,
        job: &Job,
        facts: &[Fact],
        output: OutputSink<'_>,
        story: &mut Story,
    ) -> Result<Applied, HostError> {
        job::check(job)?;
        self.send_artifacts(job, output).await?;
        let delimiter = delimiter()?;
        let payloads = actions::payloads(&job.actions, &self.paths);
        let input = job::apply_input(
            &self.settings,
            &self.paths,
            &delimiter,
            job,
            &payloads,
            &self.facts_script(facts, &delimiter),
        );
        let mut watch = Watch::start();
        let mut listen = |frame: Frame| {
            watch.frame(&frame);
            story.take(frame, output)
        };
        let execution = self.execute(&delimiter, &input, &mut listen).await?;
        if let Some(refusal) = story.refusal(&job.id, &self.settings.run_dir) {
            return Err(refusal);
        }
        match story.end() {
            Some(end) if execution.ended => {
                let answers = self.answers(facts, &execution, &watch).await;
                Ok(Applied { end, answers })
            }
            // The verdict, if there is one, is still on the machine, and comes with an attach.
            _ if story.started() => Err(cut_off(&execution, HostErrorKind::Lost)),
            // Nobody knows how far it came, unless the shell ended by itself without having started it.
            _ if execution.sent && execution.exit.is_none() => {
                Err(cut_off(&execution, HostErrorKind::Lost))
            }
            _ => Err(cut_off(&execution, HostErrorKind::NotStarted)),
        }
    }

    /// Sends the files that the controller fetches for a job: before it, and outside its time limit.
    async fn send_artifacts(&self, job: &Job, output: OutputSink<'_>) -> Result<(), HostError> {
        let mut sent: Vec<&str> = Vec::new();
        for pin in actions::sent_pins(&job.actions) {
            if sent.contains(&pin.sha256.as_str()) {
                continue;
            }
            sent.push(&pin.sha256);
            let Some(artifacts) = &self.settings.artifacts else {
                let what = format!("{} cannot be fetched by this command", pin.describe());
                return Err(not_started(what));
            };
            let watch = upload::narrator(pin, output);
            let fetched = artifacts.fetch(pin, &watch).await;
            let file = fetched.map_err(|failure| HostError {
                kind: HostErrorKind::NotStarted,
                failure,
            })?;
            let sender = match self.sender.get() {
                Some(sender) => sender,
                None => {
                    let new = delimiter()?.as_str().to_owned();
                    self.sender.get_or_init(|| new)
                }
            };
            let upload = upload::Upload {
                shell: &self.shell,
                settings: &self.settings,
                paths: &self.paths,
                pin,
                file: &file,
                sender,
                output,
            };
            upload.run().await?;
        }
        Ok(())
    }

    pub(super) async fn attach_job(
        &self,
        id: &JobId,
        end: bool,
        output: OutputSink<'_>,
    ) -> Result<JobEnd, HostError> {
        job::check_id(id)?;
        let delimiter = delimiter()?;
        let input = job::attach_input(&self.settings, &self.paths, &delimiter, id, end);
        let mut story = Story::new(&self.settings.redactor);
        let execution = self
            .execute(&delimiter, &input, &mut |frame| story.take(frame, output))
            .await?;
        if let Some(refusal) = story.refusal(id, &self.settings.run_dir) {
            return Err(refusal);
        }
        story
            .end()
            .filter(|_| execution.ended)
            .ok_or_else(|| cut_off(&execution, HostErrorKind::Unreachable { transient: true }))
    }
}

impl<S: Shell> Host for Machine<S> {
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
