//! What `k3s node` and `k3s reset` have in common: a command that shows what it will do, asks, and then runs a plan of its own.

use crate::cli::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::reach::BecomeArgs;
use crate::cli::run::{How, execute};
use crate::cli::session::Session;
use crate::k3s::leave::Refusal;
use crate::k3s::status::NodeStatus;
use crate::model::outcome::{ExitCode, Failure};
use crate::plan::chain::{self, Link};
use crate::report::style::{Ink, Line};

/// What a command will do, for people: numbered stages, and what is to be known beside.
#[derive(Default)]
pub struct Stages {
    /// One line each.
    pub stages: Vec<String>,
    /// What will be lost, or is not known.
    pub warnings: Vec<String>,
}

impl Stages {
    /// Shows them under a heading.
    pub fn show(&self, heading: &str, context: &mut Context<'_>) -> Result<(), CliError> {
        if context.output.format() == crate::cli::output::Format::Json {
            let value = serde_json::json!({
                "what": heading, "stages": self.stages, "warnings": self.warnings
            });
            return context.output.json("stages", &value);
        }
        let width = usize::from(context.output.width());
        let mut lines = vec![Line::of(Ink::Strong, heading)];
        for (number, stage) in (1..).zip(&self.stages) {
            lines.extend(
                Line::new()
                    .plain(format!("{number}. {stage}"))
                    .wrap(2, width),
            );
        }
        for warning in &self.warnings {
            lines.extend(Line::of(Ink::Warn, warning).wrap(2, width));
        }
        context.output.lines(&lines)
    }
}

/// A refusal as the edge error.
pub fn refused(refusal: &Refusal) -> CliError {
    let kind = match refusal.exit {
        ExitCode::Unreachable => Kind::Unreachable,
        _ => Kind::Failed,
    };
    CliError::from_failure(kind, &refusal.failure)
}

/// A failure as the edge error.
pub fn failed(failure: &Failure) -> CliError {
    CliError::from_failure(Kind::Failed, failure)
}

/// What nodes that can be reached have on their disks must be known before it goes, unless nobody wants copies of it: then what
/// is not known is to be warned of.
pub fn untold(nodes: &[&NodeStatus], without_copies: bool) -> Result<Vec<String>, CliError> {
    let mut warnings = Vec::new();
    for node in nodes.iter().filter(|node| node.data.is_none()) {
        let why = node.silence.clone().unwrap_or_default();
        let what = format!(
            "{}: whether it has data that cannot be made anew could not be told",
            node.name
        );
        if !without_copies {
            let mut failure = Failure::new(what).evidence(why.message);
            failure.evidence.extend(why.evidence);
            failure.evidence.push("nothing was done".to_owned());
            return Err(failed(&failure.hint(
                "mend what keeps it from telling (hmco-boot status shows it too), then give the command again; or, if nothing of \
                 it is wanted any more, add --without-copies",
            )));
        }
        warnings.push(format!("{what} ({}); it goes with the rest", why.message));
    }
    Ok(warnings)
}

/// Nobody agreed.
pub fn not_agreed(flag: &str, context: &Context<'_>) -> CliError {
    match context.output.interactive() {
        true => CliError::usage("nothing was done").hint("give the command again to go on"),
        false => CliError::usage(
            "this is asked for before it is done, and there is no terminal to ask at",
        )
        .hint(format!(
            "look at what it would do with --dry-run, then add {flag}"
        )),
    }
}

/// Runs the links as a plan of this session.
pub async fn run(
    session: &mut Session,
    command: &str,
    title: &str,
    links: &[Link],
    how: &BecomeArgs,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let plan = chain::plan(command, title, links, &session.fingerprinter);
    session.set_plan(plan, command);
    let how = How {
        yes: true,
        command: command.to_owned(),
        become_root: how.clone(),
        ..How::default()
    };
    execute(session, how, context).await
}
