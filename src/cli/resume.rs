//! `hmco-boot resume`: goes on with a run that was cut off.

use super::Context;
use super::error::CliError;
use crate::model::outcome::ExitCode;

/// Arguments of `resume`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Every step's target is read again: what the record says is never taken for done.

Examples:
  hmco-boot resume
  hmco-boot resume 20260114-081530-k3f9")]
pub struct Args {
    /// The run, as `hmco-boot runs list` names it; by default the newest one that was cut off
    pub run: Option<String>,
    /// Go on with a run that another machine began
    #[arg(long)]
    pub take_over: bool,
    /// Do not ask before the first step that disturbs what runs
    #[arg(long, short)]
    pub yes: bool,
}

/// Goes on with the run.
pub async fn run(_args: &Args, _context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    Err(CliError::failed(
        "this build has no engine: `resume` is not part of it",
    ))
}
