//! `hmco-boot completions`: the completion script of a shell.

use clap::CommandFactory;

use super::error::CliError;
use super::{Cli, Context};
use crate::model::outcome::ExitCode;

/// Arguments of `completions`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hmco-boot completions bash > ~/.local/share/bash-completion/completions/hmco-boot
  hmco-boot completions zsh > ~/.zfunc/_hmco-boot
  hmco-boot completions fish > ~/.config/fish/completions/hmco-boot.fish")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Prints the script.
pub fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hmco-boot", &mut script);
    context.output.data(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Done)
}
