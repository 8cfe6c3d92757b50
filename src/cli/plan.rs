//! `hmco-boot plan`: what a run would do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{CliError, Kind};
use super::live::{self, Unwatched};
use super::output::Format;
use super::planner::Values;
use super::reach::BecomeArgs;
use super::run::PlanArgs;
use super::session::{self, Session};
use super::{Context, files};
use crate::engine::clock::SystemClock;
use crate::engine::runner::{self, Seams};
use crate::engine::scheduler::{Mode, Options, Preview, Scheduler};
use crate::model::id::KindName;
use crate::model::outcome::{ExitCode, Failure, Outcome};
use crate::model::redact::Redactor;
use crate::plan::saved::{SAVED_VERSION, SavedDecision, SavedPlan, binding_facts};
use crate::report::plan::{PlanDecision, PlanEntry, PlanView};

/// Arguments of `plan`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Reads the targets, takes no lock, changes nothing.

Examples:
  hmco-boot plan hello
  hmco-boot plan hello --out hello.plan && hmco-boot run hello --plan hello.plan
  hmco-boot plan hello --exit-code || echo 'something differs'")]
pub struct Args {
    /// Which playbook, for whom.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// How to become root.
    #[command(flatten)]
    pub become_root: BecomeArgs,
    /// Save the plan; `run --plan FILE` does exactly that or refuses
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// Exit with 4 where something differs
    #[arg(long)]
    pub exit_code: bool,
}

/// Shows what a run would do.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let mut session = Session::open(&args.plan, Values::Open(&args.become_root), context).await?;
    let clock = SystemClock::new();
    let run = session::new_run_id(&clock)?;
    let machines = session.machines(&args.become_root, context).await?;
    let (hosts, api) = session.hosts(&machines, context)?;
    let seams = Seams {
        hosts,
        locks: None,
        journal: None,
        confirm: Arc::new(live::Terminal),
        clock: Arc::new(clock),
        cancel: live::signals()?,
        redactor: context.output.redactor().clone(),
    };
    let options = Options {
        mode: Mode::Preview,
        ..Options::new(run.clone())
    };
    let started = session.started(run, None);
    let ended = runner::run(
        session.plan.clone(),
        options,
        seams,
        started,
        &mut Unwatched,
    )
    .await
    .map_err(|failure| CliError::from_failure(Kind::Failed, &failure))?;
    session.keep_digests(&machines, context);
    api.keep_pin(&session.state, &session.inventory, context);
    let view = view(&session, &ended.scheduler, context.output.redactor());
    if let Some(path) = &args.out {
        save(&session, &ended.scheduler, &view, &context.cwd.join(path))?;
    }
    CliError::unless_closed(show(&view, context))?;
    let waiting = |entry: &PlanEntry| {
        matches!(
            entry.decision,
            PlanDecision::Drift(_) | PlanDecision::Later(_)
        )
    };
    let drift = args.exit_code && view.entries.iter().any(waiting);
    Ok(ExitCode::strongest([
        ended.exit,
        if drift {
            ExitCode::Drift
        } else {
            ExitCode::Done
        },
    ]))
}

fn show(view: &PlanView, context: &mut Context<'_>) -> Result<(), CliError> {
    if context.output.format() == Format::Json {
        let line = view
            .to_json()
            .map_err(|error| CliError::from_output(&error))?;
        return context.output.data(&format!("{line}\n"));
    }
    let lines = view.lines(
        usize::from(context.output.width()),
        context.globals.verbose > 0,
    );
    context.output.lines(&lines)
}

fn view(session: &Session, scheduler: &Scheduler, redactor: &Redactor) -> PlanView {
    let mut unreachable = BTreeMap::new();
    let mut entries = Vec::new();
    for pair in &session.plan.pairs {
        let outcome = scheduler.outcome(pair.id);
        if let Some(Outcome::Unreachable(failure)) = outcome {
            let mut failure = failure.clone();
            redactor.failure(&mut failure);
            unreachable.insert(pair.target.to_string(), failure);
        }
        let mut decision = match (scheduler.preview(pair.id), outcome) {
            (Some(Preview::Unchanged), _) => PlanDecision::Unchanged,
            (Some(Preview::Drift(diff)), _) => PlanDecision::Drift(diff.clone()),
            (Some(Preview::Later(reason)), _) => PlanDecision::Later(reason.clone()),
            (None, Some(Outcome::Skipped(reason))) => PlanDecision::Skipped(reason.clone()),
            (None, outcome) => PlanDecision::Error(undecided(outcome)),
        };
        // A preview has no events: this is where what it found becomes final.
        match &mut decision {
            PlanDecision::Drift(diff) => redactor.diff(diff),
            PlanDecision::Later(text) | PlanDecision::Skipped(text) => redactor.string(text),
            PlanDecision::Error(failure) => redactor.failure(failure),
            PlanDecision::Unchanged => {}
        }
        let (step, target, kind) = (
            pair.step.clone(),
            pair.target.clone(),
            KindName::new(pair.kind.name),
        );
        entries.push(PlanEntry {
            step,
            target,
            kind,
            decision,
            disruptive: pair.is_disruptive(),
        });
    }
    let title = format!(
        "{} on {}",
        session.plan.title, session.inventory.cluster.name
    );
    PlanView {
        title,
        entries,
        targets_unreachable: unreachable.into_iter().collect(),
        notes: Vec::new(),
    }
}

/// Why a pair has no decision.
fn undecided(outcome: Option<&Outcome>) -> Failure {
    match outcome {
        Some(Outcome::Blocked { step, target }) => {
            Failure::new(format!("it would be blocked by {step}@{target}"))
        }
        Some(Outcome::Interrupted(reason)) => Failure::new(reason.clone()),
        Some(outcome) => outcome
            .failure()
            .cloned()
            .unwrap_or_else(|| Failure::new(outcome.word())),
        None => Failure::new("it was not looked at"),
    }
}

fn save(
    session: &Session,
    scheduler: &Scheduler,
    view: &PlanView,
    path: &Path,
) -> Result<(), CliError> {
    if let Some(entry) = view
        .entries
        .iter()
        .find(|entry| matches!(entry.decision, PlanDecision::Error(_)))
    {
        let what = format!(
            "the plan is not saved: {}@{} could not be decided",
            entry.step, entry.target
        );
        return Err(CliError::failed(what)
            .hint("cure what `hmco-boot plan` without --out says, then plan again"));
    }
    let decision = |entry: &PlanEntry| {
        let (word, diff) = match &entry.decision {
            PlanDecision::Unchanged => ("unchanged", Vec::new()),
            PlanDecision::Drift(diff) => ("change", diff.clone()),
            PlanDecision::Later(_) => ("later", Vec::new()),
            PlanDecision::Skipped(_) | PlanDecision::Error(_) => ("skipped", Vec::new()),
        };
        SavedDecision {
            step: entry.step.clone(),
            target: entry.target.clone(),
            decision: word.to_owned(),
            diff,
        }
    };
    let saved = SavedPlan {
        version: SAVED_VERSION,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        playbook: session.playbook.clone(),
        arguments: session.arguments.clone(),
        fingerprint: session.plan.fingerprint.clone(),
        decisions: view.entries.iter().map(decision).collect(),
        facts: binding_facts(
            scheduler.facts(),
            &session.plan.targets,
            &session.fingerprinter,
        ),
    };
    let mut text = serde_json::to_string_pretty(&saved)
        .map_err(|error| CliError::failed("cannot write the plan as JSON").caused_by(&error))?;
    text.push('\n');
    files::replace_private(path, text.as_bytes()).map_err(|error| {
        CliError::failed(format!("cannot write {}", path.display()))
            .caused_by(&error)
            .hint("name another file with --out")
    })
}

/// Reads what `--out` wrote.
pub fn read_saved(path: &Path) -> Result<SavedPlan, CliError> {
    let shown = path.display();
    let text = files::read(path)
        .map_err(|error| CliError::usage(format!("cannot read {shown}")).caused_by(&error))?;
    let version: Option<u64> = serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|value| value.get("version").and_then(serde_json::Value::as_u64));
    if version.is_some_and(|version| version > u64::from(SAVED_VERSION)) {
        return Err(CliError::usage(format!(
            "{shown} was written by a later version of hmco-boot"
        ))
        .hint("run it with that version, or make a new plan with this one"));
    }
    serde_json::from_str(&text).map_err(|error| {
        CliError::usage(format!("{shown} is no saved plan"))
            .caused_by(&error)
            .hint("hmco-boot plan --out FILE writes one")
    })
}
