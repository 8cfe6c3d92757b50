//! The controller as a target: the machine hmco-boot runs on, and what only it is asked: how HTTP, DNS and TCP services
//! answer from here. Those questions are answered natively, all at once, each with its own deadline; everything else is
//! the local machine's.

mod dns;
mod http;
mod tcp;

use std::future::Future;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Applied, BoxFuture, Host, HostError, OutputSink};
use crate::facts::fact::{Answer, Fact, FactError, FactValue, NetAnswer, NetTrouble, TroubleKind};
use crate::model::action::{Job, JobEnd};
use crate::model::id::{JobId, RunId};
use crate::model::lock::{LockAnswer, LockClaim};
use crate::model::units::TimeSpan;

/// The controller: a machine that also answers for services.
pub struct ControllerHost {
    machine: Arc<dyn Host>,
}

impl ControllerHost {
    /// On top of the local machine.
    pub fn new(machine: Arc<dyn Host>) -> Self {
        Self { machine }
    }

    async fn read_facts(&self, facts: &[Fact]) -> Result<Vec<Answer>, HostError> {
        let (ours, rest): (Vec<Fact>, Vec<Fact>) =
            facts.iter().cloned().partition(Fact::is_of_controller);
        let (ours, rest) = tokio::join!(ask_all(ours), self.machine.read(&rest));
        Ok(in_order(facts, ours, rest?))
    }

    async fn apply_job(
        &self,
        job: &Job,
        facts: &[Fact],
        output: OutputSink<'_>,
    ) -> Result<Applied, HostError> {
        let (ours, rest): (Vec<Fact>, Vec<Fact>) =
            facts.iter().cloned().partition(Fact::is_of_controller);
        let applied = self.machine.apply(job, &rest, output).await?;
        // After the job, as all facts are.
        let answers = in_order(facts, ask_all(ours).await, applied.answers);
        Ok(Applied { answers, ..applied })
    }
}

/// All answers, in the order of the questions.
fn in_order(facts: &[Fact], ours: Vec<Answer>, rest: Vec<Answer>) -> Vec<Answer> {
    let mut answers: Vec<Answer> = ours.into_iter().chain(rest).collect();
    let place = |fact: &Fact| facts.iter().position(|other| other == fact);
    answers.sort_by_key(|(fact, _)| place(fact));
    answers
}

/// Asks all services at once.
async fn ask_all(facts: Vec<Fact>) -> Vec<Answer> {
    let mut tasks = JoinSet::new();
    for fact in facts.iter().cloned() {
        tasks.spawn(async move {
            let value = ask(&fact).await;
            (fact, value)
        });
    }
    let mut answers = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        answers.extend(ended.ok());
    }
    // One that ended in a panic must not be taken for one that was never asked.
    for fact in facts {
        if !answers.iter().any(|(answered, _)| *answered == fact) {
            let error = FactError::Failed("asking ended without an answer".to_owned());
            answers.push((fact, Err(error)));
        }
    }
    answers
}

async fn ask(fact: &Fact) -> Result<FactValue, FactError> {
    Ok(match fact {
        Fact::Http(question) => {
            FactValue::Http(within(question.timeout, http::ask(question)).await)
        }
        Fact::Dns(question) => FactValue::Dns(within(question.timeout, dns::ask(question)).await),
        Fact::Tcp(question) => FactValue::Tcp(within(question.timeout, tcp::ask(question)).await),
        other => {
            return Err(FactError::Failed(format!(
                "{} is no question to a service",
                other.describe()
            )));
        }
    })
}

/// The answer, or that there was none in time.
async fn within<T>(
    limit: TimeSpan,
    answer: impl Future<Output = Result<T, NetTrouble>>,
) -> NetAnswer<T> {
    match tokio::time::timeout(limit.0, answer).await {
        Ok(Ok(answer)) => NetAnswer::Answered(answer),
        Ok(Err(trouble)) => NetAnswer::Trouble(trouble),
        Err(_) => NetAnswer::Trouble(trouble(
            TroubleKind::TimedOut,
            format!("no answer within {limit}"),
        )),
    }
}

fn trouble(kind: TroubleKind, message: impl Into<String>) -> NetTrouble {
    NetTrouble {
        kind,
        message: message.into(),
    }
}

/// What an error of the system says of a connection to `whom`.
fn io_trouble(error: &std::io::Error, whom: &str) -> NetTrouble {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::ConnectionRefused => trouble(
            TroubleKind::Refused,
            format!("{whom} refused the connection"),
        ),
        Io::TimedOut => trouble(TroubleKind::TimedOut, format!("{whom} does not answer")),
        Io::HostUnreachable | Io::NetworkUnreachable | Io::NetworkDown | Io::AddrNotAvailable => {
            trouble(
                TroubleKind::Unreachable,
                format!("no way to {whom}: {error}"),
            )
        }
        Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe | Io::UnexpectedEof => {
            trouble(
                TroubleKind::Protocol,
                format!("{whom} closed the connection"),
            )
        }
        _ => trouble(TroubleKind::Protocol, format!("{whom}: {error}")),
    }
}

impl Host for ControllerHost {
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
        self.machine.attach(job, end, output)
    }

    fn lock<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<LockAnswer, HostError>> {
        self.machine.lock(claim)
    }

    fn unlock<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), HostError>> {
        self.machine.unlock(run)
    }
}
