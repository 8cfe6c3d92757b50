//! `hmco-boot status`: how the cluster is, at one look. Changes nothing, takes no locks.

mod show;

use super::Context;
use super::error::CliError;
use super::k3s::look;
use super::output::Format;
use super::reach::BecomeArgs;
use crate::engine::clock::{Clock as _, SystemClock};
use crate::model::outcome::ExitCode;

/// Arguments of `status`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Asks every node once, all at the same time, and the Kubernetes API. What nobody told is shown as `?`, never guessed. Exits
with 0 where all is well, with 3 where nodes cannot be reached, with 1 where anything else is wrong: each with its cure.

With --output json: one line; `hmco-boot schema status` describes it.

Examples:
  hmco-boot status
  hmco-boot status --output json | jq '.problems[].what'
  hmco-boot status >/dev/null || echo 'look at the cluster'")]
pub struct Args {
    /// How to become root.
    #[command(flatten)]
    pub become_root: BecomeArgs,
}

/// Looks and shows.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let mut session = look::session("status", &args.become_root, context)?;
    let looked = look::look(&mut session, &args.become_root, false, context).await?;
    let status = looked.status;
    let shown = match context.output.format() {
        Format::Json => context.output.json("status", &status),
        _ => {
            let now = SystemClock::new().wall_ms();
            let commands = context.output.commands().clone();
            let lines = show::lines(&status, now, &commands, usize::from(context.output.width()));
            context.output.lines(&lines)
        }
    };
    CliError::unless_closed(shown)?;
    Ok(status.exit())
}
