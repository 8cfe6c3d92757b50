//! `hmco-boot runs unlock`: clears away the locks of dead runs, on this machine and on the nodes.

use std::sync::Arc;

use serde::Serialize;
use tokio::task::JoinSet;

use super::error::{CliError, Kind};
use super::reach::BecomeArgs;
use super::session::{self, Session};
use super::{Context, locks};
use crate::engine::clock::SystemClock;
use crate::facts::fact::{Fact, FactValue};
use crate::journal::local_lock::{LockError, LockHolder, LockMode};
use crate::model::event::RunArguments;
use crate::model::id::Target;
use crate::model::lock::{LockAnswer, LockClaim};
use crate::model::outcome::{ExitCode, Failure};
use crate::plan::adhoc::Adhoc;
use crate::transport::{HostError, Hosts};

/// Arguments of `runs unlock`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only on this machine: ask no node
    #[arg(long)]
    pub local: bool,
    /// How to become root on the nodes.
    #[command(flatten)]
    pub become_root: BecomeArgs,
}

/// What was found on a node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Found {
    /// No lock.
    Nothing,
    /// A dead run's, which is gone now.
    Cleared { holder: String },
    /// A live run's.
    Live { holder: String },
    /// It could not be asked.
    Failed(Failure),
}

/// Clears them away.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    // A plan is only what says where to look.
    let look = |inventory: &crate::model::inventory::Inventory, fingerprinter: &_| {
        let nodes = inventory.nodes.iter().filter(|_| !args.local);
        let targets = nodes.map(|node| Target::Node(node.name.clone())).collect();
        Ok(Adhoc::nothing().plan(targets, fingerprinter))
    };
    let label = "runs unlock".to_owned();
    let (how, arguments) = (&args.become_root, RunArguments::default());
    let mut session = Session::without_playbook(context, how, label.clone(), arguments, look)?;
    let left = session.state.unlock().map_err(refused)?;
    // Held meanwhile: a lock of this state folder on a node belongs to a dead run only as long as no run of it lives.
    let clock = SystemClock::new();
    let run = session::new_run_id(&clock)?;
    let holder = locks::holder(context, &run, &clock, label);
    let claim = locks::claim(&session.state, &session.fingerprinter, &holder, &run);
    let held = session.state.lock(&holder, LockMode::Exclusive);
    let held = held.map_err(refused)?;
    let mut found = Vec::new();
    if !args.local {
        let machines = session.machines(&args.become_root, context).await?;
        found = ask(&session.plan.targets, machines, &claim).await;
    }
    drop(held);
    tell(&left, &found, context)
}

fn refused(error: LockError) -> CliError {
    match error {
        LockError::Held { failure, .. } => CliError::from_failure(Kind::Locked, &failure),
        LockError::Io(failure) => CliError::from_failure(Kind::Failed, &failure),
    }
}

async fn ask(targets: &[Target], hosts: Arc<dyn Hosts>, claim: &LockClaim) -> Vec<(Target, Found)> {
    let mut tasks = JoinSet::new();
    for target in targets {
        let (target, hosts, claim) = (target.clone(), hosts.clone(), claim.clone());
        tasks.spawn(async move {
            let found = clear(&target, hosts.as_ref(), &claim).await;
            (
                target,
                found.unwrap_or_else(|error| Found::Failed(error.failure)),
            )
        });
    }
    let mut found = Vec::new();
    while let Some(result) = tasks.join_next().await {
        found.extend(result.ok());
    }
    found.sort_by_key(|(target, _)| targets.iter().position(|one| one == target));
    found
}

async fn clear(target: &Target, hosts: &dyn Hosts, claim: &LockClaim) -> Result<Found, HostError> {
    let host = hosts.host(target).await?;
    let answers = host.read(&[Fact::RunState]).await?;
    let Some((_, Ok(FactValue::RunState(state)))) = answers.into_iter().next() else {
        return Ok(Found::Failed(Failure::new(
            "what hmco-boot left there cannot be read",
        )));
    };
    let Some(text) = state.lock else {
        return Ok(Found::Nothing);
    };
    Ok(match host.lock(claim).await? {
        LockAnswer::Taken | LockAnswer::Renewed => {
            host.unlock(&claim.run).await?;
            Found::Cleared {
                holder: words(&text),
            }
        }
        LockAnswer::Held { run, holder, .. } => Found::Live {
            holder: format!("run {run} ({holder})"),
        },
        LockAnswer::Working { run, holder, job } => Found::Live {
            holder: format!("run {run} ({holder}), whose job {job} still works there"),
        },
    })
}

/// Whose lock a lock's file is.
fn words(text: &str) -> String {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    format!(
        "run {} ({})",
        value("run").unwrap_or("of no name"),
        value("holder").unwrap_or("nobody says who")
    )
}

fn tell(
    left: &[LockHolder],
    found: &[(Target, Found)],
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let any = |test: fn(&Found) -> bool| found.iter().any(|(_, found)| test(found));
    let exit = ExitCode::strongest([
        if any(|found| matches!(found, Found::Live { .. })) {
            ExitCode::Locked
        } else {
            ExitCode::Done
        },
        if any(|found| matches!(found, Found::Failed(_))) {
            ExitCode::Unreachable
        } else {
            ExitCode::Done
        },
    ]);
    if context.output.format() == super::output::Format::Json {
        let nodes: Vec<_> = found
            .iter()
            .map(|(target, found)| serde_json::json!({ "target": target, "found": found }))
            .collect();
        let value = serde_json::json!({ "left_behind": left, "nodes": nodes });
        context.output.json("unlocked", &value)?;
        return Ok(exit);
    }
    let mut text: String = left.iter().map(describe).collect();
    for (target, found) in found {
        match found {
            Found::Nothing => {}
            Found::Cleared { holder } => {
                text.push_str(&format!("removed the lock that {holder} left behind on {target}\n"));
            }
            Found::Live { holder } => context.output.warn(
                &format!("{target} is locked by {holder}, which lives"),
                "wait until that run has ended; if its process is dead, the lock is free 2 minutes later",
            ),
            Found::Failed(failure) => context.output.warn(
                &format!("{target}: {}", failure.message),
                failure.hint.as_deref().unwrap_or("its lock ends with its time, 2 minutes after the run"),
            ),
        }
    }
    if text.is_empty() && exit == ExitCode::Done {
        text.push_str("no lock was left behind\n");
    }
    context.output.data(&text)?;
    Ok(exit)
}

fn describe(holder: &LockHolder) -> String {
    let LockHolder {
        pid,
        user,
        host,
        command,
        ..
    } = holder;
    let run = holder
        .run
        .as_ref()
        .map_or(String::new(), |run| format!(" (run {run})"));
    format!(
        "removed what `{command}`{run} of {user} on {host} left behind; its process {pid} is gone\n"
    )
}
