//! `hmco-boot run`: brings the targets to what a playbook says.

use std::path::PathBuf;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{CliError, Kind};
use super::live::{self, Watcher};
use super::planner::Values;
use super::reach::BecomeArgs;
use super::session::{self, Session};
use super::{Context, cluster, locks, plan};
use crate::engine::clock::SystemClock;
use crate::engine::locks::LeftBehind;
use crate::engine::runner::{self, Ended, Observer, Seams};
use crate::engine::scheduler::{Consent, Options};
use crate::journal::sqlite::SqliteJournal;
use crate::model::event::RunStarted;
use crate::model::id::{JobId, PairId, RunId};
use crate::model::outcome::{ExitCode, Failure};
use crate::model::shell::quote;
use crate::plan::saved::{Expectation, SavedPlan};
use crate::report::reporter;
use crate::transport::machines::Machines;

/// Which playbook, for whom: what shapes a plan.
#[derive(Clone, Debug, clap::Args)]
pub struct PlanArgs {
    /// The playbook, by its path below playbooks/ (`.toml` may be left out)
    pub playbook: String,
    /// Only these targets: node names, globs, role:, group:, &, |, !
    #[arg(long, value_name = "SELECTOR")]
    pub limit: Option<String>,
    /// Set a var that the playbook declares; may be repeated
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = assignment)]
    pub vars: Vec<(String, String)>,
}

/// Arguments of `run`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Reads every target first and changes only what differs; what was changed is read again and must be as wished. \
Ctrl-C lets running steps end, a second one does not; either way `hmco-boot resume` goes on.

Examples:
  hmco-boot run hello
  hmco-boot run hello --var greeting=Hi
  hmco-boot run os --limit 'role:agent & !pi5-04'")]
pub struct Args {
    /// Which playbook, for whom.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// How to become root.
    #[command(flatten)]
    pub become_root: BecomeArgs,
    /// Do what this saved plan says, and refuse if it no longer fits
    #[arg(long = "plan", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub saved: Option<PathBuf>,
    /// Do not ask before the first step that disturbs what runs
    #[arg(long, short)]
    pub yes: bool,
}

/// Plans, asks where it must, and runs.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let saved = args
        .saved
        .as_deref()
        .map(|path| plan::read_saved(&context.cwd.join(path)))
        .transpose()?;
    let mut session = Session::open(&args.plan, Values::Make(&args.become_root), context).await?;
    let mut how = How {
        yes: args.yes,
        command: format!("run {}", args.plan.playbook),
        become_root: args.become_root.clone(),
        ..How::default()
    };
    if let Some(saved) = saved {
        if saved.fingerprint != session.plan.fingerprint {
            return Err(other_plan(&saved, &session));
        }
        how.expectation = Some(Expectation::new(&saved, session.fingerprinter.clone()));
        session.arguments.saved_plan = args.saved.as_deref().map(|path| path.display().to_string());
    }
    execute(&mut session, how, context).await
}

/// Why a saved plan is not the plan at hand: other arguments, or another project.
fn other_plan(saved: &SavedPlan, session: &Session) -> CliError {
    if saved.arguments != session.arguments {
        let what = "the saved plan was made with other arguments";
        let command = made_by(saved);
        return CliError::usage(what).hint(format!("give those of `{command}`"));
    }
    CliError::usage("the saved plan is not the plan of the project as it is now")
        .hint("make a new one with `hmco-boot plan --out`, look at it, and run that")
}

/// The command that a saved plan came from, as it would be typed.
fn made_by(saved: &SavedPlan) -> String {
    let mut words = vec!["hmco-boot plan".to_owned(), quote(&saved.playbook)];
    if let Some(inventory) = &saved.arguments.inventory {
        words.extend(["-i".to_owned(), quote(inventory)]);
    }
    if let Some(limit) = &saved.arguments.limit {
        words.extend(["--limit".to_owned(), quote(limit)]);
    }
    for (name, value) in &saved.arguments.vars {
        words.extend(["--var".to_owned(), quote(&format!("{name}={value}"))]);
    }
    words.join(" ")
}

/// How a plan is to be run.
#[derive(Default)]
pub struct How {
    /// Do not ask before disruptive steps.
    pub yes: bool,
    /// What the command is, for others that meet its lock.
    pub command: String,
    /// The run it goes on with.
    pub resumes: Option<RunId>,
    /// Jobs that run had started.
    pub prior_jobs: BTreeMap<JobId, PairId>,
    /// Where that run, and those it went on with, may have left their locks.
    pub left_locks: LeftBehind,
    /// How to become root.
    pub become_root: BecomeArgs,
    /// What a saved plan was made from.
    pub expectation: Option<Expectation>,
}

/// Runs a plan, showing it as it goes.
pub async fn execute(
    session: &mut Session,
    how: How,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let ready = Ready::new(session, how, context).await?;
    let (format, settings) = context.reporter_options();
    let mut watcher = Watcher::new(reporter(format, settings, context.output.writer()));
    let (ended, held) = ready.run(session, &mut watcher).await;
    let shown = watcher.finish();
    let ended = held.finish(ended, session, context)?;
    shown?;
    Ok(ended.exit)
}

/// Everything that a run needs.
pub struct Ready {
    seams: Seams,
    options: Options,
    started: RunStarted,
    held: Held,
}

/// What is to be put away after a run.
pub struct Held {
    journal: Arc<SqliteJournal>,
    machines: Arc<Machines>,
    api: cluster::Api,
}

impl Ready {
    /// Puts it together.
    pub async fn new(
        session: &mut Session,
        how: How,
        context: &mut Context<'_>,
    ) -> Result<Self, CliError> {
        let clock = SystemClock::new();
        let run = session::new_run_id(&clock)?;
        let journal = Arc::new(SqliteJournal::open(&session.state.journal_path())?);
        let machines = session.machines(&how.become_root, context).await?;
        let (hosts, api) = session.hosts(&machines, context)?;
        let holder = locks::holder(context, &run, &clock, how.command);
        let locks = locks::run_locks(
            session.state.clone(),
            &session.fingerprinter,
            hosts.clone(),
            holder,
            &run,
            how.left_locks,
        );
        let seams = Seams {
            hosts,
            locks: Some(Arc::new(locks)),
            journal: Some(journal.clone()),
            confirm: Arc::new(live::Terminal),
            clock: Arc::new(clock),
            cancel: live::signals()?,
            redactor: context.output.redactor().clone(),
        };
        let mut options = Options::new(run.clone());
        options.prior_jobs = how.prior_jobs;
        options.expectation = how.expectation;
        options.consent = match (how.yes, context.output.interactive()) {
            (true, _) => Consent::Given,
            (false, true) => Consent::Ask,
            (false, false) => Consent::Refused,
        };
        Ok(Self {
            seams,
            options,
            started: session.started(run, how.resumes),
            held: Held {
                journal,
                machines,
                api,
            },
        })
    }

    /// Runs the session's plan.
    pub async fn run(
        self,
        session: &Session,
        observer: &mut dyn Observer,
    ) -> (Result<Ended, Failure>, Held) {
        let (plan, started) = (session.plan.clone(), self.started);
        let ended = runner::run(plan, self.options, self.seams, started, observer).await;
        (ended, self.held)
    }
}

impl Held {
    /// Puts it away, and tells what could not be put on record.
    pub fn finish(
        self,
        ended: Result<Ended, Failure>,
        session: &Session,
        context: &mut Context<'_>,
    ) -> Result<Ended, CliError> {
        session.keep_digests(&self.machines, context);
        self.api
            .keep_pin(&session.state, &session.inventory, context);
        let ended = ended.map_err(|failure| CliError::from_failure(Kind::Failed, &failure))?;
        if let Some(failure) = &ended.unrecorded {
            context.output.warn(
                &format!("the end of the run is not on record: {}", failure.message),
                failure.hint.as_deref().unwrap_or(
                    "see that the state folder can be written, then run `hmco-boot resume`",
                ),
            );
        }
        close(self.journal)?;
        Ok(ended)
    }
}

/// Ends the record. What cannot be written now was acknowledged before it was safe, so it must be told.
fn close(journal: Arc<SqliteJournal>) -> Result<(), CliError> {
    match Arc::into_inner(journal) {
        Some(journal) => Ok(journal.close()?),
        // Somebody still holds it: it is closed when they let go.
        None => Ok(()),
    }
}

/// Reads `NAME=VALUE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}
