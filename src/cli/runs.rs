//! `hmco-boot runs`: looks at what is recorded, and tidies it up.

use clap::Subcommand;
use jiff::tz::TimeZone;
use serde_json::json;

use super::error::CliError;
use super::output::Format;
use super::{Context, paths, project, unlock};
use crate::journal::sqlite::SqliteJournal;
use crate::journal::state_dir::StateDir;
use crate::journal::{Journal, RunSummary};
use crate::model::id::RunId;
use crate::model::outcome::ExitCode;
use crate::report::list::{self, RunRow};
use crate::report::reporter;
use crate::report::state::State;
use crate::report::text::count;

/// Arguments of `runs`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do with them.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands below `runs`.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// List the recorded runs, newest first
    List,
    /// Show how a run ended, step by step
    Show(Which),
    /// Show a run again, as it was shown when it ran
    Replay(Which),
    /// Forget old runs that ended
    Prune {
        /// How many ended runs to keep
        #[arg(long, value_name = "N", default_value_t = 50)]
        keep: usize,
    },
    /// Remove what runs that died have left of their locks, here and on the nodes; a live run is named and never robbed
    Unlock(unlock::Args),
}

/// One run.
#[derive(Clone, Debug, clap::Args)]
pub struct Which {
    /// The run, or the beginning of its name; by default the newest
    pub run: Option<String>,
}

/// Carries out one of them.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let cluster = project::cluster(context)?;
    let state = paths::existing_state_dir(context, &cluster)?;
    match &args.command {
        Command::List => list(state.as_ref(), context)?,
        Command::Show(which) => show(&cluster, state.as_ref(), which, context)?,
        Command::Replay(which) => replay(&cluster, state.as_ref(), which, context)?,
        Command::Prune { keep } => prune(state.as_ref(), *keep, context)?,
        Command::Unlock(args) => return unlock::run(args, context).await,
    }
    Ok(ExitCode::Done)
}

/// The journal for reading; `None` where nothing was ever recorded.
fn journal(state: Option<&StateDir>) -> Result<Option<SqliteJournal>, CliError> {
    match state {
        Some(state) => Ok(SqliteJournal::open_to_read(&state.journal_path())?),
        None => Ok(None),
    }
}

fn list(state: Option<&StateDir>, context: &mut Context<'_>) -> Result<(), CliError> {
    let runs = match journal(state)? {
        Some(journal) => journal.runs()?,
        None => Vec::new(),
    };
    let alive = state.and_then(StateDir::live_run);
    let row = |run| row(run, alive.as_ref());
    let rows: Vec<RunRow<'_>> = runs.iter().map(row).collect();
    let output = &mut *context.output;
    if output.format() == Format::Json {
        let mut text = String::new();
        for row in &rows {
            let line = list::run_json(row).map_err(|error| CliError::from_output(&error))?;
            text.push_str(&line);
            text.push('\n');
        }
        return output.data(&text);
    }
    let columns = output.columns();
    let lines = list::runs(&rows, &TimeZone::system(), columns, output.unicode());
    output.lines(&lines)
}

fn row<'a>(run: &'a RunSummary, alive: Option<&RunId>) -> RunRow<'a> {
    RunRow {
        alive: alive == Some(&run.started.run),
        started: &run.started,
        at_ms: run.at_ms,
        finished: run.finished.as_ref(),
        resumed_by: run.resumed_by.as_ref(),
    }
}

/// The journal and the run that `which` means.
fn find(
    cluster: &str,
    state: Option<&StateDir>,
    which: &Which,
) -> Result<(SqliteJournal, RunId), CliError> {
    let none = || {
        CliError::usage(format!(
            "no run of the cluster `{cluster}` is recorded here"
        ))
        .hint("hmco-boot run PLAYBOOK makes the first")
    };
    let journal = journal(state)?.ok_or_else(none)?;
    let runs = journal.runs()?;
    let run = match &which.run {
        None => runs.first().ok_or_else(none)?,
        Some(wanted) => named(&runs, wanted)?,
    };
    let run = run.started.run.clone();
    Ok((journal, run))
}

/// The run whose name is `wanted`, or the only one whose name begins with it.
pub fn named<'a>(runs: &'a [RunSummary], wanted: &str) -> Result<&'a RunSummary, CliError> {
    let name = |run: &RunSummary| run.started.run.as_str().to_owned();
    let begin = |run: &&RunSummary| name(run).starts_with(wanted);
    let found: Vec<&RunSummary> = runs.iter().filter(begin).collect();
    match found.as_slice() {
        [only] => Ok(*only),
        [] => Err(CliError::usage(format!("there is no run `{wanted}`"))
            .hint("hmco-boot runs list shows those there are")),
        several => several
            .iter()
            .find(|run| name(run) == wanted)
            .copied()
            .ok_or_else(|| {
                let what = count(several.len(), "run", "runs");
                CliError::usage(format!("the names of {what} begin with `{wanted}`"))
                    .hint("write more of the name")
            }),
    }
}

fn show(
    cluster: &str,
    state: Option<&StateDir>,
    which: &Which,
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    let (journal, run) = find(cluster, state, which)?;
    let records = journal.read(&run)?;
    if context.output.format() == Format::Json {
        return tell(&records, context);
    }
    let commands = context.output.commands().clone();
    let mut shown = State::shown_with(commands.clone());
    for record in &records {
        shown.apply(&commands.record(record));
    }
    shown.alive = state.and_then(StateDir::live_run).as_ref() == Some(&run);
    let width = usize::from(context.output.width());
    let lines = list::show(&shown, &TimeZone::system(), width);
    context.output.lines(&lines)
}

fn replay(
    cluster: &str,
    state: Option<&StateDir>,
    which: &Which,
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    let (journal, run) = find(cluster, state, which)?;
    let records = journal.read(&run)?;
    tell(&records, context)
}

/// Puts recorded events through the reporter that showed them when they happened.
fn tell(
    records: &[crate::model::event::Record],
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    let (format, options) = context.reporter_options();
    let mut reporter = reporter(format, options, context.output.writer());
    let told = records.iter().try_for_each(|record| {
        reporter.record(record)?;
        reporter.tick(record.at_ms)
    });
    told.and_then(|()| reporter.finish())
        .map_err(|error| CliError::from_output(&error))
}

fn prune(state: Option<&StateDir>, keep: usize, context: &mut Context<'_>) -> Result<(), CliError> {
    let removed = match state.filter(|state| state.journal_path().exists()) {
        Some(state) => {
            let journal = SqliteJournal::open(&state.journal_path())?;
            let removed = journal.prune(keep)?;
            journal.close()?;
            removed
        }
        None => Vec::new(),
    };
    if context.output.format() == Format::Json {
        return context.output.json("pruned", &json!({ "runs": removed }));
    }
    let text: String = removed.iter().map(|run| format!("{run}\n")).collect();
    context.output.data(&text)?;
    let removed = count(removed.len(), "run", "runs");
    context.output.talk(&format!("{removed} forgotten\n"));
    Ok(())
}
