//! Jobs that end with a restart of the machine: the verdict, then the way back to it.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::machine::Machine;
use super::shell::Shell;
use super::{Applied, HostError, HostErrorKind, OutputSink};
use crate::facts::fact::{Fact, FactValue};
use crate::model::action::{Job, JobStatus};
use crate::model::outcome::Failure;

/// Pause after the first look for the machine, and the longest; each is twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// A look that takes longer has met a machine that is going down.
const LOOK: Duration = Duration::from_secs(20);

impl<S: Shell> Machine<S> {
    /// Carries the job out, awaits the machine in a new boot, takes its lock again (locks do not survive a restart), and
    /// reads the facts.
    pub(super) async fn apply_and_restart(
        &self,
        job: &Job,
        facts: &[Fact],
        output: OutputSink<'_>,
    ) -> Result<Applied, HostError> {
        let (result, boot) = self.carry_out(job, &[], output).await;
        let limit = job.timeout.0;
        let (applied, boot) = match (result, boot) {
            (Err(error), boot) if error.kind == HostErrorKind::Lost => {
                self.find_verdict(job, boot, error, output).await?
            }
            (result, Some(boot)) => (result?, boot),
            (result, None) => return self.with_facts(result?, facts).await,
        };
        if applied.end.status == JobStatus::Succeeded {
            // Where it goes on answering as it was, its facts will tell.
            self.await_other_boot(limit, &boot).await?;
        }
        self.with_facts(applied, facts).await
    }

    /// The connection was lost while the job was carried out: its verdict, where the machine still has it, and the boot
    /// that it is from. It comes before the restart, which waits for it to be taken, so an answer of the machine says
    /// nothing yet. `boot`: in which the job was started, if that was heard.
    ///
    /// # Errors
    /// The loss itself where the job is gone without a verdict: with the restart, which is then over and the lock taken
    /// again. Whoever looks at the machine then sees it as the job left it.
    async fn find_verdict(
        &self,
        job: &Job,
        boot: Option<String>,
        loss: HostError,
        output: OutputSink<'_>,
    ) -> Result<(Applied, String), HostError> {
        let limit = job.timeout.0;
        let end = Instant::now() + limit;
        while let Some(now) = self.await_boot(limit, |_| true).await? {
            // A job's books do not survive a restart: a verdict that is there is from this boot.
            match self.attach_job(&job.id, false, output).await {
                Ok(end) if end.status != JobStatus::Lost => {
                    let answers = Vec::new();
                    return Ok((Applied { end, answers }, now));
                }
                Ok(_) => {
                    if let Some(boot) = boot {
                        self.await_other_boot(limit, &boot).await?;
                    }
                    break;
                }
                // Lost again; or it goes down now, its time being up with nobody there.
                Err(error) if again(&error) && Instant::now() < end => sleep(PAUSES.0).await,
                Err(_) => break,
            }
        }
        Err(loss)
    }

    /// Awaits the machine in another boot, and takes its lock again there.
    async fn await_other_boot(&self, limit: Duration, boot: &str) -> Result<(), HostError> {
        if self.await_boot(limit, |now| now != boot).await?.is_some()
            && let Some(claim) = self.claimed()
            && let Err(error) = self.take_lock(&claim).await
        {
            // The next job finds that out, and so does the next renewal.
            tracing::debug!(%error, "no lock after the restart");
        }
        Ok(())
    }

    async fn with_facts(&self, applied: Applied, facts: &[Fact]) -> Result<Applied, HostError> {
        let answers = self.read_facts(facts).await?;
        Ok(Applied { answers, ..applied })
    }

    /// Looks until the machine answers with a boot id that is good. `None`: it answered only with others.
    async fn await_boot(
        &self,
        limit: Duration,
        good: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, HostError> {
        let end = Instant::now() + limit;
        let mut pause = PAUSES.0;
        loop {
            let look = timeout(LOOK, self.read_facts(&[Fact::Boot])).await;
            let last = match look {
                Ok(Ok(answers)) => match answers.into_iter().next() {
                    Some((_, Ok(FactValue::Boot(boot)))) if good(&boot.id) => {
                        return Ok(Some(boot.id));
                    }
                    _ => None,
                },
                Ok(Err(error)) => Some(error.failure.message),
                Err(_) => Some("it does not answer".to_owned()),
            };
            if Instant::now() + pause >= end {
                return match last {
                    None => Ok(None),
                    Some(why) => Err(gone(limit, &why)),
                };
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

/// Whether trying again may help.
fn again(error: &HostError) -> bool {
    matches!(
        error.kind,
        HostErrorKind::Unreachable { transient: true } | HostErrorKind::Lost
    )
}

fn gone(limit: Duration, why: &str) -> HostError {
    let limit = crate::model::units::TimeSpan(limit);
    HostError {
        kind: HostErrorKind::Unreachable { transient: false },
        failure: Failure::new(format!("it was restarted and did not come back within {limit}"))
            .evidence(why)
            .hint(
                "look at its console; when it is back, `hmco-boot resume` goes on. Give it longer with the step's `timeout`",
            ),
    }
}
