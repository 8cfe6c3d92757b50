//! `hmco-boot pins`: what is fetched by URL, and what its bytes must be.

mod list;
mod look;
mod update;
mod used;

use clap::Subcommand;

use super::Context;
use super::error::CliError;
use crate::model::outcome::ExitCode;

/// Arguments of `pins`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do with them.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands below `pins`.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// List what hmco-boot.lock pins, whether it is at hand, and who uses it
    List,
    /// Download files, check them against their release's own checksums, and pin what they are
    Update(update::Args),
}

/// Carries out one of them.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    match &args.command {
        Command::List => list::run(context).await,
        Command::Update(args) => update::run(args, context).await,
    }
}
