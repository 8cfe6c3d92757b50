//! `hmco-boot k3s`: K3s on the nodes, beside what playbooks say.

pub mod adopt;
mod copies;
pub mod look;
pub mod node;
mod procedure;
pub mod reset;

use super::Context;
use super::error::CliError;
use crate::model::outcome::ExitCode;

/// Arguments of `k3s`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do with it.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands below `k3s`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Read what a K3s that was installed in another way is set to, as vars for playbook k3s
    Adopt(adopt::Args),
    /// Take a node out of the cluster, or make room for a new machine of its name
    Node(node::Args),
    /// Take K3s and its data off nodes, after copying snapshots and token
    Reset(reset::Args),
}

/// Carries out one of them.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    match &args.command {
        Command::Adopt(args) => adopt::run(args, context).await,
        Command::Node(args) => node::run(args, context).await,
        Command::Reset(args) => reset::run(args, context).await,
    }
}
