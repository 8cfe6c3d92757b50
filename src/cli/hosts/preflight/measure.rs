//! Measuring on request: on all selected nodes at the same time, so that they can listen for each other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Failures;
use crate::cli::error::CliError;
use crate::cli::session::new_run_id;
use crate::engine::clock::SystemClock;
use crate::facts::known::Store;
use crate::model::action::{Job, JobStatus};
use crate::model::id::{JobId, Target};
use crate::model::outcome::Failure;
use crate::model::units::TimeSpan;
use crate::steps::preflight::Preflight;
use crate::transport::machines::Machines;
use crate::transport::{HostErrorKind, Hosts};

/// How long a measuring may take; it ends within a minute by itself.
const LIMIT: Duration = Duration::from_secs(180);

/// Whether a node that did not do what was asked was there at all.
pub(super) fn answered(kind: HostErrorKind) -> bool {
    !matches!(
        kind,
        HostErrorKind::Unreachable { .. } | HostErrorKind::Lost
    )
}

/// How a measuring ended that did not succeed.
fn ended(status: &JobStatus) -> String {
    match status {
        JobStatus::Succeeded => "it ended well".to_owned(),
        JobStatus::Failed { exit, .. } => Failure::exited(*exit).message,
        JobStatus::TimedOut => format!("it did not end within {}", TimeSpan(LIMIT)),
        JobStatus::Lost => "the node restarted, or somebody ended it".to_owned(),
    }
}

/// Measures on all nodes at the same time, so that they can listen for each other.
pub(super) async fn measure(
    wish: &Preflight,
    targets: &[Target],
    failures: &Failures,
    machines: &Arc<Machines>,
    store: &mut Store,
) -> Result<Failures, CliError> {
    let run = new_run_id(&SystemClock::new())?;
    let mut found = Failures::new();
    let mut measuring = JoinSet::new();
    let mut unheard = BTreeSet::new();
    for target in targets.iter().filter(|t| !failures.contains_key(t)) {
        let action = match wish.measuring(&store.view(target)) {
            Ok(action) => action,
            Err(error) => {
                found.insert(target.clone(), (Failure::new(error.to_string()), true));
                continue;
            }
        };
        let job = Job {
            id: JobId::new(format!("preflight-{run}-{target}")),
            label: format!("preflight@{target}"),
            actions: vec![action],
            timeout: TimeSpan(LIMIT),
            fence: None,
        };
        unheard.insert(target.clone());
        let (machines, target) = (machines.clone(), target.clone());
        measuring.spawn(async move {
            let facts = Preflight::facts_after_measuring();
            let apply = async {
                let host = machines.host(&target).await?;
                host.apply(&job, &facts, &|_| {}).await
            };
            let applied = apply.await;
            (target, applied)
        });
    }
    while let Some(done) = measuring.join_next().await {
        let Ok((target, applied)) = done else {
            continue;
        };
        unheard.remove(&target);
        match applied {
            Ok(applied) if applied.end.status == JobStatus::Succeeded => {
                store.insert(&target, applied.answers);
            }
            Ok(applied) => {
                let mut failure = Failure::new("the measuring did not succeed")
                    .evidence(ended(&applied.end.status));
                failure
                    .evidence
                    .extend(applied.end.stderr.lines().map(str::to_owned));
                found.insert(target, (failure, true));
            }
            Err(error) => {
                let reached = answered(error.kind);
                found.insert(target, (error.failure, reached));
            }
        }
    }
    // What an earlier measuring found there must not be taken for this one's.
    let broken = || Failure::new("the measuring ended without a word: a mistake in hmco-boot");
    found.extend(unheard.into_iter().map(|target| (target, (broken(), true))));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_answers_and_does_not_measure_is_not_said_to_be_unreachable() {
        use HostErrorKind::*;
        for kind in [Busy, NotStarted, Protocol, Fenced] {
            assert!(answered(kind), "{kind:?}");
        }
        for kind in [Lost, Unreachable { transient: true }] {
            assert!(!answered(kind), "{kind:?}");
        }
        let status = JobStatus::Failed {
            action: 0,
            exit: 7,
            retryable: false,
        };
        assert_eq!(ended(&status), "it ended with exit status 7");
    }
}
