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
        let (Some(boot), limit) = (boot, job.timeout.0) else {
            return self.with_facts(result?, facts).await;
        };
        match result {
            Ok(applied) if applied.end.status == JobStatus::Succeeded => {
                if !self.await_boot(limit, |now| now != boot).await? {
                    // It answers, and as it was: its facts will tell.
                    return self.with_facts(applied, facts).await;
                }
                if let Some(claim) = self.claimed()
                    && let Err(error) = self.take_lock(&claim).await
                {
                    // The next job finds that out, and so does the next renewal.
                    tracing::debug!(%error, "no lock after the restart");
                }
                self.with_facts(applied, facts).await
            }
            Err(error) if error.kind == HostErrorKind::Lost => {
                // It may be on its way down. When it is back, an attach finds out what became of the job.
                self.await_boot(limit, |_| true).await?;
                Err(error)
            }
            Ok(applied) => self.with_facts(applied, facts).await,
            Err(error) => Err(error),
        }
    }

    async fn with_facts(&self, applied: Applied, facts: &[Fact]) -> Result<Applied, HostError> {
        let answers = self.read_facts(facts).await?;
        Ok(Applied { answers, ..applied })
    }

    /// Looks until the machine answers with a boot id that is good: true. False: it answered only with others.
    async fn await_boot(
        &self,
        limit: Duration,
        good: impl Fn(&str) -> bool,
    ) -> Result<bool, HostError> {
        let end = Instant::now() + limit;
        let mut pause = PAUSES.0;
        loop {
            let look = timeout(LOOK, self.read_facts(&[Fact::Boot])).await;
            let last = match look {
                Ok(Ok(answers)) => match answers.into_iter().next() {
                    Some((_, Ok(FactValue::Boot(boot)))) if good(&boot.id) => return Ok(true),
                    _ => None,
                },
                Ok(Err(error)) => Some(error.failure.message),
                Err(_) => Some("it does not answer".to_owned()),
            };
            if Instant::now() + pause >= end {
                return match last {
                    None => Ok(false),
                    Some(why) => Err(gone(limit, &why)),
                };
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

fn gone(limit: Duration, why: &str) -> HostError {
    let limit = crate::model::units::TimeSpan(limit);
    HostError {
        kind: HostErrorKind::Unreachable { transient: false },
        failure: Failure::new(format!(
            "the restart was ordered, and it has not answered with a new boot for {limit}: it may still be shutting down"
        ))
        .evidence(why)
            .hint(
                "look at its console; when it is back, `hmco-boot resume` goes on. Give it longer with the step's `timeout`",
            ),
    }
}
