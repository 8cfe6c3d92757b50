//! `hmco-boot runs`: looks at what is recorded.

use clap::Subcommand;

use super::Context;
use super::error::CliError;
use crate::model::outcome::ExitCode;

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
    /// Remove the lock of a run that no longer lives
    Unlock,
}

/// One run.
#[derive(Clone, Debug, clap::Args)]
pub struct Which {
    /// The run, or the beginning of its name; by default the newest
    pub run: Option<String>,
}

/// Carries out one of them.
pub fn run(args: &Args, _context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    match &args.command {
        Command::List
        | Command::Show(_)
        | Command::Replay(_)
        | Command::Prune { .. }
        | Command::Unlock => Err(CliError::failed("this build has no journal")),
    }
}
