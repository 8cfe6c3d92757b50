//! `hmco-boot graph`: the steps of a playbook and what waits for what.

use super::Context;
use super::error::CliError;
use super::run::PlanArgs;
use crate::model::outcome::ExitCode;

/// Arguments of `graph`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hmco-boot graph hello
  hmco-boot graph hello --format svg > hello.svg
  hmco-boot graph hello --format mermaid        for Markdown")]
pub struct Args {
    /// Which playbook, for whom.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// How to draw it
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: GraphFormat,
}

/// How to draw a graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum GraphFormat {
    /// Lines for a terminal
    #[default]
    Text,
    /// Graphviz
    Dot,
    /// Mermaid, as Markdown viewers draw it
    Mermaid,
    /// A picture
    Svg,
}

/// Draws the graph.
pub fn run(_args: &Args, _context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    Err(CliError::failed(
        "this build has no engine: `graph` is not part of it",
    ))
}
