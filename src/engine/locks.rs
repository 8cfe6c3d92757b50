//! The locks of a run: the cluster's on this machine, then one on each machine that may change. Taken all or none, renewed
//! while the run goes on, given back at its end.
//!
//! Machines that do not answer are passed over: their pairs end as unreachable anyway. The first machine that answers, in
//! inventory order, is asked alone, the others at once after it: of two runs that begin together, the first machine
//! chooses, and the other run goes away empty-handed instead of half-handed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::facts::fact::{Fact, FactValue, LeftoverJob};
use crate::model::id::{RunId, Target};
use crate::model::lock::{LockAnswer, LockClaim};
use crate::model::outcome::Failure;
use crate::model::units::TimeSpan;
use crate::transport::{BoxFuture, HostError, HostErrorKind, Hosts};

/// How long a lock counts that is not renewed.
pub const LEASE: TimeSpan = TimeSpan(Duration::from_secs(120));

/// Between two renewals: three may fail in a row before anybody else may come.
const RENEWAL: Duration = Duration::from_secs(30);

/// How long giving back may take at the end of a run, all machines together. What is not given back in time ends with
/// its lease, or is taken over by the next run from here.
const GOODBYE: Duration = Duration::from_secs(5);

/// A machine that takes longer to answer does not hold up the others' renewal.
const PATIENCE: Duration = Duration::from_secs(60);

/// Machines asked at once.
const AT_ONCE: usize = 32;

/// A machine whose lock was not taken though it is free: it could not be asked, or cannot keep one.
#[derive(Clone, Debug)]
pub struct NotLocked {
    /// Which.
    pub target: Target,
    /// Why.
    pub error: HostError,
}

/// Something happened to a lock that is held.
#[derive(Clone, Debug)]
pub enum LockNews {
    /// It was gone (the machine restarted) and is held again: what is known of the machine may be old.
    Again(Target),
    /// Somebody else holds it.
    Lost(Failure),
}

/// Takes the locks of a run.
pub trait Locks: Send + Sync {
    /// The cluster's lock, then those of the targets; all or none. Gives those that could not be asked; an error names
    /// who holds one.
    fn acquire<'a>(
        &'a self,
        targets: &'a [Target],
    ) -> BoxFuture<'a, Result<Vec<NotLocked>, Failure>>;

    /// Takes a lock again that is gone. An error of kind [`HostErrorKind::Fenced`] = somebody else holds it.
    fn again<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), HostError>>;

    /// Renews what is held for as long as it is polled.
    fn keep(&self, news: mpsc::UnboundedSender<LockNews>) -> BoxFuture<'_, ()>;

    /// Gives all back.
    fn release(&self) -> BoxFuture<'_, ()>;
}

/// The cluster's lock on this machine, as something that is held until it is dropped.
pub trait LocalLock: Send + Sync {
    /// Takes it, or says who holds it.
    fn take(&self) -> Result<Box<dyn Send>, Failure>;
}

/// The locks of one run.
pub struct RunLocks {
    local: Box<dyn LocalLock>,
    hosts: Arc<dyn Hosts>,
    claim: Arc<LockClaim>,
    held: Mutex<Held>,
    left: Mutex<LeftBehind>,
}

/// Locks of dead runs: which run's, and where.
pub type LeftBehind = Vec<(RunId, Vec<Target>)>;

#[derive(Default)]
struct Held {
    local: Option<Box<dyn Send>>,
    targets: BTreeSet<Target>,
    /// Those that were asked: an answer may have been lost.
    perhaps: BTreeSet<Target>,
}

impl RunLocks {
    /// For one run.
    pub fn new(local: Box<dyn LocalLock>, hosts: Arc<dyn Hosts>, claim: LockClaim) -> Self {
        Self {
            local,
            hosts,
            claim: Arc::new(claim),
            held: Mutex::default(),
            left: Mutex::default(),
        }
    }

    /// Gives back, with its own, what these runs left behind; they must be dead.
    #[must_use]
    pub fn clearing_away(mut self, left: LeftBehind) -> Self {
        self.left = Mutex::new(left);
        self
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take_all(&self, targets: &[Target]) -> Result<Vec<NotLocked>, Failure> {
        let local = self.local.take()?;
        self.held().local = Some(local);
        let mut refusals = Vec::new();
        let mut missing = Vec::new();
        let mut left = targets;
        // From here on any of them may be held, also where this is cut off.
        self.held().perhaps.extend(targets.iter().cloned());
        while let Some((first, rest)) = left.split_first() {
            left = rest;
            let (target, result) = ask(self.hosts.clone(), self.claim.clone(), first.clone()).await;
            let answered = result.is_ok();
            self.sort(target, result, &mut refusals, &mut missing);
            if answered {
                break;
            }
        }
        if refusals.is_empty() {
            for (target, result) in self.ask_all(left.iter().cloned()).await {
                self.sort(target, result, &mut refusals, &mut missing);
            }
        }
        if refusals.is_empty() {
            // In the order of the inventory.
            missing
                .sort_by_key(|missing| targets.iter().position(|target| *target == missing.target));
            return Ok(missing);
        }
        self.give_back().await;
        Err(refused(refusals))
    }

    fn sort(
        &self,
        target: Target,
        result: Result<LockAnswer, HostError>,
        refusals: &mut Vec<(Target, LockAnswer)>,
        missing: &mut Vec<NotLocked>,
    ) {
        match result {
            Ok(LockAnswer::Taken | LockAnswer::Renewed) => drop(self.held().targets.insert(target)),
            Ok(answer) => refusals.push((target, answer)),
            Err(error) => missing.push(NotLocked { target, error }),
        }
    }

    /// Asks many machines, so many at once.
    async fn ask_all(
        &self,
        targets: impl Iterator<Item = Target>,
    ) -> Vec<(Target, Result<LockAnswer, HostError>)> {
        let each = targets.map(|target| ask(self.hosts.clone(), self.claim.clone(), target));
        all(each).await
    }

    async fn renew(&self, news: &mpsc::UnboundedSender<LockNews>) {
        let targets = self.held().targets.clone();
        for (target, result) in self.ask_all(targets.into_iter()).await {
            let told = match result {
                Ok(LockAnswer::Renewed) => continue,
                Ok(LockAnswer::Taken) => LockNews::Again(target),
                Ok(answer) => {
                    self.held().targets.remove(&target);
                    LockNews::Lost(lost(&target, &answer))
                }
                // The lease outlasts some of these; the machine may come back.
                Err(error) => {
                    tracing::debug!(%target, %error, "its lock was not renewed");
                    continue;
                }
            };
            if news.send(told).is_err() {
                return;
            }
        }
    }

    async fn give_back(&self) {
        let held = std::mem::take(&mut *self.held());
        let own: BTreeSet<Target> = held.targets.into_iter().chain(held.perhaps).collect();
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        let mut locks: Vec<(RunId, Target, bool)> = Vec::new();
        for (run, targets) in left {
            // What this run has locked is no longer the dead one's.
            let targets = targets.into_iter().filter(|target| !own.contains(target));
            locks.extend(targets.map(|target| (run.clone(), target, true)));
        }
        let run = &self.claim.run;
        locks.extend(own.into_iter().map(|target| (run.clone(), target, false)));
        let each = locks.into_iter().map(|(run, target, dead)| {
            let hosts = self.hosts.clone();
            async move {
                if let Err(error) = give_back(hosts.as_ref(), &run, &target, dead).await {
                    tracing::debug!(%target, %error, "its lock was not given back");
                }
            }
        });
        if timeout(GOODBYE, all(each)).await.is_err() {
            tracing::debug!("some locks were not given back in time");
        }
        drop(held.local);
    }
}

impl Locks for RunLocks {
    fn acquire<'a>(
        &'a self,
        targets: &'a [Target],
    ) -> BoxFuture<'a, Result<Vec<NotLocked>, Failure>> {
        Box::pin(self.take_all(targets))
    }

    fn again<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            let (target, result) =
                ask(self.hosts.clone(), self.claim.clone(), target.clone()).await;
            match result? {
                LockAnswer::Taken | LockAnswer::Renewed => {
                    self.held().targets.insert(target);
                    Ok(())
                }
                answer => {
                    self.held().targets.remove(&target);
                    Err(HostError {
                        kind: HostErrorKind::Fenced,
                        failure: lost(&target, &answer),
                    })
                }
            }
        })
    }

    fn keep(&self, news: mpsc::UnboundedSender<LockNews>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            while !news.is_closed() {
                sleep(RENEWAL).await;
                self.renew(&news).await;
            }
        })
    }

    fn release(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.give_back())
    }
}

async fn ask(
    hosts: Arc<dyn Hosts>,
    claim: Arc<LockClaim>,
    target: Target,
) -> (Target, Result<LockAnswer, HostError>) {
    let asked = async {
        let host = hosts.host(&target).await?;
        host.lock(&claim).await
    };
    let result = timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
        Err(HostError {
            kind: HostErrorKind::Unreachable { transient: true },
            failure: Failure::new(format!("it did not answer within {} s", PATIENCE.as_secs())),
        })
    });
    (target, result)
}

/// Gives the lock of a run back; that of a dead one only where nothing of it works any more, which its lock tells others.
async fn give_back(
    hosts: &dyn Hosts,
    run: &RunId,
    target: &Target,
    dead: bool,
) -> Result<(), HostError> {
    let host = hosts.host(target).await?;
    if dead {
        let answers = host.read(&[Fact::RunState]).await?;
        let Some((_, Ok(FactValue::RunState(state)))) = answers.into_iter().next() else {
            return Ok(());
        };
        let of_run = format!("{run}-");
        let works = |job: &LeftoverJob| job.running && job.id.as_str().starts_with(&of_run);
        if state.jobs.iter().any(works) {
            return Ok(());
        }
    }
    host.unlock(run).await
}

/// Carries all out, so many at once; the results in any order.
async fn all<T: Send + 'static>(
    each: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut tasks = JoinSet::new();
    let mut results = Vec::new();
    for future in each {
        if tasks.len() >= AT_ONCE
            && let Some(Ok(result)) = tasks.join_next().await
        {
            results.push(result);
        }
        tasks.spawn(future);
    }
    while let Some(result) = tasks.join_next().await {
        results.extend(result.ok());
    }
    results
}

/// Who has it instead of us.
fn words(answer: &LockAnswer) -> String {
    match answer {
        LockAnswer::Taken | LockAnswer::Renewed => "nobody else".to_owned(),
        LockAnswer::Held {
            run,
            holder,
            seconds_left,
        } => format!("run {run} ({holder}); it counts {seconds_left} s more unless it is renewed"),
        LockAnswer::Working { run, holder, job } => {
            format!("run {run} ({holder}); it was not renewed, but its job {job} still works there")
        }
    }
}

/// Somebody else holds locks that a run needs.
fn refused(mut refusals: Vec<(Target, LockAnswer)>) -> Failure {
    refusals.sort_by(|one, other| one.0.cmp(&other.0));
    let mut lines = refusals
        .iter()
        .map(|(target, answer)| format!("{target} is locked by {}", words(answer)));
    let mut failure = Failure::new(lines.next().unwrap_or_default());
    failure.evidence.extend(lines);
    failure.hint(
        "wait until that run has ended (it lets go at its end), then run this again; if its process is dead, the lock is \
         free when its time is over, and `hmco-boot runs unlock` clears it away",
    )
}

fn lost(target: &Target, answer: &LockAnswer) -> Failure {
    Failure::new(format!("the lock on {target} was lost to {}", words(answer))).hint(
        "nothing new was started since; when that run has ended, `hmco-boot resume` looks again and goes on",
    )
}
