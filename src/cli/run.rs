//! `hmco-boot run`: brings the targets to what a playbook says.

use std::path::PathBuf;

use super::Context;
use super::error::CliError;
use crate::model::outcome::ExitCode;

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
    /// Do what this saved plan says, and refuse if it no longer fits
    #[arg(long = "plan", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub saved: Option<PathBuf>,
    /// Do not ask before the first step that disturbs what runs
    #[arg(long, short)]
    pub yes: bool,
}

/// Plans, asks where it must, and runs.
pub async fn run(_args: &Args, _context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    Err(CliError::failed(
        "this build has no engine: `run` is not part of it",
    ))
}

/// Reads `NAME=VALUE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}
