//! `hmco-boot secrets`: the encrypted values of a project. One file per command; what they share is in `place` (the store
//! of a project), `identity` and `prompt` (private keys and passphrases), `tmpfs` and `child` (plaintext for a moment).

mod check;
mod child;
mod edit;
mod exec;
mod get;
pub mod git;
pub mod identity;
pub mod init;
mod keys;
mod list;
pub mod place;
pub mod prompt;
mod recipients;
mod remove;
mod rotate;
mod scan;
mod set;
pub mod tmpfs;
mod typed;
mod used;

use clap::Subcommand;

use super::Context;
use super::error::CliError;
use crate::model::outcome::ExitCode;
use identity::IdentityArgs;

/// Arguments of `secrets`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Values lie encrypted with age in secrets/*.toml, to be committed like any other file. A playbook uses one with
  content = { secret = \"k3s/token\" }    or    content = \"token: {{ secret('k3s/token') }}\"

Examples:
  hmco-boot secrets init
  hmco-boot secrets set k3s/token --generate=token
  hmco-boot secrets recipients add bert age1...
  hmco-boot secrets rotate --dry-run")]
pub struct Args {
    /// Which private key opens them.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// What to do with them.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands below `secrets`.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make the store, an identity and a recovery key, where they are missing
    Init(init::Args),
    /// Set a value: typed without echo, from standard input, from a file, or made at random
    Set(set::Args),
    /// Print a value, exactly
    Get(get::Args),
    /// Edit values in $EDITOR; plaintext is only ever in memory
    Edit(edit::Args),
    /// List the secrets: age, readers, where they are used
    List(list::Args),
    /// Remove values
    Remove(remove::Args),
    /// Show this user's public key, for somebody who adds it to the readers
    Identity(keys::Args),
    /// Say who reads the secrets
    Recipients(recipients::Args),
    /// Encrypt everything anew, for those who read now
    Rotate(rotate::Args),
    /// Open and verify everything
    Check(check::Args),
    /// Run a command with secrets in its environment or in files in memory
    Exec(exec::Args),
    /// Find secrets in plain text, in the files here and in git's index
    Scan(scan::Args),
}

/// Carries out one of them.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let who = &args.identity;
    match &args.command {
        Command::Init(args) => init::run(args, who, context),
        Command::Set(args) => set::run(args, who, context),
        Command::Get(args) => get::run(args, who, context),
        Command::Edit(args) => edit::run(args, who, context).await,
        Command::List(args) => list::run(args, context),
        Command::Remove(args) => remove::run(args, who, context),
        Command::Identity(_) => keys::run(who, context),
        Command::Recipients(args) => recipients::run(args, who, context),
        Command::Rotate(args) => rotate::run(args, who, context),
        Command::Check(args) => check::run(args, who, context),
        Command::Exec(args) => exec::run(args, who, context).await,
        Command::Scan(args) => scan::run(args, who, context),
    }
}
