//! `hmco-boot resume`: goes on with a run that was cut off.

use std::collections::BTreeMap;

use super::error::{CliError, Kind};
use super::planner::Values;
use super::reach::BecomeArgs;
use super::run::{How, PlanArgs, execute};
use super::runs::named;
use super::session::Session;
use super::{Context, paths, project};
use crate::engine::locks::LeftBehind;
use crate::engine::resume;
use crate::journal::fold::RunFold;
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Journal, RunSummary};
use crate::model::event::{Event, RunStarted};
use crate::model::outcome::ExitCode;
use crate::model::shell::quote_all;

/// Arguments of `resume`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Every step's target is read again: what the record says is never taken for done.

Examples:
  hmco-boot resume
  hmco-boot resume 20260114-081530-k3f9")]
pub struct Args {
    /// The run, or the beginning of its name; by default the newest one that was cut off
    pub run: Option<String>,
    /// Go on even though the project's plan has changed since
    #[arg(long)]
    pub changed_plan: bool,
    /// Do not ask before the first step that disturbs what runs
    #[arg(long, short)]
    pub yes: bool,
    /// How to become root.
    #[command(flatten)]
    pub become_root: BecomeArgs,
}

/// Goes on with the run.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let cluster = project::cluster(context)?;
    let Some(Recorded {
        then,
        fold,
        left_locks,
    }) = recorded(args, &cluster, context)?
    else {
        context
            .output
            .talk("nothing to go on with: the newest run ended well\n");
        return Ok(ExitCode::Done);
    };
    if context.globals.inventory.is_none()
        && let Some(file) = &then.arguments.inventory
        && let Some(root) = project::root(context)
    {
        context.globals.inventory = Some(root.join(file));
    }
    let plan = PlanArgs {
        playbook: then.playbook.clone(),
        limit: then.arguments.limit.clone(),
        vars: then.arguments.vars.clone(),
    };
    let mut session = Session::open(&plan, Values::Make(&args.become_root), context).await?;
    let changed = resume::difference(&then, &session.plan);
    if let Some(failure) = changed.as_ref().filter(|_| !args.changed_plan) {
        return Err(CliError::from_failure(Kind::Usage, failure));
    }
    // Numbers of pairs mean something only in the same plan; jobs are awaited in any case.
    let prior_jobs = if changed.is_none() {
        resume::prior_jobs(&fold)
    } else {
        BTreeMap::new()
    };
    let command = format!("resume {}", then.run);
    let how = How {
        yes: args.yes,
        command,
        resumes: Some(then.run),
        prior_jobs,
        left_locks,
        become_root: args.become_root.clone(),
        expectation: None,
    };
    execute(&mut session, how, context).await
}

/// Whether the run ended because somebody else held the lock, and not because it lost one in the middle.
fn lock_refused(run: &RunSummary) -> bool {
    let end = run.finished.as_ref().map(|record| &record.event);
    matches!(end, Some(Event::RunFinished { exit, counts, .. })
        if *exit == ExitCode::Locked && !counts.contains_key("changed"))
}

fn ended_well(run: &RunSummary) -> bool {
    let end = run.finished.as_ref().map(|record| &record.event);
    matches!(
        end,
        Some(Event::RunFinished {
            exit: ExitCode::Done,
            ..
        })
    )
}

fn is_command(run: &RunSummary) -> bool {
    run.started.arguments.exec.is_some() || run.started.arguments.command.is_some()
}

/// Refuses to go on with `exec`, and with commands that go on when they are given again.
fn not_a_command(chosen: &RunSummary) -> Result<(), CliError> {
    if let Some(command) = &chosen.started.arguments.command {
        let what = format!(
            "run {} was `{command}`, which `resume` does not go on with",
            chosen.started.run
        );
        return Err(CliError::usage(what).hint(format!(
            "give it again, it goes on where it stopped: hmco-boot {command}"
        )));
    }
    let Some(argv) = &chosen.started.arguments.exec else {
        return Ok(());
    };
    let (run, command) = (
        &chosen.started.run,
        quote_all(argv.iter().map(String::as_str)),
    );
    let what =
        format!("run {run} was `exec` of the command `{command}`; commands are not gone on with");
    Err(CliError::usage(what).hint(format!(
            "`hmco-boot runs show {run}` says where it ended and how; where it may be run again, `hmco-boot exec` it again"
        )))
}

/// What is on record of the run to go on with.
struct Recorded {
    then: RunStarted,
    fold: RunFold,
    left_locks: LeftBehind,
}

/// How the run began, and how far its record goes. `None`: the newest run needs nothing more.
fn recorded(
    args: &Args,
    cluster: &str,
    context: &mut Context<'_>,
) -> Result<Option<Recorded>, CliError> {
    let nothing = || {
        CliError::usage(format!(
            "no run of the cluster `{cluster}` is recorded here"
        ))
        .hint("hmco-boot run PLAYBOOK begins one")
    };
    let state = paths::existing_state_dir(context, cluster)?.ok_or_else(nothing)?;
    let journal = SqliteJournal::open_to_read(&state.journal_path())?.ok_or_else(nothing)?;
    let mut runs = journal.runs()?;
    let newest_is_command = runs.first().is_some_and(is_command);
    if args.run.is_none() {
        if let Some(newest) = runs.first()
            && newest.started.arguments.command.is_some()
            && !ended_well(newest)
        {
            not_a_command(newest)?;
        }
        // One that met another's lock did nothing: what matters is the run that it met. (Where it was to go on with one,
        // it stands for that.) Commands of `exec` are not gone on with.
        runs.retain(|run| run.started.resumes.is_some() || !lock_refused(run));
        runs.retain(|run| !is_command(run));
    }
    let chosen = match &args.run {
        None if runs.is_empty() => return Err(nothing()),
        None => match resume::newest_open(&runs) {
            Some(run) => run,
            None => return Ok(None),
        },
        Some(name) => named(&runs, name)?,
    };
    not_a_command(chosen)?;
    if state.live_run().as_ref() == Some(&chosen.started.run) {
        let run = &chosen.started.run;
        let what = format!("run {run} is still running");
        return Err(CliError::new(Kind::Locked, what).hint(format!(
            "wait for it: `hmco-boot runs show {run}` says how far it is"
        )));
    }
    if let Some(later) = &chosen.resumed_by {
        return Err(
            CliError::usage(format!("run {} went on as {later}", chosen.started.run))
                .hint(format!("hmco-boot resume {later}")),
        );
    }
    let records = journal.read(&chosen.started.run)?;
    if let Some(failure) = resume::never_began(&records) {
        return Err(CliError::from_failure(Kind::Usage, &failure));
    }
    if args.run.is_none() && newest_is_command {
        let (run, playbook) = (&chosen.started.run, &chosen.started.playbook);
        context.output.talk(&format!(
            "going on with run {run} of {playbook}: what is newer was a command, which is not gone on with\n"
        ));
    }
    let fold = RunFold::of(&records).map_err(|error| {
        CliError::failed("the record of the run makes no sense")
            .caused_by(&error)
            .hint("begin a new run with `hmco-boot run`: it reads everything again")
    })?;
    let left_locks = left_locks(&journal, &chosen.started, &fold);
    Ok(Some(Recorded {
        then: chosen.started.clone(),
        fold,
        left_locks,
    }))
}

/// Where a dead run, and the dead ones that it went on with, may have left their locks. What cannot be read of those
/// before it is left to the end of their leases.
fn left_locks(journal: &SqliteJournal, started: &RunStarted, fold: &RunFold) -> LeftBehind {
    let mut left = vec![(started.run.clone(), resume::left_locked(fold))];
    let mut before = started.resumes.clone();
    while let Some(run) = before.filter(|run| left.iter().all(|(seen, _)| seen != run)) {
        let Ok(records) = journal.read(&run) else {
            break;
        };
        let Ok(fold) = RunFold::of(&records) else {
            break;
        };
        before = records.first().and_then(|record| match &record.event {
            Event::RunStarted(started) => started.resumes.clone(),
            _ => None,
        });
        left.push((run, resume::left_locked(&fold)));
    }
    left
}
