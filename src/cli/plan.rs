//! `hmco-boot plan`: what a run would do.

use std::path::PathBuf;

use super::Context;
use super::error::CliError;
use super::run::PlanArgs;
use crate::model::outcome::ExitCode;

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
    /// Save the plan; `run --plan FILE` does exactly that or refuses
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// Exit with 4 where something differs
    #[arg(long)]
    pub exit_code: bool,
}

/// Shows what a run would do.
pub async fn run(_args: &Args, _context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    Err(CliError::failed(
        "this build has no engine: `plan` is not part of it",
    ))
}
